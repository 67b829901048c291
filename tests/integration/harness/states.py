# SPDX-License-Identifier: GPL-2.0-or-later
"""Pairs of sockets brought into a TCP state, and driven from there to their end.

A case says by words how its state is reached. "a" is the end in the container, whose state is
meant; "b" is its peer.

  open       a connection
  socket     a has a socket and nothing else; bind: and an address of its own
  syn        a calls connect, and its SYN is lost; refused-syn: the same, to where nobody listens
  refused    a calls connect where nobody listens, and does not ask what came of it
  lost       from now on nothing that a sends arrives; deaf: nothing that b sends
  a.send     some data; b.send: as well. a.flood: so much that b, which does not read, takes a part
  a.fin      shutdown(SHUT_WR); b.fin: as well; a.rd: shutdown(SHUT_RD); a.rdwr: SHUT_RDWR
  a.recv     a reads what b has sent
  b.rst      b closes with a RST
  unspec     connect(AF_UNSPEC)
  impatient  TCP_USER_TIMEOUT is short; timeout: a waits for it
  a.err      a takes its pending error

What follows after the restore, where it is not simply "finish", which brings every connection to
its orderly end: data (a reads what b has sent), eof, recv=ERROR, send=ERROR, option=ERROR (SO_ERROR)
("recv=" and so on: none), connect (a's socket makes a connection), accept (a's socket is made a
listener).
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .agent import Control, RemoteConn
from .blocks import Blocks

FAMILIES = ("IPv4", "IPv6", "v4-mapped")

SOME = 3000  # bytes, fewer than a first congestion window
MUCH = 120_000  # more than a receive buffer of SMALL
MORE = 1000
PATIENCE = 8  # seconds, for what follows the restore
SMALL = [(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)]
LARGE = [(socket.SOL_SOCKET, socket.SO_SNDBUF, 200_000)]
TCP_USER_TIMEOUT = 18

# b's ports: everybody's, and one where nobody listens.
PORT, NOBODY = 7300, 7399
# a's, for the families in which it accepts.
A_PORT = 7200


@dataclass(frozen=True)
class Case:
    state: str
    how: str  # what tells it from others of that state
    steps: str
    then: str = "finish"
    restored: str = ""  # what follows a restore, where the kernel does not tell enough for the same

    @property
    def name(self) -> str:
        return f"{self.state}: {self.how}"


@dataclass(frozen=True)
class Ends:
    """Two agents and what lies between them."""

    a: Control
    b: Control
    a_hosts: dict[str, str]  # family -> address
    b_hosts: dict[str, str]
    blocks_to_a: Blocks
    blocks_to_b: Blocks

    def listen(self) -> None:
        for family in FAMILIES:
            dual = family == "v4-mapped"
            self.a.listen(
                f"a {family}", "::" if dual else self.a_hosts[family], a_port(family), LARGE
            )
            if not dual:
                self.b.listen(f"b {family}", self.b_hosts[family], PORT, SMALL)

    def lift(self) -> None:
        for blocks in (self.blocks_to_a, self.blocks_to_b):
            blocks.lift()


def a_port(family: str) -> int:
    return A_PORT + (family == "v4-mapped")


@dataclass
class Pair:
    """A case in a family. Even numbers make a connect, odd ones b."""

    case: Case
    family: str
    number: int
    ends: Ends
    deadline: float = 0
    has_b: bool = False
    a_sent: int = 0
    b_sent: int = 0
    a_fin: bool = False
    b_fin: bool = False
    before: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0  # that the drive took

    @property
    def id(self) -> str:
        return f"{self.case.name} {self.family}"

    @property
    def a_name(self) -> str:
        return f"a {self.id}"

    @property
    def b_name(self) -> str:
        return f"b {self.id}"

    @property
    def a(self) -> RemoteConn:
        return self.ends.a[self.a_name]

    @property
    def b(self) -> RemoteConn:
        return self.ends.b[self.b_name]

    @property
    def a_streams(self) -> tuple[int, int]:
        return 2 * self.number, 2 * self.number + 1

    @property
    def b_streams(self) -> tuple[int, int]:
        return 2 * self.number + 1, 2 * self.number

    @property
    def b_family(self) -> str:
        """b has an ordinary IPv4 socket where a has a mapped one."""
        return "IPv4" if self.family == "v4-mapped" else self.family

    @property
    def a_connects(self) -> bool:
        return self.number % 2 == 0 or "syn" in self.case.steps or "open" not in self.case.steps

    @property
    def a_own_port(self) -> int:
        return 20_000 + self.number if self.a_connects else a_port(self.family)

    @property
    def b_own_port(self) -> int:
        if not self.a_connects:
            return 30_000 + self.number
        return NOBODY if "refused" in self.case.steps else PORT

    @property
    def left(self) -> float:
        """Seconds that the next wait may last."""
        return max(0.2, self.deadline - time.monotonic())

    def view(self) -> dict[str, Any]:
        """What the programs on both ends see."""
        found: dict[str, Any] = {"a": self.a.view()}
        if self.has_b:
            found["b"] = self.b.view()
        return found

    # ---- the way into the state

    def build(self) -> None:
        self.deadline = time.monotonic() + 10
        for word in self.case.steps.split():
            STEPS[word](self)
        self.settle()
        self.before = self.view()
        assert self.before["a"]["state"] == self.case.state, self.before

    def settle(self) -> None:
        """Until everything that can arrive has arrived."""
        steps = self.case.steps.split()
        self.a.wait_state(self.case.state, timeout=self.left)
        if "a.recv" not in steps and "deaf" not in steps and self.case.state != "CLOSE":
            self.a.wait_inq(self.b_sent, timeout=self.left)
        if "a.flood" in steps:
            self.a.wait_stuck(timeout=self.left)
        elif self.has_b and "lost" not in steps:
            self.b.wait_inq(self.a_sent, timeout=self.left)
        if self.has_b and self.b_fin and "lost" not in steps and "deaf" not in steps:
            self.b.wait_state("FIN_WAIT2", "CLOSE", timeout=self.left)

    def open(self) -> None:
        ends = self.ends
        if self.a_connects:
            self._socket(bound=True)
            self._connect(PORT)
            ends.b.accept(self.b_name, f"b {self.b_family}", self.b_streams)
        else:
            b_host, a_host = ends.b_hosts[self.b_family], ends.a_hosts[self.b_family]
            ends.b.new_conn(self.b_name, b_host, self.b_own_port, self.b_streams, SMALL)
            self.b.connect(a_host, a_port(self.family))
            ends.a.accept(self.a_name, f"a {self.family}", self.a_streams)
        self.has_b = True

    def _socket(self, bound: bool) -> None:
        port = self.a_own_port if bound else None
        host = self.ends.a_hosts[self.family]
        self.ends.a.new_conn(self.a_name, host, port, self.a_streams, LARGE)

    def _connect(self, port: int, wait: bool = True) -> None:
        self.a.connect(self.ends.b_hosts[self.family], port, wait)

    def socket(self) -> None:
        self._socket(bound=False)

    def bind(self) -> None:
        self._socket(bound=True)

    def syn(self) -> None:
        self._socket(bound=True)
        self.lost()
        self._connect(self.b_own_port, wait=False)

    def refused(self) -> None:
        self._socket(bound=True)
        self._connect(NOBODY, wait=False)

    def lost(self) -> None:
        self.ends.blocks_to_b.drop([(self.a_own_port, self.b_own_port)])

    def deaf(self) -> None:
        self.ends.blocks_to_a.drop([(self.b_own_port, self.a_own_port)])

    def a_send(self, length: int = SOME) -> None:
        self.a_sent += self.a.send(length, timeout=self.left)

    def b_send(self, length: int = SOME) -> None:
        self.b_sent += self.b.send(length, timeout=self.left)

    def a_shutdown(self, how: str = "WR") -> None:
        self.a.shutdown(how)
        self.a_fin = self.a_fin or how != "RD"

    def a_shutdown_unconnected(self, how: str) -> None:
        try:
            self.a.shutdown(how)
        except OSError:
            return  # ENOTCONN, and yet the socket is shut down
        raise AssertionError("shutdown() of a socket without a connection is no error")

    def b_shutdown(self) -> None:
        self.b.shutdown()
        self.b_fin = True
        if "deaf" not in self.case.steps:
            self.a.wait_poll("RDHUP", timeout=self.left)

    def a_recv(self) -> None:
        self.a.recv(self.b_sent, timeout=self.left)

    def b_reset(self) -> None:
        self.a.wait_inq(self.b_sent, timeout=self.left)
        self.b.reset()
        self.has_b = False
        self.a.wait_poll("ERR", timeout=self.left)

    def take_error(self) -> None:
        self.a.wait_poll("ERR", timeout=self.left)
        self.a.error("option")

    # ---- what follows

    def may_change(self, end: str, key: str) -> bool:
        """A peer that does not read may yet take in some more."""
        return end == "b" and key == "inq" and "a.flood" in self.case.steps.split()

    def drive(self, end: float, restored: bool) -> None:
        start = time.monotonic()
        self.deadline = min(end, start + PATIENCE)
        try:
            self._drive(self.case.restored if restored and self.case.restored else self.case.then)
        finally:
            self.seconds = time.monotonic() - start

    def _drive(self, then: str) -> None:
        for word in then.split():
            what, equals, expected = word.partition("=")
            if equals:
                found = self.a.error(what)
                assert found == expected, f"{what} gives {found or 'no error'}, not {word}"
            else:
                THEN[what](self)

    def finish(self) -> None:
        """Reads what is queued, sends more where that is still allowed, and closes."""
        self._exchange(self.a_sent, self.b_sent)
        if self.a_fin:
            self.b.eof(timeout=self.left)
            expect(self.a.error("send"), "EPIPE", "send after shutdown")
        if self.b_fin:
            self.a.eof(timeout=self.left)
            expect(self.b.error("send"), "EPIPE", "the peer's send after shutdown")
        self._more()
        if not self.a_fin:
            self.a.shutdown()
            self.b.eof(timeout=self.left)
        if not self.b_fin:
            self.b.shutdown()
            self.a.eof(timeout=self.left)
        for conn, who in ((self.a, "we"), (self.b, "the peer")):
            conn.wait_state("CLOSE", timeout=self.left)
            expect(conn.error("option"), "", f"SO_ERROR, {who}")
            expect(conn.poll(), "IN|OUT|HUP|RDHUP", f"poll at the end, {who}")

    def _exchange(self, to_b: int, to_a: int) -> None:
        if to_b:
            self.b.recv(to_b, timeout=self.left)
        if to_a and "a.recv" not in self.case.steps:
            self.a.recv(to_a, timeout=self.left)

    def _more(self) -> None:
        if not self.a_fin:
            self.a.send(MORE, timeout=self.left)
            self.b.recv(MORE, timeout=self.left)
        if not self.b_fin:
            self.b.send(MORE, timeout=self.left)
            self.a.recv(MORE, timeout=self.left)

    def accepted(self) -> None:
        """The SYN arrives at last."""
        self.ends.b.accept_from(
            self.b_name, f"b {self.b_family}", self.a_own_port, self.b_streams, timeout=self.left
        )
        self.a.wait_state("ESTABLISHED", timeout=self.left)
        expect(self.a.error("option"), "", "SO_ERROR of the connect")
        self.finish()

    def refused_at_last(self) -> None:
        self.a.wait_poll("ERR", timeout=self.left)

    def data(self) -> None:
        self.a.recv(self.b_sent, timeout=self.left)
        self.b_sent = 0

    def eof(self) -> None:
        self.a.eof(timeout=self.left)

    def connect(self) -> None:
        self._connect(PORT)
        port = self.a.names()[0][1]
        self.ends.b.accept_from(
            self.b_name, f"b {self.b_family}", port, self.b_streams, timeout=self.left
        )
        self.a_sent = self.b_sent = 0
        self.finish()

    def accept(self) -> None:
        name = f"l {self.id}"
        self.ends.a.listen_on(name, self.a_name)
        b_host, a_host = self.ends.b_hosts[self.b_family], self.ends.a_hosts[self.b_family]
        self.ends.b.new_conn(self.b_name, b_host, None, self.b_streams, SMALL)
        self.b.connect(a_host, self.a_own_port)
        self.ends.a.accept(self.a_name, name, self.a_streams)
        self.finish()


def expect(found: object, expected: object, what: str) -> None:
    assert found == expected, f"{what}: {found!r}, not {expected!r}"


STEPS: dict[str, Callable[[Pair], None]] = {
    "open": Pair.open,
    "socket": Pair.socket,
    "bind": Pair.bind,
    "syn": Pair.syn,
    "refused-syn": Pair.syn,
    "refused": Pair.refused,
    "lost": Pair.lost,
    "deaf": Pair.deaf,
    "a.send": Pair.a_send,
    "a.flood": lambda pair: pair.a_send(MUCH),
    "b.send": Pair.b_send,
    "a.fin": Pair.a_shutdown,
    "b.fin": Pair.b_shutdown,
    "a.rd": lambda pair: pair.a_shutdown("RD"),
    "a.rdwr": lambda pair: pair.a_shutdown("RDWR"),
    "rd": lambda pair: pair.a_shutdown_unconnected("RD"),
    "wr": lambda pair: pair.a_shutdown_unconnected("WR"),
    "rdwr": lambda pair: pair.a_shutdown_unconnected("RDWR"),
    "a.recv": Pair.a_recv,
    "b.rst": Pair.b_reset,
    "unspec": lambda pair: pair.a.disconnect(),
    "impatient": lambda pair: pair.a.option(socket.IPPROTO_TCP, TCP_USER_TIMEOUT, 300),
    "timeout": lambda pair: pair.a.wait_poll("ERR", timeout=pair.left),
    "a.err": Pair.take_error,
}
THEN: dict[str, Callable[[Pair], None]] = {
    "finish": Pair.finish,
    "accepted": Pair.accepted,
    "refused": Pair.refused_at_last,
    "data": Pair.data,
    "eof": Pair.eof,
    "connect": Pair.connect,
    "accept": Pair.accept,
}
