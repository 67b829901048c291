# SPDX-License-Identifier: GPL-2.0-or-later
"""When the nftables rules of a network namespace change, which they all say to who listens."""

from __future__ import annotations

import os
import select
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from .closing import Closing
from .net import Netns

NETLINK_NETFILTER, SOL_NETLINK, ADD_MEMBERSHIP = 12, 270, 1
NFNLGRP_NFTABLES = 7
SUBSYSTEM = 10
NEW_TABLE, DEL_TABLE, NEW_GENERATION = 0, 2, 15


@dataclass(frozen=True)
class Commit:
    ns: int  # of time.time(), when we heard of it
    kinds: frozenset[int]  # of the messages in it


def _kinds(data: bytes) -> list[int]:
    found = []
    while len(data) >= 16:
        length, kind = struct.unpack_from("=IH", data)
        if length < 16:
            break
        if kind >> 8 == SUBSYSTEM:
            found.append(kind & 0xFF)
        data = data[(length + 3) & ~3 :]
    return found


class LockWatch(Closing):
    """with LockWatch(net.container) as watch: ...; watch.commits, watch.removed(since)

    on_removed is called in another thread as soon as a table goes, while it is set.
    """

    def __init__(self, ns: Netns) -> None:
        self.ns = ns
        self.commits: list[Commit] = []
        self.on_removed: Callable[[], None] | None = None
        self._socket: socket.socket | None = None
        self._thread: threading.Thread | None = None
        self._wake = os.pipe()

    def _enter(self) -> None:
        """In a thread of its own, which alone goes into the namespace."""
        fd = os.open(self.ns.path, os.O_RDONLY)
        try:
            os.setns(fd, os.CLONE_NEWNET)
        finally:
            os.close(fd)
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
        self._socket.setsockopt(socket.SOL_SOCKET, 33, 16 << 20)  # SO_RCVBUFFORCE
        self._socket.bind((0, 0))
        self._socket.setsockopt(SOL_NETLINK, ADD_MEMBERSHIP, NFNLGRP_NFTABLES)

    def open(self) -> None:
        entering = threading.Thread(target=self._enter)
        entering.start()
        entering.join()
        if not self._socket:
            raise RuntimeError(f"cannot listen in {self.ns.name}")
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        assert self._socket
        pending: set[int] = set()
        while True:
            ready, _, _ = select.select([self._socket, self._wake[0]], [], [])
            if self._wake[0] in ready:
                return
            try:
                data = self._socket.recv(1 << 20)
            except OSError:  # too much at a time: some are lost
                continue
            now = time.time_ns()
            for kind in _kinds(data):
                pending.add(kind)
                if kind != NEW_GENERATION:
                    continue
                self.commits.append(Commit(now, frozenset(pending)))
                if DEL_TABLE in pending and self.on_removed:
                    self.on_removed()
                pending = set()

    def removed(self, since: int) -> int | None:
        """When the last table went, after that moment."""
        found = [c.ns for c in self.commits if DEL_TABLE in c.kinds and c.ns >= since]
        return found[-1] if found else None

    def close(self) -> None:
        os.write(self._wake[1], b"x")
        if self._thread:
            self._thread.join()
        if self._socket:
            self._socket.close()
        for fd in self._wake:
            os.close(fd)
