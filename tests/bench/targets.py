# SPDX-License-Identifier: GPL-2.0-or-later
"""What is wanted, and whether a run has it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

ROUND_TRIPS_MS = 10.0  # beyond one round trip, the median
MAX_MS = 250.0
FACTOR = 1.5  # times the floor
FACTOR_FROM = 5000  # connections; with fewer, the lock and the barrier are most of it
MANY = 1000  # from here on a connection should cost the same
IDLE_BYTES = 1024  # of memory for an idle connection
GROWTH = 1.25  # what a connection may cost more where there are many times as many

Row = dict[str, Any]


class Found(Enum):
    MET = 1
    MISSED = 2
    UNKNOWN = 3


@dataclass(frozen=True)
class Target:
    what: str
    wanted: str
    value: str
    found: Found


@dataclass(frozen=True)
class Each:
    """What the plugin takes for a connection."""

    connections: int
    family: str
    dump_us: float
    restore_us: float
    floor_dump_us: float
    floor_restore_us: float
    options_us: float
    freeze_dump_ms: float
    freeze_restore_ms: float

    @property
    def dump_ratio(self) -> float:
        return self.dump_us / self.floor_dump_us

    @property
    def restore_ratio(self) -> float:
        return self.restore_us / self.floor_restore_us

    @property
    def judged(self) -> bool:
        """The floor is that of IPv4."""
        return self.connections >= FACTOR_FROM and self.family == "IPv4"


@dataclass(frozen=True)
class Grown:
    """What a connection takes, us, and times what it takes where there are fewest."""

    dump_us: float
    restore_us: float
    dump: float
    restore: float


def missed_median(row: Row) -> bool:
    return bool(row["median_ms"] > row["rtt_ms"] + ROUND_TRIPS_MS)


def missed_max(row: Row) -> bool:
    return bool(row["max_ms"] > MAX_MS)


def _restoring(cost: Row) -> float:
    says: dict[str, float] = cost["restore_says_us"]
    return says.get("in all", sum(says.get(name, 0) for name in ("lock", "restore", "resume")))


def per_connection(cost: Row, floors: Sequence[Row]) -> Each | None:
    floor = next((f for f in floors if f["connections"] == cost["connections"]), None)
    dump, restore = cost["dump_says_us"], cost["restore_says_us"]
    if cost["by"] != "holdfast" or not floor or "in all" not in dump or not restore:
        return None
    n = cost["connections"]
    restoring = _restoring(cost)
    return Each(
        n, cost["family"],
        dump["in all"] / n, restoring / n, floor["dump_us"], floor["restore_us"], floor["options_us"],
        dump["in all"] / 1000, restoring / 1000,
    )


def grown(cost: Row, rows: Sequence[Row]) -> Grown | None:
    """Among rows of one machine."""
    if cost["by"] != "holdfast" or not cost["dump_says_us"]:
        return None
    few = min((r for r in rows if r["by"] == "holdfast"), key=lambda r: r["connections"])
    dumps = [r["dump_says_us"]["in all"] / r["connections"] for r in (cost, few)]
    restores = [_restoring(r) / r["connections"] for r in (cost, few)]
    return Grown(dumps[0], restores[0], dumps[0] / dumps[1], restores[0] / restores[1])


def memory(cost: Row, rows: Sequence[Row]) -> float | None:
    """Bytes for a connection, beyond what CRIU takes that loses them."""
    keys = ("where", "family", "connections", "processes")
    for other in rows if cost["by"] == "holdfast" else ():
        if other["by"] == "tcp-close" and all(cost.get(k) == other.get(k) for k in keys):
            more = max(cost[k] - other[k] for k in ("dump_peak_kb", "restore_peak_kb"))
            return float(more * 1024 / cost["connections"])
    return None


def _verdict(met: bool) -> Found:
    return Found.MET if met else Found.MISSED


def _stalls(found: Row) -> list[Target]:
    rows = [s for r in found["stall"] if r["mode"] == "holdfast" for s in r["stalls"]]
    out = []
    for what, wanted, missed in (
        ("median stall", f"a round trip and {ROUND_TRIPS_MS:g} ms", missed_median),
        ("longest stall", f"{MAX_MS:g} ms", missed_max),
    ):
        bad = sum(missed(row) for row in rows)
        value = f"{len(rows) - bad} of {len(rows)} rows" if rows else ""
        out.append(Target(what, wanted, value, _verdict(not bad) if rows else Found.UNKNOWN))
    return out


def _of(found: Row, by: str) -> list[Row]:
    return [r for r in found["cost"] if (r["by"], r["where"], r["family"]) == (
        by, "container", "IPv4")]


def _calls(found: Row) -> list[Target]:
    each = [e for e in (per_connection(r, found["floor"]) for r in _of(found, "holdfast")) if e]
    judged = [e for e in each if e.judged]
    out = []
    for name, ratio in (("dump", "dump_ratio"), ("restore", "restore_ratio")):
        what, wanted = f"{name}, by connection", f"{FACTOR:g} times the floor"
        worst = max((getattr(e, ratio) for e in judged), default=0)
        state = _verdict(worst <= FACTOR) if judged else Found.UNKNOWN
        out.append(Target(what, wanted, f"{worst:.2f} at most" if judged else "", state))
    many = [e for e in each if e.connections >= MANY]
    if len(many) > 1:
        first, last = many[0], many[-1]
        growth = max(last.dump_us / first.dump_us, last.restore_us / first.restore_us)
        what = f"cost of a connection, {last.connections} beside {first.connections}"
        out.append(Target(what, f"{GROWTH:g} times at most", f"{growth:.2f} times",
                          _verdict(growth <= GROWTH)))
    return out


def _growth(found: Row) -> list[Target]:
    rows = found.get("emulated", [])
    few, most = (pick((row["connections"] for row in rows), default=0) for pick in (min, max))
    all_of_them = [grown(row, rows) for row in rows if row["connections"] > few]
    times = [max(each.dump, each.restore) for each in all_of_them if each]
    if not times:
        return []
    return [Target(f"cost of a connection, {most} beside {few}, emulated",
                   f"{GROWTH:g} times at most", f"{max(times):.2f} times",
                   _verdict(max(times) <= GROWTH))]


def _memory(found: Row) -> Target:
    what, wanted = "memory for an idle connection", f"less than {IDLE_BYTES} bytes"
    rows = found.get("emulated") or _of(found, "holdfast") + _of(found, "tcp-close")
    ours = [(row["connections"], memory(row, rows)) for row in rows if row["by"] == "holdfast"]
    known = [(n, each) for n, each in ours if each is not None]
    n, each = max(known, default=(0, 0.0))
    if n < MANY:
        return Target(what, wanted, "", Found.UNKNOWN)
    return Target(what, wanted, f"{each:.0f} bytes, {n} connections",
                  _verdict(each < IDLE_BYTES))


def _queues(found: Row) -> list[Target]:
    rows = [r for r in found["queues"] if r["by"] == "holdfast"]
    out = []
    for name, key in (("dump", "dump_says_us"), ("restore", "restore_says_us")):
        parts = {
            r.get("where", "disk"): r["bytes"] / r[key][name] / r["write_mb_s"]
            for r in rows if r[key]
        }
        what, wanted = f"queues, {name}", "half of write()"
        value = ", ".join(f"{part:.2f} of it, {where}" for where, part in parts.items())
        state = _verdict(min(parts.values()) >= 0.5) if parts else Found.UNKNOWN
        out.append(Target(what, wanted, value, state))
    return out


def judge(found: Row) -> list[Target]:
    return [*_stalls(found), *_calls(found), *_growth(found), _memory(found), *_queues(found)]
