# SPDX-License-Identifier: GPL-2.0-or-later
"""What the tests share: the types of their fixtures, and sets of connections."""

from __future__ import annotations

from collections.abc import Callable

from .arrangements import Server
from .peer import Peer

Serve = Callable[..., Server]
Connect = Callable[..., Peer]

# Every role, idle and with full queues; twenty connections.
EVERYTHING = [
    "idle*3",
    "echo*3",
    "source*3",
    "sink*3",
    "duplex*3",
    "duplex,full,reading=4M*2",
    "hold,in=100k,out=10k*3",
]
# One of each role that never stands still.
FLOWING = ["echo", "source", "sink", "duplex"]


def finish(peer: Peer) -> None:
    """Everything moves on, and nothing is lost."""
    assert peer.progress().ok
    report = peer.finish()
    assert report.lost == 0, report.complaints()
