# SPDX-License-Identifier: GPL-2.0-or-later
"""What an agent does to see how the kernel tunes the buffers of a connection.

This is no module of its own: it is run inside agent_main.py, whose names it uses.
"""

from __future__ import annotations

import select
import socket
import struct
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .agent_main import conns

SO_MEMINFO, SO_BUF_LOCK = 55, 72
CHUNK = 1 << 17


def bulk_send(name: str, seconds: float) -> int:
    """As much of our stream as goes in that time."""
    conn, before = conns[name], conns[name].sent
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        conn.send(CHUNK)
    return int(conn.sent - before)


def bulk_recv(name: str, patience: float = 0.5) -> tuple[int, float]:
    """Bytes, until none have come for a while, and the seconds from the first one to the last."""
    conn, before = conns[name], conns[name].received
    first = last = 0.0
    while select.select([conn], [], [], patience if first else 10)[0]:
        conn.take(conn.sock.recv(CHUNK, socket.MSG_DONTWAIT))
        last = time.monotonic()
        first = first or last
    return int(conn.received - before), last - first


def buffers(name: str) -> dict[str, int]:
    """Sizes that the kernel changes by itself, and whether it may."""
    sock = conns[name].sock
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 240)
    memory = struct.unpack("=9I", sock.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, 36))
    return {
        "rcvbuf": memory[1],
        "sndbuf": memory[3],
        "rcv_ssthresh": struct.unpack_from("=I", info, 64)[0],
        "rcv_wnd": struct.unpack_from("=I", info, 232)[0],
        "snd_cwnd": struct.unpack_from("=I", info, 80)[0],
        "rtt_us": struct.unpack_from("=I", info, 68)[0],
        "clamp": sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_WINDOW_CLAMP),
        "lock": sock.getsockopt(socket.SOL_SOCKET, SO_BUF_LOCK),
    }
