# SPDX-License-Identifier: GPL-2.0-or-later
"""How long peers stand still after an outage.

A stall begins when the lock's table is gone, which the kernel says to who listens in the
container's network namespace, and the restored program runs again, which it notes itself: the later
of the two, the same for CRIU's own lock and holdfast's. It ends when the first new byte is read at
the receiving end, not one that was in the restored queue; where both directions are busy, at the
slower of the two. Of a request and its answer, one is on its way: the one that arrives first ends
it. For idle connections it is the time of the first exchange, which the peer begins as soon as it
is told that the lock is gone; or the time until the first bytes of a container that begins to send
when it runs again.
"""

from __future__ import annotations

import contextlib
import statistics
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.criu import CriuServer
from harness.lock_watch import LockWatch
from harness.mode import Mode
from harness.peer import Connection, Peer, Report
from harness.proc import wait_for

from .far import NEAR, RTTS, Far
from .results import Wrong

WARM = 1.5  # seconds of traffic before the dump
# A thousand bytes every 50 ms: whoever gets them waits 40 ms before it acknowledges, so that at
# most moments there is something on the way.
BUSY = "rate=20k,chunk=1000"
WAKE_BYTES = 512
PATIENCE = 30.0
UNDISTURBED = 0.3  # s after the restore in which we ask nobody how far he is
KINDS = {
    "both": f"duplex,{BUSY}",
    "from-container": f"source,{BUSY}",
    "from-peer": f"sink,{BUSY}",
    # The next request follows the answer; near, so soon that it carries the acknowledgement.
    "asking": "echo,gap={gap}",
    "idle-peer": "idle",
    "idle-container": f"wake,out={WAKE_BYTES}",
}
ROLES = dict(zip(("duplex", "source", "sink", "echo", "idle", "wake"), KINDS))
NEAR_GAP_MS = 20
# We hear of the end of the lock a moment after it.
EARLY_NS = 50_000_000
# Seconds that one container takes until it is dumped, and less from its restore on.
SPACING = 3.5


def conns_of(rtt: float, connections: int, kinds: Sequence[str]) -> list[str]:
    gap = NEAR_GAP_MS if rtt == NEAR else 0
    return [f"{KINDS[kind].format(gap=gap)}*{connections}" for kind in kinds]


def stall_of(conn: Connection, unlocked: int) -> float | None:
    """In ms; None where it did not end, or there was none: something came before that moment."""
    start = max(unlocked, conn.resumed)

    def after(moment: int, begin: int = start) -> float | None:
        known = moment and moment > unlocked - EARLY_NS
        return max(0, moment - begin) / 1e6 if known else None

    down, up = after(conn.arrived), after(conn.advanced)
    if conn.role == "idle":
        return after(conn.answered, max(start, conn.asked)) if conn.asked else None
    if conn.role in ("source", "wake"):
        return down
    if conn.role == "sink":
        return up
    if down is None or up is None:
        return None
    # Of a request and its answer only one is on its way.
    return min(down, up) if conn.role == "echo" else max(down, up)


def summary(values: Sequence[float]) -> dict[str, float]:
    ordered = sorted(values)
    return {
        "n": len(ordered),
        "median_ms": round(statistics.median(ordered), 2),
        "p90_ms": round(ordered[int(0.9 * (len(ordered) - 1))], 2),
        "max_ms": round(ordered[-1], 2),
    }


