# SPDX-License-Identifier: GPL-2.0-or-later
"""A picture of small panels with lines, as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 400, 120  # of a panel's plane
LEFT, TOP, RIGHT, BOTTOM = 44, 34, 16, 38  # around it
HEAD = 44  # above all panels
COLUMNS = 2
INK, GRID, PAPER = "#333333", "#dddddd", "#ffffff"
FONT = "font-family='sans-serif' font-size='12'"


@dataclass(frozen=True)
class Series:
    name: str
    colour: str
    width: float
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Panel:
    title: str
    series: tuple[Series, ...]


def _marks(end: float, step: float) -> list[tuple[float, str]]:
    return [(i * step, f"{i * step:g}") for i in range(int(end / step) + 1)]


@dataclass
class Chart:
    title: str
    x_label: str
    x_end: float
    x_step: float
    y_end: float
    y_step: float
    panels: Sequence[Panel]
    # Where the numbers on an axis are not those of its scale, as on a logarithmic one: (place,
    # text) instead of the steps.
    x_marks: Sequence[tuple[float, str]] = ()
    y_marks: Sequence[tuple[float, str]] = ()
    _out: list[str] = field(default_factory=list)

    def svg(self) -> str:
        rows = -(-len(self.panels) // COLUMNS)
        width = COLUMNS * (LEFT + WIDTH + RIGHT)
        height = HEAD + rows * (TOP + HEIGHT + BOTTOM)
        self._out = [
            f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' {FONT}>",
            f"<rect width='{width}' height='{height}' fill='{PAPER}'/>",
        ]
        self._text(LEFT, 20, self.title, weight="bold")
        self._legend(LEFT, 38)
        for number, panel in enumerate(self.panels):
            row, column = divmod(number, COLUMNS)
            x = LEFT + column * (LEFT + WIDTH + RIGHT)
            y = HEAD + TOP + row * (TOP + HEIGHT + BOTTOM)
            self._panel(panel, x, y)
        return "\n".join([*self._out, "</svg>", ""])

    def _text(
        self, x: float, y: float, text: str, anchor: str = "start", weight: str = "normal"
    ) -> None:
        self._out.append(
            f"<text x='{x:g}' y='{y:g}' fill='{INK}' text-anchor='{anchor}'"
            f" font-weight='{weight}'>{escape(text)}</text>"
        )

    def _line(self, x1: float, y1: float, x2: float, y2: float, colour: str, width: float) -> None:
        self._out.append(
            f"<line x1='{x1:g}' y1='{y1:g}' x2='{x2:g}' y2='{y2:g}' stroke='{colour}'"
            f" stroke-width='{width:g}'/>"
        )

    def _legend(self, x: float, y: float) -> None:
        for series in self.panels[0].series if self.panels else ():
            self._line(x, y - 4, x + 24, y - 4, series.colour, series.width)
            self._text(x + 30, y, series.name)
            x += 50 + 7 * len(series.name)

    def _panel(self, panel: Panel, x: float, y: float) -> None:
        self._text(x, y - 10, panel.title, weight="bold")
        for value, text in self.y_marks or _marks(self.y_end, self.y_step):
            at = y + HEIGHT * (1 - value / self.y_end)
            self._line(x, at, x + WIDTH, at, GRID, 1)
            self._text(x - 6, at + 4, text, "end")
        for value, text in self.x_marks or _marks(self.x_end, self.x_step):
            at = x + WIDTH * value / self.x_end
            self._line(at, y + HEIGHT, at, y + HEIGHT + 4, INK, 1)
            self._text(at, y + HEIGHT + 17, text, "middle")
        self._text(x + WIDTH, y + HEIGHT + 32, self.x_label, "end")
        self._line(x, y + HEIGHT, x + WIDTH, y + HEIGHT, INK, 1)
        for series in panel.series:
            self._series(series, x, y)

    def _series(self, series: Series, x: float, y: float) -> None:
        places = [
            f"{x + WIDTH * px / self.x_end:.1f},{y + HEIGHT * (1 - py / self.y_end):.1f}"
            for px, py in series.points
        ]
        self._out.append(
            f"<polyline points='{' '.join(places)}' fill='none' stroke='{series.colour}'"
            f" stroke-width='{series.width:g}' stroke-linejoin='round'/>"
        )
