# SPDX-License-Identifier: GPL-2.0-or-later
"""Peers whose TCP is not Linux' lose nothing either: what they do not heed costs time only.

lwIP takes a window of 0 only from a segment that acknowledges something new, has no SACK, and takes
no notice of the kick: what is left to a timer moves when that says so.
"""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from harness.cases import Connect, Serve, finish
from harness.lwip import V4, V6, Flow, Lwip
from harness.mode import Mode
from harness.net import Network
from harness.peer import Connection, Peer
from harness.programs import Missing, program

PACE = "rate=40k,chunk=1000"
# Of each kind one by IPv4, one by IPv6 and one v4-mapped.
CONNS = [
    "idle*3",
    "echo,gap=10*3",
    f"source,{PACE}*3",
    f"sink,{PACE}*3",
    f"duplex,{PACE}*3",
    "duplex,full*3",
    "hold,in=30k,out=10k*3",
]
RECEIVES = ("idle", "echo", "source", "duplex")  # idle: when it is asked
SENDS = ("idle", "echo", "sink", "duplex")

ON = {"prelude": "on", "kick": "on", "hold-back": "on", "duplicate-acks": "on"}
OFF = dict.fromkeys(ON, "off")
OUTAGES = (0.3, 3)
# Seconds, far beyond any timer: those of lwIP have come to some 3 s after such an outage.
LATE = 20
# The kernel's timer of a restored connection says 3 s.
TIMER = 2.5


@pytest.fixture
def lwip(net: Network) -> Lwip:
    try:
        program("hf-lwip")
    except Missing:
        pytest.skip("needs hf-lwip, which is built where liblwip-dev is installed")
    return Lwip(net)


def callers(net: Network) -> set[str]:
    """Who is connected to the server."""
    lines = net.container.run("ss", "-Htn", "state", "established").check().output.splitlines()
    ends = (line.split()[3].rpartition(":")[0].strip("[]") for line in lines)
    return {end.removeprefix("::ffff:") for end in ends}


def flow_of(conn: Connection, flows: dict[int, Flow]) -> Flow:
    return flows[int(conn.local.rpartition(":")[2])]


def waiting(peer: Peer, lwip: Lwip) -> list[str]:
    """Those that have not moved since the mark, in a direction in which they should."""
    flows = lwip.stats()
    found = []
    for conn in peer.stats():
        flow = flow_of(conn, flows)
        assert conn.kept, f"{conn.role} {conn.family}: {conn.error}, {flow}"
        received, sent = conn.role not in RECEIVES, conn.role not in SENDS
        if not ((received or flow.arrived) and (sent or flow.moved)):
            found.append(f"{conn.role} {conn.family}: {flow}")
    return found


def await_all(peer: Peer, lwip: Lwip) -> None:
    end = time.monotonic() + LATE
    while missing := waiting(peer, lwip):
        assert time.monotonic() < end, missing
        time.sleep(0.01)


def show(peer: Peer, before: dict[int, Flow], after: dict[int, Flow], since: int) -> None:
    def ms(moment: int) -> str:
        return f"{(moment - since) / 1e6:.0f} ms" if moment else "-"

    for conn in peer.stats():
        was, now = flow_of(conn, before), flow_of(conn, after)
        print(
            f"  {conn.role:7}{conn.family:10} arrived {ms(now.arrived)}, acknowledged"
            f" {ms(now.moved)}; window {was.window}, probes {was.probes}, tries {was.tries}"
        )


@pytest.mark.parametrize("words", [ON, OFF], ids=["on", "off"])
def test_restore(
    tmp_path: Path,
    net: Network,
    serve: Serve,
    connect: Connect,
    holdfast_mode: Mode,
    lwip: Lwip,
    words: dict[str, str],
) -> None:
    conf = tmp_path / "holdfast.conf"
    conf.write_text("".join(f"{name} = {value}\n" for name, value in words.items()))
    server = serve("criu-external", holdfast_mode, server_args=["--rcvbuf=100k", "--sndbuf=100k"])
    server.env = {"HOLDFAST_CONF": str(conf)}
    with lwip, connect(CONNS, targets=lwip.targets, patience=LATE) as peer:
        assert callers(net) == {V4, V6}
        for outage in OUTAGES:
            time.sleep(0.5)
            dumped = server.checkpoint().check()
            assert bool(re.search(r"let \d+ peers pause", dumped.log)) == (words is ON)
            time.sleep(outage)
            before = lwip.mark()
            server.restore().check()
            since = time.time_ns()
            peer.ask()
            await_all(peer, lwip)
            print(f"{outage} s:")
            show(peer, before, lwip.stats(), since)
        finish(peer)


def test_small_windows(
    net: Network, serve: Serve, connect: Connect, holdfast_mode: Mode, lwip: Lwip
) -> None:
    """Windows below a segment, full at the dump: what is held back goes out on its own, although
    there is more to send.
    """
    server = serve("criu-external", holdfast_mode, server_args=["--sndbuf=100k"])
    with lwip, connect(["source,full*12"], targets=lwip.targets, patience=LATE) as peer:
        for _ in range(2):
            time.sleep(0.5)
            server.checkpoint().check()
            lwip.mark()
            server.restore().check()
            since = time.time_ns()
            await_all(peer, lwip)
            late = [(flow.arrived - since) / 1e9 for flow in lwip.stats().values()]
            print(f"after {min(late):.3f} to {max(late):.3f} s")
            assert max(late) < TIMER
        finish(peer)


def test_lost_is_seen(
    net: Network, serve: Serve, connect: Connect, holdfast_mode: Mode, lwip: Lwip
) -> None:
    """By the same checks: a byte that is wrong on its way there, or back, and a reset."""
    serve("criu-external", holdfast_mode)
    conns = ["idle", f"sink,{PACE},flip_up=7001", f"source,{PACE},flip_down=7003"]
    conns.append("idle,to=v4-mapped")
    with lwip, connect(conns, targets=lwip.targets) as peer:
        time.sleep(0.5)
        rule = f"tcp dport {net.DUAL_PORT} reject with tcp reset"
        chain = "chain in { type filter hook input priority 0;"
        net.container.run("nft", f"table inet hftest {{ {chain} {rule}; }}; }}").check()
        peer.ask()
        report = peer.finish()
    errors = [conn.error for conn in report.connections]
    assert errors[:3] == [
        "",
        "server got a wrong byte at position 7001",
        "wrong byte received at position 7003",
    ]
    assert "reset" in errors[3]
