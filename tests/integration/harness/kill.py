# SPDX-License-Identifier: GPL-2.0-or-later
"""Checkpoints in which somebody is killed: at which moments, and what came of each.

A moment is a system call of a process, by its number in an undisturbed run (hf-kill). The container
and its connections stay the same from one moment to the next, as long as nothing was lost.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import re
import shutil
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from . import checks, proc
from .criu import CriuServer, Result, read_log
from .mode import Mode
from .net import HOST, Network, nft_tables
from .oci import OciServer, Runtime
from .peer import Peer
from .programs import program

GUARDIAN = "holdfast-guard"
WAKER = "holdfast-wake"  # what it becomes when the lock is gone
# Every kind of stream, each connection held by a child of the server as well; limited, so that
# there is time for a checkpoint beside them. The last has more to send than its peer takes.
CONNS = [
    "idle*2",
    "echo,gap=5*3",
    "source,rate=1M*2",
    "sink,rate=1M*2",
    "duplex,rate=1M*3",
    "hold,in=20k,out=300k",
]
# So many that several threads of CRIU's process work on them.
MANY = [*CONNS, "idle*200"]
PATIENCE = 6.0
# A call that is made no more often than this serves to find others.
RARE = 4
# The first moments in which what is unsent is queued: two for each connection.
FILLING = 2
# A run without a part that matters more than others.
SHORT = 200
# For guardians, and for tasks whose parent has gone.
SETTLE = 5.0
# For a checkpoint or a restore.
TIMEOUT = 12.0

Operation = Literal["dump", "restore"]
Server = CriuServer | OciServer


@dataclass(frozen=True)
class Who:
    """Who is killed, and whose calls are counted to tell when."""

    name: str
    options: tuple[str, ...] = ()  # of hf-kill: whose calls
    root: bool = False  # it is not that one who is killed but the container's first task
    dump: Literal["kill", "leave running", "fail"] = "kill"  # how a dump is to end


CRIU = Who("criu")
ROOT = Who("root task", root=True)
THE_GUARDIAN = Who("guardian", ("--name", GUARDIAN))
CRIU_LEAVING = Who("criu, leaving", dump="leave running")
CRIU_FAILING = Who("criu, failing", dump="fail")
GUARDIAN_LEAVING = Who("guardian, leaving", ("--name", GUARDIAN), dump="leave running")
GUARDIAN_FAILING = Who("guardian, failing", ("--name", GUARDIAN), dump="fail")
GUARDIAN_PARENT = Who("guardian's parent", ("--child", "1"))
CRUN = Who("crun")
RUNC = Who("runc", ("--threads",))
# (The first criu only tells its version.)
CRUN_CRIU = Who("criu of crun", ("--name", "criu:2"))
RUNC_CRIU = Who("criu of runc", ("--name", "criu:2"))
CRUN_ROOT = Who("root task of crun", ("--name", "criu:2"), root=True)
RUNC_ROOT = Who("root task of runc", ("--name", "criu:2"), root=True)
CRUN_GUARDIAN = Who("guardian of crun", ("--name", GUARDIAN), dump="leave running")
RUNC_GUARDIAN = Who("guardian of runc", ("--name", GUARDIAN), dump="leave running")


@functools.cache
def syscall_names() -> dict[int, str]:
    """As the C library's header has them; none where there is no compiler."""
    with contextlib.suppress(OSError):
        words = ["gcc", "-E", "-dM", "-include", "sys/syscall.h", "-"]
        text = subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        ).stdout
        return {int(n): name for name, n in re.findall(r"#define __NR_(\w+) (\d+)", text)}
    return {}


