# SPDX-License-Identifier: GPL-2.0-or-later
"""The network namespace of a container goes away after the checkpoint, and a new one has its
address before the restore: the host's lock keeps packets off until the connections are there."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import checks, proc
from harness.agent import AgentTask, PeerAgent
from harness.arrangements import Server, make_server
from harness.bridged import Bridged
from harness.cases import finish
from harness.left import holdfast
from harness.mode import Mode
from harness.net import HOST, Netns, nft_tables
from harness.peer import Peer

# They never stand still: some retransmission falls into every moment.
BUSY = ["source*3", "sink*3", "duplex*4", "echo,gap=20*4"]
GAP = 1.5  # seconds for which the address is there and the connections are not


@pytest.fixture(params=[True, False], ids=["br-netfilter", "no-br-netfilter"])
def bridged(request: pytest.FixtureRequest, leftovers: checks.Leftovers) -> Iterator[Bridged]:
    with Bridged(request.param) as net:
        yield net
        left = checks.holdfast_tables(*net.places().values(), net.container)
        for family, name in nft_tables(HOST):
            HOST.run("nft", "delete", "table", family, name)
        assert not left


@contextlib.contextmanager
def everywhere(net: Bridged, patience: float) -> Iterator[dict[str, Peer]]:
    """A peer in every place."""
    with contextlib.ExitStack() as stack:
        peers = {}
        for place, ns in net.places().items():
            targets = net.targets() | {
                "IPv6-all": f"[{net.container.v6}]:{net.DUAL_PORT}",
            }
            peers[place] = stack.enter_context(Peer(ns, targets, BUSY, patience=patience))
        yield peers


def tables(server: Server) -> list[str]:
    (path,) = list(server.images.glob("holdfast.img"))
    checkpoint = holdfast("show", "--json", path.parent).json["id"]
    return [f"host: {family} holdfast-{checkpoint}" for family in ("bridge", "inet")]


@pytest.mark.parametrize("arrangement", ["criu-external", "crun", "runc"])
def test_new_namespace(
    tmp_path: Path, bridged: Bridged, holdfast_mode: Mode, arrangement: str
) -> None:
    """Also for clients that come meanwhile: they get in after it."""
    with (
        make_server(arrangement, bridged, tmp_path, holdfast_mode) as server,
        everywhere(bridged, patience=30) as peers,
    ):
        server.checkpoint().check()
        assert sorted(checks.holdfast_tables(HOST)) == tables(server)
        bridged.detach(bridged.container)
        bridged.attach(bridged.container)
        with contextlib.ExitStack() as stack:
            late = [
                Peer(ns, bridged.targets(), ["echo*2"], patience=30)
                for ns in bridged.places().values()
            ]
            time.sleep(GAP)
            server.restore().check()
            assert not checks.holdfast_tables(HOST)
            for peer in late:
                finish(stack.enter_context(peer))
        for place, peer in peers.items():
            assert peer.progress().ok, place
            report = peer.finish()
            assert report.lost == 0, f"{place}: {report.complaints()}"


NAT = """
table inet published {{
    chain prerouting {{
        type nat hook prerouting priority dstnat;
        tcp dport {published} fib daddr type local dnat ip to {v4}:{port};
        tcp dport {published} fib daddr type local dnat ip6 to [{v6}]:{port};
    }}
    chain output {{
        type nat hook output priority dstnat;
        tcp dport {published} fib daddr type local dnat ip to {v4}:{port};
        tcp dport {published} fib daddr type local dnat ip6 to [{v6}]:{port};
    }}
    chain postrouting {{
        type nat hook postrouting priority srcnat;
        ip saddr 127.0.0.0/8 masquerade;
        ip saddr 10.77.0.0/24 ip daddr {v4} masquerade;
        ip6 saddr fd77::/64 ip6 daddr {v6} masquerade;
        ip saddr 10.77.0.0/24 ip daddr 10.78.0.0/24 masquerade;
    }}
}}
"""
PUBLISHED = 8080


def publish(net: Bridged, work: Path) -> None:
    rules = work / "published.nft"
    rules.write_text(
        NAT.format(published=PUBLISHED, v4=net.container.v4, v6=net.container.v6, port=net.PORT)
    )
    HOST.run("nft", "-f", rules).check()


def published(net: Bridged) -> list[tuple[str, Netns, dict[str, str]]]:
    """From where, and to which addresses of this host."""
    uplink, gateway = ({"v4": f"{at.v4}:{PUBLISHED}", "v6": f"[{at.v6}]:{PUBLISHED}"}
                       for at in (net.uplink, net.gateway))
    return [
        ("remote", net.remote, uplink),
        ("local", HOST, uplink),
        ("loopback", HOST, {"v4": f"127.0.0.1:{PUBLISHED}"}),
        ("sibling", net.sibling, gateway),
    ]


@pytest.mark.parametrize("gone", [True, False], ids=["rules-go", "rules-stay"])
def test_published_port(
    tmp_path: Path, bridged: Bridged, holdfast_mode: Mode, gone: bool
) -> None:
    """The translation goes with the container and comes back before it, as podman does it."""
    HOST.run("sysctl", "-qw", "net.ipv4.conf.all.route_localnet=1").check()
    publish(bridged, tmp_path)
    with (
        make_server("criu-external", bridged, tmp_path / "server", holdfast_mode) as server,
        contextlib.ExitStack() as stack,
    ):
        peers = {
            name: stack.enter_context(Peer(ns, targets, BUSY, patience=30))
            for name, ns, targets in published(bridged)
        }
        server.checkpoint().check()
        if gone:
            HOST.run("nft", "delete", "table", "inet", "published").check()
        bridged.detach(bridged.container)
        time.sleep(0.3)
        late = [Peer(ns, targets, ["echo"], patience=30) for _, ns, targets in published(bridged)]
        time.sleep(0.3)
        bridged.attach(bridged.container)
        if gone:
            publish(bridged, tmp_path)
        time.sleep(GAP)
        server.restore().check()
        for peer in late:
            finish(stack.enter_context(peer))
        for name, peer in peers.items():
            assert peer.progress().ok, name
            report = peer.finish()
            assert report.lost == 0, f"{name}: {report.complaints()}"
    HOST.run("nft", "delete", "table", "inet", "published").check()


@pytest.mark.parametrize("gone", [True, False], ids=["rules-go", "rules-stay"])
def test_masqueraded(tmp_path: Path, bridged: Bridged, holdfast_mode: Mode, gone: bool) -> None:
    """A connection that the container made, with the host's address outside."""
    publish(bridged, tmp_path)
    with (
        AgentTask(bridged.container, tmp_path / "a", holdfast_mode) as a,
        PeerAgent(bridged.remote, tmp_path / "b") as b,
    ):
        b.listen("all", bridged.remote.v4, 7700)
        a.connect("c", bridged.remote.v4, 7700, streams=(1, 2))
        b.accept("c", "all", streams=(2, 1))
        assert b["c"].names()[1][0] == bridged.uplink.v4
        a.checkpoint().check()
        b["c"].send(5000)  # and sends it again and again
        if gone:
            HOST.run("nft", "delete", "table", "inet", "published").check()
        bridged.detach(bridged.container)
        time.sleep(GAP)
        bridged.attach(bridged.container)
        if gone:
            publish(bridged, tmp_path)
        time.sleep(GAP)
        a.restore().check()
        a["c"].recv(5000)
        a["c"].send(5000)
        b["c"].recv(5000)
    HOST.run("nft", "delete", "table", "inet", "published").check()


