# SPDX-License-Identifier: GPL-2.0-or-later
"""Two network namespaces and a cable: the container's and the peer's.

Everything in them has the same addresses in every test; only the names differ, so that tests can
run at the same time.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .closing import Closing
from .proc import Done, run


@dataclass(frozen=True)
class Netns:
    name: str
    v4: str
    v6: str

    @property
    def path(self) -> Path:
        return Path("/run/netns") / self.name

    @property
    def inode(self) -> int:
        return os.stat(self.path).st_ino

    def command(self, command: Sequence[object]) -> list[str]:
        """The command, to be run inside.

        Not by "ip netns exec": that makes a mount namespace too, and CRIU then finds no parents of
        its mounts.
        """
        return ["nsenter", f"--net={self.path}", "--", *(str(word) for word in command)]

    def run(self, *command: object, timeout: float = 60) -> Done:
        return run(self.command(command), timeout)

    def popen(self, command: Sequence[object], **kwargs: Any) -> subprocess.Popen[Any]:
        return subprocess.Popen(self.command(command), **kwargs)


@dataclass(frozen=True)
class Host(Netns):
    """Where the tests, CRIU and the runtimes run."""

    @property
    def path(self) -> Path:
        return Path("/proc/self/ns/net")


HOST = Host("host", "", "")


def nft_tables(ns: Netns) -> list[tuple[str, str]]:
    """The (family, name) of every nftables table inside."""
    output = ns.run("nft", "-j", "list", "tables").check().output
    entries = [item["table"] for item in json.loads(output)["nftables"] if "table" in item]
    return [(table["family"], table["name"]) for table in entries]


class Network(Closing):
    """with Network() as net: net.container, net.peer"""

    def __init__(self) -> None:
        tag = secrets.token_hex(3)
        self.container = Netns(f"hf{tag}c", "10.77.0.1", "fd77::1")
        self.peer = Netns(f"hf{tag}p", "10.77.0.2", "fd77::2")

    def open(self) -> None:
        for ns in (self.container, self.peer):
            run(["ip", "netns", "add", ns.name]).check()
        cable = ["ip", "-n", self.container.name, "link", "add", "eth0", "type", "veth"]
        run([*cable, "peer", "name", "eth0", "netns", self.peer.name]).check()
        for ns in (self.container, self.peer):
            ip = ["ip", "-n", ns.name]
            run([*ip, "link", "set", "lo", "up"]).check()
            run([*ip, "addr", "add", f"{ns.v4}/24", "dev", "eth0"]).check()
            run([*ip, "addr", "add", f"{ns.v6}/64", "dev", "eth0", "nodad"]).check()
            run([*ip, "link", "set", "eth0", "up"]).check()
        # The first packet would otherwise meet an interface without carrier.
        for address in (self.container.v4, self.container.v6):
            self.peer.run("ping", "-c1", "-i0.1", "-W2", address).check()

    def close(self) -> None:
        for ns in (self.container, self.peer):
            if ns.path.exists():
                run(["ip", "netns", "del", ns.name])

    # What the server listens on, and how the peer gets there. A dual-stack socket gives
    # connections with v4-mapped addresses.
    PORT = 7000
    DUAL_PORT = 7001

    def listen_args(self) -> list[str]:
        return [
            f"--listen={self.container.v4}:{self.PORT}",
            f"--listen=[{self.container.v6}]:{self.PORT}",
            f"--listen=[::]:{self.DUAL_PORT}",
        ]

    def targets(self) -> dict[str, str]:
        return {
            "IPv4": f"{self.container.v4}:{self.PORT}",
            "IPv6": f"[{self.container.v6}]:{self.PORT}",
            "v4-mapped": f"{self.container.v4}:{self.DUAL_PORT}",
        }
