# SPDX-License-Identifier: GPL-2.0-or-later
"""The parts of the benchmark: what they measure with measures rightly, and the page is whole."""

from __future__ import annotations

import json
import re
import sys
import xml.etree.ElementTree
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness import mode, pages
from harness.cases import Serve
from harness.criu import CriuServer, Result
from harness.net import Network
from harness.peer import Peer
from harness.slow_cable import SlowCable

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import page, runs, stall, targets, tricks  # noqa: E402
from bench.far import NEAR  # noqa: E402
from bench.results import Wrong  # noqa: E402
from bench.targets import Found  # noqa: E402

MIB = 1 << 20
TINY = runs.Plan(
    outages=(0.8,), crowds=(0.8,), connections=2, trick_outages=(), trick_connections=0, few=(2,),
    many=(), most=(), repeats=1, queue_bytes=32 * MIB, queue_rounds=1, seconds=0.5, rtts=(NEAR,),
    bulk_rtts=(NEAR,), v6=False, by=("holdfast", "stock-nftables"), warm=0.3, settle=0.1,
)


@pytest.mark.parametrize("ms", [1, 10, 50])
def test_slow_cable(net: Network, serve: Serve, ms: float) -> None:
    """The time is right, and all that goes through in both directions is."""
    here = replace(net.container, v4="10.78.0.1", v6="fd78::1")
    there = replace(net.peer, v4="10.78.0.2", v6="fd78::2")
    serve("criu-shared", mode.stock())
    with SlowCable(here, there, ms) as cable:
        for address in (here.v4, here.v6):
            ping = there.run("ping", "-q", "-c5", "-i0.02", address).check().output
            times = re.search(r"= ([\d.]+)/[\d.]+/([\d.]+)/", ping)
            assert times and 2 * ms <= float(times[1]) < 2 * ms + 1
        targets = {"slow": f"{here.v4}:{net.DUAL_PORT}", "slow6": f"[{here.v6}]:{net.DUAL_PORT}"}
        conns = ["duplex,rate=4M*2", "echo,gap=5,size=20000*2"]
        with Peer(there, targets, conns) as peer:
            assert peer.progress().ok
            report = peer.finish()
        assert report.lost == 0, report.complaints()
    assert cable.carried and cable.carried.packets > 100 and not cable.carried.dropped


