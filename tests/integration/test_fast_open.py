# SPDX-License-Identifier: GPL-2.0-or-later
"""TCP fast open: what is not past its handshake, and yet has data, is refused by name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import checks, proc
from harness.mode import Mode
from harness.scenes import World, world


@pytest.fixture
def w(tmp_path: Path, holdfast_mode: Mode) -> Iterator[World]:
    with world(tmp_path, holdfast_mode) as made:
        yield made


def fast_open(w: World) -> None:
    """TCP fast open for everybody, without cookies."""
    for ns in (w.net.container, w.net.peer):
        ns.run("sysctl", "-w", "net.ipv4.tcp_fastopen=0x607").check()


SEND_WITH_SYN = """
fast = socket.socket()
fast.bind(({local!r}, 7777))
fast.setblocking(False)
try:
    fast.sendto(b'hello', socket.MSG_FASTOPEN, ({peer!r}, {port}))
except BlockingIOError:
    pass
"""


def refused(w: World, *words: str) -> None:
    result = w.a.checkpoint()
    assert not result.ok
    assert len(result.lines("Error (holdfast): dump refused, nothing was changed", *words)) == 1
    assert not checks.holdfast_tables(w.net.container)


def test_fast_open_client(w: World) -> None:
    """Data that went out with a SYN, which is not answered yet."""
    fast_open(w)
    w.b.listen("fast", w.net.peer.v4, 7800)
    w.blocks.drop([(7777, 7800)])
    w.a.run(SEND_WITH_SYN.format(local=w.host, peer=w.net.peer.v4, port=7800))
    name = f"connection {w.host}:7777 -> {w.net.peer.v4}:7800"
    refused(w, f"{name} has sent data with its SYN (TCP fast open), which holdfast cannot save")
    w.lift()
    w.b.accept("fast", "fast")
    proc.wait_for(lambda: w.b["fast"].inq() == 5, "the data")


def test_fast_open_server(w: World) -> None:
    """A connection that was accepted with the data of its SYN, before the handshake was done."""
    fast_open(w)
    w.a.listen("fast", w.host, 7800, [(6, 23, 16)])  # TCP_FASTOPEN
    w.blocks.drop([(7800, 7777)])
    w.b.run(SEND_WITH_SYN.format(local=w.net.peer.v4, peer=w.host, port=7800))
    w.a.accept("fast", "fast")
    name = f"connection {w.host}:7800 -> {w.net.peer.v4}:7777"
    refused(w, f"{name} is in state SYN-RECEIVED, which holdfast cannot save")
    w.lift()
    w.a["fast"].wait_state("ESTABLISHED")
    assert w.a["fast"].inq() == 5
