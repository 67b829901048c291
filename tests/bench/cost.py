# SPDX-License-Identifier: GPL-2.0-or-later
"""What a whole `criu dump` and `criu restore` cost, by the number of idle connections.

The log level is the runtimes' (-v4). Where CRIU's own support is asked for, so is its lock; the
floor is CRIU with tcp-close and nothing else, which loses the connections.
"""

from __future__ import annotations

import contextlib
import os
import re
import resource
import signal
import statistics
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness import mode, proc
from harness.criu import Arrangement, CriuServer, Result
from harness.mode import Mode
from harness.net import Network
from harness.peer import Peer

from .results import Wrong, said

BATCH = 10_000  # connections of one peer process, which has a port of its own to connect to
SPARE = 1500  # descriptors that CRIU and a server need beside those of connections
PATIENCE = 200.0
TIMEOUT = 900.0
IDLE = 1.2  # s without a byte, before a dump: what is idle for a second is not busy


def tcp_close() -> Mode:
    return Mode("tcp-close", ("tcp-close", "network-lock skip"))


MODES = {
    "holdfast": mode.holdfast,
    "stock-nftables": lambda: mode.stock("nftables"),
    "stock-iptables": lambda: mode.stock("iptables"),
    "tcp-close": tcp_close,
}
WHERE: dict[str, Arrangement] = {"container": "external", "host": "shared"}


def most_connections() -> int:
    """CRIU and a guardian process have all of them open at a time."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1] - SPARE


@dataclass(frozen=True)
class Case:
    by: str  # of MODES
    where: str  # of WHERE
    connections: int
    family: str = "IPv4"
    repeats: int = 1
    processes: int = 0  # of the server; 0: as many as it needs


class Peak(threading.Thread):
    """The memory of the criu that we run, looked at every few ms."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.kb = 0
        self._stop = threading.Event()

    def __enter__(self) -> Peak:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self.join()

    def run(self) -> None:
        pid = 0
        while not self._stop.wait(0.01):
            try:
                pid = pid or self._find()
                text = Path(f"/proc/{pid}/status").read_text() if pid else ""
            except OSError:
                continue
            found = re.search(r"VmHWM:\s+(\d+)", text)
            self.kb = max(self.kb, int(found[1]) if found else 0)

    @staticmethod
    def _find() -> int:
        for pid in proc.children(os.getpid()):
            if Path(f"/proc/{pid}/comm").read_text() == "criu\n":
                return pid
        return 0


@dataclass
class Rounds:
    """What several dumps and restores came to."""

    dump_s: list[float] = field(default_factory=list)
    restore_s: list[float] = field(default_factory=list)
    dump_kb: int = 0
    restore_kb: int = 0
    dump_says: list[dict[str, int]] = field(default_factory=list)
    restore_says: list[dict[str, int]] = field(default_factory=list)

    def note(self, is_dump: bool, result: Result, kb: int) -> None:
        if is_dump:
            self.dump_s.append(result.seconds)
            self.dump_says.append(said(result, "dumped"))
            self.dump_kb = max(self.dump_kb, kb)
        else:
            self.restore_s.append(result.seconds)
            self.restore_says.append(said(result, "restored"))
            self.restore_kb = max(self.restore_kb, kb)

    def medians(self) -> dict[str, Any]:
        return {
            "dump_s": round(statistics.median(self.dump_s), 3),
            "restore_s": round(statistics.median(self.restore_s), 3),
            "dump_peak_kb": self.dump_kb, "restore_peak_kb": self.restore_kb,
            "dump_says_us": _median(self.dump_says),
            "restore_says_us": _median(self.restore_says),
        }


def _median(rounds: Sequence[dict[str, int]]) -> dict[str, float]:
    return {key: statistics.median(r[key] for r in rounds) for key in rounds[0]} if rounds else {}


def _image(images: Path) -> tuple[int, int]:
    """Bytes and files; a log is none of it."""
    files = [p for p in images.iterdir() if p.suffix != ".log" and not p.is_socket()]
    return sum(p.stat().st_size for p in files), len(files)


class Crowd(Network):
    """With a port for each batch of connections."""

    def __init__(self, connections: int, family: str) -> None:
        super().__init__()
        self.family = family
        full, rest = divmod(connections, BATCH)
        self.batches = [BATCH] * full + [rest] * bool(rest)

    def _address(self, number: int) -> str:
        host = self.container.v4 if self.family == "IPv4" else f"[{self.container.v6}]"
        return f"{host}:{self.PORT + number}"

    def listen_args(self) -> list[str]:
        return [f"--listen={self._address(number)}" for number in range(len(self.batches))]

    @contextlib.contextmanager
    def connected(self) -> Iterator[list[Peer]]:
        with contextlib.ExitStack() as stack:
            peers = []
            for number, batch in enumerate(self.batches):
                target = {self.family: self._address(number)}
                peer = Peer(self.peer, target, [f"idle*{batch}"], patience=PATIENCE)
                peers.append(stack.enter_context(peer))
            yield peers


def _server(net: Crowd, work: Path, case: Case) -> CriuServer:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    needed = -(-case.connections * 2 // limit)  # they do not share evenly
    processes = case.processes or needed
    args = [f"--processes={processes}"] if processes > 1 else []
    return CriuServer(net, work, MODES[case.by](), WHERE[case.where], args)


@contextlib.contextmanager
def _still(peers: Sequence[Peer]) -> Iterator[None]:
    """They look at each of their connections every few ms, which is not to be measured."""
    for peer in peers:
        peer.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for peer in peers:
            peer.process.send_signal(signal.SIGCONT)


def _round(server: CriuServer, rounds: Rounds) -> None:
    with Peak() as dumping:
        dump = server.checkpoint(timeout=TIMEOUT).check()
    with Peak() as restoring:
        restore = server.restore(timeout=TIMEOUT).check()
    rounds.note(True, dump, dumping.kb)
    rounds.note(False, restore, restoring.kb)


def measure(work: Path, case: Case) -> dict[str, Any]:
    rounds, lost = Rounds(), 0
    keeps = case.by != "tcp-close"
    work.mkdir(parents=True)
    with Crowd(case.connections, case.family) as net, _server(net, work / "s", case) as server:
        done = 0
        while done < case.repeats:
            with net.connected() as peers:
                time.sleep(0.3)
                # Where they are lost, each round needs new ones.
                for _ in range(case.repeats if keeps else 1):
                    time.sleep(IDLE)
                    with _still(peers):
                        _round(server, rounds)
                    done += 1
                if keeps:
                    reports = [peer.finish() for peer in peers]
                    lost = sum(report.lost for report in reports)
                    if lost and case.by == "holdfast":
                        raise Wrong("connections were lost", reports[0].complaints())
        size, files = _image(server.images)
    return {
        "by": case.by, "where": case.where, "family": case.family,
        "connections": case.connections, "rounds": case.repeats, "lost": lost,
        "image_bytes": size, "image_files": files, **rounds.medians(),
    }
