# SPDX-License-Identifier: GPL-2.0-or-later
"""Connections without a file: not accepted yet, or closed by the program and still sending.

CRIU dumps a listener with clients in its queue only with its option skip-in-flight. They are not
kept, but their clients learn so at once after the restore. Orphans get some time to send what they
have before the dump (orphan-timeout in holdfast.conf).
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness import checks
from harness.agent import RemoteConn
from harness.criu import Arrangement, Result
from harness.mode import Mode
from harness.proc import run, wait_for
from harness.programs import builddir
from harness.scenes import World, world

PORT = 7550
DUAL_PORT = 7551
SKIP = ["--skip-in-flight"]
AT_ONCE = 0.5  # seconds
ARRANGEMENTS: tuple[Arrangement, ...] = ("shared", "external")


@pytest.fixture(params=ARRANGEMENTS)
def place(
    request: pytest.FixtureRequest, tmp_path: Path, holdfast_mode: Mode
) -> Iterator[World]:
    with world(tmp_path, holdfast_mode, request.param, tcp_agents=True) as made:
        made.where = request.param
        yield made


@dataclass(frozen=True)
class Client:
    name: str
    host: str
    port: int
    inside: bool = False

    @property
    def listener(self) -> str:
        if self.port == DUAL_PORT:
            return "dual"
        return "IPv6" if ":" in self.host else "IPv4"

    def connect(self, w: World) -> int:
        port: int = (w.inner if self.inside else w.b).connect(self.name, self.host, self.port)
        return port

    def conn(self, w: World) -> RemoteConn:
        return (w.inner if self.inside else w.b)[self.name]


def clients(w: World) -> list[Client]:
    v4, v6 = w.net.container.v4, w.net.container.v6
    return [
        Client("IPv4", v4, PORT),
        Client("IPv6", v6, PORT),
        Client("v4-mapped", v4, DUAL_PORT),
        Client("IPv6, dual", v6, DUAL_PORT),
        Client("loopback", "127.0.0.1", DUAL_PORT, inside=True),
        Client("loopback, IPv6", "::1", DUAL_PORT, inside=True),
        Client("loopback, own address", v4, PORT, inside=True),
    ]


def listen(w: World) -> None:
    w.a.listen("IPv4", w.net.container.v4, PORT)
    w.a.listen("IPv6", w.net.container.v6, PORT)
    w.a.listen("dual", "::", DUAL_PORT)


def show(w: World, *args: str) -> str:
    return run([builddir() / "holdfast", "show", *args, w.a.images]).check().output


def still_accepts(w: World, client: Client) -> None:
    """The listener takes a new connection, and data flows."""
    other = w.inner if client.inside else w.b
    name = f"new {client.name}"
    port = other.connect(name, client.host, client.port, (2, 1))
    w.a.accept_from(name, client.listener, port, (1, 2))
    w.exchange(w.a[name], other[name])


def told_at_once(conn: RemoteConn, since: float) -> None:
    conn.wait_poll("ERR", timeout=max(0.1, since + AT_ONCE - time.monotonic()))
    assert conn.error("recv") == "ECONNRESET"


@pytest.mark.parametrize("silent", [False, True], ids=["", "nothing-leaks"])
def test_accept_queue(place: World, silent: bool) -> None:
    """silent: not even what the kernel sends when the old listener is closed reaches a client."""
    w = place
    listen(w)
    ports = {client: client.connect(w) for client in clients(w)}
    for client in ports:
        client.conn(w).send(100)
    if silent:
        w.blocks.drop([(c.port, port) for c, port in ports.items() if not c.inside])
    w.a.checkpoint(extra=SKIP).check()
    w.blocks.lift()

    shown = json.loads(show(w, "--json"))["pending"]
    peers = {(pending["peer"].rpartition(":")[2], pending["state"]) for pending in shown}
    assert peers == {(str(port), "ESTABLISHED") for port in ports.values()}
    assert show(w).count("not accepted, not kept: ") == len(ports)
    time.sleep(0.3)

    w.a.restore().check()
    since = time.monotonic()
    for client in ports:
        told_at_once(client.conn(w), since)
    for client in ports:
        still_accepts(w, client)


def test_accept_queue_refused(place: World) -> None:
    """Without the option the error is CRIU's, and everything goes on."""
    w = place
    listen(w)
    link = w.link("bystander")
    made = clients(w)
    for client in made:
        client.connect(w)
        client.conn(w).send(100)
    result = w.a.checkpoint()
    assert not result.ok
    assert result.lines("Error", "In-flight connection"), result.log
    assert result.lines("holdfast: the dump failed: connections are as they were")
    assert not checks.holdfast_tables(w.net.container)
    assert not (w.a.images / "holdfast.img").exists()
    for client in made:
        w.a.accept(client.name, client.listener)
    for client in made:
        w.exchange(client.conn(w), w.a[client.name], 10)
    w.exchange(link.a, link.b)


def test_accept_queue_left_running(place: World) -> None:
    """The program goes on, and accepts what was waiting."""
    w = place
    listen(w)
    made = clients(w)
    for client in made:
        client.connect(w)
    w.a.checkpoint(extra=SKIP, leave_running=True).check()
    for client in made:
        w.a.accept(client.name, client.listener)
    for client in made:
        w.exchange(client.conn(w), w.a[client.name], 10)


