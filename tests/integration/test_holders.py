# SPDX-License-Identifier: GPL-2.0-or-later
"""Ways to hold a socket: each works, or is refused by name before anything is changed.

Those that work are scenes (see harness/scenes.py); what is refused has a container of its own.
HOLDFAST_TEST_MODE=stock runs the scenes without the plugin.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import checks, syscalls
from harness.agent import Control, RemoteConn
from harness.criu import Result
from harness.mode import Mode
from harness.scenes import WHERES, Scene, Stage, World, make_stage, name_of, world

SO_REUSEPORT = [(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)]


def in_flight(at: Control, name: str, *conns: str) -> None:
    """Leaves sockets in the queue of a unix socket pair and closes what we have of them."""
    at.run(f"""
{name} = socket.socketpair()
socket.send_fds({name}[0], [b'x'], [conns[c].fileno() for c in {conns!r}])
for c in {conns!r}:
    conns[c].sock.close()
""")


def landed(at: Control, name: str, *conns: str) -> None:
    """Takes them out of the queue again."""
    at.run(f"""
_fds = socket.recv_fds({name}[1], 1, {len(conns)})[1]
for c, fd in zip({conns!r}, _fds, strict=True):
    conns[c].sock = socket.socket(fileno=fd)
""")


# ---- what works


def several_fds(w: World) -> Iterator[None]:
    """Duplicates are one socket still."""
    a, b = w.pair("dups")
    w.a.run("dups = [os.dup(conns['dups'].fileno()) for _ in range(3)]")
    b.send(100)
    a.wait_inq(100)
    yield
    w.a.run("conns['dups'].sock.close(); conns['dups'].sock = socket.socket(fileno=dups[2])")
    a.recv(100)
    w.exchange(a, b)
    w.a.run("os.close(dups[0])")
    a.shutdown()
    b.eof()  # although dups[1] is open


def several_tasks(w: World) -> Iterator[None]:
    """One connection in a process and its children, each of which uses it."""
    a, b = w.pair("shared")
    children = [w.a.worker(f"shared{i}") for i in range(2)]
    yield
    sent = 0
    for child in children:
        child.run(f"conns['shared'].sent = {sent}")
        sent += child["shared"].send(100)
        b.recv(100)
    children[0]["shared"].close()
    a.close()
    children[1].run("conns['shared'].received = 0")
    b.send(10)
    children[1]["shared"].recv(10)
    children[1]["shared"].shutdown()
    b.eof()


def fork_server(w: World) -> Iterator[None]:
    """The parent has the listener alone; a child a connection, and both share the port."""
    w.a.listen("forking", w.host, 7700)
    children = []
    for i in range(3):
        name = f"forked{i}"
        ours, theirs = w.new_streams()
        w.b.connect(name, w.host, 7700, streams=(theirs, ours))
        w.a.accept(name, "forking", (ours, theirs))
        child = w.a.worker(name)
        w.a.run(f"conns.pop({name!r}).close()")
        child.run("listeners['forking'].close()")
        children.append(child)
    yield
    for i, child in enumerate(children):
        w.exchange(child[f"forked{i}"], w.b[f"forked{i}"])
    w.b.connect("forked-new", w.host, 7700)
    w.a.accept("forked-new", "forking")


def prefork_server(w: World) -> Iterator[None]:
    """Children wait in accept() on a listener that all of them have."""
    w.a.listen("prefork", w.host, 7701)
    children = [w.a.worker(f"prefork{i}") for i in range(2)]
    for child in children:
        child.job("accept", "listeners['prefork'].accept()[1][0]", [syscalls.ACCEPT])
    yield
    for i, _ in enumerate(children):
        w.b.connect(f"prefork{i}", w.host, 7701)
    for child in children:
        assert child.result("accept") == w.net.peer.v4


def held_by_a_child_alone(w: World) -> Iterator[None]:
    child = w.a.worker("alone")
    a, b = w.pair("alone", at=child)
    b.send(100)
    a.wait_inq(100)
    yield
    a.recv(100)
    w.exchange(a, b)


def held_by_an_orphan(w: World) -> Iterator[None]:
    """Its parent has ended, and the tree's first process is not its parent."""
    middle = w.a.worker("middle")
    orphan = middle.worker("orphan")
    a, b = w.pair("orphan", at=orphan)
    yield
    w.exchange(a, b)


def threads(w: World) -> Iterator[None]:
    """One thread reads, another is stuck writing, the first one looks on."""
    a, b = w.pair("threads")
    size = w.a.run("_t = conns['threads']; _t.fill() or _t.sent")
    w.a.run("threads_data = pattern(_t.stream_out, _t.sent, 100_000)")
    w.a.job("writer", "conns['threads'].sock.sendall(threads_data)", [syscalls.SEND])
    w.a.job("reader", "conns['threads'].take(conns['threads'].sock.recv(10))", [syscalls.RECV])
    yield
    assert not w.a.job_done("reader")
    b.send(10)
    assert w.a.result("reader") == 10
    b.recv(size + 100_000)
    assert w.a.result("writer") is None


