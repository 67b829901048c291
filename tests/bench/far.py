# SPDX-License-Identifier: GPL-2.0-or-later
"""A container with three peers: one on the next cable, the others 20 and 100 ms away."""

from __future__ import annotations

import secrets

from harness.net import Netns, Network
from harness.proc import run
from harness.slow_cable import SlowCable

# Round trips in ms; the first one is what a cable takes by itself.
NEAR, FAR, FARTHEST = 0.05, 20.0, 100.0
RTTS = (NEAR, FAR, FARTHEST)


class Far(Network):
    """with Far() as net: net.peers[FAR], net.targets_of(FAR)"""

    def __init__(self, rtts: tuple[float, ...] = RTTS) -> None:
        super().__init__()
        self.peers = {NEAR: self.peer}
        self._here = {NEAR: self.container}
        for number, rtt in enumerate((rtt for rtt in rtts if rtt != NEAR), 1):
            net4, net6 = f"10.78.{number}", f"fd78:{number}:"
            name = f"hf{secrets.token_hex(3)}f"
            self._here[rtt] = Netns(self.container.name, f"{net4}.1", f"{net6}:1")
            self.peers[rtt] = Netns(name, f"{net4}.2", f"{net6}:2")
        self.cables: list[SlowCable] = []

    @property
    def _far(self) -> list[float]:
        return [rtt for rtt in self.peers if rtt != NEAR]

    def open(self) -> None:
        super().open()
        for rtt in self._far:
            ns, here = self.peers[rtt], self._here[rtt]
            run(["ip", "netns", "add", ns.name]).check()
            ns.run("ip", "link", "set", "lo", "up").check()
            cable = SlowCable(here, ns, rtt / 2, f"slow{len(self.cables)}", "eth0")
            self.cables.append(cable)
            cable.open()
            for address in (here.v4, here.v6):
                ns.run("ping", "-c1", "-W2", address).check()

    def close(self) -> None:
        for cable in self.cables:
            cable.close()
        for rtt in self._far:
            if self.peers[rtt].path.exists():
                run(["ip", "netns", "del", self.peers[rtt].name])
        super().close()

    def sysctl(self, *settings: str) -> None:
        """In the container and at all peers."""
        for ns in (self.container, *self.peers.values()):
            ns.run("sysctl", "-qw", *settings).check()

    def listen_args(self) -> list[str]:
        return [
            f"--listen={address}"
            for rtt in self.peers
            for address in self.targets_of(rtt).values()
        ]

    def targets_of(self, rtt: float) -> dict[str, str]:
        here = self._here[rtt]
        return {"IPv4": f"{here.v4}:{self.PORT}", "IPv6": f"[{here.v6}]:{self.PORT}"}
