# SPDX-License-Identifier: GPL-2.0-or-later
"""docs/benchmarks.md, made of bench.json alone; pictures.py has its pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.pages import table

from . import pictures
from .targets import (
    FACTOR, GROWTH, IDLE_BYTES, MAX_MS, ROUND_TRIPS_MS, Found, grown, judge, memory, missed_max,
    missed_median, per_connection,
)

PAGE = "benchmarks.md"
Row = dict[str, Any]

KINDS = {
    "both": "both busy",
    "from-container": "container sends",
    "from-peer": "peer sends",
    "asking": "request and answer",
    "idle-peer": "idle, peer begins",
    "idle-container": "idle, container begins",
}
WHERE = {"container": "a network namespace of its own", "host": "CRIU's network namespace"}
BY = {
    "holdfast": "holdfast",
    "stock": "stock",
    "stock-nftables": "stock, nftables",
    "stock-iptables": "stock, iptables",
    "tcp-close": "CRIU alone, connections lost",
}

INTRO = """# Benchmarks
holdfast beside stock CRIU (`--tcp-established`, with its nftables or iptables lock), measured in
one run on one machine. `contrib/quickstart bench` measures and writes this page; `--quick` takes
less than five minutes. Every byte of every connection is checked by its position, and a run in
which one is wrong or a connection is lost makes no page. A figure in **bold** misses its target.
"""

STALL = """## How long peers stand still
A container with {connections} connections of one kind to each of its {peers} peers is dumped, and
after a pause, the outage, restored; one kind after the other. A stall begins when the lock is gone
and the restored program runs again (the later of the two), and ends when the first new byte is read
at the receiving end, one that was not in the restored queue; where both directions are busy, at the
slower of the two. Of a request and its answer, one is on its way: the one that arrives first ends
the stall. Idle connections: the first exchange, which the peer begins as soon as the lock is gone,
or the first bytes of a container that begins to send when it runs again.

Busy connections send a thousand bytes every 50 ms each way; requests follow the answer to the last
one. Round trips are those of a cable, and of a forwarding program that holds every packet for half
of the time. Stock has its nftables lock.

![stalls, by the length of the outage](benchmarks-stall.svg)

Milliseconds, median / longest. Target: a round trip and {extra:g} ms, and {most:g} ms.
"""

CROWD = """### All at once
The same with all kinds in one checkpoint, {connections} connections. With and without holdfast,
{cpus} processors cannot do at a time what the program, its peers and the forwarding programs have
to do then.
"""

TRICKS = """## What each way of resuming quickly is worth
With holdfast alone, {connections} connections of each kind to each peer; keys of holdfast.conf(5).
Milliseconds, median / longest of the busy connections.
"""

COST = """## What a dump and a restore cost
Whole `criu dump` and `criu restore` of a server with idle connections, in seconds, dump + restore;
log level 4, as the runtimes have it. "CRIU alone" is `tcp-close` without a plugin: what there is to
pay in any case.

![cost, by the number of connections](benchmarks-cost.svg)
"""

LIMIT = """More than {most} connections cannot be had here: CRIU and the plugin have all of them open
at a time, and no process may have more than {limit} descriptors.
"""

IMAGES = """Images, and the most memory that CRIU took, with the plugin if there is one (VmHWM,
looked at every 10 ms):
"""

PLUGIN = """### Per connection
What the plugin itself does, by its own clock, beside the floor: the system calls that nobody can do
without (`tests/programs/hf-floor.c`), for as many connections on this machine, in the same run.
Microseconds a connection; the dump has the lock in it, the restore the lock and the resuming. The
floor is that of IPv4 and of one processor, and reads no options; options: what it takes one
processor to read all those that holdfast carries, which is not in the floor. Stands still: how long
the tasks do so because of holdfast, in all, in milliseconds.
"""

EMULATED = """### More connections than this machine allows
**Measured in an emulated machine**, `contrib/testvm`, which allows {limit} descriptors
({cpu}, {cpus} CPUs, {memory:g} GiB; Linux {kernel}; {date}). Its times are worth nothing but
beside each other. What the plugin takes for a connection, by its own clock, is in microseconds, and
in brackets as a multiple of what it takes with {few}. Memory is what it needs for one beyond
CRIU's own, the image is that of all parts. Every connection is checked after its restore.

