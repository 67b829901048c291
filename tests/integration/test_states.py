# SPDX-License-Identifier: GPL-2.0-or-later
"""Every TCP state, with and without data, in every family, wherever the peer is.

All cases of a place are in one checkpoint; harness/states.py explains their words. Each is also
driven without any checkpoint ("nowhere"), which shows that what is expected here is what programs
see. HOLDFAST_TEST_MODE=stock shows what CRIU's own support makes of them; -k makes only the
chosen cases.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from harness import checks, matrix
from harness.agent import AgentTask, Control, PeerAgent
from harness.blocks import Blocks
from harness.mode import Mode
from harness.net import Netns, Network
from harness.scenes import chosen_mode
from harness.states import FAMILIES, Case, Ends, Pair

CASES = [
    Case("ESTABLISHED", "idle", "open"),
    Case("ESTABLISHED", "data received", "open b.send"),
    Case("ESTABLISHED", "data in flight", "open lost a.send"),
    Case("ESTABLISHED", "window full", "open a.flood"),
    Case("ESTABLISHED", "received, window full", "open b.send a.flood"),
    Case("ESTABLISHED", "data in flight both ways", "open lost deaf a.send b.send"),
    Case("ESTABLISHED", "SHUT_RD", "open b.send a.rd", "data eof finish"),
    Case("SYN_SENT", "answered later", "syn", "accepted"),
    Case("SYN_SENT", "refused later", "refused-syn", "refused option=ECONNREFUSED option= eof"),
    Case("FIN_WAIT1", "FIN in flight", "open lost a.fin"),
    Case("FIN_WAIT1", "data received", "open b.send lost a.fin"),
    Case("FIN_WAIT1", "data in flight", "open lost a.send a.fin"),
    Case("FIN_WAIT1", "window full", "open a.flood a.fin"),
    Case("FIN_WAIT1", "received, window full", "open b.send a.flood a.fin"),
    Case("FIN_WAIT2", "idle", "open a.fin"),
    Case("FIN_WAIT2", "data received", "open b.send a.fin"),
    Case("FIN_WAIT2", "data read by the peer later", "open a.send a.fin"),
    Case("CLOSE_WAIT", "idle", "open b.fin"),
    Case("CLOSE_WAIT", "data received", "open b.send b.fin"),
    Case("CLOSE_WAIT", "data in flight", "open lost a.send b.fin"),
    Case("CLOSE_WAIT", "window full", "open a.flood b.fin"),
    Case("CLOSE_WAIT", "received, window full", "open b.send a.flood b.fin"),
    Case("CLOSING", "FIN in flight", "open lost a.fin b.fin"),
    Case("CLOSING", "data received", "open b.send lost a.fin b.fin"),
    Case("CLOSING", "data in flight", "open lost a.send a.fin b.fin"),
    Case("CLOSING", "window full", "open a.flood a.fin b.fin"),
    Case("CLOSING", "received, window full", "open b.send a.flood a.fin b.fin"),
    Case("LAST_ACK", "FIN in flight", "open lost b.fin a.fin"),
    Case("LAST_ACK", "data received", "open b.send lost b.fin a.fin"),
    Case("LAST_ACK", "data in flight", "open lost a.send b.fin a.fin"),
    Case("LAST_ACK", "window full", "open a.flood b.fin a.fin"),
    Case("LAST_ACK", "received, window full", "open b.send a.flood b.fin a.fin"),
    Case("CLOSE", "new", "socket", "recv=ENOTCONN send=EPIPE connect"),
    Case("CLOSE", "new, bound", "bind", "recv=ENOTCONN send=EPIPE connect"),
    Case("CLOSE", "new, bound, to listen", "bind", "accept"),
    Case("CLOSE", "new, SHUT_RD", "socket rd", "eof send=EPIPE"),
    Case("CLOSE", "new, SHUT_WR", "socket wr", "recv=ENOTCONN send=EPIPE"),
    Case("CLOSE", "new, bound, SHUT_RDWR", "bind rdwr", "eof send=EPIPE"),
    Case("CLOSE", "disconnected", "open unspec", "recv=ECONNRESET recv=ENOTCONN send=EPIPE"),
    Case("CLOSE", "finished", "open b.fin a.fin", "eof option= send=EPIPE"),
    Case("CLOSE", "finished, data", "open b.send b.fin a.fin", "data eof option= send=EPIPE"),
    Case("CLOSE", "finished first", "open a.fin b.fin", "eof option= send=EPIPE"),
    Case("CLOSE", "finished first, data", "open b.send a.fin b.fin", "data eof send=EPIPE"),
    Case("CLOSE", "reset", "open b.rst", "recv=ECONNRESET eof option= send=EPIPE"),
    Case("CLOSE", "reset, data", "open b.send b.rst", "data recv=ECONNRESET eof send=EPIPE"),
    Case("CLOSE", "reset, send first", "open b.rst", "send=ECONNRESET send=EPIPE eof option="),
    Case("CLOSE", "reset, error taken", "open b.rst a.err", "eof option= send=EPIPE"),
    Case("CLOSE", "reset, taken, data", "open b.send b.rst a.err", "data eof send=EPIPE"),
    Case(
        "CLOSE",
        "reset after FIN",
        "open b.fin b.rst",
        "eof option=EPIPE option= send=EPIPE",
        restored="recv=ECONNRESET eof option= send=EPIPE",
    ),
    Case("CLOSE", "reset after our FIN", "open a.fin b.rst", "recv=ECONNRESET eof send=EPIPE"),
    Case("CLOSE", "refused", "refused", "option=ECONNREFUSED option= eof send=EPIPE"),
    Case("CLOSE", "refused, error taken", "refused a.err", "eof option= send=EPIPE"),
    Case(
        "CLOSE",
        "timed out",
        "open impatient lost a.send timeout",
        "recv=ETIMEDOUT eof",
        restored="recv=ECONNRESET eof",
    ),
]

PAUSE = 0.3  # between checkpoint and restore
PATIENCE = 60  # for all that follows the restore of one place, together
SLOW = 1  # seconds after which the table says how long it took


@dataclass(frozen=True)
class World:
    """One place: where the two ends are, and what to do between build and drive."""

    ends: Ends
    tasks: tuple[AgentTask, ...]
    rounds: Callable[[], None]


def addresses(ns: Netns) -> dict[str, str]:
    return {"IPv4": ns.v4, "IPv6": ns.v6, "v4-mapped": f"::ffff:{ns.v4}"}


def make_ends(net: Network, a: Control, b: Control) -> Ends:
    return Ends(
        a, b, addresses(net.container), addresses(net.peer), Blocks(net.container), Blocks(net.peer)
    )


def there(*tasks: AgentTask) -> None:
    for task in tasks:
        task.checkpoint().check()
    time.sleep(PAUSE)


def back(*tasks: AgentTask) -> None:
    for task in tasks:
        task.restore().check()


@contextlib.contextmanager
def nowhere(net: Network, work: Path, options: Mode) -> Iterator[World]:
    """No checkpoint at all."""
    with AgentTask(net.container, work / "a", options) as a, PeerAgent(net.peer, work) as b:
        yield World(make_ends(net, a, b), (), lambda: time.sleep(PAUSE))


@contextlib.contextmanager
def outside(net: Network, work: Path, options: Mode) -> Iterator[World]:
    """The peer is on another machine."""
    with AgentTask(net.container, work / "a", options) as a, PeerAgent(net.peer, work) as b:
        yield World(make_ends(net, a, b), (a,), lambda: (there(a), back(a))[0])


@contextlib.contextmanager
def loopback(net: Network, work: Path, options: Mode) -> Iterator[World]:
    """Both ends are in the container, in two tasks."""
    hosts = {"IPv4": "127.0.0.1", "IPv6": "::1", "v4-mapped": "::ffff:127.0.0.1"}
    with AgentTask(net.container, work / "a", options, "shared") as a:
        b = a.worker("b")
        blocks = Blocks(net.container)
        ends = Ends(a, b, hosts, hosts, blocks, blocks)
        yield World(ends, (a,), lambda: (there(a), back(a))[0])


@contextlib.contextmanager
def together(net: Network, work: Path, options: Mode) -> Iterator[World]:
    """Two containers that are both away for a while."""
    with (
        AgentTask(net.container, work / "a", options) as a,
        AgentTask(net.peer, work / "b", options) as b,
    ):
        yield World(make_ends(net, a, b), (a, b), lambda: (there(a, b), back(a, b))[0])


@contextlib.contextmanager
def in_turn(net: Network, work: Path, options: Mode) -> Iterator[World]:
    """Two containers, one after the other."""

    def rounds() -> None:
        for task in (a, b):
            there(task)
            back(task)

    with (
        AgentTask(net.container, work / "a", options) as a,
        AgentTask(net.peer, work / "b", options) as b,
    ):
        yield World(make_ends(net, a, b), (a, b), rounds)


PLACES: dict[str, Callable[..., contextlib.AbstractContextManager[World]]] = {
    "nowhere": nowhere,
    "outside": outside,
    "loopback": loopback,
    "together": together,
    "in-turn": in_turn,
}


class Outcome:
    """What was found wrong, for each pair."""

    def __init__(self, pairs: list[Pair]) -> None:
        self.pairs = pairs
        self.complaints: dict[str, list[str]] = {pair.id: [] for pair in pairs}

    def each(self, what: str, action: Callable[[Pair], None]) -> None:
        """On those that came so far."""
        for pair in self.pairs:
            if any(text.startswith("build") for text in self.complaints[pair.id]):
                continue
            try:
                action(pair)
            except Exception as error:
                self.complaints[pair.id].append(f"{what}: {type(error).__name__}: {error}")

    def all(self, what: str) -> None:
        for found in self.complaints.values():
            found.append(what)


def compare(pair: Pair) -> None:
    now = pair.view()
    wrong = [
        f"{end} {key}: {now[end][key]!r}, was {value!r}"
        for end, before in pair.before.items()
        for key, value in before.items()
        if now[end][key] != value and not pair.may_change(end, key)
    ]
    if wrong:
        raise AssertionError("; ".join(wrong))


def run_place(world: World, outcome: Outcome) -> None:
    outcome.each("build", Pair.build)
    try:
        world.rounds()
    except RuntimeError as error:
        outcome.all(str(error))
        return
    outcome.each("view after the restore", compare)
    world.ends.lift()
    end = time.monotonic() + PATIENCE
    outcome.each("drive", lambda pair: pair.drive(end, bool(world.tasks)))
    left = checks.repair_sockets(pid for task in world.tasks for pid in task.pids())
    if left:
        outcome.all(f"left in repair mode: {left}")


def chosen(request: pytest.FixtureRequest, place: str) -> list[tuple[Case, str]]:
    """The cases of this session in this place, each with a family."""
    found = []
    for item in request.session.items:
        params: dict[str, Any] = getattr(getattr(item, "callspec", None), "params", {})
        if params.get("place") == place:
            found.append((params["case"], params["family"]))
    return found


@pytest.fixture(scope="module")
def state_mode() -> Mode:
    return chosen_mode()


@pytest.fixture(scope="module")
def place(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, state_mode: Mode
) -> tuple[str, Outcome]:
    name: str = request.param
    leftovers = checks.Leftovers()
    with Network() as net:
        with PLACES[name](net, tmp_path_factory.mktemp(name), state_mode) as world:
            world.ends.listen()
            pairs = [
                Pair(case, family, number, world.ends)
                for number, (case, family) in enumerate(chosen(request, name))
            ]
            outcome = Outcome(pairs)
            run_place(world, outcome)
        for table in checks.holdfast_tables(net.container, net.peer):
            outcome.all(f"lock left: {table}")
    for process in leftovers.processes():
        outcome.all(f"left: {process}")
    return name, outcome


@pytest.fixture(scope="module")
def table(state_mode: Mode) -> matrix.Matrix:
    made = matrix.Matrix(f"TCP states, {state_mode.name}")
    matrix.printed.append(made)
    return made


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("place", PLACES, indirect=True)
def test_state(
    place: tuple[str, Outcome], case: Case, family: str, table: matrix.Matrix
) -> None:
    name, outcome = place
    complaints = outcome.complaints[f"{case.name} {family}"]
    seconds = next(p.seconds for p in outcome.pairs if (p.case, p.family) == (case, family))
    text = "FAIL" if complaints else "ok" if seconds < SLOW else f"ok {seconds:.1f} s"
    table.set(case.name, f"{name}/{family}", text)
    if complaints:
        pytest.fail("\n".join(complaints), pytrace=False)
