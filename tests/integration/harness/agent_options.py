# SPDX-License-Identifier: GPL-2.0-or-later
"""What an agent does with many sockets that have an option set each.

This is no module of its own: it is run inside agent_main.py, whose names it uses.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .agent_main import STATES, error_name

SO_ATTACH_FILTER = 26
libc = ctypes.CDLL(None, use_errno=True)
optioned: dict[str, socket.socket] = {}


class Program(ctypes.Structure):
    """struct sock_fprog"""

    _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.c_void_p)]


def get_option(sock: socket.socket, level: int, number: int) -> bytes:
    """All of it; of a filter the instructions, whose number is what the kernel counts."""
    buffer = ctypes.create_string_buffer(512)
    unit = 8 if (level, number) == (socket.SOL_SOCKET, SO_ATTACH_FILTER) else 1
    length = ctypes.c_uint(len(buffer) // unit)
    if libc.getsockopt(sock.fileno(), level, number, buffer, ctypes.byref(length)) < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return buffer.raw[: length.value * unit]


def set_option(sock: socket.socket, level: int, number: int, value: bytes) -> None:
    if (level, number) == (socket.SOL_SOCKET, SO_ATTACH_FILTER):
        code = ctypes.create_string_buffer(value)
        value = bytes(Program(len(value) // 8, ctypes.addressof(code)))
    sock.setsockopt(level, number, value)


def with_options(
    name: str,
    kind: str,
    local: str,
    peer: tuple[str, int],
    options: list[tuple[int, int, bytes]],
    early: bool = False,
) -> tuple[bytes, bytes] | str:
    """A socket with options; what the last one was and is, or the error why it is not.

    early: the options come before bind().
    """
    sock = socket.socket(socket.AF_INET6 if ":" in local else socket.AF_INET)
    fresh = found = b""
    try:
        for late in (False, True):
            if late and kind == "listener":
                sock.bind((local, 0))
                sock.listen()
            elif late and kind == "connection":
                sock.connect(peer)
            for level, number, value in options if late != early else ():
                fresh = get_option(sock, level, number)
                set_option(sock, level, number, value)
        for level, number, _ in options[-1:]:
            found = get_option(sock, level, number)
    except OSError as error:
        sock.close()
        return error_name(error)
    optioned[name] = sock
    return fresh, found


def read_options(name: str, options: list[tuple[int, int]]) -> dict[tuple[int, int], bytes]:
    """Those that the kernel knows."""
    found = {}
    for level, number in options:
        try:
            found[level, number] = get_option(optioned[name], level, number)
        except OSError as error:
            if error.errno not in (errno.ENOPROTOOPT, errno.EOPNOTSUPP):
                raise
    return found


def state_of(name: str) -> str:
    return STATES[optioned[name].getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]]
