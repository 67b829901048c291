# SPDX-License-Identifier: GPL-2.0-or-later
"""hf-delay: a cable between two network namespaces that takes its time."""

from __future__ import annotations

import json
import select
import subprocess
from dataclasses import dataclass

from .closing import Closing
from .net import Netns
from .proc import run
from .programs import program


@dataclass(frozen=True)
class Carried:
    packets: int
    dropped: int
    late_us: int  # the latest one, beyond its delay


class SlowCable(Closing):
    """with SlowCable(a, b, ms=10, dev_a="slow", dev_b="eth0"): ...

    The devices have the addresses of a and b; ms is each way, half a round trip.
    """

    def __init__(
        self, a: Netns, b: Netns, ms: float, dev_a: str = "slow0", dev_b: str = "slow0"
    ) -> None:
        self.ends = ((a, dev_a), (b, dev_b))
        self.ms = ms
        self.carried: Carried | None = None  # once closed
        self._process: subprocess.Popen[str] | None = None

    def open(self) -> None:
        command: list[object] = [program("hf-delay"), self.ms]
        for ns, dev in self.ends:
            command += [ns.path, dev]
        self._process = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        assert self._process.stdout
        if self._process.stdout.readline() != "ready\n":
            raise RuntimeError(f"hf-delay: exit status {self._process.wait()}")
        for ns, dev in self.ends:
            ip = ["ip", "-n", ns.name]
            run([*ip, "addr", "add", f"{ns.v4}/24", "dev", dev]).check()
            run([*ip, "addr", "add", f"{ns.v6}/64", "dev", dev, "nodad"]).check()
            # What it holds back is not to be lost before it gets there.
            run([*ip, "link", "set", dev, "txqueuelen", 10000, "up"]).check()

    def close(self) -> None:
        if not self._process:
            return
        assert self._process.stdin and self._process.stdout
        self._process.stdin.close()
        if select.select([self._process.stdout], [], [], 5)[0]:
            text = self._process.stdout.readline()
            self.carried = Carried(**json.loads(text)) if text else None
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()
