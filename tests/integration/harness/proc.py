# SPDX-License-Identifier: GPL-2.0-or-later
"""Running commands and ending processes, the latter always by pid, never by name."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    command: tuple[str, ...]
    rc: int
    output: str  # stdout and stderr together
    seconds: float

    def check(self) -> Done:
        if self.rc:
            raise RuntimeError(f"{' '.join(self.command)}: exit status {self.rc}\n{self.output}")
        return self


def run(command: Sequence[object], timeout: float = 60, **popen: object) -> Done:
    """Runs to the end; never raises for an exit status (see Done.check)."""
    words = tuple(str(word) for word in command)
    start = time.monotonic()
    process = subprocess.Popen(
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        **popen,  # type: ignore[call-overload]
    )
    try:
        output, _ = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        # It may have ended long ago, and something that it left behind keeps our pipe open.
        ended = process.poll()
        process.kill()
        output = f"not done after {timeout} s" + (
            "" if ended is None else f": ended ({ended}), but its output is held open by another"
        )
        process.wait()
        if process.stdout:
            process.stdout.close()
        return Done(words, 124, output, time.monotonic() - start)
    return Done(words, process.returncode, output, time.monotonic() - start)


def run_with_output(
    command: Sequence[object], output: int, timeout: float = 60, **popen: object
) -> Done:
    """The same with a descriptor for its output, for what hands it on to something that stays."""
    words = tuple(str(word) for word in command)
    start = time.monotonic()
    process = subprocess.Popen(
        words,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        **popen,  # type: ignore[call-overload]
    )
    # Not by wait(timeout), which polls in steps too coarse for our measurements.
    pidfd = os.pidfd_open(process.pid)
    if not select.select([pidfd], [], [], timeout)[0]:
        process.kill()
    os.close(pidfd)
    return Done(words, process.wait(), "", time.monotonic() - start)


def spawn_copy(source: int, sink: int) -> None:
    """Copies all that comes until every writer has gone, in a thread."""
    source, sink = os.dup(source), os.dup(sink)

    def copy() -> None:
        try:
            while data := os.read(source, 65536):
                os.write(sink, data)
        finally:
            os.close(source)
            os.close(sink)

    threading.Thread(target=copy, daemon=True).start()


def wait_for(condition: Callable[[], object], what: str, timeout: float = 10) -> None:
    end = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {timeout} s")
        time.sleep(0.01)


def alive(pid: int) -> bool:
    """Whether it exists and is more than a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def children(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*"):
        try:
            found += [int(word) for word in (task / "children").read_text().split()]
        except OSError:
            continue
    return found


def tree(pid: int) -> list[int]:
    """pid and all that descend from it, parents first."""
    found = [pid] if alive(pid) else []
    for child in children(pid):
        found += tree(child)
    return found


def ns_pids(pid: int) -> list[int]:
    """Its numbers: ours, then in each pid namespace within ours on the way to its own."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return []
    (line,) = [line for line in status.splitlines() if line.startswith("NSpid:")]
    return [int(word) for word in line.split()[1:]]


def wait_gone(pids: Iterable[int], timeout: float = 10) -> None:
    """Waits until their numbers are free again: a zombie would keep them from a restore.

    Children of ours are reaped here, orphans by the init of our pid namespace.
    """
    pids = list(pids)

    def gone() -> bool:
        for pid in pids:
            try:
                os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                pass
        return not any(Path(f"/proc/{pid}").exists() for pid in pids)

    wait_for(gone, f"end of the processes {pids}", timeout)


def end(process: subprocess.Popen[bytes]) -> None:
    """A child of ours, and its pipes."""
    if process.poll() is None:
        process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe:
            pipe.close()


def kill(pids: Iterable[int]) -> None:
    """Ends them for good."""
    pids = list(pids)
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    wait_gone(pids)
