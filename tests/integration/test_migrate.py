# SPDX-License-Identifier: GPL-2.0-or-later
"""contrib/migrate between two hosts with sshd: a container moves, or goes on where it was."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import checks, podman, proc
from harness.closing import Closing
from harness.hosts import Hosts
from harness.mode import Mode
from harness.peer import Peer
from harness.podman import PodmanServer
from harness.proc import Done
from harness.programs import TOP
from harness.ssh import Ssh

MIGRATE = TOP / "contrib" / "migrate"
CONNS = ["idle*2", "echo,gap=10*4", "duplex*4"]


class Mover(Closing):
    """Does for --move what an administrator would: the router is ours, not the hosts'."""

    def __init__(self, hosts: Hosts, work: Path) -> None:
        self.hosts, self.work = hosts, work
        self.moves: list[str] = []
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run)

    @property
    def command(self) -> str:
        ask, done = self.work / "ask", self.work / "done"
        return (
            f"rm -f {done}; echo $CONTAINER $HOST $DIRECTION >{ask}.new; mv {ask}.new {ask};"
            f" while [ ! -e {done} ]; do sleep 0.02; done"
        )

    def open(self) -> None:
        self._thread.start()

    def _run(self) -> None:
        ask = self.work / "ask"
        while not self._stopped.wait(0.01):
            if not ask.exists():
                continue
            words = ask.read_text().split()
            ask.unlink()
            self.moves.append(words[2])
            self.hosts.move(self.hosts.two if words[2] == "there" else self.hosts.one)
            (self.work / "done").touch()

    def close(self) -> None:
        self._stopped.set()
        self._thread.join()


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    work = tmp_path_factory.mktemp("hosts")
    with Hosts(work) as hosts:
        podman.prepare(hosts, podman.make_image(work / "image.tar"))
        yield hosts


@pytest.fixture
def hosts(leftovers: object, two: Hosts) -> Iterator[Hosts]:
    two.move(two.one)
    two.forget_neighbours()
    yield two
    try:
        assert not checks.holdfast_tables(*two.namespaces)
    finally:
        two.unlock()


@pytest.fixture(scope="module")
def ssh(tmp_path_factory: pytest.TempPathFactory, two: Hosts) -> Iterator[Ssh]:
    with Ssh(two.all, tmp_path_factory.mktemp("ssh")) as made:
        yield made


@pytest.fixture
def mover(hosts: Hosts, tmp_path: Path) -> Iterator[Mover]:
    with Mover(hosts, tmp_path) as made:
        yield made


@pytest.fixture
def server(hosts: Hosts, holdfast_mode: Mode) -> Iterator[PodmanServer]:
    with PodmanServer(hosts, holdfast_mode) as made:
        yield made


def migrate(ssh: Ssh, server: PodmanServer, *args: object) -> Done:
    options = ["--ssh", ssh.command, "--directory", "/data"]
    to = server.hosts.two.ns.v4
    return ssh.run(server.hosts.one, MIGRATE, *options, *args, server.name, to)


def finish(server: PodmanServer, peer: Peer) -> None:
    pids = server.pids()
    assert pids and not checks.repair_sockets(pids)
    assert peer.progress().ok
    report = peer.finish()
    assert report.lost == 0, report.complaints()


def moved(server: PodmanServer) -> None:
    """Nothing is left on host one."""
    assert server.podman("container", "exists", server.name).rc == 1
    server.host = server.hosts.two
    assert server.pids()
    assert not archives(server)


def stayed(server: PodmanServer, pids: list[int] | None = None) -> None:
    """Nothing is left on host two."""
    assert server.pids() == pids if pids else server.pids()
    assert podman.podman(server.hosts.two, "container", "exists", server.name).rc == 1
    assert not checks.holdfast_tables(*server.hosts.namespaces)
    assert not archives(server)


def archives(server: PodmanServer) -> list[Path]:
    return [path for host in server.hosts.all for path in host.path("/data/x").parent.glob("*")]


def test_moves(ssh: Ssh, server: PodmanServer, mover: Mover) -> None:
    with Peer(server.hosts.peer, server.targets(), CONNS, patience=15) as peer:
        done = migrate(ssh, server, "--move", mover.command).check()
        assert f"{server.name} runs on {server.hosts.two.ns.v4}; it was away for " in done.output
        assert mover.moves == ["there"]
        moved(server)
        finish(server, peer)


def test_check(ssh: Ssh, server: PodmanServer, mover: Mover) -> None:
    before = server.pids()
    done = migrate(ssh, server, "--check", "--move", mover.command).check()
    assert done.output == f"migrate: {server.name} could be moved to {server.hosts.two.ns.v4}\n"
    stayed(server, before)
    assert not mover.moves


def test_address_is_taken_there(ssh: Ssh, server: PodmanServer, mover: Mover) -> None:
    """The restore there fails, when all else is done."""
    words = ["run", "--detach", "--name", "other", "--network", podman.NETWORK, "--ip", server.v4]
    with Peer(server.hosts.peer, server.targets(), CONNS, patience=15) as peer:
        podman.podman(server.hosts.two, *words, podman.IMAGE, "/bin/sleep", "60").check()
        try:
            done = migrate(ssh, server, "--move", mover.command)
        finally:
            podman.podman(server.hosts.two, "rm", "--force", "--time", "0", "other").check()
        assert done.rc == 1, done.output
        assert f"migrate: {server.name} runs here, as before" in done.output
        assert mover.moves == ["there", "back"]
        stayed(server)
        finish(server, peer)


