# SPDX-License-Identifier: GPL-2.0-or-later
"""Back-to-back checkpoints and restores under load: nothing grows.

HOLDFAST_SOAK_SECONDS makes it longer; the figures are printed at the end.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from harness import checks, matrix, proc
from harness.arrangements import Server
from harness.cases import EVERYTHING, Connect, Serve, finish
from harness.mode import Mode
from harness.net import Netns, Network

SECONDS = float(os.environ.get("HOLDFAST_SOAK_SECONDS", "15"))
SETTLED = 5  # rounds after which nothing may grow any more
MORE_KB = 1024  # of memory, that is noise


def fds(server: Server) -> int:
    return sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in server.pids())


def memory(server: Server) -> int:
    """Anonymous memory of all tasks, in kB."""
    total = 0
    for pid in server.pids():
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                total += int(line.split()[1])
    return total


def sockets(ns: Netns) -> int:
    """TCP sockets in any state, with and without a file."""
    return len(ns.run("ss", "-Htan").check().output.splitlines())


def processes() -> int:
    return len([entry for entry in os.listdir("/proc") if entry.isdigit()])


def has_guardian() -> bool:
    for comm in Path("/proc").glob("[0-9]*/comm"):
        try:
            if comm.read_text().startswith("holdfast-"):
                return True
        except OSError:
            continue  # it has ended
    return False


def figures(server: Server, net: Network) -> dict[str, int]:
    proc.wait_for(lambda: not has_guardian(), "the end of the guardians")
    return {
        "tasks": len(server.pids()),
        "fds": fds(server),
        "memory kB": memory(server),
        "sockets, container": sockets(net.container),
        "sockets, peer": sockets(net.peer),
        "processes": processes(),
        "tables": len(checks.holdfast_tables(net.container, net.peer)),
    }


def test_nothing_grows(
    net: Network, serve: Serve, connect: Connect, holdfast_mode: Mode
) -> None:
    server = serve("criu-external", holdfast_mode, server_args=["--share=fork"])
    table = matrix.Matrix("Soak")
    matrix.printed.append(table)
    with connect(EVERYTHING, patience=20) as peer:
        actions: list[Callable[[], None]] = [
            lambda: keep_running(server),
            lambda: there_and_back(server),
        ]
        end = time.monotonic() + SECONDS
        settled: dict[str, int] = {}
        rounds = 0
        while time.monotonic() < end or rounds <= SETTLED + 1:
            actions[rounds % len(actions)]()
            rounds += 1
            if rounds == SETTLED:
                settled = figures(server, net)
        last = figures(server, net)
        for name, value in settled.items():
            table.set(name, f"round {SETTLED}", str(value))
            table.set(name, f"round {rounds}", str(last[name]))
        grown = {name: last[name] - value for name, value in settled.items() if last[name] > value}
        if grown.get("memory kB", 0) <= MORE_KB:
            grown.pop("memory kB", None)
        assert not grown
        finish(peer)


def keep_running(server: Server) -> None:
    server.checkpoint(leave_running=True).check()
    shutil.rmtree(server.images)


def there_and_back(server: Server) -> None:
    server.checkpoint().check()
    server.restore().check()
    shutil.rmtree(server.images)
