# SPDX-License-Identifier: GPL-2.0-or-later
"""Pages of docs/ that a test run makes.

A test fails where the page is not what the run found; HOLDFAST_UPDATE_DOCS=1 writes it anew.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Sequence
from pathlib import Path

from .proc import run
from .programs import TOP

UPDATE = os.environ.get("HOLDFAST_UPDATE_DOCS") == "1"


def page(name: str) -> Path:
    return TOP / "docs" / name


def criu_version() -> str:
    """ "4.2" """
    found = re.search(r"Version: (\d+\.\d+)", run(["criu", "--version"]).output)
    assert found
    return found[1]


def row(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [row(*columns), row(*["---"] * len(columns)), *(row(*cells) for cells in rows)]


def rows_of(text: str) -> list[list[str]]:
    """The cells of all tables on a page."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [line.removeprefix("| ").removesuffix(" |").split(" | ") for line in lines]


def compare(name: str, found: Sequence[str], written: Sequence[str]) -> None:
    difference = list(difflib.unified_diff(written, found, f"docs/{name}", "this run", "", "", 0))
    text = "\n".join(line.rstrip("\n") for line in difference)
    assert not difference, f"HOLDFAST_UPDATE_DOCS=1 writes the page anew:\n{text}"
