# SPDX-License-Identifier: GPL-2.0-or-later
"""Fixtures of the integration tests. They run as root, in the test root: contrib/testroot."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from harness import checks, kill, matrix, mode
from harness.arrangements import ARRANGEMENTS, Server, make_server
from harness.net import HOST, Network, nft_tables
from harness.peer import Peer
from harness.proc import run
from harness.programs import Missing, program
from harness.scenes import CRIU_CANNOT

# Its assertions shall show what they compared.
pytest.register_assert_rewrite(
    "harness.cases", "harness.real_nginx", "harness.real_postgresql", "harness.real_redis"
)

STRICT = os.environ.get("HOLDFAST_TEST_STRICT") == "1"


def _strict(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Where the tests must run, one that cannot is a failure."""
    if STRICT and report.skipped and not hasattr(report, "wasxfail"):
        where = report.longrepr
        reason = where[2] if isinstance(where, tuple) else where
        report.outcome = "failed"
        report.longrepr = f"not run, with HOLDFAST_TEST_STRICT=1: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _strict(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _strict(report)
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for table in matrix.printed:
        terminalreporter.section(table.title)
        terminalreporter.write(table.text())
    if kill.printed:
        terminalreporter.section("killed at chosen moments")
        terminalreporter.write("\n".join(kill.printed))


def _beyond_criu(item: pytest.Item) -> bool:
    params: dict[str, Any] = getattr(getattr(item, "callspec", None), "params", {})
    where = str(params.get("stage", ""))
    return where.endswith("-established") and params.get("scene") in CRIU_CANNOT


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Nobody can ask of CRIU's own support what it cannot do, with or without the plugin."""
    beyond = [item for item in items if _beyond_criu(item)]
    items[:] = [item for item in items if item not in beyond]
    config.hook.pytest_deselected(items=beyond)


def _cannot() -> str | None:
    """Why no test can run here, if so."""
    if os.geteuid() != 0:
        return "needs root"
    for tool in ("criu", "ip", "nft", "nsenter", "ping"):
        if not shutil.which(tool):
            return f"needs {tool} (run the tests in contrib/testroot)"
    version = re.search(r"Version: (\d+)\.(\d+)", run(["criu", "--version"]).output)
    if not version or (int(version[1]), int(version[2])) < (4, 2):
        return "needs CRIU 4.2 or later"
    return None


def _built(get: Callable[[], Any]) -> Any:
    """What has not been built is said in one line."""
    try:
        return get()
    except Missing as error:
        missing = str(error)
    pytest.fail(missing, pytrace=False)


@pytest.fixture(scope="session", autouse=True)
def machine() -> None:
    reason = _cannot()
    if reason:
        pytest.skip(reason)
    for name in ("hf-server", "hf-peer"):
        _built(lambda name=name: program(name))


@pytest.fixture(scope="session")
def holdfast_mode() -> mode.Mode:
    """The options that switch the plugin on, which must have been built."""
    options: mode.Mode = _built(lambda: mode.holdfast(os.environ.get("HOLDFAST_LIBDIR")))
    return options


@pytest.fixture
def leftovers() -> Iterator[checks.Leftovers]:
    """The first to be set up: its check comes when all else is gone."""
    found = checks.Leftovers()
    yield found
    assert not found.processes()


@pytest.fixture
def net(leftovers: checks.Leftovers) -> Iterator[Network]:
    """Two namespaces, in which no lock may remain, nor on the host."""
    with Network() as network:
        yield network
        left = checks.holdfast_tables(network.container, network.peer, HOST)
        for family, name in nft_tables(HOST):
            HOST.run("nft", "delete", "table", family, name)
        assert not left


@pytest.fixture(params=ARRANGEMENTS)
def arrangement(request: pytest.FixtureRequest) -> str:
    """Every way to make a checkpoint, one after the other."""
    name: str = request.param
    if name in ("crun", "runc") and not shutil.which(name):
        pytest.skip(f"needs {name}")
    return name


@pytest.fixture
def servers() -> list[Server]:
    """Those that serve() started."""
    return []


@pytest.fixture
def serve(
    net: Network, tmp_path: Path, servers: list[Server]
) -> Iterator[Callable[..., Server]]:
    """serve(arrangement, mode, server_args=[...]): a server that runs until the test ends."""
    with contextlib.ExitStack() as stack:

        def start(name: str, options: mode.Mode, **kwargs: Any) -> Server:
            work = tmp_path / f"server{len(servers)}"
            server = make_server(name, net, work, options, **kwargs)
            servers.append(stack.enter_context(server))
            return server

        yield start


@pytest.fixture
def connect(net: Network, servers: list[Server]) -> Callable[..., Peer]:
    """with connect(["idle", "echo*10"], patience=10) as peer: ...; targets= for a detour

    Before finish() ends the connections it looks for sockets that were left in repair mode.
    """

    def check() -> None:
        for server in servers:
            assert not checks.repair_sockets(server.pids())

    def make(conns: Sequence[str], targets: Mapping[str, str] | None = None, **kwargs: Any) -> Peer:
        to = targets or net.targets()
        return Peer(net.peer, to, conns, before_finish=check, **kwargs)

    return make
