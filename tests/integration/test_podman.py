# SPDX-License-Identifier: GPL-2.0-or-later
"""Containers of podman keep their connections: in place, through an archive, on another host.

Peers of every kind are connected at once, and their last segments are sent again every few
milliseconds: a moment without a lock is a connection lost.
"""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import checks, mode, podman, proc
from harness.closing import Closing
from harness.hosts import Hosts, Topology
from harness.mode import Mode
from harness.net import Netns
from harness.oci import Runtime
from harness.peer import Peer
from harness.podman import PORT, PodmanServer
from harness.replay import Replay

CONNS = ["idle*2", "echo,gap=10*4", "duplex*2", "source*2", "sink*2"]
OUTAGE = 1.0
NEIGHBOUR = 6  # the last part of the other container's address

RUNTIMES = pytest.mark.parametrize("runtime", ["crun", "runc"])


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return podman.make_image(tmp_path_factory.mktemp("image") / "image.tar")


@pytest.fixture(scope="module")
def make_hosts(
    tmp_path_factory: pytest.TempPathFactory, image: Path
) -> Iterator[Callable[[Topology], Hosts]]:
    """Once each: only containers come and go."""
    made: dict[Topology, Hosts] = {}
    with contextlib.ExitStack() as stack:

        def make(topology: Topology) -> Hosts:
            if topology not in made:
                work = tmp_path_factory.mktemp(topology)
                made[topology] = stack.enter_context(Hosts(work, topology))
                podman.prepare(made[topology], image)
            return made[topology]

        yield make


def _used(hosts: Hosts) -> Iterator[Hosts]:
    hosts.move(hosts.one)
    hosts.forget_neighbours()
    yield hosts
    try:
        assert not checks.holdfast_tables(*hosts.namespaces)
    finally:
        hosts.unlock()


@pytest.fixture
def routed(leftovers: object, make_hosts: Callable[[Topology], Hosts]) -> Iterator[Hosts]:
    yield from _used(make_hosts("routed"))


@pytest.fixture
def segment(leftovers: object, make_hosts: Callable[[Topology], Hosts]) -> Iterator[Hosts]:
    yield from _used(make_hosts("segment"))


class Peers(Closing):
    """with Peers(server) as peers: peers.add("remote", ns, targets); ...; peers.finish()"""

    def __init__(self, server: PodmanServer, *, replay: bool = True, patience: float = 15) -> None:
        self.server, self.replay, self.patience = server, replay, patience
        self.peers: dict[str, Peer] = {}
        self.replays: dict[str, Replay] = {}
        self._stack = contextlib.ExitStack()

    def open(self) -> None:
        pass

    def add(self, kind: str, ns: Netns, targets: dict[str, str]) -> None:
        peer = Peer(ns, targets, CONNS, patience=self.patience)
        self.peers[kind] = self._stack.enter_context(peer)
        if self.replay:
            self.replays[kind] = self._stack.enter_context(Replay(ns, peer))

    def start(self) -> None:
        time.sleep(0.3)  # every connection has sent something
        for replay in self.replays.values():
            replay.start()

    def finish(self) -> None:
        for replay in self.replays.values():
            replay.close()
            assert replay.sent > 100
        pids = self.server.pids()
        assert pids and not checks.repair_sockets(pids)
        assert not checks.holdfast_tables(self.server.netns())
        still = {kind: peer.progress().missing for kind, peer in self.peers.items()}
        reports = {kind: peer.finish() for kind, peer in self.peers.items()}
        lost = {kind: report.complaints() for kind, report in reports.items() if report.lost}
        assert not lost, "\n".join(f"{kind}: {text}" for kind, text in lost.items())
        assert not any(still.values()), still

    def close(self) -> None:
        self._stack.close()


@contextlib.contextmanager
def served(hosts: Hosts, options: Mode, runtime: Runtime, **kwargs: Any) -> Iterator[Any]:
    """A server, and a container beside it."""
    with (
        PodmanServer(hosts, options, runtime, **kwargs) as server,
        PodmanServer(hosts, options, runtime, number=NEIGHBOUR, publish=False) as neighbour,
    ):
        yield server, neighbour


