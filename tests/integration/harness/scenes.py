# SPDX-License-Identifier: GPL-2.0-or-later
"""Many small tests in one checkpoint.

A scene is a generator: what it does before its yield comes before the checkpoint, what it does
after it comes after the restore. All scenes of a stage share the container and the checkpoint, and
each is a test of its own.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from . import checks
from .agent import AgentTask, Control, PeerAgent, RemoteConn
from .blocks import Blocks
from .criu import Arrangement
from .mode import CHOSEN, MODES, Mode
from .net import Network

PORT = 7500
PAUSE = 0.3


@dataclass
class World:
    """The container with its agent, and the peer."""

    net: Network
    work: Path
    a: AgentTask
    b: PeerAgent
    blocks: Blocks  # at the peer
    streams: int = 0
    host: str = field(init=False)

    def __post_init__(self) -> None:
        self.host = self.net.container.v4

    def start(self) -> None:
        self.a.listen("all", self.host, PORT)

    def new_streams(self) -> tuple[int, int]:
        self.streams += 2
        return self.streams, self.streams + 1

    def pair(self, name: str, at: Control | None = None) -> tuple[RemoteConn, RemoteConn]:
        """A connection: our end, held by the agent or one of its workers, and the peer's."""
        at = at or self.a
        ours, theirs = self.new_streams()
        self.b.connect(name, self.host, PORT, streams=(theirs, ours))
        at.accept(name, "all", streams=(ours, theirs))
        return at[name], self.b[name]

    def exchange(self, a: RemoteConn, b: RemoteConn, length: int = 1000) -> None:
        """Data both ways: the connection lives."""
        a.send(length)
        b.recv(length)
        b.send(length)
        a.recv(length)


Scene = Callable[[World], Iterator[None]]

def criu_cannot(scene: Scene) -> Scene:
    """A scene that CRIU's own tcp-established does not carry over: holdfast alone is tested."""
    CRIU_CANNOT.add(scene)
    return scene


CRIU_CANNOT: set[Scene] = set()

# "nowhere" is without any checkpoint: it shows that a scene expects what programs see.
PLACES = ("shared", "external")
WHERES = ("nowhere", *(f"{place}-{name}" for name in CHOSEN for place in PLACES))


def name_of(scene: Scene) -> str:
    return str(getattr(scene, "__name__", scene))


@dataclass
class Stage:
    """Scenes that have been set up, checkpointed and restored together."""

    world: World
    where: str  # of WHERES
    failed: Exception | None = None
    running: dict[str, Iterator[None] | Exception] = field(default_factory=dict)

    def set_up(self, scenes: list[Scene]) -> None:
        for scene in scenes:
            running = scene(self.world)
            try:
                next(running)
                self.running[name_of(scene)] = running
            except Exception as error:
                self.running[name_of(scene)] = error

    def there_and_back(self) -> None:
        if self.where == "nowhere":
            return
        try:
            self.world.a.checkpoint().check()
            time.sleep(PAUSE)
            self.world.a.restore().check()
        except RuntimeError as error:
            self.failed = error

    def play(self, scene: Scene) -> None:
        """The part of the scene that comes after the restore."""
        running = self.running.pop(name_of(scene))
        if isinstance(running, Exception):
            raise running
        if self.failed:
            raise self.failed
        for _ in running:
            raise RuntimeError(f"{name_of(scene)} yields more than once")


def chosen(request: pytest.FixtureRequest, where: str) -> list[Scene]:
    """The scenes of this session and module, so that -k makes only those."""
    found: list[Scene] = []
    for item in request.session.items:
        params: dict[str, Any] = getattr(getattr(item, "callspec", None), "params", {})
        if item.path == request.path and params.get("stage") == where and "scene" in params:
            found.append(params["scene"])
    return found


def make_stage(request: pytest.FixtureRequest, work: Path) -> Iterator[Stage]:
    """What a module's fixture "stage", with the params WHERES, consists of."""
    where: str = request.param
    place, _, options = where.partition("-")
    arrangement: Arrangement = "shared" if place == "shared" else "external"
    with world(work, MODES[options or CHOSEN[0]](), arrangement) as made:
        stage = Stage(made, where)
        stage.set_up(chosen(request, where))
        stage.there_and_back()
        yield stage


@contextlib.contextmanager
def world(work: Path, options: Mode, arrangement: Arrangement = "external") -> Iterator[World]:
    """A new container; nothing of it may be left in the end."""
    leftovers = checks.Leftovers()
    with Network() as net:
        with (
            AgentTask(net.container, work / "a", options, arrangement) as a,
            PeerAgent(net.peer, work) as b,
        ):
            made = World(net, work, a, b, Blocks(net.peer))
            made.start()
            yield made
            assert not checks.repair_sockets(a.pids())
        assert not checks.holdfast_tables(net.container, net.peer)
    assert not leftovers.processes()
