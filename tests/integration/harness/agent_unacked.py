# SPDX-License-Identifier: GPL-2.0-or-later
"""What the peer's agent can tell of the time; test_unacked.py loads it.

This is no module of its own: it is run inside agent_main.py, whose names it uses.
"""

from __future__ import annotations

import socket
import struct
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .agent_main import conns

ETH_P_IP = 0x0800
IPPROTO_AT = 9  # in the header
CWND_AT = 80  # of TCP_INFO
PACKET_OUTGOING = 4


def first_packet(timeout: float = 20) -> float:
    """When TCP comes over the cable, in seconds of the monotonic clock."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_IP)) as sock:
        sock.bind(("eth0", ETH_P_IP))
        sock.settimeout(timeout)
        while True:
            packet, (_, _, kind, *_) = sock.recvfrom(65536)
            if kind != PACKET_OUTGOING and packet[IPPROTO_AT] == socket.IPPROTO_TCP:
                return time.monotonic()


def cwnd(name: str) -> int:
    """Packets that may be in flight."""
    info = conns[name].sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, CWND_AT + 4)
    packets: int = struct.unpack_from("I", info, CWND_AT)[0]
    return packets


def arrival(name: str, length: int, fin: bool) -> float:
    """When all of it is there, and has the right bytes."""
    if length:
        conns[name].recv(length)
    if fin:
        conns[name].eof()
    return time.monotonic()
