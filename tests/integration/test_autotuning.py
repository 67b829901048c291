# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel goes on to tune the buffers and the window of a connection that was restored.

The container receives in bulk, or sends; a slow link gives a round-trip time worth tuning for.
The throughput before and after is printed, and judged by nobody: it depends on the machine.
"""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest

from harness import matrix
from harness.agent import Control
from harness.mode import CHOSEN, MODES
from harness.net import Netns
from harness.scenes import World, world

AGENT = Path(__file__).with_name("harness") / "agent_bulk.py"
# The first that this kernel has; a queue delays too, by what is in it.
LINKS = (
    ["netem", "delay", "5ms", "limit", "100000"],
    ["tbf", "rate", "400mbit", "burst", "64k", "limit", "4m"],
)
SHORT, LONG = 0.4, 1.0  # seconds of bulk
PAUSE = 0.3
RECEIVER, SENDER = ("rcvbuf", "rcv_ssthresh", "rcv_wnd"), ("sndbuf",)
FIXED = 200_000
LOCKED = 3  # SOCK_SNDBUF_LOCK, SOCK_RCVBUF_LOCK


def slow_down(ns: Netns) -> None:
    for link in LINKS:
        if ns.run("tc", "qdisc", "add", "dev", "eth0", "root", *link).rc == 0:
            return


class Bulk:
    """Four connections of a container: early, queued, grown and fixed."""

    def __init__(self, w: World, receives: bool) -> None:
        self.w = w
        self.source: Control = w.b if receives else w.a
        self.sink: Control = w.a if receives else w.b
        self.tuned = RECEIVER if receives else SENDER
        for agent in (w.a, w.b):
            agent.run(AGENT.read_text())
        for name in ("early", "queued", "grown", "fixed"):
            w.link(name)
            # One that fills the queue of the link, unlike bbr.
            cubic = f"(6, {socket.TCP_CONGESTION}, b'cubic')"
            self.source.run(f"conns[{name!r}].sock.setsockopt{cubic}")
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            w.a["fixed"].option(socket.SOL_SOCKET, option, FIXED)

    def go(self, name: str, seconds: float) -> float:
        """All that arrives is right; MB/s."""
        self.sink.start_job("sink", f"bulk_recv({name!r})")
        sent = self.source.bulk_send(name, seconds)
        received, took = self.sink.result("sink")
        assert received >= sent
        return received / took / 1e6

    def values(self) -> dict[str, dict[str, int]]:
        return {name: self.w.a.buffers(name) for name in ("early", "queued", "grown", "fixed")}


@pytest.fixture(scope="module")
def table() -> matrix.Matrix:
    made = matrix.Matrix("Throughput, MB/s")
    matrix.printed.append(made)
    return made


def check_restored(now: dict[str, int], was: dict[str, int]) -> None:
    assert now["lock"] == was["lock"]
    assert now["sndbuf"] == was["sndbuf"]
    assert now["rcvbuf"] == was["rcvbuf"] & ~1  # CRIU halves it, and the kernel doubles it
    assert now["clamp"] == was["clamp"]
    assert now["rcv_wnd"] >= was["rcv_wnd"]


@pytest.mark.parametrize("mode", CHOSEN)
@pytest.mark.parametrize("direction", ["receives", "sends"])
def test_buffers_grow(tmp_path: Path, direction: str, mode: str, table: matrix.Matrix) -> None:
    """early: as good as new; queued: full queues; grown: after a bulk; fixed: by setting."""
    with world(tmp_path, MODES[mode]()) as w:
        for ns in (w.net.container, w.net.peer):
            slow_down(ns)
        bulk = Bulk(w, direction == "receives")
        rate = bulk.go("grown", LONG)
        for name in ("queued", "fixed"):
            bulk.source[name].fill()
        time.sleep(PAUSE)
        before = bulk.values()
        w.a.checkpoint().check()
        w.a.restore().check()
        restored = bulk.values()
        for name, values in restored.items():
            check_restored(values, before[name])
        for name in ("queued", "fixed"):
            bulk.sink.bulk_recv(name)
        again = bulk.go("grown", LONG)
        for name in ("early", "queued", "fixed"):
            bulk.go(name, SHORT)
        after = bulk.values()

    for key in bulk.tuned:
        assert before["grown"][key] > before["early"][key]
        assert after["early"][key] > restored["early"][key]
        assert after["queued"][key] > max(restored[name][key] for name in ("early", "queued"))
    for name in ("early", "queued", "grown"):
        assert after[name]["lock"] == 0
    assert after["fixed"]["lock"] == LOCKED
    for key in ("rcvbuf", "sndbuf"):
        assert after["fixed"][key] == restored["fixed"][key] == 2 * FIXED
    row = f"the container {direction}, {mode}"
    for column, text in (
        ("before", f"{rate:.1f}"),
        ("after", f"{again:.1f}"),
        ("ratio", f"{again / rate:.2f}"),
    ):
        table.set(row, column, text)
