# SPDX-License-Identifier: GPL-2.0-or-later
"""Much queued data: how fast it is dumped and restored, beside a plain write of as much.

Half of it lies in the container's receive queues, half in its send queues. The images and the plain
file are in one place, and each is gone before the next is made.
"""

from __future__ import annotations

import mmap
import shutil
import statistics
import time
from pathlib import Path
from typing import Any

from harness.criu import CriuServer
from harness.mode import Mode
from harness.net import Netns, Network
from harness.peer import Peer
from harness.proc import wait_for

from .cost import Peak, Rounds
from .results import Wrong, said

EACH = 16 << 20  # bytes of a queue
PEER_BUFFER = 64 << 10  # what a peer takes of a send queue, at least; buffers are twice as large
CHUNK = 1 << 20
TOUCHED = 3  # times the data: sockets, image, and what lies between


def _queued(ns: Netns) -> tuple[int, int]:
    """Bytes in all receive and in all send queues."""
    lines = ns.run("ss", "-Htn", "state", "established").check().output.splitlines()
    words = [line.split() for line in lines]
    return sum(int(w[0]) for w in words), sum(int(w[1]) for w in words)


def touch(size: int) -> None:
    """On a virtual machine the first touch of a page is the host's work, which gives it memory; and
    where the machine tells the host what is free, it is the first touch again after some seconds.
    What comes next is to find memory that was touched just now."""
    mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE).close()


def write_seconds(directory: Path, size: int) -> float:
    """For so many bytes into the page cache."""
    data, file = bytes(range(256)) * (CHUNK // 256), directory / "plain"
    with open(file, "wb", buffering=0) as out:
        start = time.monotonic()
        for _ in range(size // CHUNK):
            out.write(data)
        taken = time.monotonic() - start
    file.unlink()
    return taken


def _round(server: CriuServer, rounds: Rounds, size: int) -> list[float]:
    """Returns how long the plain writes took that came before the dump and the restore."""
    plain = []
    for step in (server.checkpoint, server.restore):
        touch(TOUCHED * size)
        plain.append(write_seconds(server.work, size))
        touch(TOUCHED * size)
        with Peak() as peak:
            result = step(timeout=300).check()
        rounds.note(step.__name__ == "checkpoint", result, peak.kb)
    shutil.rmtree(server.images)
    return plain


def measure(work: Path, where: str, mode: Mode, size: int, repeats: int) -> dict[str, Any]:
    """where: what kind of place the work directory is in."""
    work.mkdir(parents=True)
    pairs = max(1, size // EACH // 2)
    buffers = [f"--rcvbuf={4 * EACH}", f"--sndbuf={4 * EACH}"]
    conns = [
        f"hold,in={EACH},sndbuf={4 * EACH}*{pairs}",
        f"hold,out={EACH},rcvbuf={PEER_BUFFER}*{pairs}",
    ]
    wanted, plain, rounds = pairs * EACH, list[float](), Rounds()
    with (
        Network() as net,
        CriuServer(net, work / "s", mode, "external", buffers) as server,
        Peer(net.peer, net.targets(), conns, patience=120) as peer,
    ):
        def full() -> bool:
            received, sent = _queued(net.container)
            return received == wanted and sent >= wanted - pairs * 8 * PEER_BUFFER

        wait_for(full, "full queues", 120)
        received, sent = _queued(net.container)
        for _ in range(repeats):
            plain += _round(server, rounds, size)
        report = peer.finish()
        if report.lost:
            raise Wrong("queued data was lost", report.complaints())
    return {
        "by": mode.name, "where": where, "bytes": received + sent, "connections": 2 * pairs,
        "rounds": repeats, "write_mb_s": round(size / statistics.median(plain) / 1e6),
        **rounds.medians(),
    }