# Of a firewall, as podman's networks have one; and a way past connection tracking.
STRICT = """
table inet strict {
    chain elsewhere { type filter hook prerouting priority raw; }
    chain forward { type filter hook forward priority filter; ct state invalid drop; }
}
"""


def test_back_on_a_host(tmp_path: Path, bridged: Bridged, holdfast_mode: Mode) -> None:
    """Its connection tracking remembers windows that are long past; a firewall drops the rest."""
    rules = tmp_path / "strict.nft"
    rules.write_text(STRICT)
    HOST.run("nft", "-f", rules).check()
    fast = ["duplex,rate=0*2", "source,rate=0", "sink,rate=0", "echo*2"]
    with (
        make_server("criu-external", bridged, tmp_path / "server", holdfast_mode) as server,
        Peer(bridged.remote, bridged.targets(), fast, patience=10) as peer,
    ):
        assert peer.progress().ok
        # As if it was on another host for a while.
        HOST.run("nft", "add rule inet strict elsewhere meta l4proto tcp notrack").check()
        time.sleep(1)
        server.checkpoint().check()
        HOST.run("nft", "flush chain inet strict elsewhere").check()
        server.restore().check()
        finish(peer)
    HOST.run("nft", "delete table inet strict").check()


def test_without_it(tmp_path: Path, bridged: Bridged, holdfast_mode: Mode) -> None:
    """What the test above would show without a lock on the host: who sends is reset."""
    with (
        make_server("criu-external", bridged, tmp_path, holdfast_mode) as server,
        everywhere(bridged, patience=5) as peers,
    ):
        server.checkpoint().check()
        for family, name in nft_tables(HOST):
            HOST.run("nft", "delete", "table", family, name).check()
        bridged.detach(bridged.container)
        bridged.attach(bridged.container)
        time.sleep(GAP)
        server.restore().check()
        for place, peer in peers.items():
            lost = [conn for conn in peer.stats() if not conn.kept]
            assert len(lost) > len(BUSY) and all("reset" in conn.error for conn in lost), place


