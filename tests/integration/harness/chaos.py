# SPDX-License-Identifier: GPL-2.0-or-later
"""The randomised test: hf-chaos in a container and at the peer, with checkpoints at any moment.

    python3 -B -m harness.chaos --seconds 600 [--seed N] [--keep DIRECTORY]

runs it for long, in tests/integration. A seed decides what the programs and the checkpoints do;
when exactly they do it the machine decides, so a seed that fails once may need some runs more.
"""

from __future__ import annotations

import argparse
import mmap
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from . import checks, mode, proc
from .closing import Closing
from .criu import Arrangement, CriuTask, Result, read_log
from .mode import Mode
from .net import HOST, Netns, Network
from .programs import program

# enum counter of tests/programs/chaos.h
COUNTERS = (
    "stop failed done tasks ids live opened confirmed identified pending_lost streams_sent "
    "streams_checked resets_made resets_seen resets_unsure bytes_sent bytes_checked orphans forks "
    "handed split dups urgent longest_ms stuck"
).split()

# A peer whose every retransmission falls into an outage backs off, up to rto_max; and Linux gives
# up after 2 * rto_max where the window was shrunk. So an end that stands still for long gets a calm
# time that is longer than rto_max.
SYSCTLS = (
    "net.ipv4.tcp_rto_max_ms=8000",
    "net.ipv4.tcp_retries2=200",
    "net.ipv4.tcp_syn_retries=100",
    "net.ipv4.tcp_orphan_retries=100",
)
CALM_EVERY, CALM_SECONDS, CALM_MOST = 12, 2.0, 10.0
FINISH_SECONDS = 100  # more than the patience of hf-chaos


class Found(AssertionError):
    """Something was wrong, with what is needed to see why."""


class Numbers(Closing):
    """The counters of one side, which it maps as well."""

    def __init__(self, path: Path) -> None:
        path.write_bytes(bytes(4096))
        self._path = path

    def open(self) -> None:
        with open(self._path, "r+b") as file:
            self._map = mmap.mmap(file.fileno(), 4096)
        self.set_stop(1)  # until the other side listens, too

    def close(self) -> None:
        self._map.close()

    def __getitem__(self, name: str) -> int:
        value: int = struct.unpack_from("<Q", self._map, 8 * COUNTERS.index(name))[0]
        return value

    def set_stop(self, value: int) -> None:
        struct.pack_into("<Q", self._map, 8 * COUNTERS.index("stop"), value)

    def all(self) -> Counter[str]:
        return Counter({name: self[name] for name in COUNTERS})


def command(role: str, seed: int, work: Path, own: Netns, other: Netns) -> list[object]:
    return [program("hf-chaos"), role, seed, work, own.v4, own.v6, other.v4, other.v6]


class ChaosTask(CriuTask):
    """The container's side."""

    def __init__(
        self, net: Network, work: Path, options: Mode, arrangement: Arrangement, seed: int
    ) -> None:
        super().__init__(net.container, work, options, arrangement)
        self.net, self.seed = net, seed

    def command(self) -> list[object]:
        return command("container", self.seed, self.work, self.net.container, self.net.peer)


class ChaosPeer(Closing):
    """The other side, which is never checkpointed."""

    def __init__(self, net: Network, work: Path, seed: int) -> None:
        self._net, self._work, self._seed = net, work, seed

    def open(self) -> None:
        words = command("peer", self._seed, self._work, self._net.peer, self._net.container)
        with open(self._work / "peer.out", "ab") as log:
            self.process = self._net.peer.popen(words, stdin=subprocess.DEVNULL, stderr=log)

    def close(self) -> None:
        if self.process.poll() is None:
            proc.kill(proc.tree(self.process.pid))
        self.process.wait()


@dataclass
class Report:
    seed: int
    rounds: Counter[str] = field(default_factory=Counter)
    numbers: Counter[str] = field(default_factory=Counter)
    connections: int = 0  # that holdfast restored
    seconds: float = 0
    longest_ms: int = 0
    orphans: int = 0  # that were not done when a checkpoint was made, one by one

    def text(self) -> str:
        kinds = ", ".join(f"{n} {kind}" for kind, n in sorted(self.rounds.items()))
        names = [name for name in COUNTERS[6:-2] if self.numbers[name]]
        return (
            f"seed {self.seed}: {self.seconds:.0f} s; {kinds}; {self.connections} connections"
            f" restored; {', '.join(f'{name} {self.numbers[name]}' for name in names)};"
            f" orphans reported {self.orphans}; longest pause {self.longest_ms} ms"
        )


