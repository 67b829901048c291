# SPDX-License-Identifier: GPL-2.0-or-later
"""containerd: its own client, and pods by the interface through which the kubelet speaks to it."""

from __future__ import annotations

import contextlib
import re
import tarfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from harness import checks, proc
from harness.cases import EVERYTHING, FLOWING, finish
from harness.containerd import POD_NETS, SERVER, Containerd
from harness.cri import Container, CriError, Pod
from harness.ctr import CtrServer
from harness.mode import Mode
from harness.net import HOST, Netns, Network
from harness.peer import Peer
from harness.programs import builddir

PORT = 7000

# What protoc makes uses an older part of Python.
pytestmark = pytest.mark.filterwarnings("ignore:datetime.datetime.utcfromtimestamp")


@contextlib.contextmanager
def held(ns: Netns, whose: Netns) -> Iterator[None]:
    """In ns, nothing passes from and to these addresses: the rules of docs/kubernetes.md."""
    rules = ["add table inet hold"]
    for hook in ("prerouting", "output"):
        rules += [f"add chain inet hold {hook} {{ type filter hook {hook} priority 0; }}"]
        for family, address in (("ip", whose.v4), ("ip6", whose.v6)):
            for side in ("saddr", "daddr"):
                rules += [f"add rule inet hold {hook} {family} {side} {address} drop"]
    ns.run("nft", "; ".join(rules)).check()
    try:
        yield
    finally:
        ns.run("nft", "delete table inet hold").check()


# ---- ctr: the container is in a network namespace of ours, containerd in that of the test


@pytest.fixture
def ctr(net: Network, holdfast_mode: Mode) -> Iterator[CtrServer]:
    with Containerd(holdfast_mode) as containerd, CtrServer(containerd, net) as server:
        wait_for_listener(net.container, net.DUAL_PORT)
        yield server


def wait_for_listener(ns: Netns, port: int) -> None:
    """port: the last one on which the server listens."""
    command = ["ss", "-Htln", f"sport = :{port}"]
    proc.wait_for(lambda: ns.run(*command).check().output, "start of hf-server")


def ctr_peer(net: Network, server: CtrServer, conns: Sequence[str]) -> Peer:
    def check() -> None:
        assert not checks.repair_sockets(server.pids())

    return Peer(net.peer, net.targets(), conns, patience=15, before_finish=check)


def test_ctr_leaves_it_running(net: Network, ctr: CtrServer) -> None:
    with ctr_peer(net, ctr, EVERYTHING) as peer:
        before = ctr.pids()
        assert "holdfast.img" in ctr.files(ctr.checkpoint(leave_running=True))
        assert peer.progress().ok
        assert "holdfast.img" in ctr.files(ctr.copy())
        assert ctr.pids() == before
        assert not checks.holdfast_tables(net.container)
        finish(peer)


def test_ctr_there_and_back(net: Network, ctr: CtrServer) -> None:
    with ctr_peer(net, ctr, EVERYTHING) as peer:
        for _ in range(2):
            image = ctr.checkpoint()
            assert not ctr.pids()
            assert len(checks.holdfast_tables(net.container, HOST)) == 3
            ctr.remove()
            ctr.restore(ctr.complete(image))
            assert ctr.pids()
            assert not checks.holdfast_tables(net.container, HOST)
            assert peer.progress().ok
        finish(peer)


def test_ctr_restores_a_copy(net: Network, ctr: CtrServer) -> None:
    """The original runs on, and ends: nothing of that may get out."""
    with ctr_peer(net, ctr, EVERYTHING) as peer:
        with held(net.container, net.container):
            image = ctr.copy()
            ctr.remove()
            ctr.restore(image)
        finish(peer)


# ---- pods


@pytest.fixture
def host(net: Network) -> Netns:
    """The pods are in networks on a bridge in net.container, the peer is beyond that."""
    ns = net.container
    # IPv6 would have the bridge's address wait for a second, while it looks for another owner.
    settings = ["ipv4.conf.all.forwarding=1", "ipv6.conf.all.forwarding=1"]
    settings += ["ipv6.conf.default.accept_dad=0"]
    ns.run("sysctl", "-q", "-w", *(f"net.{setting}" for setting in settings)).check()
    for address, via in zip(POD_NETS, (ns.v4, ns.v6), strict=True):
        proc.run(["ip", "-n", net.peer.name, "route", "add", address, "via", via]).check()
    return ns


