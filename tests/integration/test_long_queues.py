# SPDX-License-Identifier: GPL-2.0-or-later
"""Long queues go between socket and image without being held in memory, and fail in order."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import checks
from harness.mode import Mode
from harness.proc import run, wait_for
from harness.scenes import World, end, world

HELD = 100 << 20  # what one connection has in a queue
SHORT = 3 << 20
FULL = 20 << 20
PIECES = 15 << 20  # a send queue that is read in more than one piece, and not mapped
ENOUGH = 40 << 20  # for criu and the plugin, beside what the tasks have
IMAGE = "holdfast.img"


def data_size(w: World) -> int:
    """The private memory of the tasks, which criu restore has too."""
    sizes = []
    for pid in w.a.pids():
        found = re.search(r"^VmData:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.M)
        assert found
        sizes.append(int(found[1]) << 10)
    return max(sizes)


@pytest.mark.parametrize(("to_a", "from_a"), [(HELD, 0), (0, HELD)], ids=["receive", "send"])
def test_memory(tmp_path: Path, holdfast_mode: Mode, to_a: int, from_a: int) -> None:
    """Dump and restore under a limit that the queue alone would exceed."""
    with world(tmp_path, holdfast_mode) as w:
        link = w.wide_link("long", to_a, from_a)
        # In pieces, or the programs need more than we.
        for _ in range(to_a >> 20):
            link.b.send(1 << 20)
        link.a.wait_inq(to_a)
        if from_a:
            link.lose()
        for _ in range(from_a >> 20):
            link.a.send(1 << 20)
        limit = data_size(w) + ENOUGH
        assert limit < HELD
        # The soft one: criu may not raise the hard one again in the tasks.
        w.a.criu_wrapper = ["prlimit", f"--data={limit}:"]
        w.a.checkpoint().check()
        assert (w.a.images / IMAGE).stat().st_size > HELD
        w.a.restore().check()
        w.a.criu_wrapper = []
        w.lift()
        for _ in range(to_a >> 20):
            link.a.recv(1 << 20)
        for _ in range(from_a >> 20):
            link.b.recv(1 << 20)
        end(w, link)


def test_pieces(tmp_path: Path, holdfast_mode: Mode) -> None:
    """Both queues of several connections, whose pieces end anywhere in what is written at once."""
    with world(tmp_path, holdfast_mode) as w:
        links = [w.wide_link(f"pieces{n}", FULL, PIECES) for n in range(2)]
        for n, link in enumerate(links):
            link.b.send(FULL - n)
            link.a.wait_inq(FULL - n)
            link.lose()
            link.a.send(PIECES + n)
        w.a.checkpoint().check()
        assert (w.a.images / IMAGE).stat().st_size > 2 * (FULL + PIECES)
        w.a.restore().check()
        w.lift()
        for n, link in enumerate(links):
            end(w, link, PIECES + n, FULL - n)


def test_image_is_cut(tmp_path: Path, holdfast_mode: Mode) -> None:
    """Cut off after it was checked: criu lives, says so, and the whole image can be restored."""
    script = tmp_path / "cut"
    script.write_text(
        f'#!/bin/sh\n[ "$CRTOOLS_SCRIPT_ACTION" = post-restore ] || exit 0\n'
        f'truncate -s {SHORT} "$CRTOOLS_IMAGE_DIR/{IMAGE}"\n'
    )
    script.chmod(0o755)
    with world(tmp_path / "world", holdfast_mode) as w:
        link = w.wide_link("cut", 2 * SHORT, 0)
        link.b.send(2 * SHORT)
        link.a.wait_inq(2 * SHORT)
        w.a.checkpoint().check()
        image = w.a.images / IMAGE
        whole = image.read_bytes()
        result = w.a.restore(extra=["--action-script", str(script)])
        assert image.stat().st_size == SHORT
        assert result.lines("holdfast", "cannot be read any more from holdfast.img"), result.log
        # What was killed may still be on its way out.
        wait_for(lambda: not w.a.pids() or not checks.repair_sockets(w.a.pids()), "an end", 10)
        image.write_bytes(whole)
        w.a.restore().check()
        end(w, link, 0, 2 * SHORT)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    at = tmp_path / "disk"
    at.mkdir()
    run(["mount", "-t", "tmpfs", "-o", f"size={PIECES - SHORT}", "none", at]).check()
    yield at
    run(["umount", "-l", at]).check()


@pytest.mark.parametrize(
    ("to_a", "from_a"), [(FULL, 0), (0, PIECES), (0, FULL)], ids=["receive", "send", "mapped"]
)
def test_full_disk(small_disk: Path, holdfast_mode: Mode, to_a: int, from_a: int) -> None:
    """What finds no room fails the dump, and the program goes on."""
    with world(small_disk, holdfast_mode) as w:
        link = w.wide_link("full", to_a, from_a)
        if to_a:
            link.b.send(to_a)
            link.a.wait_inq(to_a)
        else:
            link.lose()
            link.a.send(from_a)
        result = w.a.checkpoint()
        assert not result.ok
        said = result.lines("holdfast", "cannot write holdfast.img", "No space left")
        assert len(said) == 1, result.log
        assert not (w.a.images / IMAGE).exists()
        end(w, link, from_a, to_a)
