# SPDX-License-Identifier: GPL-2.0-or-later
"""What we had sent before the checkpoint, and nobody has acknowledged, goes out at once.

docs/resume.md has what each way is worth. With all of them off it takes the kernel's timer; that
this is slow is tested too, or nothing would be.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness import matrix, proc
from harness.blocks import Blocks
from harness.criu import Result
from harness.kill import Trace
from harness.mode import MODES
from harness.net import Netns
from harness.programs import program
from harness.scenes import Link, World, world
from test_agreed import sysctls

AGENT = Path(__file__).with_name("harness") / "agent_unacked.py"
PORT_IPV6 = 7501
SOON, SLOW = 500, 700  # ms
PACKETS, GROWTH = 45, 200_000  # a congestion window that takes all, and bytes that make it grow
SEGMENT = 1448  # IPv4
FIRST_WINDOW, LEAST_DUPLICATED = 10, 4  # packets
ONE_BYTE, DATA = "meta length { 41, 53 }", "meta length > 100"  # without timestamps, and with
KEYS = ("hold-back", "duplicate-acks")


@dataclass(frozen=True)
class Case:
    """length bytes that nobody has acknowledged."""

    length: int
    had: bool = False  # the peer has it, but its acknowledgement is lost
    closed_first: bool = False  # by the peer
    fin: bool = False  # we have closed behind it
    more: int = 0  # bytes behind it that MSG_MORE has kept from being sent
    v6: bool = False

    @property
    def packets(self) -> int:
        return -(-self.length // SEGMENT)

    def prepare(self, link: Link, back: Blocks) -> None:
        if self.closed_first:
            link.b.shutdown()
            link.a.wait_state("CLOSE_WAIT")
        if self.had:
            back.drop([(link.b_port, link.a_port)])
        else:
            link.lose()
        if self.length:
            link.a.send(self.length)
        if self.more:
            link.a.send_more(self.more)
        if self.fin:
            link.a.shutdown()
        if self.had:
            link.b.wait_inq(self.length)
        wanted = (self.length + self.more + self.fin, self.more)
        proc.wait_for(lambda: link.a.queued() == wanted, "everything sent")

    def is_soon(self, sack: bool, on: tuple[str, ...]) -> bool:
        """What docs/resume.md says."""
        if "hold-back" in on and (sack or self.packets <= FIRST_WINDOW):
            return True
        return not sack and "duplicate-acks" in on and self.packets >= LEAST_DUPLICATED

    def finish(self, w: World, link: Link) -> None:
        """All has arrived, and the connection lives."""
        link.a.wait_outq(0)
        if self.had:
            link.b.recv(self.length)
        if not self.closed_first:
            link.b.send(5000)
            link.a.recv(5000)
        if not self.fin:
            link.a.send(20_000)
            link.b.recv(20_000)


CASES = {
    "one byte": Case(1),
    "one segment": Case(1000),
    "several": Case(9000),
    "first window": Case(FIRST_WINDOW * SEGMENT),
    "many": Case(40 * SEGMENT + 1),
    "many, IPv6": Case(40 * SEGMENT + 1, v6=True),
    "several, IPv6": Case(9000, v6=True),
    "FIN": Case(0, fin=True),
    "several, FIN": Case(9000, fin=True),
    "many, FIN": Case(40 * SEGMENT, fin=True),
    "closed, many": Case(40 * SEGMENT, closed_first=True),
    "closed, several, FIN": Case(9000, closed_first=True, fin=True),
    "several, more": Case(6000, more=100),
    "many, more": Case(40 * SEGMENT, more=100),
    "had one segment": Case(1000, had=True),
    "had several": Case(9000, had=True),
    "had many": Case(40 * SEGMENT, had=True),
    "had several, FIN": Case(9000, had=True, fin=True),
}


@pytest.fixture(scope="module")
def table() -> matrix.Matrix:
    made = matrix.Matrix("ms until it is there")
    matrix.printed.append(made)
    return made


COMBINATIONS = [
    (True, ()),
    (True, KEYS[:1]),
    (True, KEYS),
    (False, ()),
    (False, KEYS[:1]),
    (False, KEYS[1:]),
    (False, KEYS),
]


def name_of(combination: tuple[bool, tuple[str, ...]]) -> str:
    sack, on = combination
    return f"{'SACK' if sack else 'no SACK'}, {' and '.join(on) or 'off'}"


def connect(w: World, name: str, case: Case) -> Link:
    if not case.v6:
        return w.link(name)
    ours, theirs = w.new_streams()
    host = w.net.container.v6
    port = w.b.connect(name, host, PORT_IPV6, streams=(theirs, ours))
    w.a.accept(name, "IPv6", streams=(ours, theirs))
    b = (w.net.peer.v6, port)
    return Link(w.a[name], w.b[name], PORT_IPV6, b, w.blocks, w.blocks_inside)


@dataclass
class Unacked:
    """A world with the connections of some cases, all checkpointed."""

    w: World
    cases: dict[str, Case]
    links: dict[str, Link]

    def restore(self) -> Result:
        for name, case in self.cases.items():
            length = 0 if case.had else case.length + case.more
            fin = case.fin and not case.had
            self.w.b.start_job(name, f"arrival({name!r}, {length}, {fin})")
        self.w.b.start_job("first", "first_packet()")
        return self.w.a.restore()

    def took(self) -> dict[str, float]:
        """Milliseconds from the first packet on."""
        first = self.w.b.result("first")
        return {
            name: 1000 * (self.w.b.result(name) - first)
            for name, case in self.cases.items()
            if not case.had
        }

    def finish(self) -> None:
        for name, case in self.cases.items():
            case.finish(self.w, self.links[name])


def prepare(w: World, cases: dict[str, Case], lift: bool = True) -> Unacked:
    for agent in (w.a, w.b):
        agent.run(AGENT.read_text())
    w.a.listen("IPv6", w.net.container.v6, PORT_IPV6)
    back = Blocks(w.net.container)
    links = {name: connect(w, name, case) for name, case in cases.items()}
    for name, case in cases.items():
        while w.a.cwnd(name) <= PACKETS:
            w.exchange(links[name].a, links[name].b, GROWTH)
        case.prepare(links[name], back)
    w.a.checkpoint().check()
    back.lift()
    if lift:
        w.lift()
    return Unacked(w, cases, links)


@contextlib.contextmanager
def unacked(
    tmp_path: Path, cases: dict[str, Case], sack: bool, on: tuple[str, ...], lift: bool = True
) -> Iterator[Unacked]:
    conf = tmp_path / "holdfast.conf"
    lines = ["kick = off", *(f"{key} = {'on' if key in on else 'off'}" for key in KEYS)]
    conf.write_text("".join(f"{line}\n" for line in lines))
    with world(tmp_path, MODES["holdfast"](), "external", tcp_agents=True) as w:
        w.a.env = {"HOLDFAST_CONF": str(conf)}
        spaces = [w.net.container, w.net.peer]
        with sysctls(spaces, tcp_sack=int(sack), tcp_slow_start_after_idle=0):
            yield prepare(w, cases, lift)


@pytest.mark.parametrize("combination", COMBINATIONS, ids=name_of)
def test_unacked(
    combination: tuple[bool, tuple[str, ...]], tmp_path: Path, table: matrix.Matrix
) -> None:
    """All off, each alone, all on."""
    with unacked(tmp_path, CASES, *combination) as it:
        it.restore().check()
        took = it.took()
        for name, ms in took.items():
            table.set(name, name_of(combination), f"{ms:.1f}")
        for name, ms in took.items():
            soon = CASES[name].is_soon(*combination)
            assert ms < SOON if soon else ms > SLOW, (name, ms)
        it.finish()


def drop(ns: Netns, hook: str, what: str) -> None:
    table = f"table inet hftest-drop {{ chain c {{ type filter hook {hook} priority -10;"
    ns.run("nft", f"{table} tcp sport 7500 {what} drop; }}; }}").check()


def lift_drop(ns: Netns) -> None:
    ns.run("nft", "delete table inet hftest-drop").check()


SOME = {name: CASES[name] for name in ("several", "many", "had several", "had many")}


@pytest.mark.parametrize("sack", [True, False], ids=["SACK", "no SACK"])
def test_lost_again(sack: bool, tmp_path: Path) -> None:
    """What goes out at first does not arrive: it costs time, and nothing else."""
    with unacked(tmp_path, SOME, sack, KEYS, lift=False) as it:
        it.w.blocks.drop([(link.a_port, link.b_port) for link in it.links.values()])
        it.restore().check()
        time.sleep(0.2)
        assert not any(it.w.b.job_done(name) for name, case in SOME.items() if not case.had)
        it.w.lift()
        it.took()
        it.finish()


def test_segments_by_hand_lost(tmp_path: Path) -> None:
    """Something on the way drops them: the kernel's timer is left."""
    with unacked(tmp_path, {"many": CASES["many"]}, True, KEYS) as it:
        drop(it.w.net.peer, "input", ONE_BYTE)
        it.restore().check()
        time.sleep(0.2)
        lift_drop(it.w.net.peer)
        assert it.took()["many"] > SLOW
        it.finish()