class Outage:
    """A server and its peers, checkpointed and restored once.

    with Outage(...) as outage: outage.dump(); ...; outage.restore(); row = outage.finish()
    """

    def __init__(
        self,
        work: Path,
        mode: Mode,
        seconds: float,
        connections: int,
        rtts: Sequence[float] = RTTS,
        config: str = "",
        sysctls: Sequence[str] = (),
        warm: float = WARM,
        kinds: Sequence[str] = tuple(KINDS),
    ) -> None:
        self.work, self.mode, self.seconds = work, mode, seconds
        self.connections, self.kinds = connections, kinds
        self.rtts, self.config, self.sysctls, self.warm = rtts, config, sysctls, warm
        self._stack = contextlib.ExitStack()
        self._asked = threading.Event()

    def __enter__(self) -> Outage:
        with contextlib.ExitStack() as stack:
            self._open(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _open(self, stack: contextlib.ExitStack) -> None:
        self.work.mkdir(parents=True)
        conf = self.work / "holdfast.conf"
        conf.write_text(self.config)
        net = stack.enter_context(Far(tuple(self.rtts)))
        if self.sysctls:
            net.sysctl(*self.sysctls)
        self._server = stack.enter_context(CriuServer(
            net, self.work / "server", self.mode, "external", env={"HOLDFAST_CONF": str(conf)}
        ))
        self._peers = {
            rtt: stack.enter_context(Peer(
                net.peers[rtt], net.targets_of(rtt),
                conns_of(rtt, self.connections, self.kinds),
                patience=2 * self.seconds + PATIENCE,
            ))
            for rtt in self.rtts
        }
        self._watch = stack.enter_context(LockWatch(net.container))
        time.sleep(self.warm)

    def dump(self) -> None:
        self._dump = self._server.checkpoint().check()
        self._dumped = time.monotonic()

    def _ask(self) -> None:
        """In the watch's thread."""
        self._watch.on_removed = None
        for peer in self._peers.values():
            peer.ask()
        self._asked.set()

    def restore(self) -> None:
        """When it is time."""
        time.sleep(max(0.0, self._dumped + self.seconds - time.monotonic()))
        self._late = time.monotonic() - self._dumped - self.seconds
        for peer in self._peers.values():
            peer.mark()
        self._watch.on_removed = self._ask
        restoring = time.time_ns()
        self._restore = self._server.restore().check()
        if not self._asked.wait(PATIENCE):
            raise TimeoutError("end of the lock")
        unlocked = self._watch.removed(restoring)
        assert unlocked
        self._unlocked = unlocked
        time.sleep(UNDISTURBED)

    def finish(self) -> dict[str, Any]:
        peers = self._peers.values()
        for peer in peers:
            wait_for(lambda peer=peer: _has_begun(peer), "the first bytes", peer.patience)
        for peer in peers:
            if not peer.progress().ok:
                raise Wrong("connections stand still", peer.finish().complaints())
        reports = {rtt: peer.finish() for rtt, peer in self._peers.items()}
        resumed = max(c.resumed for report in reports.values() for c in report.connections)
        return {
            "outage_s": self.seconds,
            "late_s": round(self._late, 3),
            "mode": self.mode.name,
            "checkpoints": 1,
            "connections": len(self.kinds) * len(self.rtts) * self.connections,
            "dump_s": round(self._dump.seconds, 3),
            "restore_s": round(self._restore.seconds, 3),
            # The program runs again so long after the end of the lock: CRIU's own work.
            "runs_ms": round((resumed - self._unlocked) / 1e6, 2),
            "stalls": _stalls(reports, self._unlocked),
        }

    def measure(self) -> dict[str, Any]:
        with self:
            self.dump()
            self.restore()
            return self.finish()


def measure_each(outages: Sequence[Outage]) -> dict[str, Any]:
    """One after the other, in one row. While some are away, the next are dumped, as many as there
    is time for: no two are at work in the same moment."""
    at_once = max(1, int(outages[0].seconds / SPACING))
    rows: list[dict[str, Any]] = []
    for first in range(0, len(outages), at_once):
        with contextlib.ExitStack() as stack:
            away = outages[first : first + at_once]
            for outage in away:
                stack.enter_context(outage).dump()
            for outage in away:
                outage.restore()
            rows += [outage.finish() for outage in away]
    return _together(rows)


def _together(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    medians = ("dump_s", "restore_s", "runs_ms")
    return {
        **rows[0],
        **{key: round(statistics.median(row[key] for row in rows), 3) for key in medians},
        "late_s": max(row["late_s"] for row in rows),
        "checkpoints": len(rows),
        "stalls": [stall for row in rows for stall in row["stalls"]],
    }


def _has_begun(peer: Peer) -> bool:
    """What nobody else would notice: to ask for progress is to ask idle connections for more."""
    return all(
        c.answered if c.role == "idle" else c.checked >= WAKE_BYTES
        for c in peer.stats() if c.role in ("idle", "wake") and c.kept
    )


def _stalls(reports: dict[float, Report], unlocked: int) -> list[dict[str, Any]]:
    found = []
    for rtt, report in reports.items():
        if report.lost:
            raise Wrong("connections were lost", report.complaints())
        for role, kind in ROLES.items():
            conns = [c for c in report.connections if c.role == role]
            if not conns:
                continue
            stalls = [stall_of(c, unlocked) for c in conns]
            known = [stall for stall in stalls if stall is not None]
            if len(known) < len(stalls):
                raise Wrong(
                    f"{len(stalls) - len(known)} of {len(stalls)} connections ({kind}, round"
                    f" trip {rtt:g} ms) did not stand still until the unlock, or for ever",
                    str([c for c, stall in zip(conns, stalls) if stall is None][:2]),
                )
            found.append({"rtt_ms": rtt, "kind": kind, **summary(known)})
    return found
