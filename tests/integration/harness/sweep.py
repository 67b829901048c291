# SPDX-License-Identifier: GPL-2.0-or-later
"""How many of 40 busy connections survive an outage of each length, with holdfast and without.

    cd tests/integration
    python3 -m harness.sweep [--only podman-same] [--lengths 0:8] [--step 0.1]

Runs in the test root. Each result is a line of a file, and what is there already is not measured
again: a run that was stopped goes on, and pieces may be run at any time (--lengths may lie between
those of before). --report makes docs/sweep.md, docs/sweep.svg and docs/sweep.json of all results.
"""

from __future__ import annotations

import argparse
import contextlib
import queue
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from . import mode, podman, sweep_page
from .hosts import Hosts
from .mode import Mode
from .peer import Peer, Report
from .places import MORE, PLACES, Container, make
from .programs import builddir
from .sweep_results import Found, Point, read

CONNECTIONS = 40
# They never stand still: in every moment of an outage some of them send something again.
BUSY = [f"echo,gap=20*{CONNECTIONS // 2}", f"duplex,rate=64k*{CONNECTIONS // 2}"]
WARM = 0.7  # seconds of traffic before the checkpoint
# Linux peers without help wait up to an outage's length, and then as long again.
PATIENCE = 30.0

MODES: dict[str, Callable[[], Mode]] = {"holdfast": mode.holdfast, "stock": mode.stock}


class Lane:
    """Two hosts, on which points are measured one after the other."""

    def __init__(self, work: Path, image: Path) -> None:
        self.work, self.image = work, image
        self._stack = contextlib.ExitStack()
        self._open: contextlib.ExitStack | None = None  # what is in the place now
        self._container: Container | None = None
        self._now: tuple[str, str] | None = None
        self._count = 0

    def __enter__(self) -> Lane:
        self.work.mkdir()
        self.hosts = self._stack.enter_context(Hosts(self.work / "hosts"))
        podman.prepare(self.hosts, self.image)
        return self

    def __exit__(self, *_: object) -> None:
        self._empty()
        self._stack.close()

    def _empty(self) -> None:
        if self._open:
            self._open.close()
        self._open = self._container = self._now = None
        self.hosts.unlock()

    def _filled(self, point: Point) -> Container:
        """The container of the point before, if it is of the same kind and well."""
        if self._container and self._now == (point.place, point.mode):
            return self._container
        self._empty()
        self._count += 1
        self._open = contextlib.ExitStack()
        self.hosts.move(self.hosts.one)
        made = make(point.place, self.hosts, self.work / str(self._count), MODES[point.mode]())
        self._container = self._open.enter_context(made)
        self._now = (point.place, point.mode)
        return self._container

    def measure(self, point: Point) -> Found:
        container = self._filled(point)
        with Peer(self.hosts.peer, container.targets(), BUSY, patience=PATIENCE) as peer:
            time.sleep(WARM)
            peer.mark()
            start = time.monotonic()
            result = container.go()
            if result.ok:
                time.sleep(point.length)
                result = container.come()
            away = time.monotonic() - start
            error = "" if result.ok else _first_error(result.output)
            if result.ok:
                peer.progress()
                report = peer.finish()
            else:
                report = Report(0, CONNECTIONS, ())
        if not result.ok:
            self._empty()
        kept = [c.stall_ms for c in report.connections if c.kept]
        return Found(
            point, report.kept, report.lost, round(away * 1000), max(kept, default=0), error
        )


def _first_error(output: str) -> str:
    lines = [line for line in output.splitlines() if line.strip()]
    return lines[0][:200] if lines else "failed"


class Work:
    """Points to be measured, taken by several lanes: those of one place and mode by one."""

    def __init__(self, points: Iterable[Point], file: Path) -> None:
        done = {found.point for found in read(file)}
        self.file = file
        self._lock = threading.Lock()
        self._piles: queue.SimpleQueue[list[Point]] = queue.SimpleQueue()
        piles: dict[tuple[str, str], list[Point]] = {}
        for point in points:
            if point not in done:
                piles.setdefault((point.place, point.mode), []).append(point)
        for pile in piles.values():
            self._piles.put(pile)
        self.left = sum(map(len, piles.values()))
        self.failed: list[str] = []

    def run(self, lane: Lane) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                for point in self._piles.get_nowait():
                    self._one(lane, point)

    def _one(self, lane: Lane, point: Point) -> None:
        try:
            found = lane.measure(point)
        except (RuntimeError, TimeoutError, OSError) as error:
            # Not a result: it is measured again by the next run.
            lane._empty()
            with self._lock:
                self.failed.append(f"{point}: {error}")
                self.left -= 1
                print(f"{point}: {error}", file=sys.stderr, flush=True)
            return
        with self._lock:
            with self.file.open("a") as file:
                file.write(found.line() + "\n")
            self.left -= 1
            print(
                f"{point.place:12} {point.mode:8} {point.length:4.1f} s: {found.kept:2} kept,"
                f" stall {found.stall_ms / 1000:.1f} s {found.error}  ({self.left} left)",
                flush=True,
            )


def measure(points: Sequence[Point], file: Path, lanes: int) -> list[str]:
    """What could not be measured."""
    work = Work(points, file)
    if not work.left:
        return []

    def run(number: int) -> None:
        with Lane(directory / f"lane{number}", image) as lane:
            work.run(lane)

    # Not in the overlay of the test root, where podman cannot have its storage.
    with tempfile.TemporaryDirectory(prefix="holdfast-sweep-") as name:
        directory = Path(name)
        image = podman.make_image(directory / "image.tar")
        threads = [threading.Thread(target=run, args=(number,)) for number in range(lanes)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return work.failed


def lengths(text: str, step: float) -> list[float]:
    """ "0:8" by the step, or "0.5,1,3" """
    if ":" not in text:
        return [round(float(word), 3) for word in text.split(",")]
    first, last = (float(word) for word in text.split(":"))
    count = int(round((last - first) / step))
    return [round(first + i * step, 3) for i in range(count + 1)]


def parse(args: Sequence[str] | None) -> argparse.Namespace:
    description = (__doc__ or "").split("\n")[0]
    parser = argparse.ArgumentParser(prog="harness.sweep", description=description)
    names = f"of {', '.join(PLACES)} (these) and {', '.join(MORE)}"
    parser.add_argument("--only", nargs="+", choices=PLACES + MORE, default=PLACES,
                        metavar="PLACE", help=names)
    parser.add_argument("--modes", nargs="+", choices=sorted(MODES), default=list(MODES))
    parser.add_argument("--lengths", default="0:8", help='FIRST:LAST or A,B,C in seconds (0:8)')
    parser.add_argument("--step", type=float, default=0.1, help="seconds (0.1)")
    parser.add_argument("--lanes", type=int, default=3, help="pairs of hosts at a time (3)")
    parser.add_argument("--file", type=Path, default=builddir() / "sweep.jsonl",
                        help="where results are kept (sweep.jsonl in the build directory)")
    parser.add_argument("--report", action="store_true", help="measure nothing, write the page")
    return parser.parse_args(args)


def main(args: Sequence[str] | None = None) -> int:
    options = parse(args)
    if options.report:
        sweep_page.write(read(options.file))
        return 0
    points = [
        Point(place, kind, length)
        for place in options.only
        for kind in options.modes
        for length in lengths(options.lengths, options.step)
    ]
    failed = measure(points, options.file, options.lanes)
    for text in failed:
        print(f"not measured: {text}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
