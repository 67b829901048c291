# SPDX-License-Identifier: GPL-2.0-or-later
"""A server in a container of podman, checkpointed, restored and moved to another host.

Every host has the same image and the same network under the same names, as hosts between which
containers move must.
"""

from __future__ import annotations

import json
import secrets
import shutil
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import proc
from .closing import Closing
from .criu import Result, read_log
from .host import Host
from .hosts import (
    BRIDGE,
    CONTAINERS,
    FLOATING4,
    FLOATING6,
    SUBNET4,
    SUBNET6,
    Hosts,
    address4,
    address6,
)
from .mode import Mode
from .net import Netns
from .oci import Runtime
from .proc import Done
from .programs import builddir, program

IMAGE, NETWORK = "localhost/holdfast-test", "hfnet"
PORT, PUBLISHED = 7000, 8000
STATE = "/var/lib/containers/storage/overlay-containers"  # of a container, in userdata


def make_image(path: Path) -> Path:
    """A tar to import: hf-server, and busybox to look around."""
    with tarfile.open(path, "w") as tar:
        for source, name in ((program("hf-server"), "hf-server"), (busybox(), "bin/busybox")):
            tar.add(source, name)
        for applet in ("sh", "cat", "ls", "sleep"):
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
        for name in ("run", "tmp"):
            directory = tarfile.TarInfo(name)
            directory.type, directory.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(directory)
    return path


def busybox() -> str:
    return shutil.which("busybox") or "/usr/bin/busybox"


def podman(host: Host, *words: object, runtime: Runtime = "crun", timeout: float = 60) -> Done:
    return host.run("podman", "--runtime", runtime, *words, timeout=timeout)


def prepare(hosts: Hosts, image: Path, name: str = IMAGE) -> None:
    """The same on every host."""
    subnets = ["--subnet", SUBNET4, "--subnet", SUBNET6, "--ipv6"]
    if hosts.topology == "segment":
        # The administrator's bridge, which has the cable as a port.
        subnets += ["--opt", "mode=unmanaged", "--interface-name", BRIDGE, "--disable-dns"]
        subnets += ["--gateway", hosts.peer.v4, "--gateway", hosts.peer.v6]
    for host in hosts.all:
        podman(host, "import", image, name).check()
        podman(host, "network", "create", *subnets, NETWORK).check()


def holdfast(host: Host, *words: object) -> Done:
    return host.run(builddir() / "holdfast", *words).check()


def lock(host: Host, images: object) -> None:
    """On a host where nothing of the checkpoint's container is yet."""
    holdfast(host, "lock", images)


def unlock(host: Host, images: object) -> None:
    """On the host where it was, when the container runs on another one."""
    holdfast(host, "unlock", images)


