# SPDX-License-Identifier: GPL-2.0-or-later
"""Data in odd places: full windows and queues, what is not sent yet, and numbers that wrap.

harness/scenes.py says how these are run. Both ends check every byte by its position. The plugin's
view of the queues (holdfast show) is compared with what the kernel told the program before.
HOLDFAST_TEST_MODE=stock runs them without the plugin.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from harness.scenes import (
    EVERYWHERE,
    Link,
    Scene,
    Stage,
    World,
    end,
    make_stage,
    name_of,
)

WRAP = 1 << 32
MANY = 16 << 20
BOTH = (False, True)
TCP, SOCKET = socket.IPPROTO_TCP, socket.SOL_SOCKET
SO_SNDBUFFORCE, SO_RCVBUFFORCE = 32, 33


def compare_saved(w: World, link: Link, queued: tuple[int, int], to_a: int, fin: bool) -> None:
    """The image has the queues as the program saw them; a FIN is not counted there."""
    saved = w.saved(link)
    if not saved:
        return
    in_flight = queued[0] - queued[1]
    unsent_fin = fin and queued[1] > 0
    assert saved["send"]["length"] == queued[0] - fin
    assert (saved["unsent"], saved["fin_unsent"]) == (queued[1] - unsent_fin, unsent_fin)
    assert saved["send"]["length"] - saved["unsent"] == in_flight - (fin and not unsent_fin)
    assert saved["receive"]["length"] == to_a


# ---- what is sent, and what is not


Sure = Callable[[tuple[int, int]], bool]  # whether (queued, unsent) is what the case is about


@dataclass(frozen=True)
class Queue:
    """a's send queue: how much of it went out, and whether a FIN is queued behind it.

    Without the tail loss probe (RFC 8985), which would send what Nagle's algorithm holds back.
    """

    how: str
    fin: bool
    inside: bool  # over the loopback device

    def __str__(self) -> str:
        words = [self.how, "fin" if self.fin else "", "loopback" if self.inside else ""]
        return "-".join(word for word in words if word)

    def __call__(self, w: World) -> Iterator[None]:
        w.net.container.run("sysctl", "-w", "net.ipv4.tcp_early_retrans=0").check()
        link = w.link(str(self), self.inside, options=[(SOCKET, socket.SO_RCVBUF, 8192)])
        sent, sure = FILLS[self.how](link)
        if self.fin:
            link.a.shutdown()
        queued = link.a.queued()
        assert sure(queued), queued
        yield
        compare_saved(w, link, queued, 0, self.fin)
        end(w, link, sent, fin=self.fin)


def all_sent(link: Link) -> tuple[int, Sure]:
    link.lose()
    return link.a.send(2000), lambda queued: queued[0] >= 2000 and queued[1] == 0


def none_sent(link: Link) -> tuple[int, Sure]:
    """b's window is full to the last byte, and everything in it is acknowledged."""
    sent = link.a.send(60_000)
    link.a.wait_stuck()
    return sent, lambda queued: queued[0] == queued[1] > 0


def part_sent(link: Link) -> tuple[int, Sure]:
    link.lose()
    return link.a.send(50_000), lambda queued: queued[0] > queued[1] > 1000


def last_byte_unsent(link: Link) -> tuple[int, Sure]:
    """Nagle's algorithm holds it. A FIN takes it along."""
    link.lose()
    return link.a.send(1000) + link.a.send(1), lambda queued: queued[0] >= 1001


def first_byte_sent(link: Link) -> tuple[int, Sure]:
    link.lose()
    return link.a.send(1) + link.a.send(200), lambda queued: queued[0] >= 201


def corked(link: Link) -> tuple[int, Sure]:
    """Behind data in flight, since the kernel sends what is corked alone after 200 ms."""
    link.lose()
    sent = link.a.send(100)
    link.a.option(TCP, socket.TCP_CORK, 1)
    return sent + link.a.send(300), lambda queued: queued[0] >= 400


def said_more(link: Link) -> tuple[int, Sure]:
    link.lose()
    return link.a.send(100) + link.a.send_more(300), lambda queued: queued[0] >= 400


FILLS = {
    "all-sent": all_sent,
    "none-sent": none_sent,
    "part-sent": part_sent,
    "last-byte-unsent": last_byte_unsent,
    "first-byte-sent": first_byte_sent,
    "corked": corked,
    "msg-more": said_more,
}


