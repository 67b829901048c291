# SPDX-License-Identifier: GPL-2.0-or-later
"""What a checkpoint and restore must not leave behind."""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import stat
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from .net import Netns, nft_tables

TCP_REPAIR = 19
SYS_PIDFD_GETFD = 438

# Names of processes that are ours; the guardian's is the plugin's choice of one of these.
NAMES = (
    "criu", "crun", "runc", "hf-server", "hf-peer", "hf-agent", "holdfast", "conmon", "containerd",
    "nginx", "redis-server", "postgres",
)

_libc = ctypes.CDLL(None, use_errno=True)


def sockets(pid: int) -> Iterator[socket.socket]:
    """Duplicates of the sockets of a process, without its help.

    O_NONBLOCK is the process's own: do not use the methods that change it (settimeout, dup...).
    """
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        for entry in sorted(Path(f"/proc/{pid}/fd").iterdir(), key=lambda path: int(path.name)):
            try:
                is_socket = stat.S_ISSOCK(entry.stat().st_mode)
            except FileNotFoundError:
                continue
            if not is_socket:
                continue
            fd = _libc.syscall(SYS_PIDFD_GETFD, pidfd, int(entry.name), 0)
            if fd >= 0:
                with socket.socket(fileno=fd) as sock:
                    yield sock
            elif ctypes.get_errno() not in (errno.EBADF, errno.ESRCH):
                raise OSError(ctypes.get_errno(), f"pidfd_getfd({pid}, {entry.name})")
    finally:
        os.close(pidfd)


def repair_sockets(pids: Iterable[int]) -> list[str]:
    """The TCP sockets of these processes which are in repair mode, as "pid N: local peer"."""
    found = []
    for pid in pids:
        for sock in sockets(pid):
            is_inet = sock.family in (socket.AF_INET, socket.AF_INET6)
            if not is_inet or sock.type != socket.SOCK_STREAM:
                continue
            try:
                mode = sock.getsockopt(socket.IPPROTO_TCP, TCP_REPAIR)
            except OSError as error:
                if error.errno in (errno.ENOPROTOOPT, errno.EOPNOTSUPP):
                    continue  # MPTCP and others
                raise
            if mode:
                found.append(f"pid {pid}: {sock.getsockname()} {_peer_name(sock)}")
    return found


def _peer_name(sock: socket.socket) -> object:
    try:
        return sock.getpeername()
    except OSError:
        return None


def holdfast_tables(*namespaces: Netns) -> list[str]:
    """The lock's tables in these network namespaces."""
    return _tables("holdfast", namespaces)


def criu_tables(*namespaces: Netns) -> list[str]:
    """The tables of CRIU's own lock."""
    return _tables("CRIU", namespaces)


def _tables(whose: str, namespaces: Iterable[Netns]) -> list[str]:
    return [
        f"{ns.name}: {family} {name}"
        for ns in namespaces
        for family, name in nft_tables(ns)
        if whose in name
    ]


def _ours() -> dict[tuple[int, str], str]:
    """(pid, start time) -> name of the processes that can be ours; zombies do not count."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            head, _, rest = path.read_text(errors="replace").rpartition(")")
        except (FileNotFoundError, ProcessLookupError):
            continue
        pid, _, name = head.partition(" (")
        words = rest.split()
        if name.startswith(NAMES) and words[0] not in "ZX":
            found[int(pid), words[19]] = name
    return found


class Leftovers:
    """Processes that were not there when this was made.

    Those of other tests which run at the same time in the same pid namespace are found as well.
    """

    def __init__(self) -> None:
        self.before = set(_ours())

    def found(self) -> dict[tuple[int, str], str]:
        """(pid, start time) -> name"""
        return {key: name for key, name in _ours().items() if key not in self.before}

    def processes(self, grace: float = 3) -> list[str]:
        """What is still there after the grace, for those that are about to end."""
        end = time.monotonic() + grace
        while True:
            new = self.found()
            if not new or time.monotonic() > end:
                return [f"{name} (pid {pid})" for (pid, _), name in sorted(new.items())]
            time.sleep(0.02)