@dataclass(frozen=True)
class Call:
    """A system call, with the first of its arguments."""

    index: int
    number: int
    args: tuple[int, ...] = ()

    @classmethod
    def parse(cls, words: Sequence[str]) -> Call:
        return cls(int(words[0]), int(words[1]), tuple(int(word, 16) for word in words[2:]))

    @property
    def name(self) -> str:
        return syscall_names().get(self.number, str(self.number))

    @property
    def is_repair(self) -> bool:
        return self.name == "setsockopt" and self.args[1:3] == (6, 19)

    @property
    def is_filling(self) -> bool:
        """TCP_NOTSENT_LOWAT: before and after what is unsent is queued, outside repair mode."""
        return self.name == "setsockopt" and self.args[1:3] == (6, 25)

    def __str__(self) -> str:
        if self.name in ("getsockopt", "setsockopt"):
            level, option = self.args[1:3]
            is_repair = (level, option) == (6, 19)
            return f"{self.name} " + ("TCP_REPAIR" if is_repair else f"{level}, {option}")
        return self.name


@dataclass
class Trace:
    """What hf-kill reported."""

    calls: list[Call] = field(default_factory=list)
    killed: Call | None = None
    total: int = 0

    @classmethod
    def read(cls, path: Path) -> Trace:
        found = cls()
        for line in path.read_text().splitlines() if path.exists() else []:
            what, *words = line.split()
            if what == "call":
                found.calls.append(Call.parse(words))
            elif what == "killed":
                found.killed = Call.parse(words)
            elif what == "calls":
                found.total = int(words[0])
        return found

    @functools.cached_property
    def _rare(self) -> list[tuple[Call, int]]:
        """Calls of which there are few, each with the how many-th of its number it is."""
        often = Counter(call.number for call in self.calls)
        seen: Counter[int] = Counter()
        found = []
        for call in self.calls:
            seen[call.number] += 1
            if often[call.number] <= RARE:
                found.append((call, seen[call.number]))
        return found

    @functools.cached_property
    def filling(self) -> list[int]:
        return [call.index for call in self.calls if call.is_filling]

    def options(self, index: int) -> list[object]:
        """For hf-kill, to kill here: counted from a rare call, since no two runs are the same."""
        if index in self.filling:
            call = self.calls[index - self.calls[0].index]
            mark = f"{call.number},{call.args[1]},{call.args[2]}"
            return ["--since", f"{mark}:{self.filling.index(index) + 1}", "--call", 1]
        before = [(call, nth) for call, nth in self._rare if call.index <= index]
        if not before:
            return ["--call", index]
        call, nth = before[-1]
        return ["--since", f"{call.number}:{nth}", "--call", index - call.index + 1]

    def window(self) -> tuple[int, int]:
        """Where the connections are locked, read or rebuilt, and let go."""
        inside = [c.index for c in self.calls if c.is_repair or c.name == "membarrier"]
        if not inside:
            return 1, self.total
        return max(1, inside[0] - 40), min(self.total, inside[-1] + 20)


def spread(first: int, last: int, count: int) -> list[int]:
    """So many numbers, evenly."""
    if last - first + 1 <= count:
        return list(range(first, last + 1))
    return sorted({first + round(i * (last - first) / max(1, count - 1)) for i in range(count)})


def choose(trace: Trace, count: int, whole: float = 0.3) -> list[int]:
    """Moments: most of them where the connections are handled and at the end.

    And some more in which a connection is out of repair mode before it is whole.
    """
    if trace.total <= SHORT:
        return spread(1, trace.total, count)
    first, last = trace.window()
    everywhere, end = round(count * whole), round(count * 0.25)
    dense = count - everywhere - end
    chosen = {*spread(first, last, dense), *spread(1, trace.total, everywhere)}
    chosen |= set(spread(max(1, trace.total - 70), trace.total, end))
    chosen |= set(trace.filling[:FILLING])
    return sorted(chosen)


@dataclass(frozen=True)
class Moment:
    """One kill and what came of it."""

    operation: Operation
    who: str
    call: Call | None  # None: the process ended before it came so far
    outcome: str
    trouble: str = ""  # what should not be
    seconds: float = 0.0

    @property
    def result(self) -> str:
        trouble = f"  ** {self.trouble}" if self.trouble else ""
        return self.outcome + ("" if self.call else " (nobody was killed)") + trouble

    def line(self) -> str:
        where = f"{self.call.index:6} {self.call!s:24}" if self.call else f"{'-':>6} {'':24}"
        return f"{self.operation:8} {self.who:18} {where} {self.result}"


