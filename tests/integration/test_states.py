# SPDX-License-Identifier: GPL-2.0-or-later
"""Every TCP state, with and without data, in every family, wherever the peer is.

All cases of a place are in one checkpoint; harness/states.py explains their words. Each is also
driven without any checkpoint ("nowhere"), which shows that what is expected here is what programs
see. All is done with holdfast, and with CRIU's own tcp-established and holdfast beside it;
HOLDFAST_TEST_MODE=stock shows what CRIU makes of them alone; -k makes only the chosen cases.

docs/states.md says what came of it. HOLDFAST_UPDATE_DOCS=1 goes through stock CRIU too, and writes
that page.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from harness import checks, matrix, pages
from harness.agent import AgentTask, Control, PeerAgent
from harness.blocks import Blocks
from harness.mode import CHOSEN, MODES, Mode
from harness.net import Netns, Network
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
    a_hosts, b_hosts = addresses(net.container), addresses(net.peer)
    return Ends(a, b, a_hosts, b_hosts, Blocks(net.container), Blocks(net.peer))


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
        """Fails them all; the first one says it at length."""
        short = what
        for found in self.complaints.values():
            found.append(short)
            short = f"{what.splitlines()[0]} (the first case of this place says more)"


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
    found = {}
    for item in request.session.items:
        params: dict[str, Any] = getattr(getattr(item, "callspec", None), "params", {})
        if params.get("place") == place:
            found[params["case"], params["family"]] = None
    return list(found)


STATE_MODES = list(dict.fromkeys([*CHOSEN, *(["stock"] if pages.UPDATE else [])]))


@pytest.fixture(scope="module", params=STATE_MODES)
def state_mode(request: pytest.FixtureRequest) -> Mode:
    made: Mode = MODES[request.param]()
    return made


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
    title = f"TCP states, {state_mode.name}"
    for made in matrix.printed:
        if made.title == title:
            return made
    matrix.printed.append(matrix.Matrix(title))
    return matrix.printed[-1]


Kept = dict[tuple[str, str], bool]  # place and family -> whether all was as it should be


@pytest.fixture(scope="module")
def kept() -> dict[tuple[str, str], Kept]:
    """What came of a case in a mode."""
    return {}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("place", PLACES, indirect=True)
def test_state(
    place: tuple[str, Outcome],
    case: Case,
    family: str,
    table: matrix.Matrix,
    state_mode: Mode,
    kept: dict[tuple[str, str], Kept],
) -> None:
    name, outcome = place
    complaints = outcome.complaints[f"{case.name} {family}"]
    seconds = next(p.seconds for p in outcome.pairs if (p.case, p.family) == (case, family))
    text = "FAIL" if complaints else "ok" if seconds < SLOW else f"ok {seconds:.1f} s"
    table.set(case.name, f"{name}/{family}", text)
    kept.setdefault((state_mode.name, case.name), {})[name, family] = not complaints
    if complaints and not (pages.UPDATE and state_mode.name == "stock"):
        pytest.fail("\n".join(complaints), pytrace=False)


# ---- docs/states.md

INTRODUCTION = """\
# TCP states

What becomes of a TCP socket, state by state: with stock CRIU {criu} (its options `tcp-established`
and `network-lock nftables`, without holdfast), and with holdfast. The tests make this page.

*Kept*: after the restore the program sees what it would have seen without it (state, addresses,
poll events, bytes to be read, errors, end of file), and the connection goes on to its orderly end
with every byte in its place. That is so for IPv4, IPv6 and IPv4-mapped addresses, and wherever the
peer is: outside; in the same container (*loopback*); in another container that is checkpointed at
the same time (*together*) or next (*in-turn*). The network namespaces stay. The column for holdfast
holds with `tcp-close` and with `tcp-established`.
"""
FOOTNOTES = """\
[1] After the restore the pending error is ECONNRESET in place of EPIPE (reset after FIN) or
ETIMEDOUT (timed out), and a program that asks gets it once, from whichever call comes first: the
kernel shows that there is a pending error, but tells which one only by forgetting it.

Not in this table:

* SYN-RECEIVED, and connections in a listener's accept queue: no program has them yet. They are not
  saved, and their peers get a RST after the restore. Where there are connections in an accept queue
  CRIU refuses the dump, unless it has the option `skip-in-flight`.
* TIME-WAIT, and what a program closed before all was sent (orphans): no program has them any more.
  A dump waits a moment for orphans to be done, see `orphan-timeout` in holdfast.conf(5), and names
  those that are not.
"""


def rfc_name(state: str) -> str:
    """ "FIN-WAIT-1" """
    return state.replace("_", "-").replace("WAIT1", "WAIT-1").replace("WAIT2", "WAIT-2")


def complete(kept: dict[tuple[str, str], Kept], mode: str) -> bool:
    return all(
        len(kept.get((mode, case.name), {})) == len(PLACES) * len(FAMILIES) for case in CASES
    )


def describe(case: Case, *found: Kept) -> str:
    """ "kept", "lost", or where it is lost; of several modes."""
    places = [place for place in PLACES if place != "nowhere"]
    lost = [
        place for place in places if not all(k[place, f] for k in found for f in FAMILIES)
    ]
    note = " [1]" if case.restored else ""
    if not lost:
        return "kept" + note
    return "lost" if lost == places else f"lost: {', '.join(lost)}"


def make_page(stock: dict[str, str], holdfast: dict[str, str]) -> str:
    version = pages.criu_version()
    cells = [
        (rfc_name(case.state), case.how, stock.get(case.name, ""), holdfast[case.name])
        for case in CASES
    ]
    lines = pages.table(("state", "case", f"stock CRIU {version}", "holdfast"), cells)
    return "\n".join([INTRODUCTION.format(criu=version), *lines, "", FOOTNOTES])


def test_page(kept: dict[tuple[str, str], Kept]) -> None:
    """docs/states.md says what was found here; of stock CRIU where that was tried."""
    path = pages.page("states.md")
    ours = [mode for mode in ("holdfast", "established") if complete(kept, mode)]
    if not ours:
        pytest.skip("not all cases were made with holdfast")
    holdfast = {case.name: describe(case, *(kept[m, case.name] for m in ours)) for case in CASES}
    if complete(kept, "stock"):
        stock = {case.name: describe(case, kept["stock", case.name]) for case in CASES}
    else:
        rows = pages.rows_of(path.read_text())
        written = {(row[0], row[1]): row[2] for row in rows}
        stock = {case.name: written.get((rfc_name(case.state), case.how), "") for case in CASES}
    found = make_page(stock, holdfast)
    if pages.UPDATE:
        path.write_text(found)
    pages.compare(path.name, found.splitlines(), path.read_text().splitlines())
