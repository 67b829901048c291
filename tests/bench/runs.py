# SPDX-License-Identifier: GPL-2.0-or-later
"""What is measured in a full run, in a quick one and in the tiniest; and the command."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import mode
from harness.mode import Mode
from harness.programs import TOP, builddir, program

from . import cost, machine, page, queues, stall, throughput, tricks
from .cost import Case
from .far import FAR, NEAR, RTTS
from .results import Wrong
from .stall import Outage

JSON = "bench.json"
GIB = 1 << 30
SHM = "/dev/shm"
Row = dict[str, Any]


# Where a machine allows it (contrib/testvm does): a server process for each 10,000 connections, and
# one alone with all of them.
MANY = tuple(
    Case(by, "container", connections, repeats=repeats, processes=processes)
    for connections, processes, repeats in ((10_000, 1, 3), (50_000, 5, 1), (50_000, 1, 1))
    for by in ("holdfast", "tcp-close")
)


@dataclass(frozen=True)
class Plan:
    outages: tuple[float, ...]
    crowds: tuple[float, ...]  # outages, with all kinds of connections in one checkpoint
    connections: int  # of each kind at each peer
    trick_outages: tuple[float, ...]
    trick_connections: int
    few: tuple[int, ...]  # connections, for everybody
    many: tuple[int, ...]  # all but iptables in the host's namespace, a command for each of them
    most: tuple[int, ...]  # holdfast alone
    repeats: int
    queue_bytes: int
    queue_rounds: int
    seconds: float  # of bulk, before and after
    rtts: tuple[float, ...] = RTTS
    bulk_rtts: tuple[float, ...] = (NEAR, FAR)
    v6: bool = True
    by: tuple[str, ...] = tuple(cost.MODES)
    warm: float = stall.WARM
    settle: float = throughput.SETTLE
    emulated: tuple[Case, ...] = MANY

    def cases(self) -> Iterator[Case]:
        for connections in (*self.few, *self.many):
            for where in cost.WHERE:
                for by in self.by:
                    slow = (where, by) == ("host", "stock-iptables") and connections > self.few[-1]
                    if not slow:
                        repeats = 1 if by.startswith("stock") else self.repeats
                        yield Case(by, where, connections, repeats=repeats)
        if self.v6:
            for by in ("holdfast", "stock-nftables"):
                yield Case(by, "container", (*self.few, *self.many)[-1], "IPv6")
        for connections in self.most:
            for by in ("holdfast", "tcp-close"):
                yield Case(by, "container", min(connections, cost.most_connections()))


FULL = Plan(
    (1, 3, 10, 30, 60), (1, 10), 100, (3, 10), 50, (1, 100, 1000), (10_000,), (50_000,), 3, GIB, 3,
    60,
)
QUICK = Plan(
    (1,), (3,), 30, (3,), 20, (1, 100), (1000,), (5000,), 1, GIB // 4, 1, 3, bulk_rtts=(FAR,)
)


class Run:
    """with a directory for the images; every result is kept as soon as it is there."""

    def __init__(self, plan: Plan, work: Path, out: Path, found: dict[str, Any]) -> None:
        self.plan, self.work, self.out, self.found = plan, work, out, found
        self._count = 0

    def _directory(self) -> Path:
        self._count += 1
        return self.work / str(self._count)

    def _do(self, section: str, what: str, measure: Callable[[], Row]) -> None:
        start = time.monotonic()
        print(f"{section}: {what} ... ", end="", flush=True)
        row = measure()
        print(f"{time.monotonic() - start:.1f} s", flush=True)
        self.found[section].append(row)
        (self.out / JSON).write_text(json.dumps(self.found, indent=1) + "\n")

    def _outage(self, options: Mode, seconds: float, kinds: Sequence[str]) -> Outage:
        return Outage(self._directory(), options, seconds, self.plan.connections, self.plan.rtts,
                      warm=self.plan.warm, kinds=kinds)

    def stall(self) -> None:
        for seconds in self.plan.outages:
            for make in (mode.holdfast, mode.stock):
                outages = [self._outage(make(), seconds, (kind,)) for kind in stall.KINDS]
                what = f"{outages[0].mode.name}, {seconds:g} s"
                self._do("stall", what, lambda: stall.measure_each(outages))
        for seconds in self.plan.crowds:
            for make in (mode.holdfast, mode.stock):
                outage = self._outage(make(), seconds, tuple(stall.KINDS))
                what = f"{outage.mode.name}, {seconds:g} s"
                self._do("crowd", what, outage.measure)

    def tricks(self) -> None:
        known = [key for key in tricks.KEYS if tricks.is_known(key, self.work)]
        for trick in tricks.choices(known):
            for seconds in self.plan.trick_outages:
                self._do("tricks", f"{trick.name}, {seconds:g} s", lambda: tricks.measure(
                    self._directory(), trick, seconds, self.plan.trick_connections, self.plan.rtts
                ))

    def cost(self) -> None:
        for case in self.plan.cases():
            what = f"{case.by}, {case.where}, {case.connections} connections {case.family}"
            self._do("cost", what, lambda: cost.measure(self._directory(), case))
        for connections in sorted({case.connections for case in self.plan.cases()}):
            self._do("floor", f"{connections} connections", lambda: floor(connections))

    def queues(self) -> None:
        for where, top in (("tmpfs", SHM), ("disk", None)):
            for make in (mode.holdfast, mode.stock):
                options = make()
                if (options.name, where) == ("stock", "disk"):
                    continue
                # Nobody has a target for what takes seconds anyway.
                repeats = self.plan.queue_rounds if options.name == "holdfast" else 1
                with tempfile.TemporaryDirectory(prefix="holdfast-bench-", dir=top) as work:
                    what = f"{options.name}, {self.plan.queue_bytes >> 20} MiB, {where}"
                    self._do("queues", what, lambda: queues.measure(
                        Path(work) / "q", where, options, self.plan.queue_bytes, repeats
                    ))

    def throughput(self) -> None:
        for rtt in self.plan.bulk_rtts:
            for make in (mode.holdfast, mode.stock):
                options = make()
                self._do("throughput", f"{options.name}, round trip {rtt:g} ms", lambda:
                         throughput.measure(self._directory(), options, rtt, self.plan.seconds,
                                            self.plan.settle))

    def emulated(self) -> None:
        if cost.most_connections() < max(case.connections for case in self.plan.emulated):
            raise Wrong("too few descriptors: run contrib/quickstart bench --only emulated")
        for case in self.plan.emulated:
            what = f"{case.by}, {case.connections} connections, {case.processes} processes"
            self._do("emulated", what, lambda: cost.measure(self._directory(), case)
                     | {"processes": case.processes})


SECTIONS = ("stall", "tricks", "cost", "queues", "throughput")
EMULATED = "emulated"  # on a machine of its own, when asked for
# What each of them writes.
WRITES = {name: [name] for name in (*SECTIONS, EMULATED)} | {
    "stall": ["stall", "crowd"], "cost": ["cost", "floor"],
}


def floor(connections: int) -> Row:
    """The best of three, since whatever disturbs it makes it longer; in a namespace of its own,
    where no connection waits for its end."""
    command = ["unshare", "--net", "sh", "-c", 'ip link set lo up; exec "$0" "$1"',
               str(program("hf-floor")), str(connections)]
    rows = []
    for _ in range(3):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Wrong("the floor could not be measured", done.stderr)
        rows.append(json.loads(done.stdout))
    return {
        "connections": connections,
        **{key: min(row[key] for row in rows) for key in ("dump_us", "options_us", "restore_us")},
    }


def measure(
    plan: Plan, out: Path, sections: Sequence[str] = SECTIONS, name: str = "full"
) -> dict[str, Any]:
    """All of it, written to a directory; sections that are there and not asked for stay, and what
    another machine measured in any case."""
    out.mkdir(parents=True, exist_ok=True)
    before = json.loads((out / JSON).read_text()) if (out / JSON).exists() else {}
    kept = ("emulator", EMULATED) if set(sections) == set(SECTIONS) else before
    found: dict[str, Any] = {"schema": 1} | {key: before[key] for key in kept if key in before}
    if EMULATED in sections:
        found["emulator"] = machine.describe()
    if EMULATED not in sections or "machine" not in found:
        found |= {"run": name, "machine": machine.describe()}
    for section in WRITES:
        for written in WRITES[section]:
            found[written] = [] if section in sections else found.get(written, [])
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-") as directory:
        run = Run(plan, Path(directory), out, found)
        for section in sections:
            getattr(run, section)()
    if EMULATED not in sections:
        found["seconds"] = round(time.monotonic() - start)
    (out / JSON).write_text(json.dumps(found, indent=1) + "\n")
    page.write(found, out)
    return found


def parse(args: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="bench", description="holdfast beside stock CRIU: latency and cost"
    )
    parser.add_argument("--quick", action="store_true", help="less of everything, in 5 minutes")
    parser.add_argument("--only", nargs="+", choices=(*SECTIONS, EMULATED), default=SECTIONS,
                        help="these; the others stay as they are in bench.json")
    parser.add_argument("--out", type=Path, help="where bench.json and the page go")
    parser.add_argument("--page", action="store_true", help="measure nothing, write the page anew")
    options = parser.parse_args(args)
    if EMULATED in options.only and len(options.only) > 1:
        parser.error("emulated goes alone: it is measured on another machine")
    return options


def main(args: Sequence[str] | None = None) -> int:
    options = parse(args)
    out = options.out or (builddir() / "bench" if options.quick else TOP / "docs")
    if options.page:
        page.write(json.loads((out / JSON).read_text()), out)
        return 0
    missing = [tool for tool in ("criu", "nft", "ip", "nsenter") if not shutil.which(tool)]
    if missing or os.geteuid():
        needed = ", ".join(missing) or "root"
        print(f"needs {needed}: run contrib/quickstart bench", file=sys.stderr)
        return 2
    if machine.load() > 0.5:
        print(f"the load of this machine is {machine.load()}: the times will be worth little",
              file=sys.stderr)
    plan, name = (QUICK, "quick") if options.quick else (FULL, "full")
    start = time.monotonic()
    try:
        measure(plan, out, options.only, name)
    except Wrong as wrong:
        print(f"\nbench: {wrong}", file=sys.stderr)
        return 1
    print(f"bench: {time.monotonic() - start:.0f} s; see {out / page.PAGE}")
    return 0
