# SPDX-License-Identifier: GPL-2.0-or-later
"""Urgent data over a checkpoint: where the mark is, the byte at it, and the options about it.

No byte of the stream may be lost or doubled. Stock CRIU 4.2.1 (HOLDFAST_TEST_MODE=stock) keeps
what is before the mark and silently loses the urgent byte and all that follows it; its dump fails
with SO_OOBINLINE and bytes before the mark, and with SO_PEEK_OFF set. "running" shows that a
checkpoint changes nothing in a program that goes on.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from harness.agent import RemoteConn
from harness.scenes import WHERES_AND_RUNNING, Link, Scene, Stage, World, make_stage, name_of

SO_PEEK_OFF = 42
INLINE = (socket.SOL_SOCKET, socket.SO_OOBINLINE)
PEEK_OFF = (socket.SOL_SOCKET, SO_PEEK_OFF)
WRAP = 1 << 32


@dataclass(frozen=True)
class Urgent:
    """One urgent byte in the receive queue, and what is around it."""

    name: str
    before: int  # bytes before it
    after: int  # bytes behind it
    inline: bool = False  # SO_OOBINLINE
    taken: bool = False  # by MSG_OOB, before the checkpoint
    inline_later: bool = False  # SO_OOBINLINE is set when the byte has been taken
    read: int = 0  # so many bytes have been read
    peek_off: int = -1
    fin: bool = False  # the peer's FIN follows
    inside: bool = False  # over the loopback device
    seq: int | None = None  # of the first byte

    def __str__(self) -> str:
        return self.name

    def link(self, w: World) -> Link:
        if self.seq is not None:
            return w.made(self.name, (1000, self.seq % WRAP))
        if self.before > 1 << 20:
            return w.wide_link(self.name, self.before + self.after, 0)
        return w.link(self.name, self.inside)

    def __call__(self, w: World) -> Iterator[None]:
        link = self.link(w)
        a, b = link.a, link.b
        a.option(*INLINE, self.inline)
        if self.before:
            b.send(self.before)
        b.send_urgent()
        if self.after:
            b.send(self.after)
        if self.fin:
            b.shutdown()
            a.wait_poll("RDHUP")
        a.wait_poll(*(["IN"] if self.inline else ["PRI"]))
        a.option(*INLINE, 1)  # so that all is counted
        a.wait_inq(self.before + 1 + self.after)
        a.option(*INLINE, self.inline)
        self.prepare(a)
        view, mark = a.view(), a.at_mark()
        yield
        assert (a.view(), a.at_mark()) == (view, mark)
        assert a.get(*INLINE) == (self.inline or self.inline_later)
        if not w.restored:
            assert a.get(*PEEK_OFF) == self.peek_off
        self.read_all(a)
        if self.fin:
            a.eof()
            b.shutdown("RD")
            a.send(10)
        else:
            w.exchange(a, b)

    def prepare(self, a: RemoteConn) -> None:
        if self.read:
            a.recv(self.read)
        if self.taken:
            a.take_urgent(self.before)
        if self.inline_later:
            a.option(*INLINE, 1)
        if self.peek_off >= 0:
            a.option(*PEEK_OFF, self.peek_off)

    def read_all(self, a: RemoteConn) -> None:
        inline = self.inline or self.inline_later
        there = not (inline or self.taken)
        assert a.urgent_error() == ("" if there else "EINVAL")
        if there:
            a.take_urgent(self.before)
            assert a.urgent_error() == "EINVAL"  # once
        if self.before > self.read:
            a.recv(self.before - self.read)
        assert a.at_mark()
        if inline:
            a.recv(1)
        else:
            a.pass_by()
        if self.after:
            a.recv(self.after)
        assert not a.at_mark() or not self.after


def announced(w: World) -> Iterator[None]:
    """The peer says that urgent data follows, which does not fit into our window yet."""
    link = w.link("announced", options=[(socket.SOL_SOCKET, socket.SO_SNDBUF, 500_000)])
    a, b = link.a, link.b
    a.option(socket.SOL_SOCKET, socket.SO_RCVBUF, 50_000)
    b.send(100_000)
    b.wait_stuck()
    b.send_urgent()
    a.wait_urgent("EAGAIN")  # known, and not there
    yield
    a.recv(100_000)
    a.wait_urgent("")
    a.take_urgent(100_000)
    assert a.at_mark()
    a.pass_by()
    w.exchange(a, b)


def second_mark(w: World) -> Iterator[None]:
    """The kernel knows one mark: an earlier urgent byte stays in the stream."""
    link = w.link("second")
    a, b = link.a, link.b
    b.send(100)
    b.send_urgent()
    b.send(50)
    a.wait_poll("PRI")
    b.send_urgent()
    b.send(70)
    a.option(*INLINE, 1)
    a.wait_inq(222)
    a.option(*INLINE, 0)
    yield
    a.take_urgent(151)
    a.recv(151)
    assert a.at_mark()
    a.pass_by()
    a.recv(70)
    w.exchange(a, b)


def ours_unseen(w: World) -> Iterator[None]:
    """Urgent data of ours that is lost on its way. The kernel does not tell where our own mark is:

    after a restore the byte arrives at its place in the stream, but as an ordinary one.
    """
    link = w.link("ours")
    a, b = link.a, link.b
    link.lose()
    a.send(100)
    a.send_urgent()
    a.send(50)
    yield
    w.lift()
    if w.restored:
        b.recv(151)
    else:
        b.wait_poll("PRI")
        b.take_urgent(100)
        b.recv(100)
        b.pass_by()
        b.recv(50)
    w.exchange(a, b)


def ours_seen(w: World) -> Iterator[None]:
    """The peer has it all, and reads it after the restore."""
    link = w.link("seen")
    a, b = link.a, link.b
    a.send(100)
    a.send_urgent()
    a.send(50)
    b.wait_poll("PRI")
    yield
    b.take_urgent(100)
    b.recv(100)
    b.pass_by()
    b.recv(50)
    w.exchange(a, b)


def later(w: World) -> Iterator[None]:
    """Urgent data that comes after the restore."""
    link = w.link("later")
    a, b = link.a, link.b
    b.send(10)
    a.wait_inq(10)
    yield
    for sender, receiver in ((b, a), (a, b)):
        sender.send(90 if sender is b else 100)
        sender.send_urgent()
        sender.send(50)
        receiver.wait_poll("PRI")
        receiver.take_urgent(100)
        receiver.recv(100)
        receiver.pass_by()
        receiver.recv(50)


def peek_offset(w: World) -> Iterator[None]:
    """SO_PEEK_OFF without urgent data: the next peek goes on where the last one ended."""
    link = w.link("peek_offset")
    a, b = link.a, link.b
    b.send(1000)
    a.wait_inq(1000)
    a.option(*PEEK_OFF, 300)
    yield
    assert a.get(*PEEK_OFF) == 300
    assert a.inq() == 1000
    w.exchange(b, a, 10)
    a.recv(1000)


PLACES = {"head": (0, 500), "middle": (700, 500), "end": (700, 0), "alone": (0, 0)}
SCENES: list[Scene] = [
    *(Urgent(name, *sizes) for name, sizes in PLACES.items()),
    *(Urgent(f"{name}-inline", *sizes, inline=True) for name, sizes in PLACES.items()),
    *(Urgent(f"{name}-taken", *sizes, taken=True) for name, sizes in PLACES.items()),
    *(
        Urgent(f"{name}-taken-then-inline", *sizes, taken=True, inline_later=True)
        for name, sizes in PLACES.items()
    ),
    *(Urgent(f"{name}-fin", *sizes, fin=True) for name, sizes in PLACES.items()),
    *(Urgent(f"{name}-loopback", *sizes, inside=True) for name, sizes in PLACES.items()),
    Urgent("reached", 700, 500, read=700),
    Urgent("reached-taken", 700, 500, read=700, taken=True),
    Urgent("reached-alone-taken", 700, 0, read=700, taken=True),
    Urgent("part-read", 700, 500, read=100),
    Urgent("long", 30_000, 20_000),
    Urgent("very-long", 1_500_000, 900_000),
    Urgent("very-long-taken", 2_100_000, 100, taken=True, peek_off=5),
    Urgent("peek-off-0", 700, 500, peek_off=0),
    Urgent("peek-off-before", 700, 500, peek_off=300),
    Urgent("peek-off-behind", 700, 500, peek_off=900),
    Urgent("peek-off-inline", 700, 500, inline=True, peek_off=300),
    Urgent("mark-at-wrap", 700, 500, seq=-700),
    Urgent("mark-before-wrap", 700, 500, seq=-701),
    Urgent("mark-behind-wrap", 700, 500, seq=-699),
    Urgent("alone-at-wrap", 0, 0, seq=0),
    Urgent("alone-before-wrap", 0, 0, seq=-1, taken=True),
    announced,
    second_mark,
    ours_unseen,
    ours_seen,
    later,
    peek_offset,
]


@pytest.fixture(scope="module", params=WHERES_AND_RUNNING)
def stage(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stage]:
    yield from make_stage(request, tmp_path_factory.mktemp("urgent"), tcp_agents=True)


@pytest.mark.parametrize("scene", SCENES, ids=name_of)
def test_urgent(stage: Stage, scene: Scene) -> None:
    stage.play(scene)
