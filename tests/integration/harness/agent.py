# SPDX-License-Identifier: GPL-2.0-or-later
"""The test's side of hf-agent, which does in a container or at the peer what the test says.

    agent.run("conns['a'].sock.getsockname()")     any statements; the last expression's value
    agent.listen("l", "10.77.0.1", 80)             any function of agent_main.py
    agent["a"].send(100)                           any method of the connection "a"

An OSError in the agent is raised as the same OSError here, an AssertionError as AssertionError.
"""

from __future__ import annotations

import ast
import contextlib
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

from . import proc
from .criu import Arrangement, CriuTask, read_log
from .mode import Mode
from .net import Netns

PROGRAM = Path(__file__).with_name("agent_main.py")


def command(directory: Path, name: str) -> list[str]:
    """-I and -S: nothing from the environment, and a quicker start."""
    return [sys.executable, "-I", "-S", "-B", str(PROGRAM), str(directory), name]


class RemoteConn:
    """A connection of an agent, by its name there."""

    def __init__(self, agent: Control, name: str) -> None:
        self._agent, self.conn = agent, name

    def __getattr__(self, method: str) -> Callable[..., Any]:
        return self._agent.function(f"conns[{self.conn!r}].{method}")


class Control:
    """Talks to an agent through the fifos DIRECTORY/NAME.in and .out, opened for each request."""

    def __init__(self, directory: Path, name: str) -> None:
        self.directory, self.agent_name = directory, name
        self._number = 0

    def make_fifos(self) -> None:
        for end in ("in", "out"):
            path = self._fifo(end)
            path.unlink(missing_ok=True)
            os.mkfifo(path)

    def _fifo(self, end: str) -> Path:
        return self.directory / f"{self.agent_name}.{end}"

    def run(self, code: str, timeout: float = 30) -> Any:
        """Statements, run by the agent."""
        self._number += 1
        with contextlib.ExitStack() as stack:
            fds = []
            for end in ("in", "out"):
                fds.append(os.open(self._fifo(end), os.O_RDWR | os.O_CLOEXEC))
                stack.callback(os.close, fds[-1])
            data = f"{(self._number, code)!r}\n".encode()
            while data:
                data = data[os.write(fds[0], data) :]
            return self._answer(fds[1], timeout, code)

    def _answer(self, fd: int, timeout: float, code: str) -> Any:
        end = time.monotonic() + timeout
        buffer = b""
        while True:
            left = end - time.monotonic()
            if left <= 0 or not select.select([fd], [], [], left)[0]:
                raise TimeoutError(f"{self.agent_name}: no answer in {timeout} s to {code}")
            buffer += os.read(fd, 1 << 20)
            while b"\n" in buffer:
                line, _, buffer = buffer.partition(b"\n")
                number, *outcome = ast.literal_eval(line.decode())
                if number == self._number:  # an older one came after its time-out
                    return unpack(outcome, code)

    def function(self, name: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            return self.run(f"{name}(*{args!r}, **{kwargs!r})")

        return call

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_"):
            raise AttributeError(name)
        return self.function(name)

    def __getitem__(self, conn: str) -> RemoteConn:
        return RemoteConn(self, conn)

    def worker(self, name: str) -> Control:
        """A child of the agent, forked now, that is spoken to by itself."""
        control = Control(self.directory, name)
        control.make_fifos()
        self.fork_worker(name)
        return control

    def job(self, name: str, code: str, syscalls: Sequence[int] = ()) -> None:
        """Starts a thread; returns when it is blocked in one of the system calls."""
        self.start_job(name, code)
        if syscalls:
            proc.wait_for(lambda: self.job_syscall(name) in syscalls, f"{name} blocks")

    def job_done(self, name: str) -> bool:
        return bool(self.run(f"jobs[{name!r}].outcome is not None"))

    def result(self, name: str, timeout: float = 20) -> Any:
        """What the thread came to."""
        proc.wait_for(lambda: self.job_done(name), f"the end of {name}", timeout)
        return unpack(self.run(f"jobs[{name!r}].outcome"), name)


def unpack(outcome: Sequence[Any], code: str) -> Any:
    kind, *rest = outcome
    if kind == "value":
        return rest[0]
    if kind == "os-error":
        raise OSError(rest[0], f"{rest[1]} (in {code})")
    if kind == "failed":
        raise AssertionError(f"{rest[0]} (in {code})")
    raise RuntimeError(f"{code}:\n{rest[0]}")


class PeerAgent(Control):
    """with PeerAgent(net.peer, tmp_path) as peer: ...; an agent that is never checkpointed."""

    def __init__(self, ns: Netns, work: Path, name: str = "peer") -> None:
        super().__init__(work, name)
        self.ns = ns

    def __enter__(self) -> Self:
        self.directory.mkdir(parents=True, exist_ok=True)
        self.make_fifos()
        words = command(self.directory, self.agent_name)
        self.process = self.ns.popen(words, stdin=subprocess.DEVNULL)
        return self

    def __exit__(self, *_: object) -> None:
        proc.kill(proc.tree(self.process.pid))
        self.process.wait()


class AgentTask(CriuTask, Control):
    """with AgentTask(net.container, tmp_path, mode) as a: ...; an agent to be checkpointed."""

    def __init__(
        self,
        ns: Netns,
        work: Path,
        mode: Mode,
        arrangement: Arrangement = "external",
        wrapper: Sequence[str] = (),
        env: dict[str, str] | None = None,
    ) -> None:
        """wrapper: a command that runs the agent, such as setpriv."""
        CriuTask.__init__(self, ns, work, mode, arrangement, env or {})
        Control.__init__(self, work, "agent")
        self.wrapper = wrapper

    def command(self) -> list[object]:
        return [*self.wrapper, *command(self.work, self.agent_name)]

    def start(self) -> None:
        self.make_fifos()
        super().start()
        try:
            self.run("None")
        except TimeoutError:
            raise RuntimeError(f"hf-agent: {read_log(self.log_file)}") from None
