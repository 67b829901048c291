# SPDX-License-Identifier: GPL-2.0-or-later
"""The sweep over outages of every length: a short one, and the page of the last long one."""

from __future__ import annotations

import xml.etree.ElementTree
from pathlib import Path

import pytest

from harness import pages, sweep, sweep_page, sweep_results
from harness.places import PLACES
from harness.sweep import CONNECTIONS
from harness.sweep_results import Found, Point


def test_short(leftovers: object, tmp_path: Path) -> None:
    """Every connection is kept in every place, by either half of the lanes; nothing twice."""
    places = ("crun-other", "podman-same", "podman-other", "podman-nat")
    points = [Point(place, "holdfast", 0.3) for place in places]
    file = tmp_path / "results"
    assert not sweep.measure(points, file, lanes=2)
    found = sweep_results.read(file)
    assert {result.point for result in found} == set(points)
    assert [(r.point, r.kept, r.lost, r.error) for r in found] == [
        (r.point, CONNECTIONS, 0, "") for r in found
    ]
    assert all(r.away_ms > 300 for r in found)
    before = file.read_text()
    assert not sweep.measure(points, file, lanes=2)
    assert file.read_text() == before


def found(length: float, kept: int, error: str = "") -> Found:
    return Found(Point("runc-same", "stock", length), kept, 40 - kept, 1000, 2000, error)


def test_results_survive_being_cut_off(tmp_path: Path) -> None:
    file = tmp_path / "results"
    lines = [found(1, 40).line(), found(2, 39).line(), found(1, 38).line()]
    file.write_text("\n".join([*lines, lines[0][:30]]))
    assert sweep_results.read(file) == [found(1, 38), found(2, 39)]


@pytest.mark.parametrize(
    ("text", "step", "wanted"),
    [("0:0.3", 0.1, [0, 0.1, 0.2, 0.3]), ("1:2", 0.5, [1, 1.5, 2]), ("3,0.5", 9, [3, 0.5])],
)
def test_lengths(text: str, step: float, wanted: list[float]) -> None:
    assert sweep.lengths(text, step) == wanted


def test_page_says_what_was_lost() -> None:
    text = sweep_page.text([found(0.5, 40), found(1, 30), found(2, 0, "restore failed")])
    row = pages.row(
        "runc, the network namespace stays", "stock", "3", "120", "70", "58.3 %", "2", "1",
        "1.0", "1.0",
    )
    assert row in text.splitlines()
    assert "| 0.5 | 40 |\n| 1 | 30 |\n| 2 | 0 |\n" in text


def test_page_is_of_its_results() -> None:
    stored = sweep_page.stored()
    measured = {(result.point.place, result.point.mode) for result in stored}
    assert measured >= {(place, kind) for place in PLACES for kind in sweep.MODES}
    assert pages.page(sweep_page.PAGE).read_text() == sweep_page.text(stored)
    picture = pages.page(sweep_page.PICTURE).read_text()
    assert picture == sweep_page.picture(stored)
    assert xml.etree.ElementTree.fromstring(picture).tag.endswith("svg")
    assert not [r for r in stored if r.point.mode == "holdfast" and (r.lost or r.error)]