def test_half_open(place: World) -> None:
    """A client whose SYN was answered, and the answer is lost: it tries again, and gets in."""
    w = place
    listen(w)
    w.b.new_conn("half", w.net.peer.v4, 32_001)
    w.blocks.drop([(PORT, 32_001)])
    w.b["half"].connect(w.net.container.v4, PORT, wait=False)
    time.sleep(0.1)
    w.a.checkpoint(extra=SKIP).check()
    pending = json.loads(show(w, "--json"))["pending"]
    assert [p["state"] for p in pending] == ["SYN-RECEIVED"], pending
    w.blocks.lift()
    w.a.restore().check()
    w.a.accept("half", "IPv4", timeout=10)
    w.b["half"].wait_state("ESTABLISHED")
    w.exchange(w.a["half"], w.b["half"])


def test_half_open_established_client(place: World) -> None:
    """The client's last acknowledgement is lost: for it the connection stands."""
    w = place
    listen(w)
    w.b.new_conn("half", w.net.peer.v4, 32_002)
    # The SYN passes, and what comes after it does not.
    w.net.container.run(
        "nft", "table inet hftest-ack { chain in { type filter hook input priority -10;"
        " tcp sport 32002 tcp flags & (syn | ack) == ack drop; }; }"
    ).check()  # fmt: skip
    w.b["half"].connect(w.net.container.v4, PORT)
    assert w.b["half"].state() == "ESTABLISHED"
    w.a.checkpoint(extra=SKIP).check()
    pending = json.loads(show(w, "--json"))["pending"]
    assert [p["state"] for p in pending] == ["SYN-RECEIVED"], pending
    w.net.container.run("nft", "delete table inet hftest-ack").check()
    w.a.restore().check()
    told_at_once(w.b["half"], time.monotonic())
    still_accepts(w, clients(w)[0])


# ---- orphans


def orphan_timeout(w: World, tmp_path: Path, milliseconds: int) -> None:
    conf = tmp_path / "holdfast.conf"
    conf.write_text(f"orphan-timeout = {milliseconds}\n")
    w.a.env["HOLDFAST_CONF"] = str(conf)


def make_orphan(w: World, name: str, length: int, inside: bool = False) -> RemoteConn:
    """a has closed it, and b's window is full."""
    link = w.link(name, inside, options=[(1, 8, 8192)])  # SO_RCVBUF
    link.a.send(length)
    link.a.wait_stuck()
    link.a.close()
    return link.b


def drained_in_time(w: World, conn: str, length: int) -> None:
    """b begins to read as soon as the container is frozen."""
    status = f"/proc/{w.a.pid}/status"
    code = f"""
while 'State:\\tt' not in Path({status!r}).read_text():
    time.sleep(0.001)
time.sleep(0.02)
conns[{conn!r}].recv({length})
conns[{conn!r}].eof()
"""
    w.b.start_job(conn, code)


def test_orphan_drains(place: World, tmp_path: Path) -> None:
    """What the program wrote before its close() arrives, to the last byte and the end of file."""
    w = place
    orphan_timeout(w, tmp_path, 3000)
    link = w.link("other")
    make_orphan(w, "orphan", 60_000)
    drained_in_time(w, "orphan", 60_000)
    result = w.a.checkpoint().check()
    # All of it is there before the restore.
    assert w.b.result("orphan", timeout=1)
    assert not result.lines("that the program has closed")
    w.a.restore().check()
    w.exchange(link.a, link.b)


def test_orphan_does_not_drain(place: World) -> None:
    """Its peer does not read: it is named, and the dump goes on after the default of 200 ms."""
    w = place
    link = w.link("other")
    make_orphan(w, "stuck", 60_000)
    result = w.a.checkpoint().check()
    reported(result, w)
    waited = result.lines("holdfast: dumped")[0]
    assert 200_000 < int(waited.rpartition(" ")[2]) < 2_000_000, waited
    w.a.restore().check()
    w.exchange(link.a, link.b)


def test_orphan_inside(place: World) -> None:
    """Nobody can read it while the container is frozen: it is named at once, and listed."""
    w = place
    link = w.link("other")
    make_orphan(w, "stuck", 60_000, inside=True)
    result = w.a.checkpoint().check()
    assert result.lines("Warn", "holdfast", "after 0 ms")
    command = [builddir() / "holdfast", "show", str(w.a.images)]
    assert "closed and still sending, not kept: " in run(command).check().output
    w.a.restore().check()
    w.exchange(link.a, link.b)


def reported(result: Result, w: World) -> None:
    lines = result.lines("Warn", "holdfast", "1 connections that the program has closed")
    assert len(lines) == 1, result.log
    words = lines[0].split()
    size = int(words[words.index("bytes") - 1])
    peer = w.b["stuck"]
    assert size == 60_000 - peer.inq()
    port = peer.names()[0][1]
    tuple_line = f"{w.host}:7500 -> {w.net.peer.v4}:{port} ({size} bytes)"
    assert result.lines("Warn", tuple_line), result.log


def test_orphan_of_a_refused_dump(place: World) -> None:
    """Nothing happens to one when the dump fails."""
    w = place
    listen(w)
    orphan = make_orphan(w, "stuck", 60_000)
    clients(w)[0].connect(w)  # CRIU refuses it
    assert not w.a.checkpoint().ok
    orphan.recv(60_000)
    orphan.eof()
    wait_for(lambda: not checks.holdfast_tables(w.net.container), "the unlock")