def test_tiny(leftovers: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All parts, as small as they can be: bench.json and the page come out whole."""
    monkeypatch.setattr(stall, "SPACING", 0.4)  # two away at a time
    elsewhere = {
        "emulated": [many("holdfast", 1000, 10, 9), many("holdfast", 2000, 20, 9)],
        "emulator": runs.machine.describe(),
    }
    (tmp_path / runs.JSON).write_text(json.dumps({"queues": [], **elsewhere}))
    found = runs.measure(TINY, tmp_path, name="tiny")
    assert {key: found[key] for key in elsewhere} == elsewhere
    assert json.loads((tmp_path / runs.JSON).read_text()) == found
    assert [row["mode"] for row in found["stall"]] == ["holdfast", "stock"]
    assert [row["checkpoints"] for row in found["stall"] + found["crowd"]] == [6, 6, 1, 1]
    for row in found["stall"] + found["crowd"]:
        assert [(s["kind"], s["n"]) for s in row["stalls"]] == [(kind, 2) for kind in stall.KINDS]
    assert {(row["by"], row["where"]) for row in found["cost"]} == {
        (by, where) for by in TINY.by for where in runs.cost.WHERE
    }
    assert all(row["image_files"] > 5 and row["dump_s"] > 0 for row in found["cost"])
    ours = [row for row in found["cost"] if row["by"] == "holdfast"]
    assert all({"lock", "dump", "in all"} <= row["dump_says_us"].keys() for row in ours)
    assert all({"lock", "restore", "resume"} <= row["restore_says_us"].keys() for row in ours)
    assert [row["connections"] for row in found["floor"]] == [2]
    assert all(row["bytes"] > 31 * MIB and not row["bytes"] % 2 for row in found["queues"])
    assert [(row["by"], row["where"]) for row in found["queues"]] == [
        ("holdfast", "tmpfs"), ("stock", "tmpfs"), ("holdfast", "disk")
    ]
    assert all(row["before_mb_s"] > 1 < row["after_mb_s"] for row in found["throughput"])
    text = (tmp_path / page.PAGE).read_text()
    assert text == page.text(found)
    assert "This is a tiny run" in text
    assert "| 2000 | 1 | holdfast | 20 (**2.00**) |" in text
    pictures = re.findall(r"\]\((.*\.svg)\)", text)
    assert len(pictures) == 3
    for name in pictures:
        svg = xml.etree.ElementTree.fromstring((tmp_path / name).read_text())
        assert [e for e in svg.iter() if e.tag.endswith("polyline") and e.get("points")]


def test_wrong_byte_is_noticed(
    leftovers: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(stall.KINDS, "from-peer", f"sink,{stall.BUSY},flip_up=1500")
    monkeypatch.setattr(runs, "QUICK", TINY)
    assert runs.main(["--quick", "--only", "stall", "--out", str(tmp_path)]) == 1
    assert not (tmp_path / page.PAGE).exists()


def test_lost_connection_is_noticed(
    leftovers: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Cut(CriuServer):
        def restore(self, **kwargs: Any) -> Result:
            port = re.search(r":(\d+)", self.net.targets()["IPv4"])
            assert port
            self.net.peer.run("ss", "-K", "dport", "=", f":{port[1]}").check()
            return super().restore(**kwargs)

    monkeypatch.setattr(stall, "CriuServer", Cut)
    outage = stall.Outage(tmp_path / "work", mode.holdfast(), 0.5, 1, (NEAR,), warm=0.3)
    with pytest.raises(Wrong, match="connections"):
        outage.measure()


def conn(role: str, **values: int) -> Any:
    defaults = dict(id=0, role=role, family="IPv4", local="", remote="", server_pid=1, phase="kept",
                    state="", sent=0, acked=0, checked=0, stall_ms=0, kept=True, error="")
    return stall.Connection(**{**defaults, **values})  # type: ignore[arg-type]


MS = 1_000_000


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        (conn("source", resumed=1510 * MS, arrived=1530 * MS), 20),
        (conn("source", resumed=1490 * MS, arrived=1530 * MS), 30),
        (conn("source", resumed=1540 * MS, arrived=1530 * MS), 0),
        (conn("source", resumed=1490 * MS, arrived=1400 * MS), None),
        (conn("source", resumed=1490 * MS), None),
        (conn("sink", resumed=1510 * MS, advanced=1515 * MS), 5),
        (conn("sink", resumed=1510 * MS), None),
        (conn("duplex", resumed=1510 * MS, arrived=1530 * MS, advanced=1515 * MS), 20),
        (conn("duplex", resumed=1510 * MS, arrived=1530 * MS, advanced=1555 * MS), 45),
        (conn("duplex", resumed=1510 * MS, arrived=1530 * MS), None),
        (conn("echo", resumed=1510 * MS, arrived=1530 * MS, advanced=1555 * MS), 20),
        (conn("idle", resumed=1510 * MS, asked=1501 * MS, answered=1512 * MS), 2),
        (conn("idle", resumed=1510 * MS, asked=1520 * MS, answered=1527 * MS), 7),
        (conn("idle", resumed=1510 * MS, asked=1520 * MS), None),
    ],
)
def test_stall(found: Any, wanted: float | None) -> None:
    """From the end of the lock, at 1500 ms, or when the program runs, if that is later."""
    assert stall.stall_of(found, 1500 * MS) == wanted


def one_stall(rtt: float, median: float, longest: float) -> dict[str, Any]:
    row = {"rtt_ms": rtt, "kind": "both", "median_ms": median, "max_ms": longest}
    return {"stall": [{"mode": "holdfast", "stalls": [row]}], "cost": [], "floor": [], "queues": []}


@pytest.mark.parametrize(
    ("rtt", "median", "longest", "wanted"),
    [
        (20, 30, 250, [Found.MET, Found.MET]),
        (20, 30.1, 250, [Found.MISSED, Found.MET]),
        (20, 30, 250.1, [Found.MET, Found.MISSED]),
    ],
)
def test_targets(rtt: float, median: float, longest: float, wanted: list[Found]) -> None:
    judged = targets.judge(one_stall(rtt, median, longest))
    assert [target.found for target in judged[:2]] == wanted
    assert {target.found for target in judged[2:]} == {Found.UNKNOWN}


@pytest.mark.parametrize(
    ("tmpfs", "disk", "wanted"),
    [(20, 20, Found.MET), (21, 20, Found.MISSED), (20, 21, Found.MISSED)],
)
def test_queue_targets(tmpfs: int, disk: int, wanted: Found) -> None:
    """Half of write(), wherever the images are."""
    rows = [
        {"by": "holdfast", "where": where, "bytes": 1000, "write_mb_s": 100,
         "dump_says_us": {"dump": us}, "restore_says_us": {"restore": 10}}
        for where, us in (("tmpfs", tmpfs), ("disk", disk))
    ]
    rows.append({"by": "stock", "where": "tmpfs", "dump_says_us": {}, "restore_says_us": {}})
    found = {"stall": [], "cost": [], "floor": [], "queues": rows}
    judged = {target.what: target.found for target in targets.judge(found)}
    assert (judged["queues, dump"], judged["queues, restore"]) == (wanted, Found.MET)


def many(by: str, connections: int, us: float, kb: int) -> dict[str, Any]:
    says = [{"in all": us * connections}, {"restore": us * connections}] if us else [{}, {}]
    return {
        "by": by, "where": "container", "family": "IPv4", "connections": connections,
        "processes": 1, "rounds": 1, "lost": 0, "image_bytes": 1, "image_files": 1,
        "dump_s": 1.0, "restore_s": 1.0, "dump_peak_kb": kb, "restore_peak_kb": 0,
        "dump_says_us": says[0], "restore_says_us": says[1],
    }


@pytest.mark.parametrize(
    ("us", "kb", "wanted"),
    [
        (12.5, 1999, [Found.MET, Found.MET]),
        (12.6, 1999, [Found.MISSED, Found.MET]),
        (12.5, 2000, [Found.MET, Found.MISSED]),
    ],
)
def test_many_targets(us: float, kb: int, wanted: list[Found]) -> None:
    """What the emulated machine found: for growth beside what was found here, for memory alone."""
    found = one_stall(20, 30, 250)
    found["emulated"] = [
        many("holdfast", 1000, 10, 9000), many("tcp-close", 1000, 0, 0),
        many("holdfast", 2000, us, 1000 + kb), many("tcp-close", 2000, 0, 1000),
    ]
    judged = {target.what: target.found for target in targets.judge(found)}
    assert judged["cost of a connection, 2000 beside 1000, emulated"] == wanted[0]
    assert judged["memory for an idle connection"] == wanted[1]


def test_emulated_only_where_it_can_be(tmp_path: Path) -> None:
    """It goes alone, and where there may be as many descriptors."""
    with pytest.raises(SystemExit):
        runs.parse(["--only", "cost", "emulated"])
    much = replace(TINY, emulated=(runs.Case("holdfast", "container", 1 << 30),))
    with pytest.raises(Wrong, match="emulated"):
        runs.measure(much, tmp_path, ["emulated"])


def test_only_known_keys(tmp_path: Path) -> None:
    assert tricks.is_known("kick", tmp_path)
    assert not tricks.is_known("nonsense", tmp_path)
    names = [(trick.name, trick.config) for trick in tricks.choices(["kick", "prelude"])]
    assert names == [
        ("none", "kick = off\nprelude = off\n"), ("kick alone", "kick = on\nprelude = off\n"),
        ("prelude alone", "kick = off\nprelude = on\n"), ("all", "kick = on\nprelude = on\n"),
    ]


def test_page_is_of_its_results() -> None:
    stored = json.loads(pages.page(runs.JSON).read_text())
    assert stored["run"] == "full"
    assert pages.page(page.PAGE).read_text() == page.text(stored)
    for name, svg in page.pictures.all_of(stored).items():
        assert pages.page(name).read_text() == svg