class Chaos:
    """One seed's run."""

    def __init__(self, seed: int, work: Path, options: Mode) -> None:
        # What was not accepted yet is reset, which CRIU wants to be told.
        self.seed, self.work, self.options = seed, work, options.plus("skip-in-flight")
        self.random = random.Random(seed)
        self.report = Report(seed)

    def run(self, seconds: float) -> Report:
        start = time.monotonic()
        arrangement: Arrangement = self.random.choice(("shared", "external"))
        self.work.mkdir(parents=True, exist_ok=True)
        with Network() as self.net:
            for number, ns in enumerate((self.net.container, self.net.peer), 1):
                ns.run("sysctl", "-qw", *SYSCTLS).check()
                ns.run("ip", "addr", "add", f"fe80::77:{number}/64", "dev", "eth0", "nodad").check()
            with (
                Numbers(self.work / "container.counters") as self.inside,
                Numbers(self.work / "peer.counters") as self.outside,
                ChaosTask(self.net, self.work, self.options, arrangement, self.seed) as self.task,
                ChaosPeer(self.net, self.work, self.seed) as self.peer,
            ):
                try:
                    self._begin()
                    while time.monotonic() - start < seconds:
                        self._round()
                    self._finish()
                except BaseException:
                    self._collect()
                    raise
        self.report.seconds = time.monotonic() - start
        return self.report

    # ---- rounds

    def _begin(self) -> None:
        sides = (self.inside, self.outside)
        self._await(lambda: all(side["tasks"] for side in sides), "start of the programs")
        for side in sides:
            side.set_stop(0)

    def _round(self) -> None:
        number = sum(self.report.rounds.values()) + 1
        time.sleep(self.random.uniform(0, 0.3))
        if number % CALM_EVERY == 0:
            time.sleep(CALM_SECONDS)
        end = time.monotonic() + CALM_MOST
        while self.outside["stuck"] and time.monotonic() < end:
            time.sleep(0.02)
        kind = self.random.choices(("restored", "left running", "rolled back"), (80, 14, 6))[0]
        short, long = self.random.uniform(0, 0.4), self.random.uniform(0, 2)
        pause = self.random.choice((0.0, 0.0, short, long))
        if kind == "restored":
            self._logged(self.task.checkpoint())
            time.sleep(pause)
            self._logged(self.task.restore())
        elif kind == "left running":
            self._logged(self.task.checkpoint(leave_running=True))
        else:
            self._failing()
        self.report.rounds[kind] += 1
        self._check()
        if self.task.rounds > 3:
            shutil.rmtree(self.task.work / f"images{self.task.rounds - 3}")

    def _logged(self, result: Result) -> None:
        for line in result.lines("Warn  (holdfast):", "connections that the program has closed"):
            self.report.orphans += int(line.split("(holdfast): ")[1].split()[0])
        for line in result.lines("holdfast: restored"):
            self.report.connections += int(line.split("restored ")[1].split()[0])
        if not result.ok:
            raise Found(f"seed {self.seed}: {self._last_lines(result)}")

    @staticmethod
    def _last_lines(result: Result) -> str:
        errors = [line for line in result.log.splitlines() if "Error" in line or "Warn" in line]
        return "\n".join([f"exit status {result.rc}", result.output, *errors])

    def _failing(self) -> None:
        """CRIU fails after the plugin has done its part."""
        script = self.work / "fail"
        script.write_text('#!/bin/sh\n[ "$CRTOOLS_SCRIPT_ACTION" != post-dump ]\n')
        script.chmod(0o755)
        result = self.task.checkpoint(extra=["--action-script", str(script)])
        if result.ok or not self.task.pids():
            raise Found(f"seed {self.seed}: a dump that should have failed did not")

    def _check(self) -> None:
        if self.inside["failed"] or self.outside["failed"]:
            raise Found(self.logs())
        if not self.task.pids() or self.peer.process.poll() is not None:
            raise Found(f"seed {self.seed}: a program has ended\n{self.logs()}")

    def logs(self) -> str:
        paths = [self.work / f"{role}.log" for role in ("container", "peer")]
        return "\n".join(read_log(path) for path in paths).strip()

    # ---- the end

    def _finish(self) -> None:
        """Everything that is open comes to its planned end."""
        sides = (self.inside, self.outside)
        for side in sides:
            side.set_stop(1)
        self._await(lambda: all(side["live"] == 0 for side in sides), "end of the connections")
        for side in sides:
            side.set_stop(2)
        self._await(lambda: all(side["done"] for side in sides), "end of the programs")
        self._compare(self.inside.all() + self.outside.all())
        locks = checks.holdfast_tables(self.net.container, self.net.peer, HOST)
        if locks:
            raise Found(f"seed {self.seed}: left behind: {locks}")

    def _await(self, condition: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + FINISH_SECONDS
        while not condition():
            if self.inside["failed"] or self.outside["failed"]:
                raise Found(self.logs())
            if time.monotonic() > end:
                raise Found(f"seed {self.seed}: {what}: not within {FINISH_SECONDS} s")
            time.sleep(0.02)

    def _compare(self, both: Counter[str]) -> None:
        self.report.numbers = both
        self.report.longest_ms = max(self.inside["longest_ms"], self.outside["longest_ms"])
        unsure = both["resets_unsure"]
        if not (
            both["streams_sent"] == both["streams_checked"]
            and both["resets_seen"] <= both["resets_made"] <= both["resets_seen"] + unsure
            and both["confirmed"] <= both["identified"] <= both["confirmed"] + unsure
        ):
            raise Found(f"seed {self.seed}: the two sides count differently: {both}")

    def _collect(self) -> None:
        """What a failure can be understood from."""
        commands = (["ss", "-tinoema"], ["nft", "list", "ruleset"])
        for ns, name in ((self.net.container, "container"), (self.net.peer, "peer")):
            text = [ns.run(*words).output for words in commands]
            (self.work / f"{name}.state").write_text("\n".join(text))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python3 -m harness.chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600, help="in all")
    parser.add_argument("--each", type=float, default=60, help="seconds of one seed")
    parser.add_argument("--seed", type=int, default=0, help="the first seed; default: the time")
    parser.add_argument("--keep", type=Path, help="directory for what a failure leaves")
    options = parser.parse_args()
    keep = options.keep or Path(tempfile.mkdtemp(prefix="hf-chaos-"))
    seed = options.seed or int(time.time())
    end = time.monotonic() + options.seconds
    failures = 0
    while time.monotonic() < end:
        work = keep / f"seed{seed}"
        run = Chaos(seed, work, mode.holdfast())
        try:
            report = run.run(min(options.each, end - time.monotonic()))
            print(report.text(), flush=True)
            shutil.rmtree(work)
        except Exception as error:  # the next seed may find something else
            failures += 1
            print(f"seed {seed} FAILED, {run.report.rounds}: {error}\nsee {work}", flush=True)
        seed += 1
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
