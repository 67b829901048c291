# SPDX-License-Identifier: GPL-2.0-or-later
"""The parts of the benchmark: what they measure with measures rightly, and the page is whole."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from harness import mode
from harness.cases import Serve
from harness.net import Network
from harness.peer import Peer
from harness.slow_cable import SlowCable


@pytest.mark.parametrize("ms", [1, 10, 50])
def test_slow_cable(net: Network, serve: Serve, ms: float) -> None:
    """The time is right, and all that goes through in both directions is."""
    here = replace(net.container, v4="10.78.0.1", v6="fd78::1")
    there = replace(net.peer, v4="10.78.0.2", v6="fd78::2")
    serve("criu-shared", mode.stock())
    with SlowCable(here, there, ms) as cable:
        for address in (here.v4, here.v6):
            ping = there.run("ping", "-q", "-c5", "-i0.02", address).check().output
            times = re.search(r"= ([\d.]+)/[\d.]+/([\d.]+)/", ping)
            assert times and 2 * ms <= float(times[1]) < 2 * ms + 1
        targets = {"slow": f"{here.v4}:{net.DUAL_PORT}", "slow6": f"[{here.v6}]:{net.DUAL_PORT}"}
        conns = ["duplex,rate=4M*2", "echo,gap=5,size=20000*2"]
        with Peer(there, targets, conns) as peer:
            assert peer.progress().ok
            report = peer.finish()
        assert report.lost == 0, report.complaints()
    assert cable.carried and cable.carried.packets > 100 and not cable.carried.dropped
