# SPDX-License-Identifier: GPL-2.0-or-later
"""Two hosts behind a router, which is the peer's way to the container on either of them: the
container's network is taken from one, and set up with the same address on the other.
"""

from __future__ import annotations

import secrets

from .net import Netns, Network
from .proc import run, wait_for

FORWARD = ("net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")


class Routed(Network):
    """with Routed() as net: net.container is on net.one; net.detach(), then net.attach(net.two)"""

    def __init__(self) -> None:
        super().__init__()
        tag = secrets.token_hex(3)
        self.peer = Netns(f"hf{tag}p", "10.78.0.2", "fd78::2")
        self.router = Netns(f"hf{tag}r", "10.78.0.254", "fd78::fe")
        # As the router sees them.
        self.one = Netns(f"hf{tag}a", "10.79.1.2", "fd79:1::2")
        self.two = Netns(f"hf{tag}b", "10.79.2.2", "fd79:2::2")
        # As the container sees its host.
        self.gateway = Netns("", "10.77.0.254", "fd77::fe")

    def open(self) -> None:
        for ns in (self.peer, self.router, self.one, self.two):
            run(["ip", "netns", "add", ns.name]).check()
            ns.run("ip", "link", "set", "lo", "up").check()
        for ns in (self.router, self.one, self.two):
            ns.run("sysctl", "-qw", *FORWARD).check()
        self._cable(self.peer, self.router, "peer", self.router)
        for host, name in ((self.one, "one"), (self.two, "two")):
            own = Netns("", host.v4[:-1] + "1", host.v6[:-1] + "1")
            self._cable(host, self.router, name, own)
        self.attach(self.one)
        for address in (self.container.v4, self.container.v6):
            # Neighbour discovery waits until the link-local addresses are settled.
            ping = ["ping", "-c1", "-W1", address]
            wait_for(lambda: self.peer.run(*ping).rc == 0, f"the way to {address}")

    def close(self) -> None:
        for ns in (self.container, self.peer, self.router, self.one, self.two):
            if ns.path.exists():
                run(["ip", "netns", "del", ns.name])

    @staticmethod
    def _cable(ns: Netns, other: Netns, name: str, end: Netns) -> None:
        """From eth0 of one, whose default gateway the other end becomes."""
        cable = ["link", "add", "eth0", "type", "veth", "peer", "name", name]
        ns.run("ip", *cable, "netns", other.name).check()
        for where, device, own in ((other, name, end), (ns, "eth0", ns)):
            ip = ["ip", "-n", where.name]
            run([*ip, "addr", "add", f"{own.v4}/24", "dev", device]).check()
            run([*ip, "addr", "add", f"{own.v6}/64", "dev", device, "nodad"]).check()
            run([*ip, "link", "set", device, "up"]).check()
        for address in (end.v4, end.v6):
            run(["ip", "-n", ns.name, "route", "add", "default", "via", address]).check()

    def attach(self, host: Netns) -> None:
        """Makes the container's namespace on a host; its network is up from then on."""
        run(["ip", "netns", "add", self.container.name]).check()
        self.container.run("ip", "link", "set", "lo", "up").check()
        self._cable(self.container, host, "inside", self.gateway)
        for network, via in (("10.77.0.0/24", host.v4), ("fd77::/64", host.v6)):
            route = ["route", "replace", network, "via", via]
            run(["ip", "-n", self.router.name, *route]).check()

    def detach(self) -> None:
        """What a runtime does with the network of a container that has ended."""
        self.container.run("ip", "link", "del", "eth0").check()
        run(["ip", "netns", "del", self.container.name]).check()
