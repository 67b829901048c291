# SPDX-License-Identifier: GPL-2.0-or-later
"""Bulk streams before and after a migration: what their receivers have read, every 20 ms."""

from __future__ import annotations

import re
import statistics
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.criu import CriuServer
from harness.mode import Mode
from harness.net import Netns
from harness.peer import Peer

from .far import Far
from .results import Wrong

STEP = 0.02
OUTAGE = 1.0
SETTLE = 2.0  # seconds from the start, and from the restore, that do not count for the means
BEFORE, AFTER = 2.0, 5.0  # seconds of the trace, at most

Samples = list[tuple[float, int]]  # the time, and how many bytes have been read


class Sampler(threading.Thread):
    """Nobody else may ask this peer for anything meanwhile."""

    def __init__(self, peer: Peer) -> None:
        super().__init__(daemon=True)
        self.samples: Samples = []
        self._peer, self._stop = peer, threading.Event()

    def run(self) -> None:
        next_one = time.monotonic()
        while not self._stop.is_set():
            read = sum(c.checked for c in self._peer.stats())
            self.samples.append((time.monotonic(), read))
            next_one += STEP
            time.sleep(max(0.0, next_one - time.monotonic()))

    def end(self) -> Samples:
        self._stop.set()
        self.join()
        return self.samples


def read_at(samples: Samples, moment: float) -> float:
    """Between two samples, in proportion."""
    for (t0, n0), (t1, n1) in zip(samples, samples[1:]):
        if t0 <= moment <= t1:
            return n0 + (n1 - n0) * (moment - t0) / (t1 - t0)
    return samples[0 if moment < samples[0][0] else -1][1]


def rates(samples: Samples, start: float, end: float, step: float) -> list[float]:
    """MB/s in each step."""
    count = int(round((end - start) / step))
    reads = [read_at(samples, start + i * step) for i in range(count + 1)]
    return [round((b - a) / step / 1e6, 1) for a, b in zip(reads, reads[1:])]


def _socket(ns: Netns) -> dict[str, Any]:
    """Of the one that sends: congestion control, segment size, buffer."""
    text = ns.run("ss", "-Htinm", "state", "established").check().output
    words = {
        "congestion": r"\b(bbr|cubic|reno|dctcp)\b", "mss": r"\bmss:(\d+)",
        "cwnd": r"\bcwnd:(\d+)", "sndbuf": r"\btb(\d+)", "wscale": r"\bwscale:([\d,]+)",
    }
    found = {name: re.search(pattern, text) for name, pattern in words.items()}
    return {name: match[1] for name, match in found.items() if match}


def measure(
    work: Path, mode: Mode, rtt: float, seconds: float, settle: float = SETTLE
) -> dict[str, Any]:
    before_s, after_s = min(BEFORE, settle + seconds), min(AFTER, settle + seconds)
    with (
        Far((rtt,)) as net,
        CriuServer(net, work, mode, "external") as server,
        Peer(net.peers[rtt], {"IPv4": net.targets_of(rtt)["IPv4"]}, ["source,rate=0"]) as peer,
    ):
        sampler = Sampler(peer)
        begun = time.monotonic()
        sampler.start()
        time.sleep(settle + seconds)
        before = _socket(net.container)
        dumping = time.monotonic()
        server.checkpoint().check()
        time.sleep(OUTAGE)
        server.restore().check()
        restored = time.monotonic()
        time.sleep(settle + seconds)
        after = _socket(net.container)
        end = time.monotonic()
        samples = sampler.end()
        report = peer.finish()
        if report.lost:
            raise Wrong("the stream was lost", report.complaints())
    means = [
        statistics.fmean(rates(samples, begun + settle, dumping, STEP)),
        statistics.fmean(rates(samples, restored + settle, end, STEP)),
    ]
    return {
        "by": mode.name, "rtt_ms": rtt, "seconds": seconds,
        "before_mb_s": round(means[0], 1), "after_mb_s": round(means[1], 1),
        "after_per_second": rates(samples, restored, end, 1.0),
        "socket_before": before, "socket_after": after,
        "away_s": round(restored - dumping, 3),
        "trace_step_ms": STEP * 1000, "trace_from_s": -before_s,
        "trace": rates(samples, dumping - before_s, restored + after_s, STEP),
    }


def back_at(trace: Sequence[float], start_s: float, away_s: float, mean: float) -> float | None:
    """How long after the restore half of the mean is reached, in ms."""
    first = int((away_s - start_s) / STEP)
    for number, rate in enumerate(trace[first:]):
        if rate >= mean / 2:
            return number * STEP * 1000
    return None
