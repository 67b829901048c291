# SPDX-License-Identifier: GPL-2.0-or-later
"""What poll and epoll tell after a restore, and calls that were blocked in between.

Every event that was pending is told, none is made up: above all no end of file and no hang-up.
harness/scenes.py says how these are run. HOLDFAST_TEST_MODE=stock runs them without the plugin.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest

from harness import syscalls
from harness.scenes import WHERES, Scene, Stage, World, criu_cannot, make_stage, name_of

LARGE = 400_000


# ---- epoll, level triggered


def level_data_pending(w: World) -> Iterator[None]:
    a, b = w.pair("level_data")
    w.a.epoll_add("level_data", "level_data", "IN|RDHUP")
    b.send(10)
    a.wait_inq(10)
    yield
    assert w.a.epoll_wait("level_data", 5) == {"level_data": "IN"}
    assert w.a.epoll_wait("level_data") == {"level_data": "IN"}  # until it is read
    a.recv(10)
    assert w.a.epoll_wait("level_data") == {}
    w.exchange(a, b)


def level_idle(w: World) -> Iterator[None]:
    a, b = w.pair("level_idle")
    w.a.epoll_add("level_idle", "level_idle", "IN|RDHUP")
    yield
    assert w.a.epoll_wait("level_idle") == {}
    b.send(10)
    assert w.a.epoll_wait("level_idle", 5) == {"level_idle": "IN"}


def level_end_of_file_pending(w: World) -> Iterator[None]:
    a, b = w.pair("level_eof")
    w.a.epoll_add("level_eof", "level_eof", "IN|RDHUP")
    b.send(10)
    b.shutdown()
    a.wait_poll("RDHUP")
    yield
    assert w.a.epoll_wait("level_eof", 5) == {"level_eof": "IN|RDHUP"}
    a.recv(10)
    a.eof()


def level_reset_pending(w: World) -> Iterator[None]:
    a, b = w.pair("level_reset")
    w.a.epoll_add("level_reset", "level_reset", "IN|RDHUP")
    b.reset()
    a.wait_poll("ERR")
    yield
    assert w.a.epoll_wait("level_reset", 5) == {"level_reset": "IN|ERR|HUP|RDHUP"}
    assert a.error("recv") == "ECONNRESET"
    assert w.a.epoll_wait("level_reset") == {"level_reset": "IN|HUP|RDHUP"}


# ---- epoll, edge triggered


def edge_data_pending(w: World) -> Iterator[None]:
    """The edge came before the checkpoint and was not told yet."""
    a, b = w.pair("edge_data")
    w.a.epoll_add("edge_data", "edge_data", "IN|RDHUP|ET")
    b.send(10)
    a.wait_inq(10)
    yield
    assert w.a.epoll_wait("edge_data", 5) == {"edge_data": "IN"}
    assert w.a.epoll_wait("edge_data") == {}
    b.send(10)
    assert w.a.epoll_wait("edge_data", 5) == {"edge_data": "IN"}
    a.recv(20)


def edge_told_already(w: World) -> Iterator[None]:
    """The program knows of the data; it must learn of more. To be told twice does no harm."""
    a, b = w.pair("edge_told")
    w.a.epoll_add("edge_told", "edge_told", "IN|RDHUP|ET")
    b.send(10)
    assert w.a.epoll_wait("edge_told", 5) == {"edge_told": "IN"}
    yield
    assert w.a.epoll_wait("edge_told") in ({}, {"edge_told": "IN"})
    assert w.a.epoll_wait("edge_told") == {}
    b.send(10)
    assert w.a.epoll_wait("edge_told", 5) == {"edge_told": "IN"}
    a.recv(20)


def edge_idle(w: World) -> Iterator[None]:
    a, b = w.pair("edge_idle")
    w.a.epoll_add("edge_idle", "edge_idle", "IN|RDHUP|ET")
    b.send(10)
    assert w.a.epoll_wait("edge_idle", 5) == {"edge_idle": "IN"}
    a.recv(10)
    yield
    assert w.a.epoll_wait("edge_idle") == {}
    b.send(10)
    assert w.a.epoll_wait("edge_idle", 5) == {"edge_idle": "IN"}
    b.shutdown()
    assert w.a.epoll_wait("edge_idle", 5) == {"edge_idle": "IN|RDHUP"}


def edge_end_of_file_pending(w: World) -> Iterator[None]:
    a, b = w.pair("edge_eof")
    w.a.epoll_add("edge_eof", "edge_eof", "IN|RDHUP|ET")
    b.shutdown()
    a.wait_poll("RDHUP")
    yield
    assert w.a.epoll_wait("edge_eof", 5) == {"edge_eof": "IN|RDHUP"}
    a.eof()


def edge_reset_pending(w: World) -> Iterator[None]:
    a, b = w.pair("edge_reset")
    w.a.epoll_add("edge_reset", "edge_reset", "IN|RDHUP|ET")
    b.reset()
    a.wait_poll("ERR")
    yield
    assert w.a.epoll_wait("edge_reset", 5) == {"edge_reset": "IN|ERR|HUP|RDHUP"}
    assert a.error("recv") == "ECONNRESET"


def edge_room_to_write(w: World) -> Iterator[None]:
    """No room was left; once the peer reads, the program must learn of it."""
    a, b = w.pair("edge_room")
    a.fill()
    w.a.epoll_add("edge_room", "edge_room", "OUT|ET")
    assert w.a.epoll_wait("edge_room") == {}
    yield
    w.a.epoll_wait("edge_room")  # more room than before: no harm
    a.fill()
    b.recv(w.a.run("conns['edge_room'].sent"))
    assert w.a.epoll_wait("edge_room", 5) == {"edge_room": "OUT"}
    w.exchange(a, b)


# ---- epoll, one-shot


def oneshot_armed(w: World) -> Iterator[None]:
    a, b = w.pair("armed")
    w.a.epoll_add("armed", "armed", "IN|RDHUP|ONESHOT")
    yield
    assert w.a.epoll_wait("armed") == {}
    b.send(10)
    assert w.a.epoll_wait("armed", 5) == {"armed": "IN"}
    assert w.a.epoll_wait("armed") == {}  # once
    w.a.epoll_rearm("armed", "armed", "IN|RDHUP|ONESHOT")
    assert w.a.epoll_wait("armed") == {"armed": "IN"}
    a.recv(10)


def oneshot_pending(w: World) -> Iterator[None]:
    a, b = w.pair("shot")
    w.a.epoll_add("shot", "shot", "IN|RDHUP|ONESHOT")
    b.send(10)
    a.wait_inq(10)
    yield
    assert w.a.epoll_wait("shot", 5) == {"shot": "IN"}
    assert w.a.epoll_wait("shot") == {}
    a.recv(10)


def oneshot_fired(w: World) -> Iterator[None]:
    """Told before the checkpoint: silent until it is armed again."""
    a, b = w.pair("fired")
    w.a.epoll_add("fired", "fired", "IN|RDHUP|ONESHOT")
    b.send(10)
    assert w.a.epoll_wait("fired", 5) == {"fired": "IN"}
    yield
    assert w.a.epoll_wait("fired") == {}
    w.a.epoll_rearm("fired", "fired", "IN|RDHUP|ONESHOT")
    assert w.a.epoll_wait("fired") == {"fired": "IN"}
    a.recv(10)


# ---- poll, and what is neither data nor end of file


def poll_low_water_mark(w: World) -> Iterator[None]:
    """SO_RCVLOWAT: data that is not enough is no event."""
    a, b = w.pair("lowat")
    a.option(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 100)
    b.send(10)
    a.wait_inq(10)
    assert a.poll() == "OUT"
    yield
    assert a.poll() == "OUT"
    b.send(90)
    assert "IN" in a.wait_poll("IN")
    a.recv(100)


@criu_cannot
def poll_urgent_pending(w: World) -> Iterator[None]:
    a, b = w.pair("urgent")
    w.b.run("conns['urgent'].sock.send(b'!', socket.MSG_OOB)")
    before = a.wait_poll("PRI")
    yield
    assert a.poll() == before
    assert w.a.run("conns['urgent'].sock.recv(1, socket.MSG_OOB)") == b"!"
    w.exchange(a, b)


def poll_listener(w: World) -> Iterator[None]:
    w.a.listen("quiet", w.host, 7600)
    w.a.epoll_add("quiet", "quiet", "IN|ET")
    yield
    assert w.a.epoll_wait("quiet") == {}
    w.b.connect("quiet", w.host, 7600)
    assert w.a.epoll_wait("quiet", 5) == {"quiet": "IN"}
    w.a.accept("quiet", "quiet")


# ---- blocked calls


def blocked_in_recv(w: World) -> Iterator[None]:
    a, b = w.pair("recv")
    w.a.job("recv", "conns['recv'].take(conns['recv'].sock.recv(100))", [syscalls.RECV])
    yield
    assert not w.a.job_done("recv")
    b.send(10)
    assert w.a.result("recv") == 10
    w.exchange(a, b)


def blocked_in_recv_with_timeout(w: World) -> Iterator[None]:
    """SO_RCVTIMEO. CRIU breaks such a wait off with EINTR, and Python tries again."""
    a, b = w.pair("rcvtimeo")
    w.a.run(
        "conns['rcvtimeo'].sock.setsockopt("
        "socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack('ll', 20, 0))"
    )
    code = "conns['rcvtimeo'].take(conns['rcvtimeo'].sock.recv(100))"
    w.a.job("rcvtimeo", code, [syscalls.RECV])
    yield
    b.send(10)
    assert w.a.result("rcvtimeo") == 10


def blocked_in_recv_then_end_of_file(w: World) -> Iterator[None]:
    a, b = w.pair("recv_eof")
    w.a.job("recv_eof", "conns['recv_eof'].sock.recv(100)", [syscalls.RECV])
    yield
    assert not w.a.job_done("recv_eof")
    b.shutdown()
    assert w.a.result("recv_eof") == b""


def blocked_in_recv_then_reset(w: World) -> Iterator[None]:
    a, b = w.pair("recv_reset")
    w.a.job("recv_reset", "conns['recv_reset'].sock.recv(100)", [syscalls.RECV])
    yield
    b.reset()
    with pytest.raises(ConnectionResetError):
        w.a.result("recv_reset")


def blocked_in_accept(w: World) -> Iterator[None]:
    w.a.listen("door", w.host, 7601)
    w.a.job("door", "listeners['door'].accept()[1][0]", [syscalls.ACCEPT])
    yield
    assert not w.a.job_done("door")
    w.b.connect("door", w.host, 7601)
    assert w.a.result("door") == w.net.peer.v4


def blocked_in_poll(w: World) -> Iterator[None]:
    a, b = w.pair("poll")
    code = """