For each descriptor in an epoll instance CRIU asks the kernel whether it is there (`kcmp`), and the
kernel goes through the instance to find it. With all connections in one process, and so in one
instance, that grows by their square, and is most of the dump, with and without holdfast.
"""

QUEUES = """## Queues
Data in receive and send queues, half of it in each; MB/s of the plugin's own part, beside a plain
`write()` of as much into the page cache of the same file system: medians, with the image of one
round removed before the next. Target: half of that. On a virtual machine the first touch of memory
is the host's work, and makes everything several times slower, write() too; so as much memory as is
needed is touched and freed just before each of these steps.
"""

BULK = """## Throughput
One bulk stream from the container, MB/s as its receiver reads, {seconds:g} s each before the dump
and after the restore (the first two seconds of either do not count).

![throughput over the time of one migration](benchmarks-trace.svg)
"""


def _s(value: float) -> str:
    return f"{value:.3f}" if value < 1 else f"{value:.2f}"


def _ms(value: float) -> str:
    return f"{value:.1f}" if value < 100 else f"{value:.0f}"


def _bold(text: str, missed: bool) -> str:
    return f"**{text}**" if missed else text


def _machine(found: Row) -> list[str]:
    m = found["machine"]
    versions = ", ".join(f"{name} {text}" for name, text in m["versions"].items() if text)
    lines = [
        f"Machine: {m['cpu']}, {m['cpus']} CPUs, {m['memory_gib']:g} GiB; Linux {m['kernel']}"
        f" {m['architecture']}, congestion control {m['congestion_control']}. {versions}."
        f" {m['date']}, load before the run {m['load_before']:g}.",
    ]
    if found["run"] != "full":
        lines += ["", f"**This is a {found['run']} run, with less of everything.**"]
    return [*lines, ""]


def _targets(found: Row) -> list[str]:
    rows = []
    for target in judge(found):
        state = {Found.MET: "yes", Found.MISSED: "**no**", Found.UNKNOWN: "not measured"}
        rows.append([target.what, target.wanted, target.value, state[target.found]])
    return ["## Targets", "", *table(["", "target", "measured", "met"], rows), ""]


def _pair(row: Row | None, targets: bool) -> str:
    if not row:
        return "-"
    median = _bold(_ms(row["median_ms"]), targets and missed_median(row))
    return f"{median} / {_bold(_ms(row['max_ms']), targets and missed_max(row))}"


def _cell(rows: Sequence[Row], mode: str, rtt: float, kind: str) -> Row | None:
    for row in rows:
        if row["mode"] == mode:
            for stall in row["stalls"]:
                if (stall["rtt_ms"], stall["kind"]) == (rtt, kind):
                    found: Row = stall
                    return found
    return None


def _stall_tables(rows: Sequence[Row], targets: bool) -> list[str]:
    outages = sorted({row["outage_s"] for row in rows})
    out = []
    for rtt in sorted({stall["rtt_ms"] for row in rows for stall in row["stalls"]}):
        cells = []
        for outage in outages:
            at = [row for row in rows if row["outage_s"] == outage]
            for kind, words in KINDS.items():
                cells.append([
                    f"{outage:g} s", words,
                    _pair(_cell(at, "holdfast", rtt, kind), targets),
                    _pair(_cell(at, "stock", rtt, kind), False),
                ])
        out += [f"{'###' if targets else '####'} Round trip {rtt:g} ms", ""]
        out += [*table(["outage", "", "holdfast", "stock"], cells), ""]
    return out


def _stall(found: Row) -> list[str]:
    rows, crowd = found["stall"], found["crowd"]
    if not rows:
        return []
    peers = len({stall["rtt_ms"] for stall in rows[0]["stalls"]})
    connections = rows[0]["stalls"][0]["n"]
    out = [STALL.format(connections=connections, peers=peers, extra=ROUND_TRIPS_MS, most=MAX_MS)]
    out += _stall_tables(rows, True)
    if crowd:
        cpus = found["machine"]["cpus"]
        out += [CROWD.format(connections=crowd[0]["connections"], cpus=cpus)]
        out += _stall_tables(crowd, False)
    runs = [[f"{r['outage_s']:g} s", r["mode"], f"{r['connections']}", _s(r["dump_s"]),
             _s(r["restore_s"]), _ms(r["runs_ms"])] for r in rows + crowd]
    words = ["outage", "by", "connections", "dump s", "restore s",
             "the program runs after the unlock, ms"]
    return [*out, "These dumps and restores, medians of the kinds:", "", *table(words, runs), ""]


def _tricks(found: Row) -> list[str]:
    rows = found["tricks"]
    if not rows:
        return []
    rtts = sorted({stall["rtt_ms"] for row in rows for stall in row["stalls"]})
    busy = ("both", "from-container", "from-peer", "asking")
    cells = []
    for outage in sorted({row["outage_s"] for row in rows}):
        for rtt in rtts:
            for row in (row for row in rows if row["outage_s"] == outage):
                cells.append([
                    f"{outage:g} s", f"{rtt:g} ms", row["trick"],
                    *(_pair(_cell([row], row["mode"], rtt, kind), True) for kind in busy),
                ])
    heads = ["outage", "round trip", "on", *(KINDS[kind] for kind in busy)]
    return [TRICKS.format(connections=rows[0]["stalls"][0]["n"]), *table(heads, cells), ""]


def _ratio(row: Row, other: Row | None) -> str:
    if not other:
        return ""
    ratio = (row["dump_s"] + row["restore_s"]) / (other["dump_s"] + other["restore_s"])
    return f" ({ratio:.2f})"


def _cost(found: Row) -> list[str]:
    rows = found["cost"]
    if not rows:
        return []
    by_key = {(r["where"], r["family"], r["connections"], r["by"]): r for r in rows}
    names = [name for name in BY if any(r["by"] == name for r in rows)]
    out = [COST]
    for where in dict.fromkeys(r["where"] for r in rows):
        cells = []
        for family, n in dict.fromkeys(
            (r["family"], r["connections"]) for r in rows if r["where"] == where
        ):
            ours = by_key.get((where, family, n, "holdfast"))
            cell = [f"{n}", family]
            for name in names:
                row = by_key.get((where, family, n, name))
                times = f"{_s(row['dump_s'])} + {_s(row['restore_s'])}" if row else "-"
                lost = f", {row['lost']} lost" if row and row["lost"] else ""
                of = _ratio(row, ours) if row and name != "holdfast" else ""
                cell.append(times + of + lost)
            cells.append(cell)
        out += [f"In {WHERE[where]} (in brackets: times what holdfast takes):", ""]
        out += [*table(["connections", "", *(BY[name] for name in names)], cells), ""]
    images = [
        [f"{r['connections']}", r["family"], r["where"], BY[r["by"]],
         f"{r['image_bytes'] / 1e6:.2f} MB", f"{r['image_files']}",
         f"{r['dump_peak_kb'] / 1024:.1f}", f"{r['restore_peak_kb'] / 1024:.1f}"]
        for r in rows if r["connections"] >= 1000
    ]
    most = max(r["connections"] for r in rows if r["by"] == "holdfast")
    limit = found["machine"]["descriptors"]
    out += [LIMIT.format(most=most, limit=limit)] if most > limit / 2 else []
    words = ["connections", "", "where", "by", "images", "files", "dump MiB", "restore MiB"]
    return [*out, IMAGES, *table(words, images), ""] if images else out


def _plugin(found: Row) -> list[str]:
    cells = []
    for cost in found["cost"]:
        each = per_connection(cost, found["floor"])
        if not each:
            continue
        cells.append([
            f"{cost['connections']}", cost["family"], cost["where"],
            f"{each.dump_us:.1f}", f"{each.floor_dump_us:.1f}", f"{each.options_us:.1f}",
            _bold(f"{each.dump_ratio:.2f}", each.judged and each.dump_ratio > FACTOR),
            f"{each.restore_us:.1f}", f"{each.floor_restore_us:.1f}",
            _bold(f"{each.restore_ratio:.2f}", each.judged and each.restore_ratio > FACTOR),
            f"{each.freeze_dump_ms:.1f}", f"{each.freeze_restore_ms:.1f}",
        ])
    words = ["connections", "", "where", "dump", "floor", "options", "ratio to the floor",
             "restore", "floor", "ratio", "stands still at dump", "at restore"]
    return [PLUGIN, *table(words, cells), ""] if cells else []


def _times(us: float, ratio: float) -> str:
    return f"{us:.0f} ({_bold(f'{ratio:.2f}', ratio > GROWTH)})"


def _emulated(found: Row) -> list[str]:
    rows = found.get("emulated", [])
    cells = []
    for row in rows:
        each, more = grown(row, rows), memory(row, rows)
        lost = f"{row['lost']}" if row["by"] == "holdfast" else "all"
        cells.append([
            f"{row['connections']}", f"{row['processes']}", BY[row["by"]],
            _times(each.dump_us, each.dump) if each else "-",
            _times(each.restore_us, each.restore) if each else "-",
            "-" if more is None else _bold(f"{more:.0f}", more >= IDLE_BYTES),
            f"{row['image_bytes'] / row['connections']:.0f}", f"{row['image_files']}", lost,
            f"{row['dump_s']:.0f} + {row['restore_s']:.0f}",
        ])
    if not cells:
        return []
    m = found["emulator"]
    few = min(row["connections"] for row in rows)
    words = ["connections", "processes", "by", "dump", "restore", "memory, bytes each",
             "image, bytes each", "files", "lost", "criu: dump + restore, s"]
    about = EMULATED.format(cpu=m["cpu"], cpus=m["cpus"], memory=m["memory_gib"], few=few,
                            kernel=m["kernel"], limit=m["descriptors"], date=m["date"])
    return [about, *table(words, cells), ""]


def _queues(found: Row) -> list[str]:
    rows = found["queues"]
    cells = []
    for row in rows:
        says = (row["dump_says_us"].get("dump"), row["restore_says_us"].get("restore"))
        speeds = [f"{row['bytes'] / us:.0f}" if us else "-" for us in says]
        half = row["write_mb_s"] / 2
        missed = [bool(us) and row["bytes"] / us < half for us in says]
        cells.append([
            row["by"], row.get("where", "disk"),
            f"{row['bytes'] / (1 << 20):.0f} MiB in {row['connections']} connections",
            f"{row['write_mb_s']}", _bold(speeds[0], missed[0]), _bold(speeds[1], missed[1]),
            f"{_s(row['dump_s'])} + {_s(row['restore_s'])}",
            f"{row['dump_peak_kb'] / 1024:.0f} / {row['restore_peak_kb'] / 1024:.0f}",
        ])
    words = ["by", "images on", "queued", "write() MB/s", "dump MB/s", "restore MB/s",
             "criu: dump + restore, s", "memory at dump / restore, MiB"]
    return [QUEUES, *table(words, cells), ""] if rows else []


def _socket(row: Row, when: str) -> str:
    s = row[f"socket_{when}"]
    return f"{s.get('congestion', '?')}, mss {s.get('mss', '?')}, buffer {s.get('sndbuf', '?')}"


def _throughput(found: Row) -> list[str]:
    rows = found["throughput"]
    if not rows:
        return []
    cells = []
    for row in rows:
        back = pictures.back_ms(row)
        cells.append([
            f"{row['rtt_ms']:g} ms", row["by"], f"{row['before_mb_s']:.0f}",
            f"{row['after_mb_s']:.0f}", f"{row['after_mb_s'] / row['before_mb_s']:.2f}",
            "-" if back is None else f"{back:.0f}", _socket(row, "before"), _socket(row, "after"),
        ])
    words = ["round trip", "by", "before", "after", "ratio", "half of it again after, ms",
             "socket before", "socket after"]
    return [BULK.format(seconds=rows[0]["seconds"]), *table(words, cells), ""]


def text(found: Row) -> str:
    parts = [INTRO, *_machine(found), *_targets(found), *_stall(found), *_tricks(found)]
    parts += [*_cost(found), *_plugin(found), *_emulated(found), *_queues(found)]
    parts += _throughput(found)
    parts.append("This page and its pictures are made of [bench.json](bench.json).")
    return "\n".join([*parts, ""])


def write(found: Row, out: Path) -> None:
    (out / PAGE).write_text(text(found))
    for name, svg in pictures.all_of(found).items():
        (out / name).write_text(svg)
