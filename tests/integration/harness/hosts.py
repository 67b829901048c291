# SPDX-License-Identifier: GPL-2.0-or-later
"""Two hosts with podman, the network between them, and a peer that is far away.

routed    each host has a cable of its own to a router, behind which the peer is; the network of
          the containers is the same on both hosts, and a route says where it is
segment   both hosts and the peer are on one switch, and so are the containers: each host's bridge
          has its cable as a port; whoever has an address says so (gratuitous ARP)

     host1 --- router --- peer          host1 --- switch --- peer
     host2 ---                          host2 ---

An address that clients use for published ports moves with the container.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Literal

from .announce import announce
from .closing import Closing
from .host import Host
from .net import Netns, nft_tables
from .proc import run

Topology = Literal["routed", "segment"]

# Of the containers; .1 is the bridge's. In a segment everything else is here, too.
SUBNET4, SUBNET6 = "10.77.0.0/24", "fd77::/64"
CONTAINERS = range(5, 10)  # the last parts of their addresses
# The address that moves, for published ports.
FLOATING4, FLOATING6 = "10.60.99.1", "fd60:99::1"
UPLINK = "eth0"
BRIDGE = "br0"  # of a segment


def address4(number: int) -> str:
    return f"{SUBNET4.rpartition('.')[0]}.{number}"


def address6(number: int) -> str:
    return f"{SUBNET6.partition('::')[0]}::{number}"


def _ip(ns: Netns, *words: object) -> None:
    run(["ip", "-n", ns.name, *words]).check()


def _sysctl(ns: Netns, **values: object) -> None:
    settings = [f"{key.replace('__', '.')}={value}" for key, value in values.items()]
    ns.run("sysctl", "-q", "-w", *settings).check()


def _cable(a: Netns, a_name: str, b: Netns, b_name: str) -> None:
    _ip(a, "link", "add", a_name, "type", "veth", "peer", "name", b_name, "netns", b.name)
    _ip(a, "link", "set", a_name, "up")
    _ip(b, "link", "set", b_name, "up")


def _address(ns: Netns, dev: str, v4: str, v6: str) -> None:
    _ip(ns, "addr", "add", v4, "dev", dev)
    _ip(ns, "addr", "add", v6, "dev", dev, "nodad")


class Hosts(Closing):
    """with Hosts(tmp_path, "routed") as hosts: hosts.one, hosts.two, hosts.peer"""

    def __init__(self, work: Path, topology: Topology = "routed") -> None:
        tag = secrets.token_hex(3)
        self.topology = topology
        routed = topology == "routed"
        peer = ("10.60.0.2", "fd60::2") if routed else ("10.77.0.99", "fd77::99")
        self.peer = Netns(f"hf{tag}peer", *peer)
        self.middle = Netns(f"hf{tag}router", "10.60.0.1", "fd60::1")
        self.all = [self._host(work, number) for number in (1, 2)]
        self.one, self.two = self.all
        self.holder: Host | None = None  # of the floating address

    def _host(self, work: Path, number: int) -> Host:
        v4, v6 = f"10.60.{number}.2", f"fd60:{number}::2"
        if self.topology == "segment":
            v4, v6 = f"10.77.0.10{number}", f"fd77::10{number}"
        return Host(f"host{number}", work / f"host{number}", v4, v6)

    @property
    def namespaces(self) -> list[Netns]:
        """In none of these may a lock remain."""
        return [self.peer, self.middle, *(host.ns for host in self.all)]

    def other(self, host: Host) -> Host:
        return self.two if host is self.one else self.one

    def open(self) -> None:
        for ns in (self.peer, self.middle):
            run(["ip", "netns", "add", ns.name]).check()
            _ip(ns, "link", "set", "lo", "up")
        for host in self.all:
            host.open()
        for ns in self.namespaces:
            # IPv6 addresses are not to be waited for.
            _sysctl(ns, net__ipv6__conf__default__accept_dad=0)
        if self.topology == "routed":
            self._routed()
        else:
            self._segment()
        self.move(self.one)
        for host in self.all:
            # The first packet would otherwise meet an interface without carrier.
            for address in (host.ns.v4, host.ns.v6):
                self.peer.run("ping", "-c1", "-i0.1", "-w3", address).check()

    def _routed(self) -> None:
        forward = {"net__ipv4__ip_forward": 1, "net__ipv6__conf__all__forwarding": 1}
        _sysctl(self.middle, **forward)
        self._to_router(self.peer, UPLINK, "10.60.0", "fd60:", "peer")
        for number, host in enumerate(self.all, 1):
            self._to_router(host.ns, UPLINK, f"10.60.{number}", f"fd60:{number}:", host.name)
            _sysctl(host.ns, **forward)

    def _to_router(self, ns: Netns, dev: str, net4: str, net6: str, router_dev: str) -> None:
        _cable(ns, dev, self.middle, router_dev)
        _address(ns, dev, f"{ns.v4}/24", f"{ns.v6}/64")
        _address(self.middle, router_dev, f"{net4}.1/24", f"{net6}:1/64")
        _ip(ns, "route", "add", "default", "via", f"{net4}.1")
        _ip(ns, "-6", "route", "add", "default", "via", f"{net6}:1")

    def _segment(self) -> None:
        _ip(self.middle, "link", "add", "switch", "type", "bridge")
        _ip(self.middle, "link", "set", "switch", "up")
        for ns in (self.peer, *(host.ns for host in self.all)):
            port = f"p{ns.name[-5:]}"
            _cable(ns, UPLINK, self.middle, port)
            _ip(self.middle, "link", "set", port, "master", "switch")
        _address(self.peer, UPLINK, f"{self.peer.v4}/24", f"{self.peer.v6}/64")
        for address in (FLOATING4, FLOATING6):
            _ip(self.peer, "route", "add", address, "dev", UPLINK)
        for host in self.all:
            _ip(host.ns, "link", "add", BRIDGE, "type", "bridge")
            _ip(host.ns, "link", "set", UPLINK, "master", BRIDGE)
            _ip(host.ns, "link", "set", BRIDGE, "up")
            _address(host.ns, BRIDGE, f"{host.ns.v4}/24", f"{host.ns.v6}/64")

    def move(self, to: Host) -> None:
        """What the administrator does to the network when a container moves."""
        if self.topology == "routed":
            for what in (SUBNET4, SUBNET6, FLOATING4, FLOATING6):
                gateway = to.ns.v6 if ":" in what else to.ns.v4
                _ip(self.middle, "route", "replace", what, "via", gateway)
        self.move_floating(to)

    def move_floating(self, to: Host) -> None:
        dev = UPLINK if self.topology == "routed" else BRIDGE
        if self.holder:
            for address in (f"{FLOATING4}/32", f"{FLOATING6}/128"):
                _ip(self.holder.ns, "addr", "del", address, "dev", dev)
        self.holder = to
        _address(to.ns, dev, f"{FLOATING4}/32", f"{FLOATING6}/128")
        if self.topology == "segment":
            announce(to.ns, dev, FLOATING4, FLOATING6)

    def keep_addresses(self, on: bool = True) -> None:
        """Whether packets from containers keep their source, which podman would make the host's.

        It would do so with what a connection that was not begun here sends first.
        """
        for host in self.all:
            host.ns.run("nft", "destroy table inet site").check()
        if not on:
            return
        rules = "type nat hook postrouting priority srcnat - 1;"
        for number in CONTAINERS:
            for kind, address in (("ip", address4(number)), ("ip6", address6(number))):
                rules += f" {kind} saddr {address} snat {kind} to {address};"
        for host in self.all:
            host.ns.run("nft", f"table inet site {{ chain keep {{ {rules} }}; }}").check()

    def bridge_netfilter(self, on: bool) -> None:
        """Whether bridged packets go through the hooks of IP, too (module br_netfilter)."""
        for host in self.all:
            value = int(on)
            names = [f"net__bridge__bridge-nf-call-{name}" for name in ("iptables", "ip6tables")]
            _sysctl(host.ns, **dict.fromkeys(names, value))

    def forget_neighbours(self) -> None:
        """Another container with the same address has another hardware address."""
        for ns in self.namespaces:
            _ip(ns, "neigh", "flush", "all")

    def unlock(self) -> None:
        """So that what a test that failed has left is not the next one's."""
        for host in self.all:
            for family, name in nft_tables(host.ns):
                if "holdfast" in name:
                    host.ns.run("nft", "delete", "table", family, name).check()

    def close(self) -> None:
        for host in self.all:
            host.close()
        for ns in (self.peer, self.middle):
            if ns.path.exists():
                run(["ip", "netns", "del", ns.name])
