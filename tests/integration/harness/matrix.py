# SPDX-License-Identifier: GPL-2.0-or-later
"""What came of many cases, as a table: one case a line, one column a place and family."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Matrix:
    title: str
    cells: dict[tuple[str, str], str] = field(default_factory=dict)  # (row, column) -> text

    def set(self, row: str, column: str, text: str) -> None:
        self.cells[row, column] = text

    def text(self) -> str:
        rows = list(dict.fromkeys(row for row, _ in self.cells))
        columns = list(dict.fromkeys(column for _, column in self.cells))
        first = max(map(len, [self.title, *rows]))
        lines = [f"{self.title:{first}}  " + "  ".join(columns)]
        for row in rows:
            cells = [self.cells.get((row, column), "-") for column in columns]
            padded = [f"{cell:{len(column)}}" for cell, column in zip(cells, columns, strict=True)]
            lines.append(f"{row:{first}}  " + "  ".join(padded).rstrip())
        return "\n".join(lines) + "\n"


# Those of this session, printed at its end.
printed: list[Matrix] = []