@pytest.fixture
def containerd(host: Netns, holdfast_mode: Mode) -> Iterator[Containerd]:
    with Containerd(holdfast_mode, host) as daemon:
        yield daemon


def server_in(pod: Pod, port: int = PORT, **kwargs: Any) -> Container:
    """Listens on this port and, for IPv6 too, the next."""
    args = [f"--listen=0.0.0.0:{port}", f"--listen=[::]:{port + 1}"]
    container = pod.create(SERVER, ["/hf-server", *args], **kwargs)
    container.start()
    wait_for_listener(pod.netns, port + 1)
    return container


ConnectPod = Callable[..., Peer]


@pytest.fixture
def connect_pod(net: Network) -> ConnectPod:
    """with connect_pod(pod, FLOWING) as peer: ..."""

    def make(pod: Pod, conns: Sequence[str], port: int = PORT) -> Peer:
        targets = {
            "IPv4": f"{pod.netns.v4}:{port}",
            "IPv6": f"[{pod.netns.v6}]:{port + 1}",
            "v4-mapped": f"{pod.netns.v4}:{port + 1}",
        }
        return Peer(net.peer, targets, conns, patience=15)

    return make


def test_pod_runs_on(
    tmp_path: Path, host: Netns, containerd: Containerd, connect_pod: ConnectPod
) -> None:
    """The kubelet's checkpoint: no connection notices, and nothing is left."""
    archive = tmp_path / "checkpoint.tar"
    with containerd.pod() as pod:
        container = server_in(pod)
        before = container.pids()
        with connect_pod(pod, EVERYTHING) as peer:
            for _ in range(2):
                container.checkpoint(archive)
                assert not checks.holdfast_tables(pod.netns, host)
                assert peer.progress().ok
            assert container.pids() == before and container.running
            assert not checks.repair_sockets(before)
            finish(peer)
    assert archive.stat().st_mode & 0o777 == 0o600  # it holds application data
    with tarfile.open(archive) as tar:
        assert "checkpoint/holdfast.img" in tar.getnames()
        log_file = tar.extractfile("dump.log")
        assert log_file
        log = log_file.read().decode()
    assert "holdfast: dumped 20 connections" in log


def image_of(archive: Path, containerd: Containerd) -> str:
    """The name of an image made of the checkpoint's archive, which has been pulled."""
    files = archive.with_suffix("")
    with tarfile.open(archive) as tar:
        tar.extractall(files, filter="data")
    inside = {str(path.relative_to(files)): path for path in files.rglob("*") if path.is_file()}
    name = SERVER.replace("hf-server", "checkpoint")
    annotations = {"org.criu.checkpoint.container.name": "main"}
    containerd.layout.add(name, inside, dirs=["checkpoint"], annotations=annotations)
    containerd.cri.call("PullImage", image={"image": name})
    return name


@pytest.fixture
def pods() -> Iterator[contextlib.ExitStack]:
    """Those that end with the test."""
    with contextlib.ExitStack() as stack:
        yield stack


@pytest.mark.parametrize("kind", ["archive", "image"])
def test_pod_moves(
    tmp_path: Path,
    host: Netns,
    containerd: Containerd,
    pods: contextlib.ExitStack,
    connect_pod: ConnectPod,
    kind: str,
) -> None:
    """Another pod gets the same address."""
    archive = tmp_path / "checkpoint.tar"
    old = pods.enter_context(containerd.pod("same"))
    container = server_in(old)
    with connect_pod(old, EVERYTHING) as peer:
        with held(host, old.netns):
            container.checkpoint(archive)
            old.remove()
            host.run(builddir() / "holdfast", "lock", archive).check()
        new = pods.enter_context(containerd.pod("same"))
        assert new.netns.v4 == old.netns.v4 and new.netns.name != old.netns.name
        time.sleep(0.5)  # the address is there, the connections are not
        where = image_of(archive, containerd) if kind == "image" else str(archive)
        restored = new.create(where)
        restored.start()
        assert "holdfast: restored 20 connections" in containerd.restore_log
        assert not checks.holdfast_tables(new.netns, host)
        assert not checks.repair_sockets(restored.pids())
        finish(peer)


