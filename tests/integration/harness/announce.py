# SPDX-License-Identifier: GPL-2.0-or-later
"""An address says where it is now: gratuitous ARP, and its like for IPv6."""

from __future__ import annotations

import os
import socket
import struct
import threading
from collections.abc import Callable

from .net import Netns

BROADCAST, ALL_NODES = b"\xff" * 6, b"\x33\x33\0\0\0\x01"
ETH_ARP, ETH_IPV6 = 0x0806, 0x86DD
NEIGHBOUR_ADVERTISEMENT, OVERRIDE = 136, 1 << 29
TARGET_ADDRESS = 2  # the option


def inside(ns: Netns, action: Callable[[], None]) -> None:
    """Sockets are of the namespace in which they were made; a thread can enter one."""
    failed: list[BaseException] = []

    def enter() -> None:
        try:
            with open(ns.path, "rb") as file:
                os.setns(file.fileno(), os.CLONE_NEWNET)
            action()
        except BaseException as error:  # noqa: BLE001 # raised again below
            failed.append(error)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]


def checksum(data: bytes) -> int:
    """RFC 1071"""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def arp(mac: bytes, address: str) -> bytes:
    ip = socket.inet_aton(address)
    body = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + mac + ip + b"\0" * 6 + ip
    return BROADCAST + mac + struct.pack("!H", ETH_ARP) + body


def advertisement(mac: bytes, address: str) -> bytes:
    """RFC 4861 section 4.4, unsolicited."""
    ip, nodes = (socket.inet_pton(socket.AF_INET6, text) for text in (address, "ff02::1"))
    option = struct.pack("!BB", TARGET_ADDRESS, 1) + mac
    body = struct.pack("!I", OVERRIDE) + ip + option
    pseudo = ip + nodes + struct.pack("!II", 4 + len(body), socket.IPPROTO_ICMPV6)
    sum_ = checksum(pseudo + struct.pack("!BBH", NEIGHBOUR_ADVERTISEMENT, 0, 0) + body)
    icmp = struct.pack("!BBH", NEIGHBOUR_ADVERTISEMENT, 0, sum_) + body
    head = struct.pack("!IHBB", 6 << 28, len(icmp), socket.IPPROTO_ICMPV6, 255) + ip + nodes
    return ALL_NODES + mac + struct.pack("!H", ETH_IPV6) + head + icmp


def announce(ns: Netns, dev: str, v4: str, v6: str) -> None:
    def send() -> None:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sock:
            sock.bind((dev, 0))
            mac: bytes = sock.getsockname()[4]
            for frame in (arp(mac, v4), advertisement(mac, v6)):
                sock.send(frame)

    inside(ns, send)
