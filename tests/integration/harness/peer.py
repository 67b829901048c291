# SPDX-License-Identifier: GPL-2.0-or-later
"""hf-peer: connections to hf-server, each byte of them checked."""

from __future__ import annotations

import json
import os
import select
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from . import proc
from .closing import Closing
from .net import Netns
from .programs import program


@dataclass(frozen=True)
class Connection:
    """One connection as hf-peer sees it; in a report, kept says how it ended."""

    id: int
    role: str
    family: str
    local: str
    remote: str
    server_pid: int  # in the server's own pid namespace
    phase: str
    state: str  # of TCP, before the end
    sent: int
    acked: int
    checked: int
    stall_ms: int
    kept: bool
    error: str
    inq: int = 0
    outq: int = 0
    # At the end only, nanoseconds of time.time(): when a request of ask() went out, and when its
    # answer was complete; when the first bytes came after mark(); when the server ran again after
    # it was restored, and when it read first what was not in the restored queue.
    asked: int = 0
    answered: int = 0
    resumed: int = 0
    arrived: int = 0
    advanced: int = 0

    @property
    def verified(self) -> int:
        """Bytes found right by either side: the server says so at the end, for what we sent."""
        return self.checked + (self.sent if self.phase == "kept" else 0)

    @classmethod
    def parse(cls, values: dict[str, Any]) -> Connection:
        names = {field.name for field in fields(cls)}
        return cls(**{key: value for key, value in values.items() if key in names})


@dataclass(frozen=True)
class Progress:
    ok: bool
    waited_ms: int
    missing: tuple[int, ...]  # the ids of those that stand still


@dataclass(frozen=True)
class Report:
    kept: int
    lost: int
    connections: tuple[Connection, ...]

    @property
    def longest_stall_ms(self) -> int:
        return max((c.stall_ms for c in self.connections), default=0)

    def complaints(self) -> str:
        bad = [c for c in self.connections if not c.kept]
        lines = [f"{c.id} {c.role} {c.family} {c.local} {c.remote}: {c.error}" for c in bad[:20]]
        return "\n".join([f"{self.kept} kept, {self.lost} lost", *lines])


class Peer(Closing):
    """with Peer(net.peer, net.targets(), ["idle*2", "echo,gap=50*10"]) as peer: ...

    Entered once every connection is served.
    """

    def __init__(
        self,
        ns: Netns,
        targets: Mapping[str, str],
        conns: Sequence[str],
        *,
        patience: float = 30,
        mptcp: bool = False,
        before_finish: Callable[[], None] | None = None,
    ) -> None:
        self.before_finish = before_finish
        self.patience = patience
        command: list[object] = [program("hf-peer"), f"--patience={patience}"]
        command += [f"--connect={label}={address}" for label, address in targets.items()]
        command += [f"--conn={conn}" for conn in conns]
        command += ["--mptcp"] if mptcp else []
        self.process = ns.popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._buffer = b""

    def open(self) -> None:
        ready = self._answer("ready", self.patience + 5)
        if ready["lost"]:
            bad = [c.error for c in self.stats() if not c.kept]
            raise RuntimeError(f"hf-peer: {ready['lost']} connections failed: {bad[:5]}")

    def close(self) -> None:
        proc.end(self.process)

    def _line(self, timeout: float) -> bytes:
        assert self.process.stdout
        fd = self.process.stdout.fileno()
        end = time.monotonic() + timeout
        while b"\n" not in self._buffer:
            left = end - time.monotonic()
            if left <= 0 or not select.select([fd], [], [], left)[0]:
                raise TimeoutError(f"hf-peer gave no answer in {timeout} s")
            got = os.read(fd, 1 << 20)
            if not got:
                raise RuntimeError(f"hf-peer ended with status {self.process.wait()}")
            self._buffer += got
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def _answer(self, event: str, timeout: float) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self._line(timeout))
        if answer.get("event") != event:
            raise RuntimeError(f"hf-peer answered {answer!r}, not {event}")
        return answer

    def _ask(self, command: str, event: str, timeout: float) -> dict[str, Any]:
        assert self.process.stdin
        self.process.stdin.write(command.encode() + b"\n")
        self.process.stdin.flush()
        return self._answer(event, timeout)

    def stats(self) -> list[Connection]:
        return [Connection.parse(c) for c in self._ask("stats", "stats", 10)["connections"]]

    def mark(self) -> None:
        """Starts the measuring of stalls anew, and notes the progress that follows."""
        self._ask("mark", "mark", 10)

    def ask(self) -> None:
        """One exchange on every idle connection."""
        self._ask("ask", "ask", 10)

    def progress(self) -> Progress:
        """Waits until every connection that should flow has moved on, or for the patience."""
        answer = self._ask("progress", "progress", self.patience + 5)
        return Progress(answer["ok"], answer["waited_ms"], tuple(answer["missing"]))

    def finish(self) -> Report:
        """Ends every connection properly and compares the totals of both sides."""
        if self.before_finish:
            self.before_finish()
        answer = self._ask("finish", "report", 4 * self.patience + 10)
        self.process.wait(10)
        found = tuple(Connection.parse(c) for c in answer["connections"])
        report = Report(answer["kept"], answer["lost"], found)
        if (self.process.returncode == 0) != (report.lost == 0):
            raise RuntimeError(f"hf-peer: status {self.process.returncode}, {report.complaints()}")
        return report
