# SPDX-License-Identifier: GPL-2.0-or-later
"""nginx, Redis and PostgreSQL move, and their own clients do not notice.

Each runs in a container of podman, which is restored on another host and in place in turn while
its clients work: none may see an error, get anything wrong, or connect again. It happens
HOLDFAST_PROGRAM_ROUNDS times (3: there, in place, and back). The clients' last segments are sent
again all the time.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import checks, mode, podman, real_image
from harness.hosts import Hosts
from harness.mode import Mode
from harness.oci import Runtime
from harness.real_image import Image
from harness.real_nginx import Nginx
from harness.real_postgresql import Postgresql
from harness.real_programs import Clients, Program, RealServer
from harness.real_redis import Redis

ROUNDS = int(os.environ.get("HOLDFAST_PROGRAM_ROUNDS", "3"))
OUTAGE = 0.3  # beside what podman needs
TRIES = 3

PROGRAMS: list[tuple[type[Program], Runtime]] = [
    (Redis, "crun"), (Postgresql, "crun"), (Nginx, "runc")
]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    missing = real_image.missing()
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")
    return real_image.make(tmp_path_factory.mktemp("image"))


@pytest.fixture(scope="module")
def both_hosts(tmp_path_factory: pytest.TempPathFactory, image: Image) -> Iterator[Hosts]:
    with Hosts(tmp_path_factory.mktemp("hosts")) as hosts:
        podman.prepare(hosts, image.tar, real_image.NAME)
        yield hosts


@pytest.fixture
def hosts(leftovers: object, both_hosts: Hosts) -> Iterator[Hosts]:
    both_hosts.move(both_hosts.one)
    both_hosts.forget_neighbours()
    yield both_hosts
    try:
        assert not checks.holdfast_tables(*both_hosts.namespaces)
    finally:
        both_hosts.unlock()


@contextlib.contextmanager
def serving(
    hosts: Hosts, options: Mode, runtime: Runtime, work: Path, kind: type[Program], image: Image
) -> Iterator[tuple[Clients, Program]]:
    with (
        RealServer(hosts, options, runtime, words=kind.words, port=kind.port) as server,
        Clients(server, work) as clients,
    ):
        yield clients, kind(server, clients, image, ROUNDS)


@pytest.mark.parametrize(("kind", "runtime"), PROGRAMS)
def test_nobody_notices(
    hosts: Hosts, holdfast_mode: Mode, kind: type[Program], runtime: Runtime, image: Image,
    tmp_path: Path,
) -> None:
    with serving(hosts, holdfast_mode, runtime, tmp_path, kind, image) as (clients, program):
        clients.rounds(ROUNDS, OUTAGE, program.go_on)
        program.check()


def test_without_holdfast(hosts: Hosts, image: Image, tmp_path: Path) -> None:
    """CRIU's own lock goes with the container's network: clients of the same kinds see errors."""
    with serving(hosts, mode.stock(), "crun", tmp_path, Nginx, image) as (clients, _):
        lost: dict[str, str] = {}
        for _ in range(TRIES):
            with clients.retransmitting():
                try:
                    clients.server.come_back(other=False, outage=OUTAGE)
                except RuntimeError as error:
                    lost["podman"] = str(error)
                time.sleep(1)
            ended = [client for client in clients.all if not client.running]
            lost |= {client.name: client.complaint() for client in ended}
            if lost:
                break
        print(*(f"{name}: {complaint}" for name, complaint in lost.items()), sep="\n")
        assert lost