def test_pod_gets_another_address(
    tmp_path: Path,
    host: Netns,
    containerd: Containerd,
    pods: contextlib.ExitStack,
    connect_pod: ConnectPod,
) -> None:
    """Refused, silently for the peers; with the old address added, a second try works."""
    archive = tmp_path / "checkpoint.tar"
    old = pods.enter_context(containerd.pod("same"))
    container = server_in(old)
    with connect_pod(old, EVERYTHING) as peer:
        with held(host, old.netns):
            container.checkpoint(archive)
            old.remove()
            new = pods.enter_context(containerd.pod("range"))
            first = new.create(str(archive))
            with pytest.raises(CriError, match="restore failed"):
                first.start()
            assert not first.running
            assert re.search(
                r"connection .*(10\.88\.0\.7|fd88::7).* -> .*: cannot bind to the local address",
                containerd.restore_log,
            )
            assert len(checks.holdfast_tables(new.netns)) == 1
        # The lock alone holds the peers off, who reach the pod now.
        for address in (f"{old.netns.v4}/24", f"{old.netns.v6}/64"):
            nodad = ["nodad"] if ":" in address else []
            new.netns.run("ip", "addr", "add", address, "dev", "eth0", *nodad).check()
        second = new.create(str(archive), name="again")
        second.start()
        assert not checks.holdfast_tables(new.netns)
        finish(peer)


def test_pod_gets_another_address_and_goes_on(
    tmp_path: Path,
    host: Netns,
    holdfast_mode: Mode,
    pods: contextlib.ExitStack,
    connect_pod: ConnectPod,
) -> None:
    """With on-unreachable = close its connections to itself are kept, the others end."""
    archive = tmp_path / "checkpoint.tar"
    containerd = pods.enter_context(Containerd(holdfast_mode, host, "on-unreachable = close\n"))
    old = pods.enter_context(containerd.pod())
    container = old.create(SERVER, ["/bin/busybox", "sh", "-c", TALKS_TO_ITSELF])
    container.start()
    wait_for_listener(old.netns, PORT + 1)
    wait_for_growth(old.netns)
    with connect_pod(old, EVERYTHING) as peer:
        container.checkpoint(archive)
        old.remove()
        new = pods.enter_context(containerd.pod())
        assert new.netns.v4 != old.netns.v4
        new.create(str(archive)).start()
        assert "20 connections cannot be had here" in containerd.restore_log
        assert "restored 2 connections" in containerd.restore_log
        assert not checks.holdfast_tables(new.netns, host)
        wait_for_growth(new.netns)
        assert peer.finish().kept == 0
    with connect_pod(new, FLOWING) as peer:
        finish(peer)


# Uses one connection to itself all the time.
TALKS_TO_ITSELF = f"""
alias sleep='/bin/busybox sleep' nc='/bin/busybox nc'
nc -l -p 7100 -e /bin/busybox cat &
sleep 1
while echo 0123456789; do sleep 0.05; done | nc 127.0.0.1 7100 >/dev/null &
exec /hf-server --listen=0.0.0.0:{PORT} --listen=[::]:{PORT + 1}
"""


def wait_for_growth(ns: Netns) -> None:
    """Until both ends of such a connection have received more."""

    def received() -> list[int]:
        output = ns.run("ss", "-Htin", "src 127.0.0.1").check().output
        return [int(count) for count in re.findall(r"bytes_received:([0-9]+)", output)]

    proc.wait_for(lambda: len(received()) == 2, "connection of the container to itself")
    before = received()
    proc.wait_for(lambda: all(map(int.__gt__, received(), before)), "traffic in the container")


