# SPDX-License-Identifier: GPL-2.0-or-later
"""Containers that go away for a while and come back, on the same host or on another one.

  crun-same, runc-same      the network namespace stays, as in a pod
  crun-other, runc-other    it is made anew on the other host, before the restore
  podman-same               podman container checkpoint and restore
  podman-other              with an archive, which is taken to the other host; containers keep
                            their addresses
  podman-nat                the same, and containers get the host's address, as podman has it
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from . import podman
from .criu import Result
from .host import Host
from .hosts import CONTAINERS, Hosts, address4, address6
from .mode import Mode
from .net import Netns
from .oci import OciServer, Runtime
from .podman import PORT, PodmanServer

PLACES = ("crun-same", "crun-other", "runc-same", "runc-other", "podman-same", "podman-other")
MORE = ("podman-nat",)


class Container(Protocol):
    """What is in a place. Entered, it runs on host one."""

    def __enter__(self) -> Container: ...
    def __exit__(self, *_: object) -> None: ...
    def targets(self) -> dict[str, str]: ...
    def pids(self) -> list[int]: ...
    def go(self) -> Result:
        """Away: when this is done it runs nowhere."""
        ...

    def come(self) -> Result:
        """And back, where it is to be."""
        ...


@dataclass(frozen=True)
class HandMade:
    """A network of the container's own, as a tool beside the runtime makes it."""

    container: Netns

    def listen_args(self) -> list[str]:
        return [f"--listen=[::]:{PORT}"]

    def up(self, host: Host) -> None:
        """A bridge, and a namespace with a cable to it."""
        v4, v6 = address4(1), address6(1)
        name, mac = self.container.name, "02:00:00:77:00:05"
        host.run(
            "sh", "-ec", f"""
            ip link add cni0 type bridge; ip link set cni0 up
            ip addr add {v4}/24 dev cni0; ip addr add {v6}/64 dev cni0 nodad
            ip netns add {name}; ip -n {name} link set lo up
            ip link add veth0 type veth peer name eth0 address {mac} netns {name}
            ip link set veth0 master cni0 up
            ip -n {name} addr add {self.container.v4}/24 dev eth0
            ip -n {name} addr add {self.container.v6}/64 dev eth0 nodad
            ip -n {name} link set eth0 up
            ip -n {name} route add default via {v4}
            ip -n {name} -6 route add default via {v6}
            """,
        ).check()

    def down(self, host: Host) -> None:
        # A namespace ends some time after its removal, and its devices with it.
        for words in ("link del veth0", "link del cni0", f"netns del {self.container.name}"):
            host.run("ip", *words.split())


class HostServer(OciServer):
    """In a container of crun or runc on one of two hosts."""

    net: HandMade  # type: ignore[assignment]

    def __init__(
        self, hosts: Hosts, work: Path, mode: Mode, runtime: Runtime, *, other: bool
    ) -> None:
        net = HandMade(Netns("hfc", address4(CONTAINERS[0]), address6(CONTAINERS[0])))
        super().__init__(net, work, mode, runtime)  # type: ignore[arg-type]
        self.hosts, self.host, self.other = hosts, hosts.one, other

    def open(self) -> None:
        for host in self.hosts.all:
            host.set_mode(self.mode)
        self.work.mkdir()
        self.net.up(self.host)
        super().open()

    def close(self) -> None:
        super().close()
        for host in self.hosts.all:
            self.net.down(host)

    def _configured(self) -> AbstractContextManager[None]:
        return nullcontext()

    def _command(self, words: Sequence[object]) -> Sequence[object]:
        return self.host.command(words)

    def pids(self) -> list[int]:
        inside = self.state()["pid"]
        return self.host.tree(inside) if inside else []

    def targets(self) -> dict[str, str]:
        return {
            "IPv4": f"{self.net.container.v4}:{PORT}",
            "IPv6": f"[{self.net.container.v6}]:{PORT}",
        }

    def go(self) -> Result:
        return self.checkpoint()

    def come(self) -> Result:
        if not self.other:
            return self.restore()
        before, self.host = self.host, self.hosts.other(self.host)
        if self.mode.plugin:
            podman.lock(self.host, self.images)
        self.net.down(before)
        self.hosts.move(self.host)
        self.net.up(self.host)
        result = self.restore()
        if self.mode.plugin and result.ok:
            podman.unlock(before, self.images)
        return result


class PodmanPlace(PodmanServer):
    """In a container of podman."""

    def __init__(self, hosts: Hosts, mode: Mode, *, other: bool) -> None:
        super().__init__(hosts, mode, publish=False)
        self.other = other

    def go(self) -> Result:
        return self.checkpoint(export=self.other)

    def come(self) -> Result:
        if self.other:
            return self.go_to(self.hosts.other(self.host))
        return self.restore()


def make(place: str, hosts: Hosts, work: Path, mode: Mode) -> Container:
    """The hosts must be prepared for podman."""
    runtime, _, where = place.partition("-")
    other = where in ("other", "nat")
    if runtime == "podman":
        hosts.keep_addresses(where == "other")
        return PodmanPlace(hosts, mode, other=other)
    if runtime in ("crun", "runc"):
        return HostServer(hosts, work, mode, runtime, other=other)  # type: ignore[arg-type]
    raise ValueError(f"no place {place!r}, only {', '.join(PLACES)}")
