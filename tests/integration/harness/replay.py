# SPDX-License-Identifier: GPL-2.0-or-later
"""A peer that retransmits all the time: its last segments are sent again every few milliseconds.

What waits for one packet at the wrong moment (a container's address is there again, its socket is
not yet) would mostly be missed by real retransmissions, whose timers double. The copies carry no
data: a socket that is there has no use for them, and where none is they are answered by a RST,
which ends the connection like any other.
"""

from __future__ import annotations

import ipaddress
import select
import socket
import struct
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from .announce import checksum, inside
from .closing import Closing
from .net import Netns

INTERVAL = 0.005
ETH_P_ALL = 0x0003
IPV4_MIN, IPV6_LENGTH, TCP_MIN = 20, 40, 20
ACK = 0x10


@dataclass(frozen=True)
class Segment:
    """The head of a TCP segment, as it lay on the wire."""

    source: str
    to: str
    tcp: bytes

    @classmethod
    def parse(cls, packet: bytes) -> Segment | None:
        version = packet[0] >> 4 if packet else 0
        if version == 4 and len(packet) >= IPV4_MIN and packet[9] == socket.IPPROTO_TCP:
            at, where = (packet[0] & 15) * 4, (packet[12:16], packet[16:20])
        elif version == 6 and len(packet) >= IPV6_LENGTH and packet[6] == socket.IPPROTO_TCP:
            at, where = IPV6_LENGTH, (packet[8:24], packet[24:40])
        else:
            return None
        if len(packet) < at + TCP_MIN:
            return None
        tcp = packet[at : at + (packet[at + 12] >> 4) * 4]
        ports = struct.unpack("!HH", tcp[:4])
        source, to = (
            _endpoint(str(ipaddress.ip_address(ip)), port)
            for ip, port in zip(where, ports, strict=True)
        )
        return cls(source, to, tcp)

    @property
    def address(self) -> str:
        return self.to.rpartition(":")[0].strip("[]")

    def packet(self) -> bytes:
        """An acknowledgement with the same numbers."""
        source, to = (
            ipaddress.ip_address(text.rpartition(":")[0].strip("[]"))
            for text in (self.source, self.to)
        )
        tcp = bytearray(self.tcp)
        tcp[13], tcp[16:20] = ACK, b"\0\0\0\0"
        pseudo = source.packed + to.packed + struct.pack("!II", len(tcp), socket.IPPROTO_TCP)
        tcp[16:18] = struct.pack("!H", checksum(pseudo + tcp))
        if source.version == 6:
            head = struct.pack("!IHBB", 6 << 28, len(tcp), socket.IPPROTO_TCP, 64)
        else:
            # The kernel fills in the length, the identification and the checksum.
            head = struct.pack("!BBHHHBBH", 0x45, 0, 0, 0, 0, 64, socket.IPPROTO_TCP, 0)
        return head + source.packed + to.packed + bytes(tcp)


def _endpoint(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


class Connection(Protocol):
    @property
    def family(self) -> str: ...

    @property
    def local(self) -> str: ...


class Connected(Protocol):
    """A Peer, or others that have connections."""

    def stats(self) -> Sequence[Connection]: ...


class Replay(Closing):
    """with Replay(ns, peer): ...; begins at start(), ends with the block."""

    def __init__(self, ns: Netns, peer: Connected, most: int = 4) -> None:
        self.ns = ns
        # As many of each family.
        families: dict[str, list[str]] = {}
        for connection in peer.stats():
            families.setdefault(connection.family, []).append(connection.local)
        self._wanted = {local for found in families.values() for local in found[:most]}
        self._last: dict[str, Segment] = {}
        self._started, self._stopped = threading.Event(), threading.Event()
        self._threads: list[threading.Thread] = []
        self.sent = 0

    def open(self) -> None:
        inside(self.ns, self._sockets)
        for target in (self._watch, self._send):
            thread = threading.Thread(target=target, daemon=True)
            thread.start()
            self._threads.append(thread)

    def _sockets(self) -> None:
        self._capture = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL))
        self._raw = {
            family: socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW)
            for family in (socket.AF_INET, socket.AF_INET6)
        }

    def start(self) -> None:
        self._started.set()

    def _watch(self) -> None:
        while not self._stopped.is_set():
            if not select.select([self._capture], [], [], 0.1)[0]:
                continue
            packet, where = self._capture.recvfrom(128)
            if where[2] != socket.PACKET_OUTGOING:
                continue
            segment = Segment.parse(packet)
            if segment and segment.source in self._wanted:
                self._last[segment.source] = segment

    def _send(self) -> None:
        self._started.wait()
        while not self._stopped.is_set():
            for segment in list(self._last.values()):
                family = socket.AF_INET6 if ":" in segment.address else socket.AF_INET
                try:
                    self._raw[family].sendto(segment.packet(), (segment.address, 0))
                    self.sent += 1
                except OSError:
                    continue  # no way there for now, or dropped on its way out
            time.sleep(INTERVAL)

    def close(self) -> None:
        self._stopped.set()
        self._started.set()
        for thread in self._threads:
            thread.join()
        for sock in (self._capture, *self._raw.values()):
            sock.close()
