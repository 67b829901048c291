# SPDX-License-Identifier: GPL-2.0-or-later
"""What goes into bench.json; see README.md beside this file."""

from __future__ import annotations


class Wrong(RuntimeError):
    """A byte or a connection was lost, or what was to be measured did not happen."""

    def __init__(self, what: str, details: str = "") -> None:
        super().__init__(f"{what}\n{details}" if details else what)