def the_hosts() -> list[dict[str, Any]]:
    """What the command says of the host's locks."""
    found = holdfast("status", "--json").json["locks"]
    return [lock for lock in found if lock["host"]]


def test_it_expires(tmp_path: Path, bridged: Bridged, holdfast_mode: Mode) -> None:
    """The elements go by themselves; the tables with the next checkpoint, or when asked."""
    conf = tmp_path / "holdfast.conf"
    conf.write_text("lock-timeout = 3\n")
    with (
        make_server("criu-external", bridged, tmp_path / "one", holdfast_mode) as server,
        Peer(bridged.remote, bridged.targets(), ["echo"], patience=20) as peer,
    ):
        for way in ("checkpoint", "recover"):
            server.env = {"HOLDFAST_CONF": str(conf)}
            server.checkpoint().check()
            (lock,) = the_hosts()
            assert lock["situation"] == "waiting" and lock["expires_in"] <= 2
            proc.wait_for(lambda: the_hosts()[0]["situation"] == "expired", "the end of the lock")
            assert [lock["connections"] for lock in the_hosts()] == [0]
            assert len(checks.holdfast_tables(HOST)) == 2
            server.env = {}
            if way == "recover":
                assert holdfast("recover").line("expired, removed")
                assert not the_hosts() and not checks.holdfast_tables(HOST)
            # The lock of the namespace has not expired, so this can be restored.
            server.restore().check()
            assert not checks.holdfast_tables(HOST)
            assert peer.progress().ok
        finish(peer)


def test_the_next_run_removes_it(tmp_path: Path, bridged: Bridged, holdfast_mode: Mode) -> None:
    """Another container's checkpoint, while the first is never restored."""
    conf = tmp_path / "holdfast.conf"
    conf.write_text("lock-timeout = 3\n")
    with (
        make_server("criu-external", bridged, tmp_path / "one", holdfast_mode) as first,
        AgentTask(bridged.sibling, tmp_path / "two", holdfast_mode) as second,
    ):
        first.env = {"HOLDFAST_CONF": str(conf)}
        first.checkpoint().check()
        (lock,) = the_hosts()
        second.listen("all", "0.0.0.0", 7600)
        second.checkpoint().check()
        second.restore().check()
        proc.wait_for(lambda: the_hosts()[0]["situation"] == "expired", "the end of the lock")
        second.checkpoint().check()
        assert [found["situation"] for found in the_hosts()] == ["waiting"]
        assert lock["id"] not in {found["id"] for found in the_hosts()}
        second.restore().check()
        assert not the_hosts()
        bridged.container.run("nft", "delete", "table", "inet", lock["table"]).check()
