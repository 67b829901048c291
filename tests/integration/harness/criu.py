# SPDX-License-Identifier: GPL-2.0-or-later
"""A server checkpointed and restored by the criu command.

Two arrangements:
  shared    criu runs in the network namespace of the server
  external  criu runs outside; the namespace is the server's only one of its own, and external to
            the checkpoint (how the runtimes have it)
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self

from . import proc
from .mode import Mode
from .net import Network
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
class CriuServer:
    """with CriuServer(net, tmp_path, mode, "shared") as server: ...; runs from __enter__ on."""

    net: Network
    work: Path
    mode: Mode
    arrangement: Arrangement = "shared"
    server_args: Sequence[str] = ()
    env: dict[str, str] = field(default_factory=dict)  # for criu
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
    def server_log(self) -> Path:
        return self.work / "server.log"

    def __enter__(self) -> Self:
        self.work.mkdir(parents=True, exist_ok=True)
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        ready = self.work / "ready"
        ready.unlink(missing_ok=True)
        command = [program("hf-server"), *self.net.listen_args(), f"--ready-file={ready}"]
        with open(self.server_log, "ab") as log:
            self._process = self.net.container.popen(
                [*command, *self.server_args],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.pid = self._process.pid
        proc.wait_for(lambda: ready.exists() or not proc.alive(self.pid), "start of hf-server")
        if not proc.alive(self.pid):
            raise RuntimeError(f"hf-server: {read_log(self.server_log)}")

    def pids(self) -> list[int]:
        """The processes of the server, its first one first."""
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
            command += ["--external", f"net[{self.net.container.inode}]:{NET_KEY}"]
        result = self._criu(command, "dump.log", extra, timeout)
        if result.ok and not leave_running:
            proc.wait_gone(pids)
        return result

    def restore(self, *, extra: Sequence[str] = (), timeout: float = 120) -> Result:
        pidfile = self.work / "restored.pid"
        pidfile.unlink(missing_ok=True)
        command = ["restore", "--restore-detached", "--pidfile", str(pidfile)]
        netns = os.open(self.net.container.path, os.O_RDONLY)
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
        words = ["criu", *command, "-D", str(self.images), "-o", log, "-v4"]
        words += ["--config", str(config), *extra]
        if self.arrangement == "shared":
            words = self.net.container.command(words)
        env = {**os.environ, **self.env}
        done = proc.run(words, timeout, env=env, pass_fds=pass_fds)
        return Result(done.rc, read_log(self.images / log), done.output, done.seconds)