@dataclass
class PodmanServer(Closing):
    """with PodmanServer(hosts, mode) as server: ...; runs on host one from then on.

    Has what CriuServer has, but images: pids, checkpoint, restore. Those with an archive:
      checkpoint(export=True), restore(archive=True)   on the host where it is
      move()                                           on the other one from then on
    """

    hosts: Hosts
    mode: Mode
    runtime: Runtime = "crun"
    server_args: Sequence[str] = ()
    number: int = CONTAINERS[0]  # the last part of its address
    publish: bool = True
    network: str = NETWORK
    run_args: Sequence[object] = ()
    # CRIU's logs. podman keeps the files of an archive too, and puts them back at every restore.
    keep: bool = True
    name: str = field(default_factory=lambda: f"hf{secrets.token_hex(4)}")
    rounds: int = 0

    def __post_init__(self) -> None:
        self.host = self.hosts.one
        self.id = ""

    @property
    def v4(self) -> str:
        return address4(self.number)

    @property
    def v6(self) -> str:
        return address6(self.number)

    def targets(self) -> dict[str, str]:
        return {"IPv4": f"{self.v4}:{PORT}", "IPv6": f"[{self.v6}]:{PORT}"}

    def published(self) -> dict[str, str]:
        """Where it is found from outside, wherever it is."""
        return {"IPv4": f"{FLOATING4}:{PUBLISHED}", "IPv6": f"[{FLOATING6}]:{PUBLISHED}"}

    def podman(self, *words: object, timeout: float = 60) -> Done:
        return podman(self.host, *words, runtime=self.runtime, timeout=timeout)

    def open(self) -> None:
        for host in self.hosts.all:
            host.set_mode(self.mode)
        network = ["--network", self.network]
        network += ["--ip", self.v4, "--ip6", self.v6] if self.network == NETWORK else []
        network += ["-p", f"{PUBLISHED}:{PORT}"] if self.publish else []
        words = ["run", "--detach", "--name", self.name, *network, *self.run_args]
        self.id = self.podman(*words, *self.command()).check().output.strip()
        proc.wait_for(self.ready, f"start of {self.name}", 30)
        ns = self.netns()
        proc.wait_for(
            lambda: "tentative" not in ns.run("ip", "-6", "addr").output,
            f"IPv6 addresses of {self.name}",
        )

    def command(self) -> Sequence[object]:
        """The image, and what runs in it."""
        listen = [f"--listen=[::]:{PORT}", "--ready-file=/run/ready", *self.server_args]
        return [IMAGE, "/hf-server", *listen]

    def ready(self) -> bool:
        return self.podman("exec", self.name, "/bin/cat", "/run/ready").rc == 0

    def inspect(self) -> dict[str, Any]:
        found: list[dict[str, Any]] = json.loads(self.podman("inspect", self.name).check().output)
        return found[0]

    def pids(self) -> list[int]:
        """Its processes as we see them, the first one first."""
        if self.podman("container", "exists", self.name).rc:
            return []
        inside = self.inspect()["State"]["Pid"]
        return self.host.tree(inside) if inside else []

    def netns(self) -> Netns:
        """The container's, for processes of ours to be run in it."""
        return Netns(f"/proc/{self.pids()[0]}/ns/net", self.v4, self.v6)

    @property
    def archive(self) -> str:
        """On the host where it was made, and on those to which it was copied."""
        return f"/data/{self.name}.{self.rounds}.tar.zst"

    def checkpoint(
        self,
        *,
        export: bool = False,
        leave_running: bool = False,
        extra: Sequence[object] = (),
        timeout: float = 120,
    ) -> Result:
        self.rounds += 1
        words: list[object] = ["container", "checkpoint", *self._options(), *extra]
        words += ["--export", self.archive] if export else []
        words += ["--leave-running"] if leave_running else []
        return self._result("dump.log", self.podman(*words, self.name, timeout=timeout))

    def restore(
        self, *, archive: bool = False, extra: Sequence[object] = (), timeout: float = 120
    ) -> Result:
        words: list[object] = ["container", "restore", *self._options(), *extra]
        words += ["--import", self.archive] if archive else [self.name]
        return self._result("restore.log", self.podman(*words, timeout=timeout))

    def _options(self) -> list[str]:
        words = ["--keep"] if self.keep else []
        # podman would refuse connections that CRIU is to carry.
        carried = any(line == "tcp-established" for line in self.mode.options)
        return [*words, "--tcp-established"] if carried else words

    def _result(self, log: str, done: Done) -> Result:
        path = self.host.path(f"{STATE}/{self.id}/userdata/{log}")
        return Result(done.rc, read_log(path), done.output, done.seconds)

    def copy(self, to: Host) -> None:
        shutil.copy2(self.host.path(self.archive), to.path(self.archive))

    def remove(self) -> None:
        """What is left of a container that was exported."""
        self.podman("rm", "--force", "--time", 0, self.name).check()

    def go_to(self, host: Host, between: Callable[[], None] | None = None) -> Result:
        """From here, where there is an archive of it, to another host."""
        self.copy(host)
        if self.mode.plugin:
            lock(host, self.archive)
        self.hosts.move(host)
        self.remove()
        before, self.host = self.host, host
        if between:
            between()
        result = self.restore(archive=True)
        if self.mode.plugin and result.ok:
            unlock(before, self.archive)
        return result

    def close(self) -> None:
        for host in self.hosts.all:
            podman(host, "rm", "--force", "--time", 0, "--ignore", self.name).check()
