# SPDX-License-Identifier: GPL-2.0-or-later
"""Everybody who takes part in a checkpoint is killed, at moments all over it.

HOLDFAST_KILL_MOMENTS=450 tries that many instead of a few, and some with CRIU's own support, for
comparison; HOLDFAST_KILL_TABLE=FILE has every moment written there, and the logs of those that
went wrong beside it.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest

from harness import kill, mode
from harness.kill import Operation, Rig, Table, Who
from harness.oci import Runtime

MOMENTS = int(os.environ.get("HOLDFAST_KILL_MOMENTS", "45"))
LONG = MOMENTS >= 300
# (operation, who, which part of the moments)
CASES: list[tuple[Operation, Who, float]] = [
    ("dump", kill.CRIU, 0.32),
    ("dump", kill.CRIU_LEAVING, 0.05),
    ("dump", kill.CRIU_FAILING, 0.05),
    ("dump", kill.THE_GUARDIAN, 0.08),
    ("dump", kill.GUARDIAN_LEAVING, 0.07),
    ("dump", kill.GUARDIAN_FAILING, 0.07),
    ("dump", kill.GUARDIAN_PARENT, 0.02),
    ("dump", kill.ROOT, 0.08),
    ("restore", kill.CRIU, 0.30),
    ("restore", kill.THE_GUARDIAN, 0.08),
]
CRUN_CASES: list[tuple[Operation, Who, float]] = [
    ("dump", kill.CRUN, 0.04),
    ("dump", kill.CRUN_CRIU, 0.08),
    ("dump", kill.CRUN_ROOT, 0.04),
    ("dump", kill.CRUN_GUARDIAN, 0.07),
    ("restore", kill.CRUN, 0.04),
    ("restore", kill.CRUN_CRIU, 0.06),
]
RUNC_CASES: list[tuple[Operation, Who, float]] = [
    ("dump", kill.RUNC, 0.06),
    ("dump", kill.RUNC_CRIU, 0.08),
    ("dump", kill.RUNC_ROOT, 0.04),
    ("dump", kill.RUNC_GUARDIAN, 0.07),
    ("restore", kill.RUNC, 0.06),
    ("restore", kill.RUNC_CRIU, 0.08),
]

MANY_CASES: list[tuple[Operation, Who, float]] = [
    ("dump", kill.CRIU, 0.08),
    ("restore", kill.CRIU, 0.08),
]

# Those of this session: what the plugin and what CRIU's own support came to.
tables = [Table("holdfast"), Table("stock")]


def names(cases: list[tuple[Operation, Who, float]]) -> list[str]:
    return [re.sub("[^a-z]+", "-", f"{operation} {who.name}") for operation, who, _ in cases]


@pytest.fixture(scope="module", autouse=True)
def printed(request: pytest.FixtureRequest) -> Iterator[None]:
    """The tables, at the end of the session."""
    yield
    used = [table for table in tables if table.moments]
    kill.printed.extend(table.text() for table in used)
    kill.printed.append(kill.beside(used))


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory, holdfast_mode: mode.Mode) -> Iterator[Rig]:
    with Rig(holdfast_mode, tmp_path_factory.mktemp("criu"), tables[0]) as made:
        yield made


@pytest.fixture(scope="module")
def many_rig(tmp_path_factory: pytest.TempPathFactory, holdfast_mode: mode.Mode) -> Iterator[Rig]:
    with Rig(
        holdfast_mode, tmp_path_factory.mktemp("many"), tables[0], conns=kill.MANY
    ) as made:
        yield made


@contextlib.contextmanager
def runtime_rig(work: Path, options: mode.Mode, runtime: Runtime) -> Iterator[Rig]:
    if not shutil.which(runtime):
        pytest.skip(f"needs {runtime}")
    with Rig(options, work, tables[0], runtime) as made:
        yield made


@pytest.fixture(scope="module")
def crun_rig(tmp_path_factory: pytest.TempPathFactory, holdfast_mode: mode.Mode) -> Iterator[Rig]:
    with runtime_rig(tmp_path_factory.mktemp("crun"), holdfast_mode, "crun") as made:
        yield made


@pytest.fixture(scope="module")
def runc_rig(tmp_path_factory: pytest.TempPathFactory, holdfast_mode: mode.Mode) -> Iterator[Rig]:
    with runtime_rig(tmp_path_factory.mktemp("runc"), holdfast_mode, "runc") as made:
        yield made


def check(rig: Rig, operation: Operation, who: Who, part: float) -> None:
    done = list(kill.moments(rig, operation, who, max(2, round(MOMENTS * part))))
    assert done
    bad = [moment.line() for moment in done if moment.trouble]
    assert not bad, "\n".join(bad)


@pytest.mark.parametrize("operation, who, part", CASES, ids=names(CASES))
def test_killed(rig: Rig, operation: Operation, who: Who, part: float) -> None:
    check(rig, operation, who, part)


@pytest.mark.parametrize("operation, who, part", MANY_CASES, ids=names(MANY_CASES))
def test_killed_with_many(many_rig: Rig, operation: Operation, who: Who, part: float) -> None:
    check(many_rig, operation, who, part)


@pytest.mark.parametrize("operation, who, part", CRUN_CASES, ids=names(CRUN_CASES))
def test_killed_with_crun(crun_rig: Rig, operation: Operation, who: Who, part: float) -> None:
    check(crun_rig, operation, who, part)


@pytest.mark.parametrize("operation, who, part", RUNC_CASES, ids=names(RUNC_CASES))
def test_killed_with_runc(runc_rig: Rig, operation: Operation, who: Who, part: float) -> None:
    check(runc_rig, operation, who, part)


STOCK_CASES: list[tuple[Operation, Who, float]] = [
    ("dump", kill.CRIU, 0.25),
    ("restore", kill.CRIU, 0.25),
    ("dump", kill.RUNC, 0.05),
    ("dump", kill.RUNC_CRIU, 0.08),
    ("restore", kill.RUNC, 0.05),
    ("restore", kill.RUNC_CRIU, 0.08),
]

if LONG:

    @pytest.mark.parametrize("operation, who, part", STOCK_CASES, ids=names(STOCK_CASES))
    def test_killed_without_holdfast(
        tmp_path: Path, operation: Operation, who: Who, part: float
    ) -> None:
        """For the table only."""
        runtime: Runtime | Literal["criu"] = "runc" if "runc" in who.name else "criu"
        with Rig(mode.stock(), tmp_path, tables[1], runtime) as made:
            for _ in kill.moments(made, operation, who, round(MOMENTS * part)):
                pass
