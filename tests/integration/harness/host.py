# SPDX-License-Identifier: GPL-2.0-or-later
"""A host of its own: namespaces of every kind but user, and a storage for podman.

It has its own processes, network, /run, /data, storage and configuration of podman; it shares /tmp
and all else with us. Where it ends, everything in it does.
"""

from __future__ import annotations

import secrets
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import proc
from .closing import Closing
from .mode import Mode
from .net import Netns
from .proc import Done, run

# What a host has for itself of the directories that remain on disk.
OWN = {
    "storage": "/var/lib/containers",
    "data": "/data",  # made for it
    "criu": "/etc/criu",
    "config": "/etc/containers",  # networks as well
}

# Process 1 of a host. Its storage must not be an overlay, nor its locks another host's: podman
# keeps those in /dev/shm.
INIT = """
set -e
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
for pair in {binds}; do
    mkdir -p "${{pair#*=}}"
    mount --bind "${{pair%%=*}}" "${{pair#*=}}"
done
mount -t tmpfs -o mode=755 tmpfs /run
mkdir /run/lock /run/netns
hostname {name}
ip link set lo up
touch {work}/ready
exec catatonit -P
"""


class Host(Closing):
    """with Host("host1", tmp_path / "host1", "10.60.1.2", "fd60:1::2") as host: ...

    The addresses are for ns alone; they are not set here.
    """

    def __init__(self, name: str, work: Path, v4: str, v6: str) -> None:
        self.name, self.work = name, work
        self.ns = Netns(f"hf{secrets.token_hex(3)}{name}", v4, v6)
        self.pid = 0  # of process 1, as we see it
        self._outer: subprocess.Popen[bytes] | None = None

    def __str__(self) -> str:
        return self.name

    def path(self, inside: str) -> Path:
        """Where we find a file of the host's own directories."""
        for name, where in OWN.items():
            if inside.startswith(f"{where}/"):
                return self.work / name / inside.removeprefix(f"{where}/")
        raise ValueError(f"{inside} is not in {', '.join(OWN.values())}")

    def open(self) -> None:
        for name in OWN:
            (self.work / name).mkdir(parents=True)
        for name in ("criu", "config"):
            shutil.copytree(OWN[name], self.work / name, dirs_exist_ok=True)
        self._cgroup.mkdir()
        self._start()
        run(["ip", "netns", "attach", self.ns.name, self.pid]).check()

    @property
    def _cgroup(self) -> Path:
        return Path("/sys/fs/cgroup") / self.ns.name

    def _start(self) -> None:
        binds = " ".join(f"{self.work / name}={where}" for name, where in OWN.items())
        script = INIT.format(binds=binds, name=self.name, work=self.work)
        # The cgroup first: a cgroup namespace begins where its first process is.
        enter = f"echo 0 >{self._cgroup}/cgroup.procs; exec \"$@\""
        unshare = ["unshare", "--mount", "--net", "--pid", "--uts", "--ipc", "--cgroup", "--fork"]
        command = ["sh", "-c", enter, "sh", *unshare, "--kill-child", "sh", "-c", script]
        with (self.work / "log").open("wb") as log:
            self._outer = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        outer = self._outer
        ready = self.work / "ready"
        proc.wait_for(lambda: ready.exists() or outer.poll() is not None, f"start of {self}")
        if not ready.exists():
            raise RuntimeError(f"{self}: {(self.work / 'log').read_text()}")
        (self.pid,) = proc.children(outer.pid)

    def close(self) -> None:
        if self.pid:
            proc.kill(proc.tree(self.pid))
        if self._outer:
            self._outer.wait()
        if self.ns.path.exists():
            run(["ip", "netns", "del", self.ns.name])
        self._remove_cgroups()

    def _remove_cgroups(self) -> None:
        found = sorted(self._cgroup.rglob("*/"), key=lambda path: len(path.parts), reverse=True)
        for path in [*found, self._cgroup]:
            if path.is_dir():
                path.rmdir()

    def command(self, command: Sequence[object]) -> list[str]:
        """The command, to be run inside."""
        kinds = ["--mount", "--net", "--pid", "--uts", "--ipc", "--cgroup"]
        return ["nsenter", f"--target={self.pid}", *kinds, "--", *map(str, command)]

    def run(self, *command: object, timeout: float = 60) -> Done:
        return run(self.command(command), timeout)

    def popen(self, command: Sequence[object], **kwargs: Any) -> subprocess.Popen[Any]:
        return subprocess.Popen(self.command(command), **kwargs)

    def set_mode(self, mode: Mode) -> None:
        """What CRIU does here from now on, whoever calls it."""
        for name in ("default", "crun", "runc"):
            (self.work / "criu" / f"{name}.conf").write_text(mode.config())

    def tree(self, inside: int) -> list[int]:
        """A process of the host and all that descend from it, by our numbers."""
        for pid in proc.tree(self.pid):
            if proc.ns_pids(pid)[1:2] == [inside]:
                return proc.tree(pid)
        return []
