# SPDX-License-Identifier: GPL-2.0-or-later
"""Many small tests in one checkpoint.

A scene is a generator: what it does before its yield comes before the checkpoint, what it does
after it comes after the restore. All scenes of a stage share the container and the checkpoint, and
each is a test of its own.
"""

from __future__ import annotations

import contextlib
import json
import socket
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
from .net import HOST, Network
from .proc import run
from .programs import builddir

AGENT_TCP = Path(__file__).with_name("agent_tcp.py")
PORT = 7500
SO_SNDBUFFORCE, SO_RCVBUFFORCE = 32, 33
PAUSE = 0.3


@dataclass(frozen=True)
class Link:
    """A connection: our end, and the peer's, which made it."""

    a: RemoteConn
    b: RemoteConn
    a_port: int
    b_address: tuple[str, int]
    to_b: Blocks
    to_a: Blocks

    @property
    def b_port(self) -> int:
        return self.b_address[1]

    def lose(self) -> None:
        """From now on nothing that a sends arrives."""
        self.to_b.drop([(self.a_port, self.b_port)])


@dataclass
class World:
    """The container with its agent, and the peer."""

    net: Network
    work: Path
    a: AgentTask
    b: PeerAgent
    blocks: Blocks  # at the peer
    where: str = ""  # of WHERES, or "running"
    streams: int = 0
    host: str = field(init=False)
    inner: Control = field(init=False)  # a second task in the container, see tcp_agents()
    blocks_inside: Blocks = field(init=False)

    def __post_init__(self) -> None:
        self.host = self.net.container.v4
        self.blocks_inside = Blocks(self.net.container)

    def start(self) -> None:
        self.a.listen("all", self.host, PORT)

    def tcp_agents(self) -> None:
        """Before start(): the agents learn what is in agent_tcp.py, and there is one more."""
        for agent in (self.a, self.b):
            agent.run(AGENT_TCP.read_text())
        self.inner = self.a.worker("inner")

    @property
    def restored(self) -> bool:
        return self.where not in ("nowhere", "running")

    def lift(self) -> None:
        for blocks in (self.blocks, self.blocks_inside):
            blocks.lift()

    def link(self, name: str, inside: bool = False, **connect: Any) -> Link:
        """inside: both ends are in the container; else b is the peer's."""
        other = self.inner if inside else self.b
        ours, theirs = self.new_streams()
        port = other.connect(name, self.host, PORT, streams=(theirs, ours), **connect)
        self.a.accept(name, "all", streams=(ours, theirs))
        to_b = self.blocks_inside if inside else self.blocks
        b = (self.host if inside else self.net.peer.v4, port)
        return Link(self.a[name], other[name], PORT, b, to_b, self.blocks_inside)

    def made(self, name: str, seqs: tuple[int, int], timestamp: int | None = None) -> Link:
        """A link with chosen sequence numbers, a's and b's next one."""
        ours, theirs = self.new_streams()
        a, b = (self.host, 21_000 + ours), (self.net.peer.v4, 31_000 + ours)
        self.a.repaired(name, a, b, seqs, (ours, theirs), timestamp)
        self.b.repaired(name, b, a, seqs[::-1], (theirs, ours), timestamp)
        return Link(self.a[name], self.b[name], a[1], b, self.blocks, self.blocks_inside)

    def saved(self, link: Link) -> dict[str, Any] | None:
        """What holdfast show says of our end; None where there was no checkpoint."""
        if not (self.a.images / "holdfast.img").exists():
            return None
        command = [builddir() / "holdfast", "show", "--json", self.a.images]
        shown = json.loads(run(command).check().output)
        # Inside and outside choose their ports by themselves: the same one may occur in both.
        ends = (f"{self.host}:{link.a_port}", "{}:{}".format(*link.b_address))
        for conn in shown["connections"]:
            if (conn["local"], conn["peer"]) == ends:
                found: dict[str, Any] = conn
                return found
        raise AssertionError(f"no connection {ends} in {shown}")

    def new_streams(self) -> tuple[int, int]:
        self.streams += 2
        return self.streams, self.streams + 1

    def wide_link(self, name: str, to_a: int, from_a: int) -> Link:
        """With room for so much in a's queues, by a listener of its own."""
        ours, theirs = self.new_streams()
        room = (socket.SOL_SOCKET, SO_SNDBUFFORCE, 2 * (to_a + from_a) + 65536)
        wide = (socket.SOL_SOCKET, SO_RCVBUFFORCE, 3 * to_a + 65536)
        port = self.a.listen(name, self.host, 0, [wide, room])
        peer = (self.net.peer.v4, self.b.connect(name, self.host, port, (theirs, ours), [room]))
        self.a.accept(name, name, (ours, theirs))
        return Link(self.a[name], self.b[name], port, peer, self.blocks, self.blocks_inside)

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


def end(w: World, link: Link, to_b: int = 0, to_a: int = 0, fin: bool = False) -> None:
    """What is under way arrives, then more does, and the connection ends in order."""
    w.lift()
    a, b = link.a, link.b
    if to_b:
        b.recv(to_b)
    if to_a:
        a.recv(to_a)
    if not fin:
        w.exchange(a, b, 20_000)
        a.shutdown()
    b.eof()
    b.send(5000)
    b.shutdown()
    a.recv(5000)
    a.eof()
    a.wait_state("CLOSE")
    b.wait_state("CLOSE")
    assert (a.error("option"), b.error("option")) == ("", "")


Scene = Callable[[World], Iterator[None]]

def criu_cannot(scene: Scene) -> Scene:
    """A scene that CRIU's own tcp-established does not carry over: holdfast alone is tested."""
    CRIU_CANNOT.add(scene)
    return scene


CRIU_CANNOT: set[Scene] = set()

# "nowhere" is without any checkpoint: it shows that a scene expects what programs see.
PLACES = ("shared", "external")
WHERES = ("nowhere", *(f"{place}-{name}" for name in CHOSEN for place in PLACES))
# All of them, and a checkpoint that leaves the program running.
EVERYWHERE = (*WHERES, "running")
# What CRIU's tcp-established does not carry over; and a checkpoint that leaves the program running.
WHERES_AND_RUNNING = ("nowhere", *(f"{place}-{CHOSEN[0]}" for place in PLACES), "running")


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
            self.world.a.checkpoint(leave_running=self.where == "running").check()
            if self.where == "running":
                return
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


def make_stage(
    request: pytest.FixtureRequest, work: Path, tcp_agents: bool = False
) -> Iterator[Stage]:
    """What a module's fixture "stage", with the params WHERES, consists of."""
    where: str = request.param
    place, _, options = where.partition("-")
    arrangement: Arrangement = "shared" if place == "shared" else "external"
    with world(work, MODES[options or CHOSEN[0]](), arrangement, tcp_agents) as made:
        made.where = where
        stage = Stage(made, where)
        stage.set_up(chosen(request, where))
        stage.there_and_back()
        yield stage


@contextlib.contextmanager
def world(
    work: Path, options: Mode, arrangement: Arrangement = "external", tcp_agents: bool = False
) -> Iterator[World]:
    """A new container; nothing of it may be left in the end."""
    leftovers = checks.Leftovers()
    with Network() as net:
        with (
            AgentTask(net.container, work / "a", options, arrangement) as a,
            PeerAgent(net.peer, work) as b,
        ):
            made = World(net, work, a, b, Blocks(net.peer))
            if tcp_agents:
                made.tcp_agents()
            made.start()
            yield made
            assert not checks.repair_sockets(a.pids())
        assert not checks.holdfast_tables(net.container, net.peer, HOST)
    assert not leftovers.processes()
