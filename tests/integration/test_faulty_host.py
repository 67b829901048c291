# SPDX-License-Identifier: GPL-2.0-or-later
"""Each system call and each allocation of the plugin goes wrong once, in a host that plays CRIU.

hf-host looks at what is left itself: nothing changed after a dump that failed, nothing lost and the
next try possible after a restore that failed. Here every seventh call has its turn;
HOLDFAST_EVERY_CALL=1 tries them all, which takes minutes.
"""

from __future__ import annotations

import os
import re

import pytest

from harness import proc
from harness.programs import plugin_dir, program

STEP = 1 if os.environ.get("HOLDFAST_EVERY_CALL") else 7
BATCH = 8  # failures with one application, before its data is looked at
SUMMARY = re.compile(r": (\d+) calls, (\d+) failures, (\d+) survived, 0 wrong$", re.M)


def host(scenario: str, kind: str, step: int) -> tuple[int, int, int]:
    """How many calls there are, how many faults made it fail, and how many did not."""
    args = [plugin_dir() / "holdfast_plugin.so", scenario, kind, "1", str(step), str(BATCH)]
    done = proc.run([program("hf-host"), *args], timeout=900)
    assert done.rc == 0, done.output
    found = SUMMARY.search(done.output)
    assert found, done.output
    calls, failures, survived = map(int, found.groups())
    return calls, failures, survived


@pytest.mark.parametrize(
    "scenario, least",
    [("dump", 500), ("rollback", 10), ("resume", 1), ("restore", 500), ("late", 500)],
)
def test_every_call(scenario: str, least: int) -> None:
    """Out of memory, descriptors, disk or permission: rolled back, with one line in the log."""
    calls, failures, _ = host(scenario, "fail", STEP if least > 100 else 1)
    assert calls >= least
    assert failures or scenario == "resume"


@pytest.mark.parametrize("kind", ["eintr", "short"])
@pytest.mark.parametrize("scenario", ["dump", "rollback", "resume", "restore", "late"])
def test_signals_and_parts(scenario: str, kind: str) -> None:
    """A call that is interrupted, or does a part, is no reason to fail."""
    _, failures, _ = host(scenario, kind, 1 if scenario in ("dump", "rollback") else STEP)
    assert failures == 0
