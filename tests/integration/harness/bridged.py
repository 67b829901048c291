# SPDX-License-Identifier: GPL-2.0-or-later
"""A host with a bridge, as podman makes one: the container's network namespace can be thrown away
and made anew, and its peers are in every place from which packets come by another way.
"""

from __future__ import annotations

import secrets
from pathlib import Path

from .net import HOST, Netns, Network
from .proc import run, wait_for

SYSCTL = Path("/proc/sys/net")


class Bridged(Network):
    """with Bridged() as net: net.container behind a bridge, net.places() by name

    remote    on another host, which is routed through this one
    sibling   another container on the same bridge
    local     a process of this host
    """

    def __init__(self, filter_bridge: bool = True) -> None:
        super().__init__()
        tag = secrets.token_hex(3)
        self.filter_bridge = filter_bridge
        self.bridge = f"br{tag}"
        self.sibling = Netns(f"hf{tag}s", "10.77.0.3", "fd77::3")
        self.remote = Netns(f"hf{tag}r", "10.78.0.2", "fd78::2")
        self.gateway = Netns("", "10.77.0.254", "fd77::fe")
        self.uplink = Netns("", "10.78.0.254", "fd78::fe")

    def places(self) -> dict[str, Netns]:
        return {"remote": self.remote, "sibling": self.sibling, "local": HOST}

    def open(self) -> None:
        for family in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
            (SYSCTL / family).write_text("1")
        for name in ("bridge-nf-call-iptables", "bridge-nf-call-ip6tables"):
            (SYSCTL / "bridge" / name).write_text(str(int(self.filter_bridge)))
        run(["ip", "link", "add", self.bridge, "type", "bridge"]).check()
        self._address([], self.bridge, self.gateway)
        self.attach(self.sibling)
        self.attach(self.container)
        run(["ip", "netns", "add", self.remote.name]).check()
        self._cable(self.remote, self._host_end(self.remote))
        self._address([], self._host_end(self.remote), self.uplink)
        self._inside(self.remote, self.uplink)
        for ns in self.places().values():
            for address in (self.container.v4, self.container.v6):
                # Neighbour discovery waits until the link-local addresses are settled.
                wait_for(lambda: ns.run("ping", "-c1", "-W1", address).rc == 0, f"way to {address}")

    def close(self) -> None:
        for ns in (self.container, self.sibling, self.remote):
            # A namespace may live on for a while, and with it the address of our end.
            run(["ip", "link", "del", self._host_end(ns)])
            if ns.path.exists():
                run(["ip", "netns", "del", ns.name])
        run(["ip", "link", "del", self.bridge])

    def attach(self, ns: Netns) -> None:
        """Makes a namespace on the bridge; its network is up from then on."""
        run(["ip", "netns", "add", ns.name]).check()
        host_end = self._host_end(ns)
        self._cable(ns, host_end)
        run(["ip", "link", "set", host_end, "master", self.bridge, "up"]).check()
        self._inside(ns, self.gateway)

    def detach(self, ns: Netns) -> None:
        """What a runtime does with the network of a container that has ended."""
        run(["ip", "link", "del", self._host_end(ns)]).check()
        run(["ip", "netns", "del", ns.name]).check()

    @staticmethod
    def _host_end(ns: Netns) -> str:
        return "v" + ns.name

    @staticmethod
    def _cable(ns: Netns, host_end: str) -> None:
        cable = ["ip", "link", "add", host_end, "type", "veth"]
        run([*cable, "peer", "name", "eth0", "netns", ns.name]).check()

    @staticmethod
    def _address(where: list[str], device: str, ns: Netns) -> None:
        ip = ["ip", *where]
        run([*ip, "addr", "add", f"{ns.v4}/24", "dev", device]).check()
        run([*ip, "addr", "add", f"{ns.v6}/64", "dev", device, "nodad"]).check()
        run([*ip, "link", "set", device, "up"]).check()

    def _inside(self, ns: Netns, gateway: Netns) -> None:
        where = ["-n", ns.name]
        # A new namespace has the same one, as podman sees to: packets find it at once.
        mac = "02:00:" + ":".join(f"{int(part) % 256:02x}" for part in ns.v4.split("."))
        run(["ip", *where, "link", "set", "eth0", "address", mac]).check()
        run(["ip", *where, "link", "set", "lo", "up"]).check()
        self._address(where, "eth0", ns)
        for address in (gateway.v4, gateway.v6):
            run(["ip", *where, "route", "add", "default", "via", address]).check()
