# SPDX-License-Identifier: GPL-2.0-or-later
"""The pictures of docs/benchmarks.md."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from harness.chart import Chart, Panel, Series

from .throughput import back_at

Row = dict[str, Any]
OURS, STOCK, OTHER, FLOOR = "#0b7a75", "#d1495b", "#edae49", "#888888"
BUSY = {
    "both": "both busy", "from-peer": "peer sends",
    "asking": "request and answer", "from-container": "container sends",
}
DECADES_MS = [(0, "1 ms"), (1, "10 ms"), (2, "0.1 s"), (3, "1 s"), (4, "10 s"), (5, "100 s")]
DECADES_S = [(0, "10 ms"), (1, "0.1 s"), (2, "1 s"), (3, "10 s"), (4, "100 s")]


def _log(value: float, least: float) -> float:
    return max(0.0, math.log10(max(value, least) / least))


def _stall(rows: Sequence[Row]) -> str:
    lines = (("holdfast, longest", OURS, 1.0, "holdfast", "max_ms"),
             ("holdfast, median", OURS, 2.5, "holdfast", "median_ms"),
             ("stock, longest", STOCK, 1.0, "stock", "max_ms"),
             ("stock, median", STOCK, 2.5, "stock", "median_ms"))
    outages = sorted({row["outage_s"] for row in rows})
    end = max(1.0, _log(outages[-1], 0.5))
    panels = []
    for rtt in sorted({s["rtt_ms"] for row in rows for s in row["stalls"]}):
        for kind, words in BUSY.items():
            series = []
            for name, colour, width, mode, key in lines:
                points = sorted(
                    (_log(row["outage_s"], 0.5), _log(s[key], 1.0))
                    for row in rows if row["mode"] == mode
                    for s in row["stalls"] if (s["rtt_ms"], s["kind"]) == (rtt, kind)
                )
                series.append(Series(name, colour, width, tuple(points)))
            panels.append(Panel(f"round trip {rtt:g} ms, {words}", tuple(series)))
    chart = Chart("How long peers stand still after the outage", "length of the outage", end, 1,
                  5, 1, panels, x_marks=[(_log(o, 0.5), f"{o:g} s") for o in outages],
                  y_marks=DECADES_MS)
    return chart.svg()


def _cost(rows: Sequence[Row]) -> str:
    lines = (("holdfast", OURS, 2.5), ("stock-nftables", STOCK, 1.5),
             ("stock-iptables", OTHER, 1.5), ("tcp-close", FLOOR, 1.0))
    counts = sorted({row["connections"] for row in rows})
    panels = []
    for where in ("container", "host"):
        for key, words in (("dump_s", "dump"), ("restore_s", "restore")):
            series = []
            for name, colour, width in lines:
                points = sorted(
                    (_log(row["connections"], 1), _log(row[key], 0.01)) for row in rows
                    if (row["by"], row["where"], row["family"]) == (name, where, "IPv4")
                )
                series.append(Series(name, colour, width, tuple(points)))
            at = "own network namespace" if where == "container" else "CRIU's network namespace"
            panels.append(Panel(f"{words}, {at}", tuple(series)))
    end = max(1.0, _log(counts[-1], 1))
    chart = Chart("criu dump and criu restore", "connections", end, 1, 4, 1, panels,
                  x_marks=[(_log(n, 1), f"{n:g}") for n in counts], y_marks=DECADES_S)
    return chart.svg()


def _trace(rows: Sequence[Row]) -> str:
    panels = []
    most = max(max(row["trace"]) for row in rows)
    step = 10 ** math.floor(math.log10(max(most, 1)))
    seconds = max(len(row["trace"]) * row["trace_step_ms"] / 1000 for row in rows)
    start = rows[0]["trace_from_s"]
    for rtt in dict.fromkeys(row["rtt_ms"] for row in rows):
        series = []
        for row in rows:
            if row["rtt_ms"] == rtt:
                colour = OURS if row["by"] == "holdfast" else STOCK
                points = ((i * row["trace_step_ms"] / 1000, v) for i, v in enumerate(row["trace"]))
                series.append(Series(row["by"], colour, 1.5, tuple(points)))
        own = max(max(row["trace"]) for row in rows if row["rtt_ms"] == rtt)
        scaled = tuple(
            Series(s.name, s.colour, s.width, tuple((x, y / own) for x, y in s.points))
            for s in series
        )
        panels.append(Panel(f"round trip {rtt:g} ms; 1 is {own:.0f} MB/s", scaled))
    marks = [(i, f"{i + start:g}") for i in range(int(seconds) + 1)]
    chart = Chart("What the receiver of a bulk stream reads, each 20 ms",
                  "seconds since the dump began", seconds, step, 1, 0.5, panels, x_marks=marks)
    return chart.svg()


def back_ms(row: Row) -> float | None:
    return back_at(row["trace"], row["trace_from_s"], row["away_s"], row["before_mb_s"])


def all_of(found: Row) -> dict[str, str]:
    makers = {"stall": _stall, "cost": _cost, "throughput": _trace}
    names = {"stall": "stall", "cost": "cost", "throughput": "trace"}
    return {f"benchmarks-{names[key]}.svg": make(found[key])
            for key, make in makers.items() if found[key]}
