#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The main job, shown: a container with live TCP connections is checkpointed and restored.

Runs in the test root: contrib/testroot run -- python3 contrib/demo.py
Exit status: 0 if every connection was kept, 1 if one was lost, 2 if the demo could not run.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "integration"))

from harness import checks, mode  # noqa: E402
from harness.criu import Result  # noqa: E402
from harness.net import Network  # noqa: E402
from harness.oci import OciServer  # noqa: E402
from harness.peer import Connection, Peer, Report  # noqa: E402
from harness.programs import Missing  # noqa: E402

# Each connection: what hf-peer is told, and what a reader is.
CONNECTIONS = [
    ("idle,to=IPv4", "idle, nothing sent"),
    ("idle,to=IPv6", "idle, nothing sent"),
    ("echo,to=IPv4", "request and response"),
    ("echo,to=IPv6", "request and response"),
    ("echo,to=v4-mapped", "request and response"),
    ("source,rate=4M,to=IPv4", "bulk, server to client"),
    ("source,rate=4M,to=v4-mapped", "bulk, server to client"),
    ("sink,rate=4M,to=IPv6", "bulk, client to server"),
    ("duplex,full,to=IPv4", "bulk both ways, queues full"),
    ("duplex,full,to=IPv6", "bulk both ways, queues full"),
]


class Failed(Exception):
    """A step that did not work; the message is for the reader."""


def step(text: str) -> None:
    print(f"* {text}", flush=True)


def done(what: str, result: Result) -> None:
    if not result.ok:
        errors = result.lines("Error")[-5:] or result.output.splitlines()[-5:]
        raise Failed("\n    ".join([f"{what} failed (exit status {result.rc}):", *errors]))
    print(f"  took {result.seconds * 1000:.0f} ms", flush=True)


def size(number: int) -> str:
    return f"{number / 1024:,.0f} kB"


def table(rows: list[tuple[str, ...]]) -> None:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    numbers = {i for i, cell in enumerate(rows[1]) if cell.replace(",", "").isdigit()}
    for n, row in enumerate(rows):
        cells = [
            cell.rjust(width) if i in numbers else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        print("  ".join(cells).rstrip())
        if n == 0:
            print("  ".join("-" * width for width in widths))


def row(connection: Connection, words: str) -> tuple[str, ...]:
    verdict = "kept" if connection.kept else f"LOST: {connection.error}"
    return (
        connection.local,
        connection.family,
        words,
        connection.state or "-",
        f"{connection.verified:,}",
        f"{connection.stall_ms:,}",
        verdict,
    )


def show(report: Report) -> None:
    head = ("connection", "family", "what it does", "state", "bytes checked", "longest stall ms")
    rows: list[tuple[str, ...]] = [(*head, "result")]
    for connection, (_, words) in zip(report.connections, CONNECTIONS, strict=True):
        rows.append(row(connection, words))
    print()
    table(rows)
    print()


def checkpoint_and_restore(server: OciServer, peer: Peer, pause: float) -> None:
    queues = [c for c in peer.stats() if c.role == "duplex"]
    waiting = sum(c.outq + c.inq for c in queues)
    step(f"{server.runtime} checkpoint ({size(waiting)} wait in the clients' queues)")
    peer.mark()
    done("checkpoint", server.checkpoint())
    step(f"the container is gone; pause of {pause:g} s, the clients know nothing of it")
    time.sleep(pause)
    step(f"{server.runtime} restore")
    done("restore", server.restore())
    step("waiting until every connection flows again")
    progress = peer.progress()
    if not progress.ok:
        print(f"  {len(progress.missing)} of them do not", flush=True)


def demo(args: argparse.Namespace) -> int:
    options = mode.stock() if args.stock else mode.holdfast(args.libdir)
    leftovers = checks.Leftovers()
    with tempfile.TemporaryDirectory(prefix="holdfast-demo-") as work:
        step("making two network namespaces, one for the container, one for the clients")
        with Network() as net:
            step(f"starting a {args.runtime} container with a TCP server in it")
            with OciServer(net, Path(work), options, args.runtime) as server:
                step(f"connecting {len(CONNECTIONS)} clients, 2 s of traffic")
                conns = [spec for spec, _ in CONNECTIONS]
                with Peer(net.peer, net.targets(), conns, patience=args.patience) as peer:
                    time.sleep(2)
                    failure = None
                    try:
                        checkpoint_and_restore(server, peer, args.pause)
                    except Failed as error:
                        failure = error
                        print(f"  {error}", flush=True)
                    step("ending every connection, comparing both sides' totals")
                    report = peer.finish()
                if not failure:
                    stuck = checks.repair_sockets(server.pids())
                    stuck += checks.holdfast_tables(net.container)
                    for what in stuck:
                        failure = Failed("left behind")
                        print(f"  left behind: {what}")
        for process in leftovers.processes():
            failure = Failed("left behind")
            print(f"  left behind: {process}")
    show(report)
    # A checkpoint that failed leaves the container running: nothing is lost, and nothing shown.
    print(f"connections: {report.kept} kept, {report.lost} lost")
    return 1 if report.lost or failure else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runtime", choices=("crun", "runc"), default="crun")
    parser.add_argument("--pause", type=float, default=3, help="seconds without the container")
    parser.add_argument("--patience", type=float, default=20, help="seconds to wait for progress")
    parser.add_argument("--libdir", help="the plugin's directory (default: as built)")
    parser.add_argument("--stock", action="store_true", help="CRIU's own support, no plugin")
    try:
        return demo(parser.parse_args())
    except (Missing, RuntimeError, OSError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