def just_corked(w: World) -> Iterator[None]:
    """The last scene to be set up: within 200 ms nothing of it has gone out."""
    links = [w.link(f"just-{how}") for how in ("cork", "more")]
    links[0].a.option(TCP, socket.TCP_CORK, 1)
    links[0].a.send(700)
    links[1].a.send_more(700)
    yield
    for link in links:
        link.a.option(TCP, socket.TCP_CORK, 0)
        end(w, link, 700)


# ---- windows and sizes


def zero_window_ours(w: World) -> Iterator[None]:
    link = w.link("zero-ours")
    sent = link.b.fill()
    link.b.wait_stuck()
    held = link.a.inq()
    yield
    compare_saved(w, link, (0, 0), held, False)
    end(w, link, 0, sent)


def zero_window_both(w: World, inside: bool = False) -> Iterator[None]:
    """Neither program reads, and neither kernel can send."""
    link = w.link(f"zero-both-{inside}", inside)
    length = 2_500_000 if inside else 400_000
    for side in (link.a, link.b):
        side.option(SOCKET, SO_SNDBUFFORCE, 2 * length)
        side.send(length)
    for side in (link.a, link.b):
        side.wait_stuck()
    yield
    end(w, link, length, length)


def zero_window_both_inside(w: World) -> Iterator[None]:
    yield from zero_window_both(w, inside=True)


def sixteen_megabytes(w: World) -> Iterator[None]:
    """In both queues of a at once."""
    ours, theirs = w.new_streams()
    room = (SOCKET, SO_SNDBUFFORCE, 2 * MANY)
    w.a.listen("big", w.host, 7510, [(SOCKET, SO_RCVBUFFORCE, 3 * MANY), room])
    options = [(SOCKET, socket.SO_RCVBUF, 8192), room]
    port = w.b.connect("big", w.host, 7510, (theirs, ours), options)
    w.a.accept("big", "big", (ours, theirs))
    link = Link(w.a["big"], w.b["big"], 7510, (w.net.peer.v4, port), w.blocks, w.blocks_inside)
    link.a.send(MANY + 100_000)
    link.b.send(MANY)
    link.a.wait_inq(MANY)
    link.a.wait_stuck()
    queued = link.a.queued()
    assert queued[0] >= MANY
    yield
    compare_saved(w, link, queued, MANY, False)
    end(w, link, MANY + 100_000, MANY)


# HF_QUEUE_HELD and HF_SEND_SKIP: what is read at once, and what of a send queue is.
HELD, PIECE, SKIP = 1 << 20, 4 << 20, 16 << 20


@dataclass(frozen=True)
class Long:
    """Queues as long as what is held in memory or read at once, and a byte more.

    What a sends is lost, so that all of it stays queued.
    """

    to_a: int
    from_a: int

    def __str__(self) -> str:
        return f"long-{self.to_a}-{self.from_a}"

    def __call__(self, w: World) -> Iterator[None]:
        link = w.wide_link(str(self), self.to_a, self.from_a)
        link.b.send(self.to_a)
        link.a.wait_inq(self.to_a)
        link.lose()
        link.a.send(self.from_a)
        assert link.a.queued()[0] == self.from_a
        yield
        saved = w.saved(link)
        if saved:
            lengths = saved["receive"]["length"], saved["send"]["length"]
            assert lengths == (self.to_a, self.from_a)
        end(w, link, self.from_a, self.to_a)


LONG = [
    Long(HELD, HELD),
    Long(HELD + 1, 0),
    Long(0, HELD + 1),
    Long(3 * HELD, 2 * PIECE),
    Long(5 * HELD + 7, SKIP),
    Long(2 * HELD + 1, SKIP + 1),
    Long(0, PIECE + 1),
]


# ---- numbers that wrap


@dataclass(frozen=True)
class Wrap:
    """A connection whose sequence numbers are about to wrap, in one direction or both."""

    name: str
    a_left: int  # sequence numbers of a until 0, when the connection begins
    b_left: int
    a_sends: int = 0  # before the checkpoint, and lost on its way
    b_sends: int = 0
    fin: bool = False
    flood: bool = False  # nothing is lost, but b does not read

    def __str__(self) -> str:
        return f"wrap-{self.name}"

    def __call__(self, w: World) -> Iterator[None]:
        link = w.made(str(self), ((WRAP - self.a_left) % WRAP, (WRAP - self.b_left) % WRAP))
        if self.b_sends:
            link.b.send(self.b_sends)
            link.a.wait_inq(self.b_sends)
        if self.a_sends:
            if not self.flood:
                link.lose()
            link.a.send(self.a_sends)
        if self.flood:
            link.a.wait_stuck()
        if self.fin:
            if not self.a_sends:
                link.lose()
            link.a.shutdown()
        queued = link.a.queued()
        yield
        compare_saved(w, link, queued, self.b_sends, self.fin)
        end(w, link, self.a_sends, self.b_sends, self.fin)