@dataclass
class Table:
    """All moments of a session, for its end."""

    title: str
    moments: list[Moment] = field(default_factory=list)

    def summary(self) -> Counter[tuple[str, str, str]]:
        """(operation, who, result) -> moments"""
        numbers = re.compile(r"\d+ (of \d+ )?(tasks|connections)")
        return Counter(
            (m.operation, m.who, numbers.sub(r"\2", m.result)) for m in self.moments
        )

    def text(self) -> str:
        """Neighbours to which the same happened are one line."""
        lines = [f"{'':8} {'killed':18} {'at its call':>13} {'':24} {'':>5} outcome\n"]
        groups = itertools.groupby(self.moments, lambda m: (m.operation, m.who, m.result))
        for (operation, who, result), group in groups:
            calls = [moment.call for moment in group]
            first, last = calls[0], calls[-1]
            where = f"{first.index}-{last.index}" if first and last else "-"
            call = str(first) if len(calls) == 1 and first else ""
            lines.append(
                f"{operation:8} {who:18} {where:>13} {call:24} {len(calls):4}x {result}\n"
            )
        return "".join(lines)


def beside(tables: Sequence[Table]) -> str:
    """The sums of several tables, next to each other."""
    sums = [table.summary() for table in tables]
    keys = sorted({key for one in sums for key in one})
    head = f"{'':8} {'killed':18} " + " ".join(f"{table.title:>10}" for table in tables)
    lines = [f"{head}  outcome"]
    for operation, who, outcome in keys:
        cells = " ".join(f"{one[operation, who, outcome] or '-':>10}" for one in sums)
        lines.append(f"{operation:8} {who:18} {cells}  {outcome}")
    totals = " ".join(f"{sum(1 for m in t.moments if m.call):>10}" for t in tables)
    lines.append(f"{'':8} {'killed, in all':18} {totals}")
    return "\n".join(lines) + "\n"


INFECTED = "of CRIU's code in it"
FROZEN = "goes on, left frozen by CRIU"
# What leaves the container as it was before.
SAME_AGAIN = (
    "goes on",
    "goes on after a good dump",
    FROZEN,
    "restores",
    "runs",
    "restores again",
    "restores again, CRIU leaves tasks",
)


# Those of this session, printed at its end.
printed: list[str] = []


def _processes(name: str) -> list[int]:
    """Those of this name; zombies do not count."""
    found = []
    for path in Path("/proc").glob("[0-9]*/comm"):
        with contextlib.suppress(OSError):
            pid = int(path.parent.name)
            if path.read_text().strip() == name and proc.alive(pid):
                found.append(pid)
    return found


