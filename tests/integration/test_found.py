# SPDX-License-Identifier: GPL-2.0-or-later
"""What the randomised test found, each by itself."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.agent import AgentTask, PeerAgent
from harness.blocks import Blocks
from harness.mode import Mode
from harness.net import Network

PORT = 7400
OOBINLINE = (socket.SOL_SOCKET, socket.SO_OOBINLINE)


@dataclass(frozen=True)
class Pair:
    """A connection "c" from b, the peer, to a, in the container."""

    a: AgentTask
    b: PeerAgent

    def round(self) -> None:
        self.a.checkpoint().check()
        self.a.restore().check()

    def send_urgent(self) -> None:
        self.b.run("conns['c'].sock.send(b'before')")
        self.b.run("conns['c'].sock.send(b'!', socket.MSG_OOB)")
        self.b.run("conns['c'].sock.send(b'after')")
        self.a.run("conns['c'].sock.setblocking(False)")

    def read(self) -> bytes:
        """Linux ends a read at the mark."""
        code = "conns['c'].sock.recv(100)"
        return bytes(self.a.run(code)) + bytes(self.a.run(code))


@pytest.fixture
def pair(net: Network, tmp_path: Path, holdfast_mode: Mode) -> Iterator[Pair]:
    with contextlib.ExitStack() as stack:
        task = AgentTask(net.container, tmp_path / "a", holdfast_mode)
        a = stack.enter_context(task)
        b = stack.enter_context(PeerAgent(net.peer, tmp_path / "b"))
        a.listen("l", net.container.v4, PORT)
        b.connect("c", net.container.v4, PORT, streams=(1, 2))
        a.accept("c", "l", streams=(2, 1))
        yield Pair(a, b)


def test_reset_between_checkpoints(pair: Pair) -> None:
    """The kernel forgets in a restore what tells a reset from a refused connection."""
    pair.round()
    pair.b["c"].reset()
    pair.a["c"].wait_poll("ERR")
    pair.round()
    assert pair.a["c"].error("option") == "ECONNRESET"


@pytest.mark.parametrize("inlined", [0, 1])
def test_urgent_data_and_reset(pair: Pair, inlined: int) -> None:
    pair.a["c"].option(*OOBINLINE, inlined)
    pair.send_urgent()
    pair.a["c"].wait_inq(12 if inlined else 6)
    pair.b["c"].reset()
    pair.a["c"].wait_poll("ERR")
    pair.round()
    assert pair.read() == (b"before!after" if inlined else b"beforeafter")


def test_urgent_data_taken_then_in_line(pair: Pair) -> None:
    pair.send_urgent()
    pair.a["c"].wait_poll("PRI")
    assert pair.a.run("conns['c'].sock.recv(1, socket.MSG_OOB)") == b"!"
    pair.a["c"].option(*OOBINLINE, 1)
    pair.a["c"].wait_inq(12)
    before = pair.a.run("conns['c'].sock.recv(100, socket.MSG_PEEK)")
    pair.round()
    assert pair.a.run("conns['c'].sock.recv(100, socket.MSG_PEEK)") == before
    assert pair.read() == b"before!after"


def test_part_of_a_segment_acknowledged(net: Network, pair: Pair) -> None:
    """A restored queue is cut into other segments than those that the peer has received."""
    # A retransmission would put the segment right.
    sysctls = ["net.ipv4.tcp_early_retrans=0", "net.ipv4.tcp_rto_min_us=1000000"]
    net.container.run("sysctl", "-qw", *sysctls).check()
    a, b = pair.a["c"], pair.b["c"]
    port = pair.b.run("conns['c'].sock.getsockname()[1]")
    to_a, to_b = Blocks(net.container), Blocks(net.peer)
    to_a.drop([(port, PORT)])
    a.option(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    a.send(300)
    b.wait_inq(300)
    to_b.drop([(PORT, port)])
    a.send(300)
    pair.round()
    to_a.lift()
    b.send(1)  # acknowledges the first 300
    a.wait_outq(300)
    pair.round()
    assert a.outq() == 300
    to_b.lift()
    b.recv(600)
    a.recv(1)
