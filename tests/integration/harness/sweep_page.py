# SPDX-License-Identifier: GPL-2.0-or-later
"""docs/sweep.md and its picture, made of docs/sweep.json alone."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence

from .chart import Chart, Panel, Series
from .pages import page, table
from .places import MORE, PLACES
from .sweep_results import Found

JSON, PAGE, PICTURE = "sweep.json", "sweep.md", "sweep.svg"
MODES = ("holdfast", "stock")
COLOURS = {"holdfast": ("#0b7a75", 2.5), "stock": ("#d1495b", 1.5)}
WORDS = {
    "crun-same": "crun, the network namespace stays",
    "runc-same": "runc, the network namespace stays",
    "crun-other": "crun, on another host",
    "runc-other": "runc, on another host",
    "podman-same": "podman checkpoint and restore",
    "podman-other": "podman, on another host",
    "podman-nat": "podman, on another host, masquerading",
}

INTRO = """# Outages of every length
A container with {connections} busy connections is checkpointed and, after a pause, restored:
how many of them survive, by the length of the pause, in seconds. **stock** is CRIU's own
`--tcp-established` with its nftables lock. Every byte is checked at both ends. A connection is
lost when a retransmission comes at a moment when the container's address is there and its socket
is not; which pauses that are is chance, and another run finds others.

![connections kept, by the length of the outage](sweep.svg)
"""

PLACES_TEXT = """The peer is behind a router. "Another host": the archive or the images are taken
there, with holdfast `holdfast lock` is run there, the route is switched, and the container is
restored. For crun and runc a script makes the network, for podman podman. Its networks give what a
container sends first the host's address (masquerading), also where that belongs to a connection
which came from elsewhere: with stock CRIU a rule must keep the containers' addresses, which all
but the last rows have; holdfast does not need it. Hosts are network, mount and process namespaces
of one machine.

`python3 -m harness.sweep` in `tests/integration` measures, see its `--help`; this page is made of
sweep.json.
"""


def of(results: Sequence[Found], place: str, mode: str) -> list[Found]:
    found = [r for r in results if (r.point.place, r.point.mode) == (place, mode)]
    return sorted(found, key=lambda r: r.point.length)


def _percent(part: int, whole: int) -> str:
    """Not "100" where a single one is missing."""
    return f"{int(1000 * part / whole) / 10:g} %" if whole else "-"


def _seconds(ms: float) -> str:
    return f"{ms / 1000:.1f}"


def _summary(results: Sequence[Found]) -> list[str]:
    rows = []
    for place in PLACES + MORE:
        for mode in MODES:
            found = of(results, place, mode)
            if not found:
                continue
            kept, lost = sum(r.kept for r in found), sum(r.lost for r in found)
            # What a peer waits beyond the time for which the container was away.
            waits = [r.stall_ms - r.away_ms for r in found if r.kept]
            rows.append([
                WORDS[place], mode, str(len(found)), str(kept + lost), str(kept),
                _percent(kept, kept + lost), str(sum(r.lost > 0 for r in found)),
                str(sum(bool(r.error) for r in found)),
                _seconds(max(0, statistics.median(waits))) if waits else "-",
                _seconds(max(0, *waits)) if waits else "-",
            ])
    columns = [
        "where", "by", "outages", "connections", "kept", "", "outages with a loss",
        "failed", "stands still longer than the outage, median s", "at most s",
    ]
    return table(columns, rows)


def _every(results: Sequence[Found]) -> list[str]:
    pairs = [(place, mode) for place in PLACES + MORE for mode in MODES if of(results, place, mode)]
    kept = {r.point: r.kept for r in results}
    cells = {(p.place, p.mode, p.length): str(n) for p, n in kept.items()}
    lengths = sorted({r.point.length for r in results})
    rows = [
        [f"{length:g}", *(cells.get((place, mode, length), "-") for place, mode in pairs)]
        for length in lengths
    ]
    return table(["s", *(f"{place} {mode}" for place, mode in pairs)], rows)


def text(results: Sequence[Found]) -> str:
    connections = max(r.kept + r.lost for r in results)
    parts = [INTRO.format(connections=connections), *_summary(results), "", PLACES_TEXT]
    parts += [f"Connections kept, of {connections}:", "", *_every(results), ""]
    return "\n".join(parts)


def _kept(found: Sequence[Found]) -> list[tuple[float, float]]:
    return [(result.point.length, result.kept) for result in found]


def picture(results: Sequence[Found]) -> str:
    connections = max(r.kept + r.lost for r in results)
    panels = []
    for place in PLACES:
        series = tuple(
            Series(mode, *COLOURS[mode], tuple(_kept(of(results, place, mode)))) for mode in MODES
        )
        panels.append(Panel(WORDS[place], series))
    end = max(1.0, *(r.point.length for r in results))
    chart = Chart(
        f"Connections kept, of {connections}", "length of the outage, s", end, 1,
        connections, connections / 4, panels,
    )
    return chart.svg()


def write(results: Sequence[Found]) -> None:
    order = {place: number for number, place in enumerate(PLACES + MORE)}
    results = sorted(results, key=lambda r: (order[r.point.place], r.point.mode, r.point.length))
    page(JSON).write_text("[\n" + ",\n".join(r.line() for r in results) + "\n]\n")
    page(PAGE).write_text(text(results))
    page(PICTURE).write_text(picture(results))


def stored() -> list[Found]:
    return [Found.parse(json.dumps(values)) for values in json.loads(page(JSON).read_text())]
