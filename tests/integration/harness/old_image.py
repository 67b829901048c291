# SPDX-License-Identifier: GPL-2.0-or-later
"""holdfast.img as a version wrote it that did not know some fields (docs/image-format.md)."""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path

START = 12  # magic and version
SOCKETS, RECEIVE, SEND, LENGTH = 4, 8, 9, 2  # fields: of the header, of a socket, of a queue
PEERS = range(26, 29)  # what a socket's record says of the peer


def _crc32c(data: bytes) -> int:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ table[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def _fields(message: bytes) -> list[tuple[int, int | bytes, bytes]]:
    """Number, value, and the bytes of both."""
    found, at = [], 0
    while at < len(message):
        start = at
        tag, at = _varint(message, at)
        value: int | bytes
        kind = tag & 7
        if kind == 0:
            value, at = _varint(message, at)
        else:
            length = {1: 8, 5: 4}.get(kind)
            if length is None:
                length, at = _varint(message, at)
            value = message[at : at + length]
            at += length
        found.append((tag >> 3, value, message[start:at]))
    return found


def _number(message: bytes, field: int) -> int:
    return next((v for n, v, _ in _fields(message) if n == field and isinstance(v, int)), 0)


def _queue(message: bytes, field: int) -> int:
    return sum(_number(v, LENGTH) for n, v, _ in _fields(message)
               if n == field and isinstance(v, bytes))  # fmt: skip


def forget(path: Path, fields: Container[int] = PEERS) -> int:
    """Takes these fields out of all sockets' records. How many there were."""
    old = path.read_bytes()

    def record(at: int) -> tuple[bytes, int]:
        end = at + 4 + int.from_bytes(old[at : at + 4], "little")
        return old[at + 4 : end], end

    header, at = record(START)
    new, forgotten = old[:at], 0
    for _ in range(_number(header, SOCKETS)):
        message, at = record(at)
        kept = b"".join(raw for n, _, raw in _fields(message) if n not in fields)
        forgotten += sum(n in fields for n, _, _ in _fields(message))
        end = at + _queue(message, RECEIVE) + _queue(message, SEND)
        new += len(kept).to_bytes(4, "little") + kept + old[at:end]
        at = end
    new += old[at:-4]
    path.write_bytes(new + _crc32c(new).to_bytes(4, "little"))
    return forgotten
