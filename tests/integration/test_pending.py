# SPDX-License-Identifier: GPL-2.0-or-later
"""Connections that nobody has accepted when the dump comes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import checks
from harness.mode import Mode
from harness.scenes import PORT, World, world

HOSTS = ["10.77.0.1", "fd77::1"]


@pytest.fixture
def w(tmp_path: Path, holdfast_mode: Mode) -> Iterator[World]:
    with world(tmp_path, holdfast_mode) as made:
        made.a.listen("all IPv6", made.net.container.v6, PORT)
        yield made


def test_client_is_told(w: World) -> None:
    """With skip-in-flight: a RST after the restore, not silence; who comes later gets in."""
    w.a.mode = w.a.mode.plus("skip-in-flight")
    link = w.link("accepted")
    for host in HOSTS:
        w.b.connect(f"waiting {host}", host, PORT)
    w.a.checkpoint().check()
    w.a.restore().check()
    for host in HOSTS:
        conn = w.b[f"waiting {host}"]
        conn.wait_poll("ERR")
        assert conn.error("option") == "ECONNRESET"
    w.exchange(link.a, link.b)
    later = w.link("later")
    w.exchange(later.a, later.b)


def test_dump_is_refused(w: World) -> None:
    """Without skip-in-flight, by CRIU: nothing is lost."""
    link = w.link("accepted")
    w.b.connect("waiting", w.host, PORT, streams=(1, 2))
    result = w.a.checkpoint()
    assert not result.ok
    assert result.lines("Error", "In-flight connection")
    assert not checks.holdfast_tables(w.net.container)
    w.a.accept("waiting", "all", streams=(2, 1))
    w.exchange(w.a["waiting"], w.b["waiting"])
    w.exchange(link.a, link.b)
