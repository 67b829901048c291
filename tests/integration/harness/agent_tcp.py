# SPDX-License-Identifier: GPL-2.0-or-later
"""What an agent can do with the rarer sides of TCP; World.start() of scenes.py loads it into one.

This is no module of its own: it is run inside agent_main.py, whose names it uses.
"""

from __future__ import annotations

import array
import socket
import struct
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .agent_main import PATIENCE, Conn, conns, error_name, new_socket, pattern

SIOCATMARK = 0x8905
SO_MEMINFO = 55
SIOCOUTQNSD = 0x894B
TCP_REPAIR, TCP_REPAIR_QUEUE, TCP_QUEUE_SEQ, TCP_REPAIR_OPTIONS = 19, 20, 21, 22
TCP_TIMESTAMP, TCP_REPAIR_WINDOW = 24, 29
RECV_QUEUE, SEND_QUEUE = 1, 2
REPAIR_OFF_NO_WP = -1
OPTION_NAMES = {1: "timestamps", 2: "sack", 4: "wscale", 8: "ecn", 64: "usec"}


class TcpConn(Conn):
    # ---- urgent data

    def send_more(self, length: int) -> int:
        """With MSG_MORE, at once."""
        data = pattern(self.stream_out, self.sent, length)
        done = self.sock.send(data, socket.MSG_MORE | socket.MSG_DONTWAIT)
        assert done == length, f"sent {done} of {length}"
        self.sent += length
        return length

    def send_urgent(self, length: int = 1) -> int:
        """The next bytes of our stream; the last of them is urgent."""
        data = pattern(self.stream_out, self.sent, length)
        done = self.sock.send(data, socket.MSG_OOB | socket.MSG_DONTWAIT)
        assert done == length, f"sent {done} of {length}"
        self.sent += length
        return length

    def take_urgent(self, at: int) -> None:
        """MSG_OOB gives the byte at this place of the stream; once, if that was not a peek."""
        found, expected = self.sock.recv(1, socket.MSG_OOB), pattern(self.stream_in, at, 1)
        assert found == expected, f"urgent byte {found!r}, not {expected!r}"

    def urgent_error(self) -> str:
        """What MSG_OOB gives, without taking the byte; "" if it is there."""
        try:
            self.sock.recv(1, socket.MSG_OOB | socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except OSError as error:
            return error_name(error)
        return ""

    def wait_urgent(self, error: str, timeout: float = PATIENCE) -> None:
        end = time.monotonic() + timeout
        while (now := self.urgent_error()) != error:
            assert time.monotonic() < end, f"MSG_OOB gives {now or 'a byte'}"
            time.sleep(0.005)

    def at_mark(self) -> bool:
        return self._ioctl(SIOCATMARK) == 1

    def pass_by(self, length: int = 1) -> None:
        """Bytes of the stream that reading it leaves out."""
        self.received += length

    # ---- queues and options

    def queued(self) -> tuple[int, int]:
        """Bytes not acknowledged, and how many of those never went out; a FIN counts in both."""
        return self.outq(), self._ioctl(SIOCOUTQNSD)

    def get(self, level: int, option: int) -> int:
        return self.sock.getsockopt(level, option)

    def linger(self, seconds: int) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, seconds))

    def timestamp(self) -> int:
        return self.get(socket.IPPROTO_TCP, TCP_TIMESTAMP) & 0xFFFFFFFF

    def negotiated(self) -> dict[str, Any]:
        info = self.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 20)
        names = [name for bit, name in OPTION_NAMES.items() if info[5] & bit]
        return {"options": names, "wscale": info[6], "mss": struct.unpack_from("I", info, 16)[0]}

    def windows(self) -> tuple[int, int]:
        """What the peer takes from us, and what we offered it."""
        info = self.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 236)
        ours, theirs = struct.unpack_from("II", info, 228)
        return ours, theirs

    def wait_behind_hole(self, length: int, timeout: float = PATIENCE) -> None:
        """Until so many bytes are in memory that cannot be read: what is before them is lost."""
        end = time.monotonic() + timeout
        while (now := self._memory()) < length:
            assert time.monotonic() < end, f"{now} bytes in memory, less than {length}"
            time.sleep(0.005)
        assert self.inq() == 0, f"{self.inq()} bytes can be read"

    def _memory(self) -> int:
        meminfo = self.sock.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, 36)
        memory: int = struct.unpack_from("I", meminfo)[0]
        return memory

    def timed_recv(self, length: int) -> float:
        """Milliseconds until all of it is there."""
        start = time.monotonic()
        self.recv(length)
        return 1000 * (time.monotonic() - start)


def repaired(
    name: str,
    local: tuple[str, int],
    peer: tuple[str, int],
    seqs: tuple[int, int],
    streams: tuple[int, int] = (0, 0),
    timestamp: int | None = None,
) -> None:
    """One end of a connection out of nothing; seqs: the next to be sent and to be received."""
    sock = new_socket(local[0], [(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)])

    def put(option: int, value: int | bytes) -> None:
        data = value if isinstance(value, bytes) else struct.pack("I", value & 0xFFFFFFFF)
        sock.setsockopt(socket.IPPROTO_TCP, option, data)

    put(TCP_REPAIR, 1)
    sock.bind(local)
    for queue, seq in ((SEND_QUEUE, seqs[0]), (RECV_QUEUE, seqs[1])):
        put(TCP_REPAIR_QUEUE, queue)
        put(TCP_QUEUE_SEQ, seq)
    sock.connect(peer)
    wscale = 7 | 7 << 16
    options = [(4, 0), (3, wscale), (8, 0), (2, 1448)]
    put(TCP_REPAIR_OPTIONS, b"".join(struct.pack("II", *option) for option in options))
    if timestamp is not None:
        put(TCP_TIMESTAMP, timestamp)
    window = array.array("I", sock.getsockopt(socket.IPPROTO_TCP, TCP_REPAIR_WINDOW, 20))
    window[0], window[1], window[2] = seqs[1] & 0xFFFFFFFF, 60_000, 60_000
    put(TCP_REPAIR_WINDOW, window.tobytes())
    put(TCP_REPAIR, REPAIR_OFF_NO_WP)
    conns[name] = TcpConn(sock, *streams)


globals()["Conn"] = TcpConn  # from now on every connection is one of these