def outage() -> None:
    time.sleep(OUTAGE)


def in_place(server: PodmanServer, meanwhile: Callable[[], None] = outage) -> None:
    server.checkpoint().check()
    assert not server.pids()
    meanwhile()
    server.restore().check()


def same_host(server: PodmanServer, meanwhile: Callable[[], None] = outage) -> None:
    server.checkpoint(export=True).check()
    server.remove()
    meanwhile()
    server.restore(archive=True).check()


def other_host(server: PodmanServer, meanwhile: Callable[[], None] = outage) -> None:
    server.checkpoint(export=True).check()
    server.go_to(server.hosts.other(server.host), meanwhile).check()
    assert server.host is server.hosts.two and server.pids()


# ---- what is kept


@pytest.mark.parametrize(
    ("runtime", "way", "bridge_netfilter"),
    [
        ("crun", in_place, True),
        ("runc", in_place, False),
        ("crun", same_host, False),
        ("runc", same_host, True),
    ],
)
def test_peers_of_every_kind(
    routed: Hosts,
    holdfast_mode: Mode,
    runtime: Runtime,
    way: Callable[..., None],
    bridge_netfilter: bool,
) -> None:
    """Far away, on the host, in a container on the same bridge, through published ports."""
    routed.bridge_netfilter(bridge_netfilter)
    with served(routed, holdfast_mode, runtime) as (server, neighbour), Peers(server) as peers:
        peers.add("remote", routed.peer, server.targets())
        peers.add("published", routed.peer, server.published())
        peers.add("host", server.host.ns, server.targets())
        peers.add("container", neighbour.netns(), server.targets())
        peers.start()
        way(server)
        peers.finish()


@pytest.mark.parametrize(
    ("runtime", "carrier"), [("crun", "holdfast"), ("runc", "holdfast"), ("crun", "established")]
)
def test_another_host_behind_a_router(
    routed: Hosts, holdfast_mode: Mode, runtime: Runtime, carrier: str
) -> None:
    """podman would have what the container sends first leave under the other host's address; and
    published ports are another translation there until the container runs."""
    options = holdfast_mode if carrier == "holdfast" else mode.established()
    with PodmanServer(routed, options, runtime) as server, Peers(server) as peers:
        peers.add("remote", routed.peer, server.targets())
        peers.add("published", routed.peer, server.published())
        peers.start()
        other_host(server)
        peers.finish()


@RUNTIMES
def test_another_host_on_a_segment(
    segment: Hosts, holdfast_mode: Mode, runtime: Runtime
) -> None:
    """Its address moves by gratuitous ARP; peers on both hosts and beside it go on.

    Those on the first host meet its lock until it is removed there, after the restore: what wakes
    peers is over then, and one that sends waits for its timer, as long again as the outage.
    """
    with (
        served(segment, holdfast_mode, runtime, publish=False) as (server, neighbour),
        Peers(server, patience=40) as peers,
    ):
        peers.add("remote", segment.peer, server.targets())
        peers.add("host", segment.one.ns, server.targets())
        peers.add("container", neighbour.netns(), server.targets())
        peers.add("other-host", segment.two.ns, server.targets())
        peers.start()
        other_host(server)
        peers.finish()


def test_there_and_back(routed: Hosts, holdfast_mode: Mode) -> None:
    """What was left on the first host does not stand in the way."""
    with PodmanServer(routed, holdfast_mode) as server, Peers(server) as peers:
        peers.add("remote", routed.peer, server.targets())
        peers.start()
        for host in (routed.two, routed.one):
            server.checkpoint(export=True).check()
            server.go_to(host).check()
        peers.finish()


