# SPDX-License-Identifier: GPL-2.0-or-later
"""A program checkpointed and restored by the criu command.

Two arrangements:
  shared    criu runs in the network namespace of the program
  external  criu runs outside; the namespace is the program's only one of its own, and external to
            the checkpoint (how the runtimes have it)
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from . import proc
from .closing import Closing
from .mode import Mode
from .net import Netns, Network
from .programs import program

Arrangement = Literal["shared", "external"]

# The name under which dump and restore speak of the external namespace.
NET_KEY = "hfnet"


@dataclass(frozen=True)
class Result:
    """What a checkpoint or a restore came to."""

    rc: int
    log: str  # CRIU's
    output: str  # of the command
    seconds: float

    @property
    def ok(self) -> bool:
        return self.rc == 0

    def check(self) -> Result:
        if self.rc:
            errors = [line for line in self.log.splitlines() if "Error" in line or "Warn" in line]
            tail = "\n".join(errors or self.log.splitlines()[-20:])
            raise RuntimeError(f"exit status {self.rc}\n{self.output}\n{tail}")
        return self

    def lines(self, *words: str) -> list[str]:
        """The lines of the log with all these words."""
        return [line for line in self.log.splitlines() if all(word in line for word in words)]


def read_log(path: Path) -> str:
    return path.read_text(errors="replace") if path.exists() else ""


@dataclass
class CriuTask(Closing):
    """A program in a namespace; see its two kinds, CriuServer below and AgentTask."""

    ns: Netns
    work: Path
    mode: Mode
    arrangement: Arrangement = "shared"
    env: dict[str, str] = field(default_factory=dict)  # for criu
    criu_wrapper: Sequence[object] = ()  # a command that runs criu
    pid: int = 0
    rounds: int = 0

    @property
    def name(self) -> str:
        return f"criu-{self.arrangement}"

    @property
    def images(self) -> Path:
        """The images of the last checkpoint."""
        return self.work / f"images{self.rounds}"

    @property
    def log_file(self) -> Path:
        """What the program prints."""
        return self.work / "server.log"

    def command(self) -> Sequence[object]:
        raise NotImplementedError

    def open(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self.work.mkdir(parents=True, exist_ok=True)
        self.start()

    def start(self) -> None:
        """To be extended by a wait until the program is ready."""
        with self.log_file.open("ab") as log:
            self._process = self.ns.popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.pid = self._process.pid

    def pids(self) -> list[int]:
        """The processes of the program, its first one first."""
        return proc.tree(self.pid)

    def close(self) -> None:
        proc.kill(self.pids())
        if self._process:
            self._process.wait()

    def checkpoint(
        self, *, leave_running: bool = False, extra: Sequence[str] = (), timeout: float = 120
    ) -> Result:
        self.rounds += 1
        self.images.mkdir()
        pids = self.pids()
        command = ["dump", "--tree", str(self.pid)]
        command += ["--leave-running"] if leave_running else []
        if self.arrangement == "external":
            command += ["--external", f"net[{self.ns.inode}]:{NET_KEY}"]
        result = self._criu(command, "dump.log", extra, timeout)
        if result.ok and not leave_running:
            proc.wait_gone(pids)
        return result

    def restore(self, *, extra: Sequence[str] = (), timeout: float = 120) -> Result:
        pidfile = self.work / "restored.pid"
        pidfile.unlink(missing_ok=True)
        command = ["restore", "--restore-detached", "--pidfile", str(pidfile)]
        netns = os.open(self.ns.path, os.O_RDONLY)
        try:
            if self.arrangement == "external":
                command += ["--inherit-fd", f"fd[{netns}]:{NET_KEY}"]
            result = self._criu(command, "restore.log", extra, timeout, [netns])
        finally:
            os.close(netns)
        if result.ok:
            self.pid = int(pidfile.read_text())
        return result

    def _criu(
        self,
        command: list[str],
        log: str,
        extra: Sequence[str],
        timeout: float,
        pass_fds: Sequence[int] = (),
    ) -> Result:
        config = self.work / "criu.conf"
        config.write_text(self.mode.config())
        words = [*map(str, self.criu_wrapper), "criu", *command]
        words += ["-D", str(self.images), "-o", log, "-v4"]
        words += ["--config", str(config), *extra]
        if self.arrangement == "shared":
            words = self.ns.command(words)
        env = {**os.environ, **self.env}
        # Not to a pipe: what a criu that was killed leaves behind would hold it open.
        output = self.work / "criu.out"
        with open(output, "wb") as file:
            done = proc.run_with_output(
                words, file.fileno(), timeout, env=env, pass_fds=pass_fds
            )
        return Result(done.rc, read_log(self.images / log), read_log(output), done.seconds)


class CriuServer(CriuTask):
    """with CriuServer(net, tmp_path, mode, "shared") as server: ...; runs from __enter__ on."""

    def __init__(
        self,
        net: Network,
        work: Path,
        mode: Mode,
        arrangement: Arrangement = "shared",
        server_args: Sequence[str] = (),
        env: dict[str, str] | None = None,
    ) -> None:
        super().__init__(net.container, work, mode, arrangement, env or {})
        self.net, self.server_args = net, server_args

    @property
    def server_log(self) -> Path:
        return self.log_file

    @property
    def _ready(self) -> Path:
        return self.work / "ready"

    def command(self) -> list[object]:
        ready = f"--ready-file={self._ready}"
        return [program("hf-server"), *self.net.listen_args(), ready, *self.server_args]

    def start(self) -> None:
        self._ready.unlink(missing_ok=True)
        super().start()
        proc.wait_for(
            lambda: self._ready.exists() or not proc.alive(self.pid), "start of hf-server"
        )
        if not proc.alive(self.pid):
            raise RuntimeError(f"hf-server: {read_log(self.server_log)}")