def in_epoll_sets(w: World) -> Iterator[None]:
    """In two sets, and under two descriptors in one."""
    a, b = w.pair("sets")
    w.a.run("sets_dup = os.dup(conns['sets'].fileno())")
    w.a.epoll_add("set1", "sets", "IN|RDHUP")
    w.a.epoll_add("set2", "sets", "IN|RDHUP|ET")
    w.a.run("epoll_add('set1', 'dup', 'IN|RDHUP', sets_dup)")
    yield
    assert w.a.epoll_wait("set1") == {}
    assert w.a.epoll_wait("set2") == {}
    b.send(10)
    a.wait_inq(10)
    assert w.a.epoll_wait("set1") == {"sets": "IN", "dup": "IN"}
    assert w.a.epoll_wait("set2") == {"sets": "IN"}
    a.recv(10)


def listener_and_accepted_share_a_port(w: World) -> Iterator[None]:
    """With and without SO_REUSEADDR, which the accepted ones have from their listener."""
    for port, reuse in ((7702, 0), (7703, 1)):
        name = f"port{port}"
        w.a.run(f"""
_l = socket.socket()
_l.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, {reuse})
_l.bind(({w.host!r}, {port}))
_l.listen()
listeners[{name!r}] = _l
""")
        ours, theirs = w.new_streams()
        w.b.connect(name, w.host, port, streams=(theirs, ours))
        w.a.accept(name, name, (ours, theirs))
    yield
    for port, reuse in ((7702, 0), (7703, 1)):
        name = f"port{port}"
        w.exchange(w.a[name], w.b[name])
        got = "{}.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)"
        assert w.a.run(got.format(f"listeners[{name!r}]")) == reuse
        assert w.a.run(got.format(f"conns[{name!r}].sock")) == reuse
        w.b.connect(f"{name}-new", w.host, port)
        w.a.accept(f"{name}-new", name)
        w.a.run(f"listeners[{name!r}].close()")
        w.exchange(w.a[name], w.b[name])


def accepted_without_their_listener(w: World) -> Iterator[None]:
    w.a.listen("gone", w.host, 7704)
    for name in ("gone1", "gone2"):
        ours, theirs = w.new_streams()
        w.b.connect(name, w.host, 7704, streams=(theirs, ours))
        w.a.accept(name, "gone", (ours, theirs))
    w.a.run("listeners['gone'].close()")
    yield
    for name in ("gone1", "gone2"):
        w.exchange(w.a[name], w.b[name])
    w.a.listen("gone", w.host, 7704)


def reuseport_group(w: World) -> Iterator[None]:
    """Three listeners of a port, each with a connection."""
    for i in range(3):
        w.a.listen(f"group{i}", w.host, 7705, SO_REUSEPORT)
    found = {}
    for i in range(12):
        streams = w.new_streams()
        w.b.connect(f"member{i}", w.host, 7705, streams=streams[::-1])
        for j in range(3):
            if w.a.run(f"poll_now(listeners['group{j}'].fileno(), 0)"):
                w.a.accept(f"member{i}", f"group{j}", streams)
                found[i] = j
    assert len(found) == 12
    yield
    for i in found:
        w.exchange(w.a[f"member{i}"], w.b[f"member{i}"])
    for j in range(3):
        code = f"listeners['group{j}'].getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT)"
        assert w.a.run(code) == 1
    w.a.listen("group3", w.host, 7705, SO_REUSEPORT)  # another one may still join


def several_clients_of_one_port(w: World) -> Iterator[None]:
    """Connections from one local port to different peers."""
    for i in range(2):
        w.b.listen(f"server{i}", w.net.peer.v4, 7710 + i)
        ours, theirs = w.new_streams()
        reuse = [(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)]
        w.a.new_conn(f"client{i}", w.host, 27710, (ours, theirs), reuse)
        w.a[f"client{i}"].connect(w.net.peer.v4, 7710 + i)
        w.b.accept(f"client{i}", f"server{i}", (theirs, ours))
    yield
    for i in range(2):
        w.exchange(w.a[f"client{i}"], w.b[f"client{i}"])
        assert w.a[f"client{i}"].names()[0][1] == 27710


