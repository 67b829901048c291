# SPDX-License-Identifier: GPL-2.0-or-later
"""Each system call and each allocation of the plugin goes wrong once, in a host that plays CRIU.

hf-host looks at what is left itself: nothing changed after a dump that failed, nothing lost and the
next try possible after a restore that failed. Here every seventh call has its turn, or every third;
HOLDFAST_EVERY_CALL=1 tries them all, which takes minutes.
"""

from __future__ import annotations

import os
import re

import pytest

from harness import proc
from harness.programs import plugin_dir, program

STEP = 1 if os.environ.get("HOLDFAST_EVERY_CALL") else 7
SMALL_STEP = 1 if STEP == 1 else 3  # where there are few
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


SCENARIOS = ["dump", "rollback", "resume", "early", "killed", "restore", "late"]


@pytest.mark.parametrize(
    "scenario, least",
    [
        ("dump", 300), ("rollback", 10), ("resume", 20),
        ("early", 2), ("restore", 500), ("late", 500),
    ],
)
def test_every_call(scenario: str, least: int) -> None:
    """Out of memory, descriptors, disk or permission: rolled back, with one line in the log."""
    step = STEP if least > 100 else SMALL_STEP if least > 1 else 1
    calls, failures, _ = host(scenario, "fail", step)
    assert calls >= least
    # What CRIU cannot do at its end the guardian does.
    assert (failures == 0) == (scenario in ("resume", "early"))


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_later_call(scenario: str) -> None:
    """From one call on nothing works any more in CRIU's process: the guardian is there."""
    host(scenario, "fail+", 10 * STEP if scenario not in ("rollback", "resume", "early") else STEP)


@pytest.mark.parametrize("scenario", ["dump", "resume", "early", "killed", "restore", "late"])
def test_every_call_of_the_guardian(scenario: str) -> None:
    """Without one there is no checkpoint; once it is there it tries again."""
    calls, failures, _ = host(scenario, "fail@", STEP)
    assert calls >= 5
    assert failures == (3 if STEP == 1 else 1)  # before it was ready
    _, failures, _ = host(scenario, "eintr@", 1)
    assert failures == 0


@pytest.mark.parametrize("kind", ["eintr", "short"])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_signals_and_parts(scenario: str, kind: str) -> None:
    """A call that is interrupted, or does a part, is no reason to fail."""
    _, failures, _ = host(scenario, kind, 1 if scenario in ("dump", "rollback") else STEP)
    assert failures == 0