def _state(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return "X"


class Rig:
    """with Rig(mode, tmp_path) as rig: ...; a loaded container, made anew once it was lost."""

    def __init__(
        self,
        mode: Mode,
        work: Path,
        table: Table,
        runtime: Runtime | Literal["criu"] = "criu",
        conns: Sequence[str] = CONNS,
    ) -> None:
        self.mode, self.work, self.table, self.runtime = mode, work, table, runtime
        self.conns = conns
        self.built = 0
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Rig:
        self.build()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self.finish()
        finally:
            self._stack.close()

    # ---- the container

    def build(self) -> None:
        self._stack.close()
        self.built += 1
        work = self.work / f"rig{self.built}"
        self._leftovers = checks.Leftovers()
        self.net = self._stack.enter_context(Network())
        self.server: Server
        # A task for each of so many connections would take CRIU too long.
        args = [] if self.conns is MANY else ["--share=fork"]
        if self.runtime == "criu":
            self.server = CriuServer(self.net, work, self.mode, "external", args)
        else:
            self.server = OciServer(self.net, work, self.mode, self.runtime, args)
        self._stack.enter_context(self.server)
        self._stack.callback(self._clean)
        self.peer = self._stack.enter_context(
            Peer(self.net.peer, self.net.targets(), self.conns, patience=PATIENCE)
        )
        # What was restored once is checkpointed by other calls than what never was.
        self.run("dump").check()
        self._settle()
        self.run("restore").check()

    def _clean(self) -> None:
        """What a kill left; guardians first."""
        for name in (GUARDIAN, WAKER, "hf-kill", "criu"):
            proc.kill(_processes(name))
        proc.kill(pid for (pid, _), name in self._leftovers.found().items() if name != "hf-peer")
        for family, name in nft_tables(HOST):
            HOST.run("nft", "delete", "table", family, name)

    def finish(self) -> None:
        """Every byte of every stream has arrived, and nobody is there but the container."""
        assert self.peer.progress().ok
        tree = self.server.pids()
        found = self._leftovers.found().items()
        left = [name for (pid, _), name in found if pid not in tree and name != "hf-peer"]
        assert not left
        report = self.peer.finish()
        assert report.lost == 0, report.complaints()

    # ---- one operation

    @property
    def report(self) -> Path:
        return self.work / "hf-kill.report"

    def _wrapper(self, who: Who, *options: object) -> list[str]:
        victim = ["--victim", self.server.pids()[0]] if who.root else []
        words = [program("hf-kill"), *who.options, "--report", self.report, *victim, *options]
        return [*map(str, words), "--"]

    def _failing(self) -> list[str]:
        """Options with which a dump fails at its very end."""
        script = self.work / "fail"
        script.write_text('#!/bin/sh\n[ "$CRTOOLS_SCRIPT_ACTION" != post-dump ]\n')
        script.chmod(0o755)
        return ["--action-script", str(script)]

    def run(
        self, operation: Operation, wrapper: Sequence[str] = (), who: Who = CRIU
    ) -> Result:
        self.server.criu_wrapper = wrapper
        try:
            if operation == "dump":
                shutil.rmtree(self.server.images, ignore_errors=True)
                leave = who.dump == "leave running"
                extra = self._failing() if who.dump == "fail" else []
                return self.server.checkpoint(leave_running=leave, extra=extra, timeout=TIMEOUT)
            return self.server.restore(timeout=TIMEOUT)
        finally:
            self.server.criu_wrapper = ()

    def count(self, operation: Operation, who: Who) -> Trace:
        """An undisturbed run; afterwards the container runs."""
        if operation == "restore":
            self.run("dump").check()
            self._settle()
        counted = replace(who, root=False)
        result = self.run(operation, self._wrapper(counted, "--list"), who)
        if who.dump != "fail":
            result.check()
        self._settle()
        trace = Trace.read(self.report)
        if operation == "dump" and who.dump == "kill":
            self.run("restore").check()
        assert self.peer.progress().ok
        return trace

    def find(self, operation: Operation, who: Who) -> Who:
        """In a restore CRIU makes the tasks as well, which it cannot trace if we do: only those
        processes are looked at that it makes after it has made its last pair of sockets.
        """
        if operation == "dump" or GUARDIAN not in who.options:
            return who
        names = [call.name for call in self.count("restore", CRIU).calls]
        number = next(n for n, name in syscall_names().items() if name == "socketpair")
        last = f"{number}:{names.count('socketpair')}"
        return replace(who, options=(*who.options, "--follow", last))

    def _settle(self) -> list[str]:
        """Waits for what ends by itself; returns what does not.

        That is the guardian, and with a runtime CRIU, which does not mind that the former died.
        A CRIU that hangs is ended as anybody would do it, with the guardian there.
        """
        left = []
        runtime = isinstance(self.server, OciServer)
        for name in (*(["criu"] if runtime else []), GUARDIAN, WAKER):
            try:
                proc.wait_for(lambda name=name: not _processes(name), f"end of {name}", SETTLE)
            except TimeoutError:
                proc.kill(_processes(name))
                left.append(f"{name} left")
        return left

    # ---- what came of it

    def _tables(self) -> list[str]:
        """The locks, of which the host may have some too."""
        tables = checks.holdfast_tables(self.net.container, HOST)
        return tables + checks.criu_tables(self.net.container)

    def _lock_left(self) -> list[str]:
        tables = self._tables()
        if not tables:
            return []
        on_host = all(table.startswith(HOST.name) for table in tables)
        return ["lock left on the host"] if on_host else ["lock left"]

    def _reuseaddr(self, pids: Sequence[int]) -> set[int]:
        """hf-server's listeners have it on, and so what they accept; repair mode uses it."""
        return {
            sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)
            for pid in pids
            for sock in checks.sockets(pid)
            if sock.family in (socket.AF_INET, socket.AF_INET6)
        }

    def _held(self) -> int:
        """Connections of the container that the kernel knows of."""
        words = ["ss", "-Htn", "state", "connected", "exclude", "time-wait"]
        return len(self.net.container.run(*words).check().output.splitlines())

    def _running(self, pids: Sequence[int]) -> list[str]:
        """What is wrong with a container that should run on."""
        trouble = []
        dead = [pid for pid in pids if not proc.alive(pid)]
        stuck = [pid for pid in pids if _state(pid) in "tT"]
        if dead:
            trouble.append(f"{len(dead)} of {len(pids)} tasks died")
        if stuck:
            trouble.append(f"{len(stuck)} tasks stopped")
        trouble += self._lock_left()
        if checks.repair_sockets(pid for pid in pids if proc.alive(pid)):
            trouble.append("repair mode left")
        if 0 in self._reuseaddr(pids):
            trouble.append("SO_REUSEADDR lost")
        # (With the others it would be a matter of patience only.)
        if not {"lock left", "repair mode left"} & set(trouble) and not self.peer.progress().ok:
            lost = sum(not c.kept for c in self.peer.stats())
            trouble.append(f"{lost} connections lost" if lost else "connections stand still")
        return trouble

    def _dead(self, tree: Sequence[int]) -> list[str]:
        """What is wrong with a container that has ended, by no fault of the checkpoint."""
        with contextlib.suppress(TimeoutError):
            # Its children end when they are told of its death.
            proc.wait_for(lambda: not any(map(proc.alive, tree)), "end of all tasks", SETTLE)
        left = [pid for pid in tree if proc.alive(pid)]
        trouble = [f"{len(left)} of {len(tree)} tasks left"] if left else []
        return trouble + self._lock_left()

    def _restorable(self, tree: Sequence[int]) -> list[str]:
        """What is wrong with a container that should come back by a restore."""
        trouble = []
        left = [pid for pid in tree if proc.alive(pid)]
        if left:
            trouble.append(f"{len(left)} of {len(tree)} tasks left")
        proc.kill(left)
        proc.wait_gone(tree)
        if isinstance(self.server, OciServer):
            self.server.forget()
        result = self.run("restore")
        trouble += self._settle()
        if not result.ok:
            # (The first is there always, where CAP_SYS_RESOURCE is missing.)
            errors = [e for e in result.lines("Error") if "RLIMIT" not in e]
            errors = [*result.output.splitlines()[:1], *errors, "no reason told"]
            trouble.append(f"no restore ({errors[0].rpartition(': ')[2]})")
            return trouble
        return trouble + self._running(self.server.pids())

    def _thaw(self, pid: int) -> bool:
        """CRIU freezes a runtime's container by its cgroup; only CRIU thaws it."""
        if not isinstance(self.server, OciServer):
            return False
        lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
        path = next(line.removeprefix("0::/") for line in lines if line.startswith("0::/"))
        file = Path("/sys/fs/cgroup") / path / "cgroup.freeze"
        is_frozen = file.exists() and file.read_text().strip() == "1"
        if is_frozen:
            file.write_text("0")
        return is_frozen

    def _killed(self, index: int) -> Call | None:
        killed = Trace.read(self.report).killed
        return replace(killed, index=index) if killed else None

    def dump(self, who: Who, trace: Trace, index: int) -> Moment:
        """Killed during a dump: either the container goes on, or its image restores."""
        start = time.monotonic()
        tree = self.server.pids()
        result = self.run("dump", self._wrapper(who, *trace.options(index)), who)
        call = self._killed(index)
        trouble = self._settle()
        if who.root and call:
            proc.wait_for(lambda: not proc.alive(tree[0]), "end of the task that was killed")
        if proc.alive(tree[0]):
            outcome = "goes on" if not result.ok else "goes on after a good dump"
            if self._thaw(tree[0]):
                outcome = FROZEN
            trouble += self._running(tree)
            if not proc.alive(tree[0]):
                outcome = "dies"
            if self._is_infecting(call) and trouble and "died" in trouble[0] and not trouble[1:]:
                outcome, trouble = f"{outcome}, {', '.join(trouble)} {INFECTED}", []
        elif self._is_whole():
            outcome = "restores"
            trouble += self._restorable(tree)
        else:
            outcome = "dies"
            if who.root and "criu left" in trouble:
                # It waits for ever for a task that has died, with and without us.
                trouble.remove("criu left")
                outcome = "dies, and CRIU hangs"
            trouble += self._dead(tree)
            if not who.root and self._is_infecting(call):
                outcome += f" {INFECTED}"
            elif not who.root:
                trouble.append("neither container nor image")
        return self._note("dump", who, call, outcome, trouble, start)

    def _is_infecting(self, call: Call | None) -> bool:
        """Whether CRIU may have had a task make system calls of its own, one of which then is
        followed by a trap: the task is lost if CRIU dies, with and without us.
        """
        log = read_log(self.server.images / "dump.log")
        return call is not None and call.name in ("ptrace", "wait4") and "syscall_ip" in log

    def _is_whole(self) -> bool:
        """Whether the dump came as far as to kill the tasks: this file is CRIU's last but one."""
        return (self.server.images / "inventory.img").exists()

    def restore(self, who: Who, trace: Trace, index: int) -> Moment:
        """Killed during a restore: either the container runs, or the image restores again."""
        start = time.monotonic()
        tree = self.server.pids()
        self.run("dump").check()
        self._settle()
        locks = self._tables()
        since = checks.Leftovers()
        self.run("restore", self._wrapper(who, *trace.options(index)))
        call = self._killed(index)
        trouble = self._settle()
        runtimes = ("crun", "runc")
        left = sorted(pid for (pid, _), name in since.found().items() if name not in runtimes)
        if self._tables() or not left:
            outcome = "restores again"
            if left:
                outcome = "restores again, CRIU leaves tasks"
            if self._held():
                trouble.append("tasks hold connections")
            proc.kill(left)
            if self._tables() != locks:
                trouble.append("lock gone")
            trouble += self._restorable(tree)
        else:
            outcome = "runs"
            if isinstance(self.server, CriuServer):
                self.server.pid = tree[0]
            else:
                tree = left
                self.server.unmount()
                if not self.server.pids():
                    outcome = f"runs, unknown to {self.runtime}"
            trouble += self._running(tree)
        return self._note("restore", who, call, outcome, trouble, start)

    def _note(
        self,
        operation: Operation,
        who: Who,
        call: Call | None,
        outcome: str,
        trouble: Sequence[str],
        start: float,
    ) -> Moment:
        seconds = time.monotonic() - start
        moment = Moment(operation, who.name, call, outcome, ", ".join(trouble), seconds)
        self.table.moments.append(moment)
        self._log(moment)
        if trouble or outcome not in SAME_AGAIN:
            self._keep(moment)
            self.build()
        return moment

    def _log(self, moment: Moment) -> None:
        path = os.environ.get("HOLDFAST_KILL_TABLE")
        if path:
            with open(path, "a", encoding="utf-8") as file:
                file.write(f"{self.table.title:10} {moment.seconds:5.2f} {moment.line()}\n")

    def _keep(self, moment: Moment) -> None:
        """The logs of what went wrong, for whoever looks for them."""
        path = os.environ.get("HOLDFAST_KILL_TABLE")
        if not path or not moment.call:
            return
        name = f"{self.table.title}-{moment.operation}-{moment.who}-{moment.call.index}"
        where = Path(path).with_suffix(".logs") / name.replace(" ", "_")
        where.mkdir(parents=True, exist_ok=True)
        for log in [*self.server.images.glob("*.log"), self.server.server_log]:
            with contextlib.suppress(OSError):
                shutil.copy(log, where)


def moments(rig: Rig, operation: Operation, who: Who, count: int) -> Iterator[Moment]:
    """Counts once, then kills at so many moments."""
    who = rig.find(operation, who)
    trace = rig.count(operation, who)
    for call in choose(trace, count):
        yield (rig.dump if operation == "dump" else rig.restore)(who, trace, call)
