# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the built programs are."""

from __future__ import annotations

import os
from pathlib import Path

TOP = Path(__file__).resolve().parents[3]


class Missing(RuntimeError):
    """A program that should have been built is not there."""


def builddir() -> Path:
    return Path(os.environ.get("HOLDFAST_BUILDDIR") or TOP).resolve()


def program(name: str) -> Path:
    """hf-server or hf-peer, or a clear error."""
    path = builddir() / "tests" / "programs" / name
    if not os.access(path, os.X_OK):
        raise Missing(
            f"{path} is missing: run make (make check builds the test programs),"
            " or set HOLDFAST_BUILDDIR to the build directory"
        )
    return path


def plugin_dir() -> Path:
    """The directory with the plugin as just built."""
    for sub in (".libs", "plugin/.libs", "plugin"):
        if (builddir() / sub / "holdfast_plugin.so").exists():
            return builddir() / sub
    raise Missing(f"holdfast_plugin.so is missing below {builddir()}: run make")