def test_move_fails(ssh: Ssh, server: PodmanServer) -> None:
    with Peer(server.hosts.peer, server.targets(), CONNS, patience=15) as peer:
        done = migrate(ssh, server, "--move", "[ $DIRECTION = back ]")
        assert done.rc == 1, done.output
        assert "migrate: failed: move of the network\n" in done.output
        stayed(server)
        finish(server, peer)


def test_no_room_for_the_archive(ssh: Ssh, server: PodmanServer) -> None:
    two = server.hosts.two
    with Peer(server.hosts.peer, server.targets(), CONNS, patience=15) as peer:
        two.run("mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", "/data").check()
        try:
            done = migrate(ssh, server)
        finally:
            two.run("umount", "/data").check()
        assert done.rc == 1, done.output
        assert f"migrate: failed: copy to {two.ns.v4}\n" in done.output
        stayed(server)
        finish(server, peer)


def test_checkpoint_fails(ssh: Ssh, server: PodmanServer, holdfast_mode: Mode) -> None:
    with Peer(server.hosts.peer, server.targets(), CONNS, patience=15) as peer:
        before = server.pids()
        server.hosts.one.set_mode(holdfast_mode.plus("libdir /nowhere"))
        done = migrate(ssh, server)
        assert done.rc == 1, done.output
        assert f"migrate: failed: checkpoint of {server.name}\n" in done.output
        stayed(server, before)
        finish(server, peer)


def test_other_host_dies(ssh: Ssh, server: PodmanServer, mover: Mover, tmp_path: Path) -> None:
    """Nobody can know whether it runs there: an administrator decides."""
    one, two = server.hosts.all
    with Peer(server.hosts.peer, server.targets(), CONNS, patience=25) as peer:
        waits, go_on = tmp_path / "waits", tmp_path / "go-on"
        hook = f"touch {waits}; while [ ! -e {go_on} ]; do sleep 0.02; done"
        found: list[Done] = []
        thread = threading.Thread(target=lambda: found.append(migrate(ssh, server, "--move", hook)))
        thread.start()
        try:
            proc.wait_for(waits.exists, "the network's move")
            ssh.stop(two)
        finally:
            go_on.touch()
            thread.join()
        ssh.start(two)
        (done,) = found
        assert done.rc == 3, done.output
        (kept,) = one.path("/data/x").parent.glob("*")
        line = f"bring it back with: podman container restore {server.name}"
        assert line in done.output and f"its archive is /data/{kept.name}\n" in done.output
        assert not server.pids()
        ssh.run(one, "sh", "-c", line.partition(": ")[2]).check()
        ssh.run(two, "holdfast", "unlock", f"/data/{kept.name}").check()
        for path in archives(server):
            path.unlink()
        stayed(server)
        finish(server, peer)


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ([], "needs a CONTAINER and a HOST"),
        (["one"], "needs a CONTAINER and a HOST"),
        (["--wrong", "one", "two"], "unknown option: --wrong"),
        (["--compress", "best", "one", "two"], "--compress is none, zstd or gzip"),
        (["--directory", "here", "one", "two"], "--directory must be an absolute path"),
        (["one", "two", "--move"], "--move needs a value"),
    ],
)
def test_bad_usage(args: list[str], says: str) -> None:
    done = proc.run([MIGRATE, *args])
    assert (done.rc, done.output) == (2, f"migrate: {says} (see migrate --help)\n")


def test_help() -> None:
    done = proc.run([MIGRATE, "--help"]).check()
    assert done.output.startswith("Usage: migrate [OPTION...] CONTAINER HOST\n")


def refused(done: Done, says: str) -> None:
    assert done.rc == 1, done.output
    assert says in done.output.splitlines()[-2]
    assert "nothing was changed" in done.output.splitlines()[-1]


def test_no_such_container(ssh: Ssh, hosts: Hosts) -> None:
    to = hosts.two.ns.v4
    done = ssh.run(hosts.one, MIGRATE, "--ssh", ssh.command, "nobody", to)
    refused(done, "there is no container nobody here")


def test_no_login(ssh: Ssh, server: PodmanServer) -> None:
    before = server.pids()
    done = migrate(ssh, server, "--ssh", "ssh -F /dev/null")
    refused(done, f"cannot log in on {server.hosts.two.ns.v4}")
    stayed(server, before)


def test_no_network_there(ssh: Ssh, server: PodmanServer) -> None:
    before, two = server.pids(), server.hosts.two
    podman.podman(two, "network", "create", "spare").check()
    podman.podman(server.hosts.one, "network", "create", "only-here").check()
    server.podman("network", "connect", "only-here", server.name).check()
    refused(migrate(ssh, server), f"{two.ns.v4} has no network only-here")
    stayed(server, before)


def test_container_is_there_already(ssh: Ssh, server: PodmanServer) -> None:
    before, two = server.pids(), server.hosts.two
    podman.podman(two, "create", "--name", server.name, podman.IMAGE, "/bin/sh").check()
    try:
        refused(migrate(ssh, server), f"{two.ns.v4} has a container {server.name} already")
    finally:
        podman.podman(two, "rm", server.name).check()
    stayed(server, before)


def test_shellcheck() -> None:
    proc.run(["shellcheck", "-x", MIGRATE]).check()