def not_blocking(w: World) -> Iterator[None]:
    """O_NONBLOCK and FD_CLOEXEC, on and off."""
    pairs = [w.pair(f"flags{i}") for i in range(2)]
    w.a.run("conns['flags1'].sock.setblocking(False)")
    w.a.run("conns['flags1'].sock.set_inheritable(True)")
    before = [a.view() for a, _ in pairs]
    yield
    assert [a.view() for a, _ in pairs] == before
    assert [w.a.run(f"conns['flags{i}'].sock.get_inheritable()") for i in range(2)] == [0, 1]
    with pytest.raises(BlockingIOError):
        w.a.run("conns['flags1'].sock.recv(1)")
    for a, b in pairs:
        w.exchange(a, b)


def signals(w: World) -> Iterator[None]:
    """O_ASYNC, the owner and its signal."""
    a, b = w.pair("async")
    w.a.run("""
import signal
caught = []
signal.signal(signal.SIGUSR1, lambda number, frame: caught.append(number))
_s = conns['async'].sock
fcntl.fcntl(_s, fcntl.F_SETOWN, os.getpid())
fcntl.fcntl(_s, 10, signal.SIGUSR1)
fcntl.fcntl(_s, fcntl.F_SETFL, fcntl.fcntl(_s, fcntl.F_GETFL) | os.O_ASYNC)
""")
    state = """
_s = conns['async'].sock
[fcntl.fcntl(_s, fcntl.F_GETOWN) == os.getpid(), fcntl.fcntl(_s, 11),
 bool(fcntl.fcntl(_s, fcntl.F_GETFL) & os.O_ASYNC)]
"""
    before = w.a.run(state)
    yield
    assert w.a.run(state) == before
    w.a.run("caught.clear()")
    b.send(10)
    a.wait_inq(10)
    assert w.a.run("caught")
    a.recv(10)


SCENES: list[Scene] = [
    several_fds,
    several_tasks,
    fork_server,
    prefork_server,
    held_by_a_child_alone,
    held_by_an_orphan,
    threads,
    in_epoll_sets,
    listener_and_accepted_share_a_port,
    accepted_without_their_listener,
    reuseport_group,
    several_clients_of_one_port,
    not_blocking,
    signals,
]


@pytest.fixture(scope="module", params=WHERES)
def stage(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stage]:
    yield from make_stage(request, tmp_path_factory.mktemp("holders"))


@pytest.mark.parametrize("scene", SCENES, ids=name_of)
def test_works(stage: Stage, scene: Scene) -> None:
    stage.play(scene)


# ---- what is a matter of namespaces or of a queue: it works, or is refused by name


def works_or_is_refused(w: World, *pairs: tuple[RemoteConn, RemoteConn], name: str) -> None:
    """Either way every connection goes on; a refusal names one of them, and changes nothing."""
    before = w.a.pids()
    result: Result = w.a.checkpoint()
    if result.ok:
        w.a.restore().check()
        return
    assert w.a.pids() == before
    assert len(result.lines("Error (holdfast)", name)) == 1, result.log
    assert not (w.a.images / "holdfast.img").exists()
    assert not checks.holdfast_tables(w.net.container, w.net.peer)


@pytest.fixture
def w(tmp_path: Path, holdfast_mode: Mode) -> Iterator[World]:
    with world(tmp_path, holdfast_mode, "external") as made:
        yield made


@contextlib.contextmanager
def other_namespace(w: World) -> Iterator[Path]:
    """A network namespace with nothing but its loopback."""
    name = f"{w.net.container.name}x"
    w.net.container.run("ip", "netns", "add", name).check()
    try:
        w.net.container.run("ip", "-n", name, "link", "set", "lo", "up").check()
        yield Path("/run/netns") / name
    finally:
        w.net.container.run("ip", "netns", "del", name).check()


def loopback_pair(at: Control, name: str, port: int) -> tuple[RemoteConn, RemoteConn]:
    at.listen(name, "127.0.0.1", port)
    at.connect(f"{name}-b", "127.0.0.1", port, streams=(1, 2))
    at.accept(f"{name}-a", name, (2, 1))
    return at[f"{name}-a"], at[f"{name}-b"]


def test_in_flight_with_a_holder(w: World) -> None:
    """In a unix socket's queue, and with a task as well."""
    a, b = w.pair("both")
    w.a.run("""
both = socket.socketpair()
socket.send_fds(both[0], [b'x'], [conns['both'].fileno()])
""")
    works_or_is_refused(w, (a, b), name=f"{w.host}:7500")
    w.exchange(a, b)
    w.a.run("_fds = socket.recv_fds(both[1], 1, 1)[1]")
    w.a.run("conns['both'].sock.close(); conns['both'].sock = socket.socket(fileno=_fds[0])")
    w.exchange(a, b)