def test_default_network(routed: Hosts, holdfast_mode: Mode) -> None:
    """podman gives the container its address, and the same one at the restore."""
    with (
        PodmanServer(routed, holdfast_mode, network="podman") as server,
        Peers(server) as peers,
    ):
        network = server.inspect()["NetworkSettings"]["Networks"]["podman"]
        targets = {"IPv4": f"{network['IPAddress']}:{PORT}"}
        peers.add("host", routed.one.ns, targets)
        peers.add("published", routed.peer, {"IPv4": server.published()["IPv4"]})
        peers.start()
        in_place(server)
        peers.finish()


@RUNTIMES
def test_leave_running(routed: Hosts, holdfast_mode: Mode, runtime: Runtime) -> None:
    with PodmanServer(routed, holdfast_mode, runtime) as server, Peers(server) as peers:
        peers.add("remote", routed.peer, server.targets())
        peers.add("host", routed.one.ns, server.targets())
        peers.start()
        before = server.pids()
        server.checkpoint(leave_running=True).check()
        server.checkpoint(leave_running=True, export=True).check()
        assert server.pids() == before
        peers.finish()


# ---- new clients, and others


@pytest.mark.parametrize("way", [in_place, same_host, other_host])
def test_new_clients_wait(
    routed: Hosts, holdfast_mode: Mode, way: Callable[..., None]
) -> None:
    """Those that come during the outage get in after it.

    Not those in a container on the same bridge: their own kernel asks for the address (ARP), and
    gives up after 3 s.
    """
    with PodmanServer(routed, holdfast_mode) as server, Peers(server) as peers:
        peers.add("remote", routed.peer, server.targets())
        # The published port is known by those who came through it.
        peers.add("published", routed.peer, server.published())
        clients: dict[str, subprocess.Popen[bytes]] = {}

        def come() -> None:
            for ns, targets in (
                (routed.peer, server.targets()),
                (routed.one.ns, server.targets()),
                (routed.peer, server.published()),
            ):
                for target in targets.values():
                    address, _, port = target.rpartition(":")
                    words = ["nc", "-zw", "10", address.strip("[]"), port]
                    clients[f"{ns.name} {target}"] = ns.popen(words)
            time.sleep(0.5)
            assert all(client.poll() is None for client in clients.values())

        peers.start()
        way(server, come)
        refused = [who for who, client in clients.items() if client.wait(timeout=15) != 0]
        assert len(clients) == 6 and not refused
        peers.finish()


def test_others_keep_their_traffic(routed: Hosts, holdfast_mode: Mode) -> None:
    """While a container is away its neighbour on the bridge serves on."""
    with (
        served(routed, holdfast_mode, "crun") as (server, neighbour),
        Peers(server) as peers,
        Peer(routed.peer, neighbour.targets(), ["echo,gap=10*4", "duplex*2"]) as undisturbed,
    ):
        peers.add("remote", routed.peer, server.targets())
        peers.start()
        undisturbed.mark()
        in_place(server)
        report = undisturbed.finish()
        assert report.lost == 0, report.complaints()
        # It waits for the processor, at most.
        assert report.longest_stall_ms < OUTAGE * 1000 / 2
        peers.finish()


# ---- the tests tested


def test_replay_harms_nobody(routed: Hosts, holdfast_mode: Mode) -> None:
    with PodmanServer(routed, holdfast_mode) as server, Peers(server) as peers:
        peers.add("remote", routed.peer, server.targets())
        peers.add("published", routed.peer, server.published())
        peers.start()
        time.sleep(1)
        peers.finish()


def test_stock_loses(routed: Hosts) -> None:
    """Without a lock on the host the gap between network and sockets is hit, for every peer."""
    with served(routed, mode.stock(), "crun") as (server, neighbour), Peers(server) as peers:
        peers.add("remote", routed.peer, server.targets())
        peers.add("published", routed.peer, server.published())
        peers.add("host", server.host.ns, server.targets())
        peers.add("container", neighbour.netns(), server.targets())
        peers.start()
        server.checkpoint().check()
        time.sleep(OUTAGE)
        server.restore().check()
        for kind, peer in peers.peers.items():
            assert peer.finish().lost, kind
        proc.wait_for(server.pids, "the container")
