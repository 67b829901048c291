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


def conns_of(rtt: float, connections: int) -> list[str]:
    gap = NEAR_GAP_MS if rtt == NEAR else 0
    return [f"{spec.format(gap=gap)}*{connections}" for spec in KINDS.values()]


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
    """A server and its peers, checkpointed and restored once."""

    def __init__(
        self,
        work: Path,
        mode: Mode,
        connections: int,
        rtts: Sequence[float] = RTTS,
        config: str = "",
        sysctls: Sequence[str] = (),
        warm: float = WARM,
    ) -> None:
        self.work, self.mode, self.connections = work, mode, connections
        self.rtts, self.config, self.sysctls, self.warm = rtts, config, sysctls, warm

    def measure(self, seconds: float) -> dict[str, Any]:
        self.work.mkdir(parents=True)
        conf = self.work / "holdfast.conf"
        conf.write_text(self.config)
        with contextlib.ExitStack() as stack:
            net = stack.enter_context(Far(tuple(self.rtts)))
            if self.sysctls:
                net.sysctl(*self.sysctls)
            server = CriuServer(net, self.work / "server", self.mode, "external",
                                env={"HOLDFAST_CONF": str(conf)})
            stack.enter_context(server)
            peers = {
                rtt: stack.enter_context(
                    Peer(net.peers[rtt], net.targets_of(rtt), conns_of(rtt, self.connections),
                         patience=2 * seconds + PATIENCE)
                )
                for rtt in self.rtts
            }
            watch = stack.enter_context(LockWatch(net.container))
            time.sleep(self.warm)
            return self._outage(seconds, server, peers, watch)

    def _outage(
        self, seconds: float, server: CriuServer, peers: dict[float, Peer], watch: LockWatch
    ) -> dict[str, Any]:
        def ask() -> None:
            watch.on_removed = None
            for peer in peers.values():
                peer.ask()

        dump = server.checkpoint().check()
        time.sleep(seconds)
        for peer in peers.values():
            peer.mark()
        watch.on_removed = ask
        restoring = time.time_ns()
        restore = server.restore().check()
        wait_for(lambda: watch.removed(restoring), "end of the lock")
        unlocked = watch.removed(restoring)
        assert unlocked
        for peer in peers.values():
            if not peer.progress().ok:
                raise Wrong("connections stand still", peer.finish().complaints())
        for peer in peers.values():
            wait_for(lambda: _awake(peer), "first bytes of the container", PATIENCE)
        reports = {rtt: peer.finish() for rtt, peer in peers.items()}
        resumed = max(c.resumed for report in reports.values() for c in report.connections)
        return {
            "outage_s": seconds,
            "mode": self.mode.name,
            "dump_s": round(dump.seconds, 3),
            "restore_s": round(restore.seconds, 3),
            # The program runs again so long after the end of the lock: CRIU's own work.
            "runs_ms": round((resumed - unlocked) / 1e6, 2),
            "stalls": _stalls(reports, unlocked),
        }


def _awake(peer: Peer) -> bool:
    return all(c.checked >= WAKE_BYTES for c in peer.stats() if c.role == "wake")


def _stalls(reports: dict[float, Report], unlocked: int) -> list[dict[str, Any]]:
    found = []
    for rtt, report in reports.items():
        if report.lost:
            raise Wrong("connections were lost", report.complaints())
        for role, kind in ROLES.items():
            conns = [c for c in report.connections if c.role == role]
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