WRAPS = [
    Wrap("idle", 5000, 7000),
    Wrap("right-before", 1, 1),
    Wrap("at", 0, 0),
    Wrap("received", 5000, 1000, b_sends=3000),
    Wrap("sent", 1000, 5000, a_sends=3000),
    Wrap("unsent", 40_000, 5000, a_sends=60_000),
    Wrap("edge-of-sent", 14_480, 5000, a_sends=60_000),
    Wrap("sent-before", 3000, 3000, a_sends=3000, b_sends=3000),
    Wrap("sent-behind", 0, 0, a_sends=3000, b_sends=3000),
    Wrap("all", 1500, 2000, a_sends=3000, b_sends=3000),
    Wrap("fin", 1000, 5000, a_sends=1000, fin=True),
    Wrap("fin-behind", 1001, 5000, a_sends=1000, fin=True),
    Wrap("fin-alone", 0, 0, fin=True),
    Wrap("fin-unsent", 60_000, 5000, a_sends=60_000, fin=True),
    Wrap("full", 400_000, 3000, a_sends=600_000, b_sends=3000, flood=True),
]


@dataclass(frozen=True)
class Clock:
    """Timestamps that are about to wrap; bit 0 says that their unit is 1 us."""

    left: int  # until 0
    usec: bool = False

    def __str__(self) -> str:
        return f"clock-{self.left}{'us' if self.usec else 'ms'}"

    def __call__(self, w: World) -> Iterator[None]:
        # Bit 0 is no part of the time, so that the time is even.
        clock = (WRAP - self.left) % WRAP & ~1 | self.usec
        link = w.made(str(self), (1000, 1000), clock)
        w.exchange(link.a, link.b)
        link.lose()
        link.a.send(2000)
        link.b.send(1000)
        start, before = time.monotonic(), link.a.timestamp()
        yield
        passed = (link.a.timestamp() - before) % WRAP
        assert passed <= (time.monotonic() - start + 0.1) * (1_000_000 if self.usec else 1000)
        assert ("usec" in link.a.negotiated()["options"]) == self.usec
        end(w, link, 2000, 1000)


CLOCKS = [
    *(Clock(left) for left in (0, 10, 100, 300, 600, 900, 1500, 2500, WRAP // 2)),
    *(Clock(left, usec=True) for left in (100_000, 1_000_000, 2_000_000)),
]


# ---- where other options meet a checkpoint


def linger(w: World) -> Iterator[None]:
    """SO_LINGER of 0 s: close() sends RST. The end of the old tasks must not."""
    link = w.link("linger")
    link.a.linger(0)
    link.b.send(1000)
    link.a.wait_inq(1000)
    yield
    link.a.recv(1000)
    w.exchange(link.a, link.b)
    link.a.close()
    link.b.wait_poll("ERR")
    assert link.b.error("recv") == "ECONNRESET"


def shut_for_reading(w: World) -> Iterator[None]:
    """SHUT_RD with data before it; what comes later is acknowledged, and can be read."""
    link = w.link("shut-rd")
    link.b.send(1000)
    link.a.wait_inq(1000)
    link.a.shutdown("RD")
    assert "RDHUP" in link.a.poll()
    yield
    assert "RDHUP" in link.a.poll()
    link.a.recv(1000)
    link.a.eof()
    link.b.send(1000)
    link.a.wait_inq(1000)
    link.a.recv(1000)
    link.a.send(1000)
    link.b.recv(1000)


SCENES: list[Scene] = [
    *(Queue(how, fin, inside) for how in FILLS for fin in BOTH for inside in BOTH),
    zero_window_ours,
    zero_window_both,
    zero_window_both_inside,
    sixteen_megabytes,
    *LONG,
    linger,
    shut_for_reading,
    *WRAPS,
    *CLOCKS,
    just_corked,
]


@pytest.fixture(scope="module", params=EVERYWHERE)
def stage(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stage]:
    yield from make_stage(request, tmp_path_factory.mktemp("odd"), tcp_agents=True)


@pytest.mark.parametrize("scene", SCENES, ids=name_of)
def test_odd_data(stage: Stage, scene: Scene) -> None:
    stage.play(scene)