def test_in_flight_alone(w: World) -> None:
    """In a unix socket's queue and nowhere else: no task has a descriptor of it."""
    a, b = w.pair("flying")
    other = w.pair("other")
    in_flight(w.a, "flight", "flying")
    works_or_is_refused(w, (a, b), other, name=f"{w.host}:7500")
    landed(w.a, "flight", "flying")
    w.exchange(a, b)
    w.exchange(*other)


def test_in_flight_in_flight(w: World) -> None:
    """A connection in the queue of a unix socket that is itself in a queue."""
    a, b = w.pair("deep")
    in_flight(w.a, "deep", "deep")
    w.a.run("""
outer = socket.socketpair()
socket.send_fds(outer[0], [b'x'], [deep[1].fileno()])
deep[1].close()
""")
    works_or_is_refused(w, (a, b), name=f"{w.host}:7500")
    w.a.run("""
_fd = socket.recv_fds(outer[1], 1, 1)[1][0]
deep = (deep[0], socket.socket(fileno=_fd))
""")
    landed(w.a, "deep", "deep")
    w.exchange(a, b)


def test_listener_in_flight(w: World) -> None:
    """A listener that no task has: new clients still get in afterwards."""
    w.a.listen("moving", w.host, 7800)
    w.a.run("""
moving = socket.socketpair()
socket.send_fds(moving[0], [b'x'], [listeners['moving'].fileno()])
listeners['moving'].close()
""")
    works_or_is_refused(w, name=f"{w.host}:7800")
    w.a.run("""
_fd = socket.recv_fds(moving[1], 1, 1)[1][0]
listeners['moving'] = socket.socket(fileno=_fd)
""")
    w.b.connect("moving", w.host, 7800)
    w.a.accept("moving", "moving")


def test_socket_made_before_setns(w: World) -> None:
    """A connection of another namespace than its task's own."""
    own = w.pair("own")
    with other_namespace(w) as path:
        w.a.setns(str(path))
        pair = loopback_pair(w.a, "elsewhere", 7801)
        w.a.setns(str(w.net.container.path))
        works_or_is_refused(w, pair, own, name="127.0.0.1:7801")
        w.exchange(*pair)
        w.exchange(*own)


def test_several_network_namespaces(w: World) -> None:
    """A child of the container has a network namespace of its own."""
    own = w.pair("own")
    child = w.a.worker("child")
    child.run("""
os.unshare(os.CLONE_NEWNET)
_s = socket.socket()
fcntl.ioctl(_s, 0x8914, struct.pack('16sH14x', b'lo', 0x49))  # lo up
""")
    pair = loopback_pair(child, "inner", 7802)
    works_or_is_refused(w, pair, own, name="127.0.0.1:7802")
    w.exchange(*pair)
    w.exchange(*own)


def test_same_addresses_in_two_namespaces(w: World) -> None:
    """The addresses of a connection are no name for it where there are several namespaces."""
    own = loopback_pair(w.a, "twin", 7803)
    child = w.a.worker("child")
    child.run("""
os.unshare(os.CLONE_NEWNET)
_s = socket.socket()
fcntl.ioctl(_s, 0x8914, struct.pack('16sH14x', b'lo', 0x49))
""")
    pair = loopback_pair(child, "twin", 7803)
    works_or_is_refused(w, own, pair, name="127.0.0.1:7803")
    w.exchange(*own)
    w.exchange(*pair)


def test_nested_pid_namespace(w: World) -> None:
    """CRIU refuses these itself; the connections go on.

    A container in a pid namespace of its own is what the runtimes make: see test_main_job.
    """
    child = w.a.worker("outer")
    child.run("os.unshare(os.CLONE_NEWPID)")
    inner = child.worker("inner")
    a, b = w.pair("nested", at=inner)
    before = w.a.pids()
    result = w.a.checkpoint()
    if result.ok:
        w.a.restore().check()
    else:
        assert w.a.pids() == before
        assert not checks.holdfast_tables(w.net.container)
    w.exchange(a, b)


ADD_KEY = """
_address = struct.pack("=HH4s120x", socket.AF_INET, 0, socket.inet_aton({peer!r}))
_key = struct.pack("=BBHi", 0, 0, 6, 0) + b"secret".ljust(80, b"\\0")
conns[{name!r}].sock.setsockopt(socket.IPPROTO_TCP, 14, _address + _key)  # TCP_MD5SIG
"""


def test_md5_keys(w: World) -> None:
    """Keys are not saved: the peer would throw every unsigned segment away."""
    a, b = w.pair("other")
    link = w.link("signed")
    w.a.run(ADD_KEY.format(name="signed", peer="192.0.2.9"))  # not the peer's: it goes on
    result = w.a.checkpoint()
    assert not result.ok
    assert len(result.lines("Error (holdfast)", f"{w.host}:7500", "TCP-MD5")) == 1, result.log
    w.exchange(a, b)
    w.exchange(link.a, link.b)
