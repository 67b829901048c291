# SPDX-License-Identifier: GPL-2.0-or-later
"""What goes into bench.json; see README.md beside this file."""

from __future__ import annotations

import re

from harness.criu import Result


class Wrong(RuntimeError):
    """A byte or a connection was lost, or what was to be measured did not happen."""

    def __init__(self, what: str, details: str = "") -> None:
        super().__init__(f"{what}\n{details}" if details else what)


def said(result: Result, word: str) -> dict[str, int]:
    """What the plugin says of its times, "dumped" or "restored": microseconds by name."""
    for line in result.lines(f" {word} ", "connections", "microseconds: "):
        pairs = re.findall(r"([a-z][a-z -]*?) (\d+)(?:,|;|$)", line.partition("microseconds: ")[2])
        return {name.strip(): int(value) for name, value in pairs}
    return {}
