# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs of an image in containers of podman, and all the clients that one of them has."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

from . import checks, real_image
from .criu import Result
from .net import Netns
from .oci import gather
from .podman import PodmanServer
from .proc import wait_for
from .real_clients import Client
from .real_image import Image
from .replay import Replay


@dataclass
class RealServer(PodmanServer):
    """A program of the image."""

    words: Sequence[object] = ()
    port: str = ""
    publish: bool = False
    keep: bool = False

    def command(self) -> Sequence[object]:
        return [real_image.NAME, *self.words]

    def ready(self) -> bool:
        if not self.pids():
            raise RuntimeError(f"{self.words}: {self.podman('logs', self.name).output}")
        return self.hosts.peer.run("nc", "-z", self.v4, self.port).rc == 0

    def restore(self, **kwargs: Any) -> Result:
        result = super().restore(**kwargs)
        if result.ok:
            gather(self.pids())
        return result

    def come_back(self, *, other: bool, outage: float) -> None:
        """Checkpointed, and restored in place or on the other host."""

        def wait() -> None:
            time.sleep(outage)

        self.checkpoint(export=other).check()
        if other:
            self.go_to(self.hosts.other(self.host), wait).check()
        else:
            wait()
            self.restore().check()


@dataclass(frozen=True)
class Connection:
    family: str
    local: str


class Clients:
    """with Clients(server, tmp_path) as clients: clients.add(Kind, "name", ...); ..."""

    def __init__(self, server: RealServer, work: Path) -> None:
        self.server, self.work = server, work
        self.ns: Netns = server.hosts.peer
        self.all: list[Client] = []
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Clients:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def add[C: Client](self, kind: Callable[..., C], name: str, *args: Any) -> C:
        client = self._stack.enter_context(kind(self.ns, self.work, name, *args))
        self.all.append(client)
        return client

    def stats(self) -> list[Connection]:
        """All that are established now."""
        found = []
        output = self.ns.run("ss", "-Htn", "state", "established").check().output
        for line in output.splitlines():
            local, remote = re.split(r"\s+", line.strip())[2:4]
            address = remote.rpartition(":")[0].strip("[]")
            if address in (self.server.v4, self.server.v6):
                found.append(Connection("IPv6" if ":" in address else "IPv4", local))
        return found

    @contextlib.contextmanager
    def retransmitting(self) -> Iterator[None]:
        """As if their timers ran off at every moment."""
        with Replay(self.ns, self) as replay:
            replay.start()
            yield
            assert replay.sent > 100

    def check(self) -> None:
        for client in self.all:
            if not client.running:
                client.end()
                raise client.fail("ended too early")

    def go_on(self) -> None:
        """Waits until each has got further."""
        before = {client: client.progress() for client in self.all}
        for client, value in before.items():
            if value is not None:
                wait_for(lambda: client.progress() != value, f"{client.name} goes on")

    def rounds(self, count: int, outage: float, go_on: Callable[[], None]) -> None:
        """To the other host and in place, in turn."""
        with self.retransmitting():
            for number in range(count):
                self.check()
                self.server.come_back(other=number % 2 == 0, outage=outage)
                self.go_on()
                go_on()
        self.check()
        pids = self.server.pids()
        assert pids and not checks.repair_sockets(pids)


class Program(Protocol):
    """A server's clients, and what is to be true of them."""

    words: ClassVar[Sequence[str]]
    port: ClassVar[str]

    def __init__(self, server: RealServer, clients: Clients, image: Image, rounds: int) -> None: ...

    def go_on(self) -> None:
        """After every round."""

    def check(self) -> None:
        """At the end, which is the clients' too."""
