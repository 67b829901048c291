#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The main job, shown: podman moves a container with live TCP connections to another host.

First with stock CRIU, then with holdfast. Runs in the test root, where two hosts, a router and the
clients are namespaces: contrib/testroot run -- python3 contrib/demo.py
Exit status: 0 if holdfast kept every connection, 1 if not, 2 if the demo could not run.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "integration"))

from harness import checks, mode, podman  # noqa: E402
from harness.criu import Result  # noqa: E402
from harness.hosts import Hosts  # noqa: E402
from harness.mode import Mode  # noqa: E402
from harness.peer import Peer, Report  # noqa: E402
from harness.podman import PodmanServer  # noqa: E402
from harness.programs import Missing  # noqa: E402

# Each connection: what hf-peer is told, and what a reader is.
CONNECTIONS = [
    ("idle,to=IPv4", "idle, nothing sent"),
    ("idle,to=published", "idle, nothing sent"),
    ("echo,to=IPv4", "request and response"),
    ("echo,to=IPv6", "request and response"),
    ("echo,to=published", "request and response"),
    ("source,rate=4M,to=IPv4", "bulk, server to client"),
    ("source,rate=4M,to=published", "bulk, server to client"),
    ("sink,rate=4M,to=IPv6", "bulk, client to server"),
    ("duplex,rate=4M,to=IPv4", "bulk both ways"),
    ("duplex,rate=4M,to=published", "bulk both ways"),
]


class Failed(Exception):
    """A step that did not work; the message is for the reader."""


@dataclass
class Outcome:
    """What came of one move."""

    report: Report | None = None
    failure: str = ""

    @property
    def kept(self) -> int:
        return self.report.kept if self.report and not self.failure else 0

    def cell(self, number: int) -> tuple[str, str]:
        """The result of a connection, and its longest stall."""
        if self.failure or not self.report:
            return "LOST", "-"
        connection = self.report.connections[number]
        return ("kept", f"{connection.stall_ms:,}") if connection.kept else ("LOST", "-")


def step(text: str) -> None:
    print(f"* {text}", flush=True)


def done(what: str, result: Result) -> None:
    if not result.ok:
        errors = result.lines("Error")[-5:] or result.output.splitlines()[-5:]
        raise Failed("\n    ".join([f"{what} failed (exit status {result.rc}):", *errors]))
    print(f"  took {result.seconds * 1000:.0f} ms", flush=True)


def table(rows: list[tuple[str, ...]]) -> None:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    numbers = {i for i, cell in enumerate(rows[-1]) if cell.replace(",", "").isdigit()}
    for n, row in enumerate(rows):
        cells = [
            cell.rjust(width) if i in numbers else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        print("  ".join(cells).rstrip())
        if n == 0:
            print("  ".join("-" * width for width in widths))


def move(server: PodmanServer, peer: Peer, pause: float) -> None:
    one, two = server.hosts.all
    step(f"{one}: podman container checkpoint --export")
    peer.mark()
    done("checkpoint", server.checkpoint(export=True))
    lock = ", its lock taken there" if server.mode.plugin else ""
    step(f"the archive is copied to {two}{lock}, the router sends packets there; {pause:g} s pass")
    result = server.go_to(two, lambda: time.sleep(pause))
    step(f"{two}: podman container restore --import")
    done("restore", result)


def finish(server: PodmanServer, peer: Peer) -> Report:
    step("ending every connection, comparing both sides' totals")
    stuck = checks.repair_sockets(server.pids()) + checks.holdfast_tables(*server.hosts.namespaces)
    if stuck:
        raise Failed(f"left behind: {', '.join(stuck)}")
    return peer.finish()


def show_move(hosts: Hosts, options: Mode, args: argparse.Namespace) -> Outcome:
    hosts.move(hosts.one)
    step(f"{hosts.one}: podman starts a TCP server, and publishes its port")
    with PodmanServer(hosts, options, args.runtime) as server:
        step(f"connecting {len(CONNECTIONS)} clients, 2 s of traffic")
        targets = {**server.targets(), "published": server.published()["IPv4"]}
        conns = [spec for spec, _ in CONNECTIONS]
        with Peer(hosts.peer, targets, conns, patience=args.patience) as peer:
            time.sleep(2)
            try:
                move(server, peer, args.pause)
                step("waiting until every connection flows again")
                progress = peer.progress()
                if not progress.ok:
                    print(f"  {len(progress.missing)} of them do not", flush=True)
                return Outcome(finish(server, peer))
            except Failed as error:
                print(f"  {error}", flush=True)
                return Outcome(failure=str(error))


def show(outcomes: dict[str, Outcome]) -> None:
    head = ["by way of", "what it does"]
    for name in outcomes:
        head += [name, "longest stall ms"]
    rows = [tuple(head)]
    for number, (spec, words) in enumerate(CONNECTIONS):
        way = spec.partition("to=")[2]
        way = "published port" if way == "published" else f"its address, {way}"
        cells = [cell for outcome in outcomes.values() for cell in outcome.cell(number)]
        rows.append((way, words, *cells))
    print()
    table(rows)
    print()
    for name, outcome in outcomes.items():
        failed = ", since the container could not be restored" if outcome.failure else ""
        print(f"{name}: {outcome.kept} of {len(CONNECTIONS)} connections kept{failed}")


def demo(args: argparse.Namespace) -> int:
    ways: dict[str, Callable[[], Mode]] = {
        "stock CRIU": mode.stock,
        "holdfast": lambda: mode.holdfast(args.libdir),
    }
    leftovers = checks.Leftovers()
    outcomes = {}
    with tempfile.TemporaryDirectory(prefix="holdfast-demo-") as work:
        step("making two hosts with podman, a router, and a place for the clients behind it")
        with Hosts(Path(work)) as hosts:
            podman.prepare(hosts, podman.make_image(Path(work) / "image.tar"))
            hosts.keep_addresses(args.keep_addresses)
            for name, options in ways.items():
                print(f"\n{name}")
                outcomes[name] = show_move(hosts, options(), args)
        left = leftovers.processes()
        for process in left:
            print(f"  left behind: {process}")
    show(outcomes)
    good = outcomes["holdfast"].kept == len(CONNECTIONS) and not left
    if not args.keep_addresses:
        print(
            "(podman gives what a moved container sends first the new host's address, which"
            "\nresets connections. With --keep-addresses a rule prevents that: then stock CRIU"
            "\nloses fewer, see docs/sweep.md.)"
        )
    return 0 if good else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runtime", choices=("crun", "runc"), default="crun", help="podman's")
    parser.add_argument("--pause", type=float, default=2, help="seconds without the container")
    parser.add_argument("--patience", type=float, default=10, help="seconds to wait for progress")
    parser.add_argument("--libdir", help="the plugin's directory (default: as built)")
    parser.add_argument("--keep-addresses", action="store_true",
                        help="both hosts have a rule against podman's masquerading")
    try:
        return demo(parser.parse_args())
    except (Missing, RuntimeError, OSError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
