# SPDX-License-Identifier: GPL-2.0-or-later
"""What makes a restored connection flow at once costs nothing but time where it fails.

All of it off, each alone and all on, on a cable that loses one of four packets each way, the words
and errors of holdfast among them, from before the dump until after the restore.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from harness.cases import EVERYTHING, Connect, Serve, finish
from harness.mode import Mode
from harness.net import Netns, Network

KEYS = ("prelude", "kick", "hold-back", "duplicate-acks")
CHOICES = {"none": (), **{key: (key,) for key in KEYS}, "all": KEYS}
TABLE = "inet hftest-lossy"
# Long enough for peers to have tried again, so that they are kicked.
OUTAGE = 1.0
PATIENCE = 40  # s: a connection that was unlucky waits for its timer


def lose(ns: Netns) -> None:
    ns.run(
        "nft", f"table {TABLE} {{ counter lost {{}}; chain in {{ type filter hook input priority"
        " -10; meta l4proto { tcp, icmp, icmpv6 } numgen random mod 4 0 counter name lost drop;"
        " }; }"
    ).check()  # fmt: skip


def mend(ns: Netns) -> int:
    """How many were lost."""
    listed = ns.run("nft", "list", "counter", *TABLE.split(), "lost").check().output
    ns.run("nft", f"delete table {TABLE}").check()
    return int(listed.split("packets ")[1].split()[0])


@pytest.mark.parametrize("sack", [True, False], ids=["sack", "no-sack"])
@pytest.mark.parametrize("choice", CHOICES)
def test_lossy(
    tmp_path: Path,
    net: Network,
    serve: Serve,
    connect: Connect,
    holdfast_mode: Mode,
    choice: str,
    sack: bool,
) -> None:
    conf = tmp_path / "holdfast.conf"
    conf.write_text("".join(
        f"{key} = {'on' if key in CHOICES[choice] else 'off'}\n" for key in KEYS
    ))
    both = (net.container, net.peer)
    for ns in both:
        ns.run("sysctl", "-qw", f"net.ipv4.tcp_sack={int(sack)}").check()
    server = serve("criu-external", holdfast_mode)
    server.env = {"HOLDFAST_CONF": str(conf)}
    with connect(EVERYTHING, patience=PATIENCE) as peer:
        for ns in both:
            lose(ns)
        server.checkpoint().check()
        time.sleep(OUTAGE)
        server.restore().check()
        time.sleep(0.3)
        assert all([mend(ns) for ns in both])
        finish(peer)