_p = select.poll()
_p.register(conns['poll'].sock, select.POLLIN | select.POLLRDHUP | select.POLLPRI)
[poll_names(events) for fd, events in _p.poll()]
"""
    w.a.job("poll", code, [syscalls.POLL])
    yield
    assert not w.a.job_done("poll")
    b.send(10)
    assert w.a.result("poll") == ["IN"]
    a.recv(10)


def blocked_in_epoll_wait(w: World) -> Iterator[None]:
    a, b = w.pair("ewait")
    w.a.epoll_add("ewait", "ewait", "IN|RDHUP|ET")
    w.a.job("ewait", "epoll_wait('ewait', -1)", [syscalls.EPOLL_WAIT])
    yield
    assert not w.a.job_done("ewait")
    b.send(10)
    assert w.a.result("ewait") == {"ewait": "IN"}
    a.recv(10)


def blocked_in_epoll_wait_for_room(w: World) -> Iterator[None]:
    """Edge triggered: the program has no other way to learn of the room than this one event."""
    a, b = w.pair("eroom")
    a.fill()
    # The peer's buffer may grow by it, once.
    time.sleep(0.1)
    a.fill()
    w.a.epoll_add("eroom", "eroom", "OUT|ET")
    w.a.job("eroom", "epoll_wait('eroom', -1)", [syscalls.EPOLL_WAIT])
    yield
    b.recv(w.a.run("conns['eroom'].sent"))
    assert w.a.result("eroom") == {"eroom": "OUT"}
    w.exchange(a, b)


def blocked_in_send(w: World) -> Iterator[None]:
    a, b = w.pair("send")
    size = w.a.run("_c = conns['send']; _c.fill() or _c.sent")
    more = "_d = pattern(_c.stream_out, _c.sent, 100_000); _c.sock.sendall(_d)"
    w.a.job("send", f"{more}; _c.sent += len(_d); _c.sent", [syscalls.SEND])
    yield
    b.recv(size + 100_000)
    assert w.a.result("send") == size + 100_000
    w.exchange(a, b)


def blocked_in_sendfile(w: World) -> Iterator[None]:
    a, b = w.pair("sendfile")
    code = f"""
