# SPDX-License-Identifier: GPL-2.0-or-later
"""Several checkpoints and restores that meet: each is ordered, or refused clearly."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from harness import checks, proc
from harness.agent import AgentTask
from harness.cases import EVERYTHING, FLOWING, Connect, Serve, finish
from harness.left import WAIT
from harness.mode import Mode
from harness.net import Network
from harness.scenes import World, world

OTHER_PORT = 7600


@pytest.fixture
def w(tmp_path: Path, holdfast_mode: Mode) -> Iterator[World]:
    with world(tmp_path, holdfast_mode) as made:
        yield made


@pytest.fixture
def second(w: World, tmp_path: Path, holdfast_mode: Mode) -> Iterator[AgentTask]:
    """Another container in the same network namespace, with a connection "second"."""
    with AgentTask(w.net.container, tmp_path / "second", holdfast_mode) as made:
        made.listen("all", w.host, OTHER_PORT)
        w.b.connect("second", w.host, OTHER_PORT, streams=(11, 10))
        made.accept("second", "all", streams=(10, 11))
        yield made


def both(*actions: Callable[[], object]) -> None:
    """At the same time."""
    barrier = threading.Barrier(len(actions))

    def run(action: Callable[[], object]) -> None:
        barrier.wait()
        action()

    with ThreadPoolExecutor(len(actions)) as pool:
        list(pool.map(run, actions))


def test_two_containers_of_a_pod(w: World, second: AgentTask) -> None:
    """Both at once, with connections of their own and one between them."""
    a, b = w.pair("first")
    w.a.connect("between", w.host, OTHER_PORT, streams=(20, 21))
    second.accept("between", "all", streams=(21, 20))
    for _ in range(3):
        both(lambda: w.a.checkpoint().check(), lambda: second.checkpoint().check())
        both(lambda: w.a.restore().check(), lambda: second.restore().check())
        w.exchange(a, b)
        w.exchange(second["second"], w.b["second"])
        w.exchange(w.a["between"], second["between"])


def test_one_of_two_containers_of_a_pod(w: World, second: AgentTask) -> None:
    """The other one keeps its traffic while the first is away."""
    a, b = w.pair("first")
    w.a.checkpoint().check()
    w.exchange(second["second"], w.b["second"])
    w.a.restore().check()
    w.exchange(a, b)
    w.exchange(second["second"], w.b["second"])


def test_second_dump_meanwhile(
    tmp_path: Path, net: Network, serve: Serve, connect: Connect, holdfast_mode: Mode
) -> None:
    """CRIU refuses it, and the first one is not disturbed."""
    server = serve("criu-external", holdfast_mode)
    waiting, go_on = tmp_path / "waiting", tmp_path / "go-on"
    script = tmp_path / "wait"
    script.write_text(WAIT.format(waiting=waiting, go_on=go_on))
    script.chmod(0o755)
    with connect(FLOWING, patience=15) as peer:
        extra = ["--action-script", str(script)]
        first = ThreadPoolExecutor(1).submit(server.checkpoint, leave_running=True, extra=extra)
        proc.wait_for(waiting.exists, "the end of the first dump")
        images = server.images
        second = server.checkpoint(leave_running=True)
        assert not second.ok
        go_on.touch()
        first.result().check()
        assert (images / "holdfast.img").exists()
        finish(peer)
    assert not checks.holdfast_tables(net.container)


def test_restored_twice(
    net: Network, serve: Serve, connect: Connect, holdfast_mode: Mode
) -> None:
    """The second restore is refused before it takes a lock: the container runs."""
    server = serve("criu-external", holdfast_mode)
    with connect(EVERYTHING, patience=15) as peer:
        server.checkpoint().check()
        server.restore().check()
        pid = server.pid
        again = server.restore()
        server.pid = pid
        assert not again.ok
        assert len(again.lines("Error (holdfast)", "the container is running already")) == 1
        assert not checks.holdfast_tables(net.container)
        finish(peer)
