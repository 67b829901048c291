# SPDX-License-Identifier: GPL-2.0-or-later
"""Peers that are told of a full window before the lock closes do not run into it.

They would try again after 0.2, 0.6, 1.4, 3.0 and 6.2 s. Whatever becomes of the packets that tell
them, and of CRIU, costs them time only.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness import checks, kill, proc
from harness.cases import Connect, Serve, finish
from harness.criu import CriuServer, Result
from harness.kill import Call, Rig, Table
from harness.mode import CHOSEN, MODES, Mode
from harness.net import HOST, Netns, Network
from harness.old_image import forget
from harness.peer import Peer
from harness.scenes import World, world

# What these have sent last would meet the lock.
CONNS = ["sink*4", "duplex*4", "echo,gap=5*4"]
SINKS = ["sink*6"]
OUTAGE = 3.5
SOON, LATE = 400, 1000  # ms
# A timer of a peer may happen to be due when the outage ends.
ATTEMPTS = 3
TABLE = "inet hftest-words"
PORTS = f"{Network.PORT}-{Network.DUAL_PORT}"


def configure(
    tmp_path: Path, prelude: str = "on", kick: str = "off", more: str = ""
) -> dict[str, str]:
    conf = tmp_path / "holdfast.conf"
    conf.write_text(f"prelude = {prelude}\nkick = {kick}\n{more}")
    return {"HOLDFAST_CONF": str(conf)}


AT_THE_END = '#!/bin/sh\n[ "$CRTOOLS_SCRIPT_ACTION" = post-dump ] || exit 0\n{what}\n'


def paused(result: Result) -> int:
    """How many peers were told to pause."""
    found = re.findall(r"let (\d+) peers pause", result.log)
    return int(found[0]) if found else 0


def loses(ns: Netns, *rules: str) -> None:
    """Of what a program sends, and of what is sent in its name, the rules drop something."""
    ns.run(
        "nft", f"table {TABLE} {{ set first {{ type inet_service; flags dynamic; size 9999; }};"
        " set second { type inet_service; flags dynamic; size 9999; };"
        " counter lost {}; chain in { type filter hook input priority -10;"
        f" tcp sport {PORTS} jump some; }}; chain some {{ {'; '.join(rules)}; }}; }}"
    ).check()  # fmt: skip


def lost(ns: Netns) -> int:
    listed = ns.run("nft", "list", "counter", *TABLE.split(), "lost").check().output
    return int(re.findall(r"packets (\d+)", listed)[0])


DROP = "counter name lost drop"
ZERO_WINDOWS = f"tcp window 0 {DROP}"
EVERYTHING = DROP
FIRST = f"tcp dport != @first add @first {{ tcp dport }} {DROP}"  # of each connection
SECOND = f"tcp dport != @second add @second {{ tcp dport }} {DROP}"


def repair(ns: Netns) -> None:
    ns.run("nft", f"delete table {TABLE}").check()


@dataclass(frozen=True)
class Outage:
    told: int  # peers
    waited_ms: int


@contextlib.contextmanager
def nothing() -> Iterator[None]:
    yield


@contextlib.contextmanager
def losing(ns: Netns, least: int, *rules: str) -> Iterator[None]:
    """So many packets, at least."""
    loses(ns, *rules)
    yield
    assert lost(ns) >= least
    repair(ns)


Within = Callable[[], contextlib.AbstractContextManager[None]]


def outage(
    server: CriuServer,
    peer: Peer,
    *,
    late: bool = False,
    at_checkpoint: Within = nothing,
    between: Callable[[], None] = lambda: None,
    at_restore: Within = nothing,
) -> Outage:
    """How long the last connection then needs. One that is to be late has some more chances."""
    for _ in range(ATTEMPTS if late else 1):
        with at_checkpoint():
            told = paused(server.checkpoint().check())
        time.sleep(OUTAGE)
        between()
        with at_restore():
            server.restore().check()
            waited = peer.progress()
        assert waited.ok
        print(f"{told} told, {waited.waited_ms} ms")
        if waited.waited_ms > LATE:
            break
    return Outage(told, waited.waited_ms)


def is_as_wanted(found: Outage, soon: bool) -> bool:
    return found.waited_ms < SOON if soon else found.waited_ms > LATE


@pytest.mark.parametrize(
    "prelude, kick, soon", [("on", "off", True), ("on", "on", True), ("off", "off", False)]
)
def test_restore(
    tmp_path: Path,
    net: Network,
    serve: Serve,
    connect: Connect,
    holdfast_mode: Mode,
    prelude: str,
    kick: str,
    soon: bool,
) -> None:
    """The last is what it is for: some have to wait for long."""
    server = serve("criu-external", holdfast_mode)
    server.env = configure(tmp_path, prelude, kick)
    with connect(CONNS, patience=20) as peer:
        found = outage(server, peer, late=not soon)
        assert found.told == (12 if prelude == "on" else 0)
        assert is_as_wanted(found, soon)
        finish(peer)


@pytest.mark.parametrize("place", ["criu-shared", "criu-external"])
def test_other_restore_configuration(
    tmp_path: Path, net: Network, serve: Serve, connect: Connect, holdfast_mode: Mode, place: str
) -> None:
    """The image says that they wait for a window."""
    server = serve(place, holdfast_mode)
    server.env = configure(tmp_path)

    def change() -> None:
        server.env = configure(tmp_path, prelude="off")

    with connect(CONNS, patience=20) as peer:
        assert is_as_wanted(outage(server, peer, between=change), soon=True)
        finish(peer)


def test_old_image(
    tmp_path: Path, net: Network, serve: Serve, connect: Connect, holdfast_mode: Mode
) -> None:
    """One that does not say which of them: all are told, twice, and the first word gets lost."""
    server = serve("criu-external", holdfast_mode)
    server.env = configure(tmp_path)

    def grow_old() -> None:
        assert forget(server.images / "holdfast.img") >= 12

    with connect(SINKS, patience=20) as peer:
        found = outage(
            server, peer, between=grow_old, at_restore=lambda: losing(net.peer, 6, FIRST)
        )
        assert is_as_wanted(found, soon=True)
        finish(peer)


def errors(ns: Netns) -> int:
    """How many ICMP errors came, of those that are counted."""
    listed = ns.run("nft", "list", "counter", *TABLE.split(), "errors").check().output
    return int(re.findall(r"packets (\d+)", listed)[0])


@pytest.mark.parametrize("prelude", ["on", "off"])
def test_errors(
    tmp_path: Path,
    net: Network,
    serve: Serve,
    connect: Connect,
    holdfast_mode: Mode,
    prelude: str,
) -> None:
    """Who has paused, and goes on, gets none."""
    net.peer.run(
        "nft", f"table {TABLE} {{ counter errors {{}}; chain in {{ type filter hook input"
        " priority -10; icmp type destination-unreachable counter name errors;"
        " icmpv6 type destination-unreachable counter name errors; }; }"
    ).check()  # fmt: skip
    server = serve("criu-external", holdfast_mode)
    server.env = configure(tmp_path, prelude=prelude, kick="on")
    with connect(CONNS, patience=20) as peer:
        server.checkpoint().check()
        server.restore().check()
        assert peer.progress().ok
        time.sleep(0.5)
        print(f"{errors(net.peer)} errors")
        # Each burst has at least two; a machine that is busy may be late with an answer or two.
        assert errors(net.peer) >= 24 if prelude == "off" else errors(net.peer) < 12
        finish(peer)


def test_not_paused(
    tmp_path: Path, net: Network, serve: Serve, connect: Connect, holdfast_mode: Mode
) -> None:
    """Those that are too far away get their errors at once."""
    server = serve("criu-external", holdfast_mode)
    server.env = configure(tmp_path, kick="on", more="prelude-limit = 0\n")
    with connect(SINKS, patience=20) as peer:
        found = outage(server, peer)
        assert found.told == 0 and is_as_wanted(found, soon=True)
        finish(peer)


def test_far_peers_are_left_alone(
    tmp_path: Path, net: Network, serve: Serve, connect: Connect, holdfast_mode: Mode
) -> None:
    server = serve("criu-external", holdfast_mode)
    server.env = configure(tmp_path, more="prelude-limit = 0\n")
    with connect(CONNS, patience=20) as peer:
        result = server.checkpoint(leave_running=True).check()
        assert paused(result) == 0
        finish(peer)


def test_lost_pause(
    tmp_path: Path, net: Network, serve: Serve, connect: Connect, holdfast_mode: Mode
) -> None:
    """They run into the lock, as if there were no prelude."""
    server = serve("criu-external", holdfast_mode)
    server.env = configure(tmp_path)
    with connect(SINKS, patience=20) as peer:
        found = outage(
            server, peer, late=True, at_checkpoint=lambda: losing(net.peer, 6, ZERO_WINDOWS)
        )
        assert found.told == 6 and is_as_wanted(found, soon=False)
        finish(peer)


@pytest.mark.parametrize("kick, soon", [("on", True), ("off", False)])
def test_lost_pause_and_kick(
    tmp_path: Path,
    net: Network,
    serve: Serve,
    connect: Connect,
    holdfast_mode: Mode,
    kick: str,
    soon: bool,
) -> None:
    """Such peers can still be kicked."""
    server = serve("criu-external", holdfast_mode)
    server.env = configure(tmp_path, kick=kick)
    with connect(SINKS, patience=20) as peer:
        found = outage(
            server, peer, late=not soon,
            at_checkpoint=lambda: losing(net.peer, 6, ZERO_WINDOWS),
        )
        assert is_as_wanted(found, soon)
        finish(peer)


@pytest.mark.parametrize("rules", [(FIRST,), (FIRST, SECOND)], ids=["one", "two"])
def test_lost_window(
    tmp_path: Path,
    net: Network,
    serve: Serve,
    connect: Connect,
    holdfast_mode: Mode,
    rules: tuple[str, ...],
) -> None:
    """Where the first word is lost there is a second one, and a third."""
    server = serve("criu-external", holdfast_mode)
    server.env = configure(tmp_path)
    with connect(SINKS, patience=20) as peer:
        found = outage(
            server, peer, at_restore=lambda: losing(net.peer, 6 * len(rules), *rules)
        )
        assert found.told == 6 and is_as_wanted(found, soon=True)
        finish(peer)


def test_lost_windows(
    tmp_path: Path, net: Network, serve: Serve, connect: Connect, holdfast_mode: Mode
) -> None:
    """Where none arrives the peers ask for it."""
    server = serve("criu-external", holdfast_mode)
    server.env = configure(tmp_path)
    with connect(SINKS, patience=20) as peer:
        assert paused(server.checkpoint().check()) == 6
        time.sleep(OUTAGE)
        loses(net.peer, EVERYTHING)
        server.restore().check()
        time.sleep(0.4)
        assert lost(net.peer) >= 18
        repair(net.peer)
        waited = peer.progress()
        assert waited.ok and waited.waited_ms > LATE
        finish(peer)


# ---- idle peers

SEND_WINDOW = 228  # tcpi_snd_wnd in struct tcp_info
SEES = """
import fcntl, struct, termios

