# SPDX-License-Identifier: GPL-2.0-or-later
"""hf-lwip: a TCP that is not Linux' for the connections of hf-peer.

The peer's end of the cable becomes a bridge, and lwIP a station behind it. hf-peer connects to
hf-lwip, which connects to the server by lwIP: its checks are as ever from end to end.
"""

from __future__ import annotations

import json
import select
import subprocess
from dataclasses import dataclass
from typing import Any

from . import proc
from .closing import Closing
from .net import Network
from .programs import program

TAP = "tap0"
V4, V6 = "10.77.0.3", "fd77::3"


@dataclass(frozen=True)
class Flow:
    """What lwIP knows of one connection; the times are those of time.time_ns()."""

    port: int  # hf-peer's
    error: int  # why lwIP gave up
    arrived: int  # the first bytes after mark(): here,
    moved: int  # and those of ours that were acknowledged
    # As long as there is a connection: what the server lets us send; how often lwIP asked for a
    # window; how often it sent again, and its timer, in half seconds.
    window: int = 0
    probes: int = 0
    tries: int = 0
    rto: int = 0


class Lwip(Closing):
    """with Lwip(net) as lwip, connect(conns, targets=lwip.targets) as peer: ..."""

    def __init__(self, net: Network) -> None:
        self.net = net
        self.targets: dict[str, str] = {}  # for hf-peer
        self._process: subprocess.Popen[bytes] | None = None

    def open(self) -> None:
        self.net.peer.run(
            "sh", "-ec", f"""
            ip addr flush dev eth0
            ip link add br0 type bridge
            ip tuntap add dev {TAP} mode tap
            for dev in eth0 {TAP}; do ip link set $dev master br0 up; done
            ip link set br0 up
            """,
        ).check()  # fmt: skip
        there = self.net.targets()
        command: list[object] = [program("hf-lwip"), f"--tap={TAP}", f"--v4={V4}", f"--v6={V6}"]
        command += [f"--to={address}" for address in there.values()]
        self._process = self.net.peer.popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        ports = self._answer("ready")["ports"]
        self.targets = {
            label: f"127.0.0.1:{port}" for label, port in zip(there, ports, strict=True)
        }

    def close(self) -> None:
        if self._process:
            proc.end(self._process)

    def _answer(self, event: str) -> dict[str, Any]:
        assert self._process and self._process.stdout
        if not select.select([self._process.stdout], [], [], 10)[0]:
            raise TimeoutError("hf-lwip gave no answer in 10 s")
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"hf-lwip ended with status {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        if answer.get("event") != event:
            raise RuntimeError(f"hf-lwip answered {answer!r}, not {event}")
        return answer

    def _ask(self, command: str) -> dict[int, Flow]:
        assert self._process and self._process.stdin
        self._process.stdin.write(f"{command}\n".encode())
        self._process.stdin.flush()
        flows = (Flow(**values) for values in self._answer(command)["flows"])
        return {flow.port: flow for flow in flows}

    def stats(self) -> dict[int, Flow]:
        """By hf-peer's port."""
        return self._ask("stats")

    def mark(self) -> dict[int, Flow]:
        """The first to arrive and to be acknowledged are noted anew."""
        return self._ask("mark")
