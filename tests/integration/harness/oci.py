# SPDX-License-Identifier: GPL-2.0-or-later
"""A server in a container of crun or runc, checkpointed and restored by the runtime."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from . import bundle, proc
from .closing import Closing
from .criu import Result, read_log
from .mode import Mode
from .net import Network

Runtime = Literal["crun", "runc"]


@contextlib.contextmanager
def criu_conf(mode: Mode, directory: Path = Path("/etc/criu")) -> Iterator[None]:
    """Tells both runtimes' CRIU: they have no options for most of it, but read these files."""
    directory.mkdir(parents=True, exist_ok=True)
    paths = [directory / "crun.conf", directory / "runc.conf"]
    before = [path.read_text() if path.exists() else None for path in paths]
    try:
        for path in paths:
            path.write_text(mode.config())
        yield
    finally:
        for path, text in zip(paths, before, strict=True):
            if text is None:
                path.unlink(missing_ok=True)
            else:
                path.write_text(text)


def gather(pids: Sequence[int]) -> None:
    """Puts all processes of a container into the cgroup of the first.

    With manage-cgroups=ignore CRIU does not, and crun moves the first one only; but the next
    checkpoint freezes by cgroup, and fails on a process that is elsewhere.
    """
    if not pids:
        return
    lines = Path(f"/proc/{pids[0]}/cgroup").read_text().splitlines()
    paths = [line.removeprefix("0::/") for line in lines if line.startswith("0::/")]
    for pid in pids[1:]:
        (Path("/sys/fs/cgroup") / paths[0] / "cgroup.procs").write_text(str(pid))


@dataclass
class OciServer(Closing):
    """with OciServer(net, tmp_path, mode, "crun") as server: ...; runs from then on.

    Has what CriuServer has: pids, checkpoint, restore, images, server_log.
    """

    net: Network
    work: Path
    mode: Mode
    runtime: Runtime = "crun"
    server_args: Sequence[str] = ()
    hooks: dict[str, Any] | None = None
    annotations: dict[str, str] | None = None
    env: dict[str, str] = field(default_factory=dict)  # for the runtime
    criu_wrapper: Sequence[object] = ()  # a command that runs the runtime when that runs criu
    own_netns: bool = False  # made by the runtime, and by CRIU again
    listen: Sequence[str] = ()  # where not all that the network has
    rounds: int = 0
    id: str = field(default_factory=lambda: f"hf{secrets.token_hex(4)}")

    @property
    def name(self) -> str:
        return self.runtime

    @property
    def images(self) -> Path:
        """The images of the last checkpoint."""
        return self.work / f"images{self.rounds}"

    @property
    def server_log(self) -> Path:
        return self.work / "server.log"

    @property
    def bundle(self) -> Path:
        return self.work / "bundle"

    def open(self) -> None:
        listen = self.listen or self.net.listen_args()
        args = [*listen, "--ready-file=/run/ready", *self.server_args]
        netns = None if self.own_netns else self.net.container.path
        bundle.make(self.bundle, args, netns, self.hooks, self.annotations)
        self.start()

    def _configured(self) -> AbstractContextManager[None]:
        """While CRIU runs."""
        return criu_conf(self.mode)

    def _command(self, words: Sequence[object]) -> Sequence[object]:
        return words

    def _call(
        self, *words: object, timeout: float = 60, stdout: int | None = None
    ) -> proc.Done:
        """The runtime with a verb. stdout: what the container gets, too, for both outputs."""
        log = self.work / "runtime.log"
        wrapper = self.criu_wrapper if "checkpoint" in words or "restore" in words else ()
        command = [*wrapper, self.runtime, "--root", self.work / "state", "--log", log, *words]
        command = list(self._command(command))
        env = {**os.environ, **self.env}
        if stdout is None:
            return proc.run(command, timeout, env=env)
        log.unlink(missing_ok=True)
        done = proc.run_with_output(command, stdout, timeout, env=env)
        return proc.Done(done.command, done.rc, read_log(log), done.seconds)

    @contextlib.contextmanager
    def _output(self) -> Iterator[int]:
        """A pipe into server_log: CRIU would not find a file outside the container's root."""
        read, write = os.pipe()
        try:
            with open(self.server_log, "ab") as log:
                proc.spawn_copy(read, log.fileno())
            yield write
        finally:
            os.close(read)
            os.close(write)

    def start(self) -> None:
        ready = self.bundle / "rootfs" / "run" / "ready"
        with self._output() as output:
            self._call("run", "--detach", "--bundle", self.bundle, self.id, stdout=output).check()
        proc.wait_for(ready.exists, f"start of hf-server in {self.runtime}")

    def state(self) -> dict[str, Any]:
        done = self._call("state", self.id)
        return json.loads(done.output) if done.rc == 0 else {"status": "gone", "pid": 0}

    def pids(self) -> list[int]:
        """The processes of the server in our pid namespace, its first one first."""
        pid = self.state()["pid"]
        return proc.tree(pid) if pid else []

    def checkpoint(
        self, *, leave_running: bool = False, extra: Sequence[str] = (), timeout: float = 120
    ) -> Result:
        self.rounds += 1
        self.images.mkdir()
        words = ["checkpoint", "--image-path", self.images, "--work-path", self.images]
        words += ["--leave-running"] if leave_running else []
        with self._configured():
            done = self._call(*words, *extra, self.id, timeout=timeout)
        result = Result(done.rc, read_log(self.images / "dump.log"), done.output, done.seconds)
        if result.ok and not leave_running:
            # runc forgets a checkpointed container by itself, crun must be told.
            self.forget()
        return result

    def restore(self, *, extra: Sequence[str] = (), timeout: float = 120) -> Result:
        words = ["restore", "--detach", "--bundle", self.bundle]
        words += ["--image-path", self.images, "--work-path", self.images]
        with self._configured(), self._output() as output:
            done = self._call(*words, *extra, self.id, timeout=timeout, stdout=output)
        gather(self.pids())
        log = read_log(self.images / "restore.log")
        return Result(done.rc, log, done.output, done.seconds)

    @property
    def _state(self) -> Path:
        return self.work / "state" / self.id

    def unmount(self) -> None:
        """What a runtime that was killed in a restore has left: crun in the one place, runc in the
        other. runc's delete, and its next checkpoint, would remove what is mounted there: the files
        of the container.
        """
        for root in (self.bundle / "criu-root", self._state / "criu-root"):
            if root.exists():
                proc.run(["umount", "--lazy", root])
                root.rmdir()

    def forget(self) -> None:
        """Has the runtime remove what it knows of the container, even if it was killed."""
        self.unmount()
        self._call("delete", "--force", self.id)
        shutil.rmtree(self._state, ignore_errors=True)

    def close(self) -> None:
        pids = self.pids()
        self.forget()
        proc.kill(pids)