def test_not_let_out(tmp_path: Path) -> None:
    """What the host does not let out counts as sent, or its acknowledgement would be refused."""
    with unacked(tmp_path, SOME, True, KEYS) as it:
        drop(it.w.net.container, "output", DATA)
        it.restore().check()
        assert [link.a.queued()[1] for link in it.links.values()] == [0] * len(SOME)
        lift_drop(it.w.net.container)
        it.took()
        it.finish()


HELD = {name: CASES[name] for name in ("several", "had several", "had several, FIN")}
GET_NODELAY = ("getsockopt", socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_killed_before_it_is_sent(tmp_path: Path) -> None:
    """CRIU dies with the lock removed and what was held back not yet sent: the guardian sends it.

    Two equal restores: one to find the moment, and one that ends there.
    """
    report = tmp_path / "hf-kill.report"
    options: list[object] = ["--list"]
    for work in ("count", "kill"):
        (tmp_path / work).mkdir()
        with unacked(tmp_path / work, HELD, True, KEYS) as it:
            words = [program("hf-kill"), "--report", report, *options, "--"]
            it.w.a.criu_wrapper = words
            assert it.restore().ok == (work == "count")
            trace = Trace.read(report)
            found = [c for c in trace.calls if (c.name, *c.args[1:3]) == GET_NODELAY]
            if work == "count":
                options = trace.options(found[0].index)
            else:
                assert trace.killed and (trace.killed.name, *trace.killed.args[1:3]) == GET_NODELAY
            it.took()
            it.finish()


def test_route_with_a_larger_first_window(tmp_path: Path) -> None:
    """The route may say how much goes out at first: then more is held back."""
    with unacked(tmp_path, {"many": CASES["many"]}, False, KEYS[:1]) as it:
        route = "ip route replace 10.77.0.0/24 dev eth0 src 10.77.0.1 initcwnd 64"
        it.w.net.container.run(*route.split()).check()
        it.restore().check()
        assert it.took()["many"] < SOON
        it.finish()
