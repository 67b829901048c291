# SPDX-License-Identifier: GPL-2.0-or-later
"""Much queued data: how fast it is dumped and restored, beside a plain write of as much.

Half of it lies in the container's receive queues, half in its send queues.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from harness.criu import CriuServer
from harness.mode import Mode
from harness.net import Netns, Network
from harness.peer import Peer
from harness.proc import wait_for

from .cost import Peak
from .results import Wrong, said

EACH = 16 << 20  # bytes of a queue
PEER_BUFFER = 64 << 10  # what a peer takes of a send queue, at least; buffers are twice as large
CHUNK = 1 << 20


def _queued(ns: Netns) -> tuple[int, int]:
    """Bytes in all receive and in all send queues."""
    lines = ns.run("ss", "-Htn", "state", "established").check().output.splitlines()
    words = [line.split() for line in lines]
    return sum(int(w[0]) for w in words), sum(int(w[1]) for w in words)


def write_speed(directory: Path, size: int) -> float:
    """Bytes per second into the page cache: the best of three."""
    data, best = bytes(range(256)) * (CHUNK // 256), 0.0
    for _ in range(3):
        file = directory / "plain"
        with open(file, "wb", buffering=0) as out:
            start = time.monotonic()
            for _ in range(size // CHUNK):
                out.write(data)
            best = max(best, size / (time.monotonic() - start))
        file.unlink()
    return best


def measure(work: Path, mode: Mode, size: int) -> dict[str, Any]:
    work.mkdir(parents=True)
    pairs = max(1, size // EACH // 2)
    plain = write_speed(work, size)
    buffers = [f"--rcvbuf={4 * EACH}", f"--sndbuf={4 * EACH}"]
    conns = [
        f"hold,in={EACH},sndbuf={4 * EACH}*{pairs}",
        f"hold,out={EACH},rcvbuf={PEER_BUFFER}*{pairs}",
    ]
    wanted = pairs * EACH
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
        with Peak() as dumping:
            dump = server.checkpoint(timeout=300).check()
        with Peak() as restoring:
            restore = server.restore(timeout=300).check()
        report = peer.finish()
        if report.lost:
            raise Wrong("queued data was lost", report.complaints())
    return {
        "by": mode.name, "bytes": received + sent, "connections": 2 * pairs,
        "write_mb_s": round(plain / 1e6),
        "dump_s": round(dump.seconds, 3), "restore_s": round(restore.seconds, 3),
        "dump_says_us": said(dump, "dumped"), "restore_says_us": said(restore, "restored"),
        "dump_peak_kb": dumping.kb, "restore_peak_kb": restoring.kb,
    }
