# SPDX-License-Identifier: GPL-2.0-or-later
"""The scriptable agent itself, with CRIU's own support: it goes on where it was."""

from __future__ import annotations

import errno
import signal
from pathlib import Path

import pytest

from harness import mode
from harness.agent import AgentTask, PeerAgent
from harness.criu import Arrangement
from harness.net import Network
from harness.syscalls import RECV

PORT = 7100


@pytest.mark.parametrize("arrangement", ["shared", "external"])
def test_agent_goes_on(net: Network, tmp_path: Path, arrangement: Arrangement) -> None:
    """Values, connections, workers and blocked threads."""
    with (
        AgentTask(net.container, tmp_path / "a", mode.stock(), arrangement) as a,
        PeerAgent(net.peer, tmp_path / "b") as b,
    ):
        a.listen("l", net.container.v4, PORT)
        for name in ("one", "two"):
            b.connect(name, net.container.v4, PORT, streams=(1, 2))
            a.accept(name, "l", streams=(2, 1))
        worker = a.worker("w")
        worker.run("x = 42")
        a.job("reader", "conns['two'].take(conns['two'].sock.recv(5000))", [RECV])
        b["one"].send(1000)
        a["one"].wait_inq(1000)
        before = a["one"].view()
        a.checkpoint().check()
        assert not a.pids()
        a.restore().check()
        assert len(a.pids()) == 2
        assert a["one"].view() == before
        assert not a.job_done("reader")
        b["two"].send(5)
        assert a.result("reader") == 5
        assert worker.run("x") == 42
        worker["one"].recv(1000)
        worker["one"].shutdown()
        b["one"].eof()
        assert a["one"].error("send") == "EPIPE"


def test_agent_reports_errors(net: Network, tmp_path: Path) -> None:
    with PeerAgent(net.peer, tmp_path) as b:
        with pytest.raises(OSError) as caught:
            b.connect("x", "127.0.0.1", 1)
        assert caught.value.errno == errno.ECONNREFUSED
        with pytest.raises(RuntimeError, match="ZeroDivisionError"):
            b.run("1 / 0")
        assert b.run("_x = [b'\\n', (1, None)]\n_x") == [b"\n", (1, None)]
        b.listen("l", "127.0.0.1", PORT)
        b.connect("a", "127.0.0.1", PORT, streams=(1, 2))
        b.accept("b", "l", streams=(2, 2))  # expects another stream
        b["a"].send(10)
        with pytest.raises(AssertionError, match="wrong data at 0"):
            b["b"].recv(10)
        b.start_job("killer", f"os.kill(os.getpid(), {int(signal.SIGCONT)})")
        assert b.result("killer") is None