with open({str(w.work / "file")!r}, "w+b") as _f:
    _s = conns['sendfile']
    _f.write(pattern(_s.stream_out, 0, {LARGE}))
    _f.flush()
    while _s.sent < {LARGE}:
        _s.sent += os.sendfile(_s.sock.fileno(), _f.fileno(), _s.sent, {LARGE} - _s.sent)
_s.sent
"""
    a.option(socket.SOL_SOCKET, socket.SO_SNDBUF, 50_000)
    w.b["sendfile"].option(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    w.a.job("sendfile", code, [syscalls.SENDFILE])
    yield
    b.recv(LARGE)
    assert w.a.result("sendfile") == LARGE
    w.exchange(a, b)


def blocked_in_connect(w: World) -> Iterator[None]:
    w.b.listen("far", w.net.peer.v4, 7602)
    ours, theirs = w.new_streams()
    w.blocks.drop([(27602, 7602)])
    w.a.new_conn("far", w.host, 27602, (ours, theirs))
    address = (w.net.peer.v4, 7602)
    w.a.job("far", f"conns['far'].sock.connect({address!r})", [syscalls.CONNECT])
    assert w.a["far"].state() == "SYN_SENT"
    yield
    assert w.a["far"].state() == "SYN_SENT"
    assert not w.a.job_done("far")
    w.blocks.lift()
    assert w.a.result("far") is None
    w.b.accept("far", "far", (theirs, ours))
    w.exchange(w.a["far"], w.b["far"])


SCENES: list[Scene] = [
    level_data_pending,
    level_idle,
    level_end_of_file_pending,
    level_reset_pending,
    edge_data_pending,
    edge_told_already,
    edge_idle,
    edge_end_of_file_pending,
    edge_reset_pending,
    edge_room_to_write,
    oneshot_armed,
    oneshot_pending,
    oneshot_fired,
    poll_low_water_mark,
    poll_urgent_pending,
    poll_listener,
    blocked_in_recv,
    blocked_in_recv_with_timeout,
    blocked_in_recv_then_end_of_file,
    blocked_in_recv_then_reset,
    blocked_in_accept,
    blocked_in_poll,
    blocked_in_epoll_wait,
    blocked_in_epoll_wait_for_room,
    blocked_in_send,
    blocked_in_sendfile,
    blocked_in_connect,
]


@pytest.fixture(scope="module", params=WHERES)
def stage(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stage]:
    yield from make_stage(request, tmp_path_factory.mktemp("events"))


@pytest.mark.parametrize("scene", SCENES, ids=name_of)
def test_events(stage: Stage, scene: Scene) -> None:
    stage.play(scene)
