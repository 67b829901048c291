# SPDX-License-Identifier: GPL-2.0-or-later
"""What a sweep has found, one line of JSON for each point."""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Point:
    """What is measured."""

    place: str
    mode: str
    length: float  # from the end of the checkpoint to the start of the restore, in seconds


@dataclass(frozen=True)
class Found:
    """What came of it."""

    point: Point
    kept: int
    lost: int
    away_ms: int  # from the start of the checkpoint to the end of the restore
    stall_ms: int  # the longest stall of a connection that was kept
    error: str = ""  # of the checkpoint or the restore

    def line(self) -> str:
        values = asdict(self)
        return json.dumps(values.pop("point") | values)

    @classmethod
    def parse(cls, line: str) -> Found:
        values = json.loads(line)
        point = Point(*(values.pop(name) for name in ("place", "mode", "length")))
        return cls(point, **values)


def read(path: Path) -> list[Found]:
    """One for each point, the last one; a line that was cut off is none."""
    found = {}
    for line in path.read_text().splitlines() if path.exists() else []:
        with contextlib.suppress(ValueError, KeyError, TypeError):
            result = Found.parse(line)
            found[result.point] = result
    return list(found.values())
