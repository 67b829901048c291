# SPDX-License-Identifier: GPL-2.0-or-later
"""Data behind a lost segment, in memory at the moment of the dump, yet not to be read.

It is not saved: the peer sends it again. What that costs is printed, beside the same bytes all
lost on their way and without a checkpoint.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import matrix
from harness.criu import Arrangement
from harness.mode import CHOSEN, MODES
from harness.net import Netns
from harness.scenes import WHERES, Link, World, world

HOLE = 777  # bytes of the lost segment, by which it is known
BEHIND = 30_000
TABLE = "inet hftest-hole"


def lose_segments(ns: Netns) -> None:
    """Segments with HOLE bytes and their retransmissions.

    The headers are 20 bytes of IP and 32 of TCP, or more with one to three blocks of SACK.
    """
    lengths = ", ".join(str(HOLE + 52 + sack) for sack in (0, 12, 20, 28))
    ns.run(
        "nft", f"table {TABLE} {{ chain in {{ type filter hook input priority -10;"
        f" tcp flags & syn == 0 meta length {{ {lengths} }} drop; }}; }}"
    ).check()  # fmt: skip


def refill(ns: Netns) -> None:
    ns.run("nft", f"delete table {TABLE}").check()


@pytest.fixture(scope="module")
def table() -> matrix.Matrix:
    made = matrix.Matrix("ms until complete")
    matrix.printed.append(made)
    return made


def checkpoint(w: World) -> None:
    w.a.checkpoint().check()
    w.a.restore().check()


def send(link: Link, to_a: bool, to_b: bool) -> None:
    for wanted, sender in ((to_a, link.b), (to_b, link.a)):
        if wanted:
            sender.send(HOLE)
            sender.send(BEHIND)


@pytest.mark.parametrize("where", WHERES)
def test_out_of_order(where: str, tmp_path: Path, table: matrix.Matrix) -> None:
    place, _, options = where.partition("-")
    arrangement: Arrangement = "shared" if place == "shared" else "external"
    with world(tmp_path, MODES[options or CHOSEN[0]](), arrangement, tcp_agents=True) as w:
        links = {name: w.link(name) for name in ("to a", "to b", "both", "all lost")}
        lost = links["all lost"]
        lost.lose()
        send(lost, to_a=False, to_b=True)
        for ns in (w.net.container, w.net.peer):
            lose_segments(ns)
        waits = [("to a", w.a), ("to b", w.b), ("both", w.a), ("both", w.b)]
        for name in ("to a", "to b", "both"):
            send(links[name], name != "to b", name != "to a")
        for name, agent in waits:
            agent[name].wait_behind_hole(BEHIND)
        if where != "nowhere":
            checkpoint(w)
        jobs = [*waits, ("all lost", w.b)]
        for name, agent in jobs:
            agent.start_job(name, f"conns[{name!r}].timed_recv({HOLE + BEHIND})")
        for ns in (w.net.container, w.net.peer):
            refill(ns)
        w.lift()
        for name, agent in jobs:
            side = "a" if agent is w.a else "b"
            table.set(f"{name}, at {side}", where, f"{agent.result(name):.0f}")
        for link in links.values():
            w.exchange(link.a, link.b)
