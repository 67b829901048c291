# SPDX-License-Identifier: GPL-2.0-or-later
"""Random use of connections, and checkpoints at random moments; see harness.chaos.

HOLDFAST_SEED=N runs that seed alone, HOLDFAST_RANDOM_SECONDS=N each one for so long.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from harness.chaos import Chaos
from harness.checks import Leftovers
from harness.mode import Mode

SEEDS = [10, 11]
SECONDS = float(os.environ.get("HOLDFAST_RANDOM_SECONDS", "6"))


def seeds() -> list[int]:
    """The last one is new each time."""
    if given := os.environ.get("HOLDFAST_SEED"):
        return [int(given)]
    return [*SEEDS, int(time.time())]


@pytest.mark.parametrize("seed", seeds())
def test_random(leftovers: Leftovers, tmp_path: Path, holdfast_mode: Mode, seed: int) -> None:
    report = Chaos(seed, tmp_path, holdfast_mode).run(SECONDS)
    print(report.text())
    assert report.connections
