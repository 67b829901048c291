# SPDX-License-Identifier: GPL-2.0-or-later
"""After an outage the peers send again at once, and do not wait for their timers.

Without the prelude, which leaves nothing to do here: test_prelude.py has the two together.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from harness.cases import Connect, Serve, finish
from harness.mode import Mode
from harness.net import Network

# What the peers have sent last meets the lock. They try again after 0.2, 0.6, 1.4, 3.0, 6.2 and
# 12.6 s.
CONNS = ["sink*4", "duplex*4", "echo,gap=5*4"]
OUTAGE = 7.0
SOON = 2500  # ms


@pytest.mark.parametrize("kick", ["on", "off"])
def test_restore(
    tmp_path: Path, net: Network, serve: Serve, connect: Connect, holdfast_mode: Mode, kick: str
) -> None:
    """off is what it is for: some have to wait for long."""
    conf = tmp_path / "holdfast.conf"
    conf.write_text(f"prelude = off\nkick = {kick}\n")
    server = serve("criu-external", holdfast_mode)
    server.env = {"HOLDFAST_CONF": str(conf)}
    with connect(CONNS, patience=20) as peer:
        server.checkpoint().check()
        time.sleep(OUTAGE)
        server.restore().check()
        waited = peer.progress()
        assert waited.ok
        print(f"kick = {kick}: {waited.waited_ms} ms")
        assert (waited.waited_ms < SOON) == (kick == "on")
        finish(peer)


def test_leave_running(
    tmp_path: Path, net: Network, serve: Serve, connect: Connect, holdfast_mode: Mode
) -> None:
    """Where the dump itself took long."""
    conf = tmp_path / "holdfast.conf"
    conf.write_text("prelude = off\n")
    script = tmp_path / "slow"
    script.write_text(
        f'#!/bin/sh\n[ "$CRTOOLS_SCRIPT_ACTION" = post-dump ] || exit 0\nsleep {OUTAGE}\n'
    )
    script.chmod(0o755)
    server = serve("criu-external", holdfast_mode)
    server.env = {"HOLDFAST_CONF": str(conf)}
    with connect(CONNS, patience=20) as peer:
        server.checkpoint(leave_running=True, extra=["--action-script", str(script)]).check()
        waited = peer.progress()
        assert waited.ok and waited.waited_ms < SOON
        finish(peer)
