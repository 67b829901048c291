# SPDX-License-Identifier: GPL-2.0-or-later
"""An IPv6 address that was just given, which the kernel does not let be used for a while."""

from __future__ import annotations

from harness.cases import EVERYTHING, Connect, Serve, finish
from harness.mode import Mode
from harness.net import Network
from harness.proc import run


def address(net: Network, verb: str) -> None:
    ip = ["ip", "-n", net.container.name, "addr", verb, f"{net.container.v6}/64", "dev", "eth0"]
    run(ip).check()


def is_tentative(net: Network) -> bool:
    return "tentative" in net.container.run("ip", "addr").check().output


def test_restore_does_not_wait(
    net: Network, serve: Serve, connect: Connect, holdfast_mode: Mode, arrangement: str
) -> None:
    server = serve(arrangement, holdfast_mode)
    with connect(EVERYTHING, patience=15) as peer:
        server.checkpoint().check()
        address(net, "del")
        address(net, "add")
        server.restore().check()
        assert is_tentative(net)
        finish(peer)
