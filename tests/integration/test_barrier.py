# SPDX-License-Identifier: GPL-2.0-or-later
"""When the lock is there and its barrier is over, nothing changes a connection any more."""

from __future__ import annotations

import os
import re

from harness import proc
from harness.programs import program

RUNS = 12
KNOWN = ((5, 6), (7, 2))  # the kernels for which sys/grace_period.c has a quick way


def late(kind: str) -> tuple[int, int]:
    """How often a segment that was past the lock arrived after the barrier; quick barriers."""
    done = proc.run([program("hf-barrier"), kind, str(RUNS)])
    assert done.rc == 0, done.output
    found = re.search(r"in time (\d+) changed (\d+) quick (\d+)", done.output)
    assert found, done.output
    in_time, changed, quick = (int(number) for number in found.groups())
    assert in_time >= RUNS / 4, done.output
    return changed, quick


def test_without_a_barrier_it_changes() -> None:
    """Or the other tests would say nothing."""
    assert late("none")[0] > 0


def test_slow_barrier() -> None:
    """By membarrier(2)."""
    assert late("slow") == (0, 0)


def test_quick_barrier() -> None:
    """By the loopback device of a network namespace that goes down, where the kernel is known."""
    version = tuple(int(number) for number in os.uname().release.split(".")[:2])
    assert late("quick") == (0, RUNS if KNOWN[0] <= version <= KNOWN[1] else 0)