@pytest.mark.parametrize("policy", ["abort", "close"])
def test_copy_of_a_pod_that_runs(
    tmp_path: Path,
    host: Netns,
    holdfast_mode: Mode,
    pods: contextlib.ExitStack,
    connect_pod: ConnectPod,
    policy: str,
) -> None:
    """It gets another address. Neither a lock on the host nor an RST may meet the original."""
    archive = tmp_path / "checkpoint.tar"
    daemon = Containerd(holdfast_mode, host, f"on-unreachable = {policy}\n")
    containerd = pods.enter_context(daemon)
    pod, other = (pods.enter_context(containerd.pod()) for _ in range(2))
    original = server_in(pod)
    with connect_pod(pod, EVERYTHING) as peer:
        original.checkpoint(archive)
        copy = other.create(str(archive))
        if policy == "abort":
            with pytest.raises(CriError, match="restore failed"):
                copy.start()
            assert "cannot bind to the local address" in containerd.restore_log
        else:
            copy.start()
            assert "their peers were not told" in containerd.restore_log
        assert not checks.holdfast_tables(pod.netns, host)
        assert original.running and copy.running == (policy == "close")
        finish(peer)


def test_replaced_in_its_pod(
    tmp_path: Path, host: Netns, containerd: Containerd, connect_pod: ConnectPod
) -> None:
    """Not while the original runs, which does not notice; then in its place."""
    archive = tmp_path / "checkpoint.tar"
    with containerd.pod() as pod:
        original = server_in(pod)
        with connect_pod(pod, EVERYTHING) as peer:
            original.checkpoint(archive)
            with pytest.raises(CriError, match="restore failed"):
                pod.create(str(archive), name="twin").start()
            assert "the container is running already" in containerd.restore_log
            assert not checks.holdfast_tables(pod.netns, host)
            assert original.running and peer.progress().ok
            with held(host, pod.netns):
                original.checkpoint(archive)
                original.kill()
                pod.create(str(archive), name="replacement").start()
            assert not checks.holdfast_tables(pod.netns, host)
            finish(peer)


def test_other_container_of_the_pod(
    tmp_path: Path,
    host: Netns,
    holdfast_mode: Mode,
    pods: contextlib.ExitStack,
    connect_pod: ConnectPod,
) -> None:
    """While one is held, old and new connections of the other go on as if nothing was."""
    script, reached, end = (tmp_path / name for name in ("script", "reached", "end"))
    script.write_text(
        f'''#!/bin/sh
[ "$CRTOOLS_SCRIPT_ACTION" = post-dump ] || exit 0
touch {reached}
until [ -e {end} ]; do sleep 0.02; done
'''
    )
    script.chmod(0o755)
    mode = holdfast_mode.plus(f"action-script {script}")
    containerd = pods.enter_context(Containerd(mode, host))
    pod = pods.enter_context(containerd.pod())
    one, other = server_in(pod), server_in(pod, 7100, name="other")
    worker = pods.enter_context(ThreadPoolExecutor())
    with connect_pod(pod, EVERYTHING) as peer, connect_pod(pod, EVERYTHING, 7100) as theirs:
        try:
            done = worker.submit(one.checkpoint, tmp_path / "checkpoint.tar")
            proc.wait_for(reached.exists, "end of the dump")
            assert len(checks.holdfast_tables(pod.netns)) == 1
            for _ in range(3):
                assert theirs.progress().ok
            with connect_pod(pod, FLOWING, 7100) as new:
                finish(new)
        finally:
            end.touch()
        done.result(30)
        assert not checks.holdfast_tables(pod.netns, host)
        assert other.running
        finish(theirs)
        finish(peer)


def test_configuration_of_one_pod(
    tmp_path: Path,
    host: Netns,
    holdfast_mode: Mode,
    pods: contextlib.ExitStack,
    connect_pod: ConnectPod,
) -> None:
    """The annotation org.criu.config names the file that is read in place of runc.conf."""
    config = tmp_path / "criu.conf"
    config.write_text(holdfast_mode.config())
    annotations = {"org.criu.config": str(config)}
    containerd = pods.enter_context(Containerd(Mode("none", ()), host))
    plain = pods.enter_context(containerd.pod())
    refused = server_in(plain)
    with connect_pod(plain, FLOWING) as peer:
        with pytest.raises(CriError, match="criu failed"):
            refused.checkpoint(tmp_path / "plain.tar")
        finish(peer)
    archive = tmp_path / "checkpoint.tar"
    old = pods.enter_context(containerd.pod("same", annotations=annotations))
    container = server_in(old)
    with connect_pod(old, FLOWING) as peer:
        with held(host, old.netns):
            container.checkpoint(archive)
            old.remove()
            new = pods.enter_context(containerd.pod("same", annotations=annotations))
            new.create(str(archive)).start()
        finish(peer)