def unacknowledged(name):
    return struct.unpack("=i", fcntl.ioctl(conns[name].sock, termios.TIOCOUTQ, bytes(4)))[0]

def send_window(name):
    info = conns[name].sock.getsockopt(6, socket.TCP_INFO, 240)
    return struct.unpack_from("=I", info, {offset})[0]

def timed_send(name):
    started = time.monotonic()
    conns[name].send(1)
    conns[name].recv(1)
    return 1000 * (time.monotonic() - started)
"""


# CRIU finds out late that it cannot dump this: userfaultfd(2).
ODD_FILE = "odd = ctypes.CDLL(None).syscall(323, 0); assert odd >= 0"


def families(w: World) -> Iterator[str]:
    """A connection of each kind."""
    dual = 7600
    w.a.listen("six", w.net.container.v6, dual)
    w.a.listen("dual", "::", dual + 1)
    for name, address, listener, port in (
        ("v6", w.net.container.v6, "six", dual),
        ("mapped", w.net.container.v4, "dual", dual + 1),
    ):
        ours, theirs = w.new_streams()
        w.b.connect(name, address, port, streams=(theirs, ours))
        w.a.accept(name, listener, streams=(ours, theirs))
        yield name
    w.pair("v4")
    yield "v4"


ENDS = ("leaving", "failing")


@pytest.mark.parametrize("where", [f"external-{name}" for name in (*CHOSEN, *ENDS)])
def test_idle(tmp_path: Path, where: str) -> None:
    """They sent nothing at that time; what they send later goes at once."""
    options = where.removeprefix("external-")
    with world(tmp_path, MODES[CHOSEN[0] if options in ENDS else options]()) as w:
        w.a.env = configure(tmp_path)
        w.b.run(SEES.format(offset=SEND_WINDOW))
        names = list(families(w))
        for name in names:
            w.exchange(w.a[name], w.b[name])
        if options in ENDS:
            if options == "failing":
                w.a.run(ODD_FILE)
            result = w.a.checkpoint(leave_running=True)
            assert result.ok == (options == "leaving")
            assert options == "leaving" or result.lines("connections are as they were")
        else:
            assert paused(w.a.checkpoint().check()) == 3
            assert [w.b.send_window(name) for name in names] == [0, 0, 0]
            w.a.restore().check()
        time.sleep(0.1)  # the second word, too
        assert all(w.b.send_window(name) > 10_000 for name in names)
        for name in names:
            w.a.start_job(name, f"conns[{name!r}].recv(1), conns[{name!r}].send(1)")
        took = [w.b.timed_send(name) for name in names]
        print(took)
        # Without the real window the first try would be after 200 ms.
        assert max(took) < 150
        for name in names:
            w.a.result(name)
            w.exchange(w.a[name], w.b[name])


@pytest.mark.parametrize("limit", [0, 50])
def test_acknowledgement(tmp_path: Path, limit: int) -> None:
    """Who is sending hears of what has arrived, also who is too far away to be told to pause."""
    with world(tmp_path, MODES[CHOSEN[0]]()) as w:
        w.a.env = configure(tmp_path, more=f"prelude-limit = {limit}\n")
        w.b.run(SEES.format(offset=SEND_WINDOW))
        names = list(families(w))
        for name in names:
            w.exchange(w.a[name], w.b[name])
        w.net.peer.run(
            "nft", f"table {TABLE} {{ counter lost {{}}; chain in {{ type filter hook input"
            f" priority -10; meta l4proto tcp {DROP}; }}; }}"
        ).check()  # fmt: skip
        for name in names:
            w.b[name].send(500)
        proc.wait_for(lambda: lost(w.net.peer) >= 3, "acknowledgements that get lost")
        repair(w.net.peer)
        assert [w.b.unacknowledged(name) for name in names] == [500, 500, 500]
        assert paused(w.a.checkpoint().check()) == (3 if limit else 0)
        assert [w.b.unacknowledged(name) for name in names] == [0, 0, 0]
        w.a.restore().check()
        for name in names:
            w.a[name].recv(500)
            w.exchange(w.a[name], w.b[name])


def test_hole(tmp_path: Path) -> None:
    """A peer of which a segment is lost goes on with its timer, and must hear the kick."""
    with world(tmp_path, MODES[CHOSEN[0]]()) as w:
        w.a.env = configure(tmp_path, kick="on")
        w.pair("holed")
        w.pair("whole")
        w.exchange(w.a["holed"], w.b["holed"])
        w.net.container.run(
            "nft", f"table {TABLE} {{ chain in {{ type filter hook input priority -10;"
            " meta length 829 drop; }; }"
        ).check()  # fmt: skip
        w.b["holed"].send(777)  # 829 bytes with its headers
        w.b["holed"].send(5000)
        assert paused(w.a.checkpoint().check()) == 1
        repair(w.net.container)
        time.sleep(OUTAGE)
        w.a.restore().check()
        started = time.monotonic()
        w.a["holed"].recv(5777)
        took = 1000 * (time.monotonic() - started)
        print(f"{took:.0f} ms")
        assert took < SOON
        w.exchange(w.a["holed"], w.b["holed"])
        w.exchange(w.a["whole"], w.b["whole"])


def test_request_and_held_data(tmp_path: Path) -> None:
    """What a peer sends at once acknowledges what it has of ours: that must have gone out again."""
    with world(tmp_path, MODES[CHOSEN[0]]()) as w:
        w.a.env = configure(tmp_path)
        w.pair("c")
        w.exchange(w.a["c"], w.b["c"])
        w.net.container.run(
            "nft", f"table {TABLE} {{ chain in {{ type filter hook input priority -10;"
            " meta l4proto tcp drop; }; }"
        ).check()  # fmt: skip
        w.a["c"].send(500)
        w.b["c"].recv(500)
        assert paused(w.a.checkpoint().check()) == 1
        repair(w.net.container)
        w.b["c"].send(1)
        w.a.restore().check()
        started = time.monotonic()
        w.a["c"].recv(1)
        took = 1000 * (time.monotonic() - started)
        print(f"{took:.0f} ms")
        # The peer's timer is 200 ms.
        assert took < 150
        w.exchange(w.a["c"], w.b["c"])


# ---- a dump after which the tasks go on

SCRIPTS = {
    "leaves": f"sleep {OUTAGE}",
    "fails": f"sleep {OUTAGE}; exit 1",
    "dies": f"sleep {OUTAGE}; kill -9 $PPID; sleep 1",
}


@pytest.mark.parametrize("end", SCRIPTS)
def test_long_dump(
    tmp_path: Path, net: Network, serve: Serve, connect: Connect, holdfast_mode: Mode, end: str
) -> None:
    """The guardian tells them, however it ends."""
    script = tmp_path / "script"
    script.write_text(AT_THE_END.format(what=SCRIPTS[end]))
    script.chmod(0o755)
    server = serve("criu-external", holdfast_mode)
    server.env = configure(tmp_path)
    with connect(CONNS, patience=20) as peer:
        result = server.checkpoint(leave_running=True, extra=["--action-script", str(script)])
        assert result.ok == (end == "leaves")
        waited = peer.progress()
        assert waited.ok and waited.waited_ms < SOON
        tables = checks.holdfast_tables
        proc.wait_for(lambda: not tables(net.container, HOST), "end of the lock")
        finish(peer)


def test_answers_into_the_lock(
    tmp_path: Path, net: Network, serve: Serve, connect: Connect, holdfast_mode: Mode
) -> None:
    """The tasks run before the lock is gone: what they send meanwhile goes without their timers."""
    ns = net.container
    for family, *subnet in (("-4", "10.77.0.0/24"), ("-6", "fd77::/64", "metric", "256")):
        route = ["ip", family, "route", "replace", *subnet, "proto", "kernel", "dev", "eth0"]
        ns.run(*route, "rto_min", "3s").check()
    server = serve("criu-external", holdfast_mode)
    server.env = configure(tmp_path)
    with connect(["echo,gap=1*12"], patience=20) as peer:
        for _ in range(3):
            assert paused(server.checkpoint(leave_running=True).check()) == 12
            waited = peer.progress()
            print(f"{waited.waited_ms} ms")
            assert waited.ok and waited.waited_ms < LATE
        finish(peer)


# ---- death


def between(calls: list[Call]) -> list[int]:
    """From the looks at the connections to their reading: half the lock is there, then all of it."""
    repairs = [call.index for call in calls if call.is_repair]
    waits = [c.index for c in calls if c.name == "clock_nanosleep" and c.index < repairs[-1]]
    last = min(index for index in repairs if index > waits[-1])
    return sorted({*kill.spread(waits[-1] - 120, last, 7), waits[-1]})


def test_killed(tmp_path: Path, holdfast_mode: Mode) -> None:
    """CRIU, while the peers pause and the lock is half closed."""
    table = Table("prelude")
    with Rig(holdfast_mode, tmp_path, table) as rig:
        who = rig.find("dump", kill.CRIU)
        trace = rig.count("dump", who)
        for index in between(trace.calls):
            rig.dump(who, trace, index)
    print(table.text())
    killed = [moment for moment in table.moments if moment.call]
    assert len(killed) >= 4  # (No two dumps make the same calls.)
    assert not [moment.line() for moment in table.moments if moment.trouble]
    assert {moment.outcome for moment in killed} == {"goes on"}
