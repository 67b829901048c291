# SPDX-License-Identifier: GPL-2.0-or-later
"""The OCI hook while a container is restored: by runc, crun and podman."""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import checks, mode, proc
from harness.cases import FLOWING, finish
from harness.hooks import (
    ROLES,
    RUNTIMES,
    STARTS,
    Record,
    Switched,
    held,
    lock_tables,
    remove_locks,
    rulesets,
)
from harness.left import the_lock
from harness.mode import Mode
from harness.net import HOST, Network
from harness.oci import OciServer, Runtime, criu_conf
from harness.peer import Peer
from harness.programs import builddir, program


def test_restore_without_permission(tmp_path: Path, net: Network, holdfast_mode: Mode) -> None:
    """Fails, and says why; nothing is lost by that."""
    record = Record(tmp_path, ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin"])
    with OciServer(net, tmp_path / "s", holdfast_mode, "runc") as server:
        with Peer(net.peer, net.targets(), ROLES, patience=15) as peer:
            server.checkpoint().check()
            config = server.bundle / "config.json"
            good = config.read_text()
            config.write_text(json.dumps({**json.loads(good), "hooks": record.all_stages()}))
            result = server.restore()
            assert not result.ok and record.runs() == ["createRuntime 1", "poststop 0"]
            for stage in ("createRuntime", "poststop"):
                assert f"holdfast-hook: {stage}: lacks CAP_SYS_ADMIN: " in record.stderr()
            assert len(checks.holdfast_tables(net.container)) == 1
            config.write_text(good)
            server.restore().check()
            finish(peer)


def test_stock_restore(tmp_path: Path, net: Network) -> None:
    """Without the plugin there is no image to be found, and nothing to be done."""
    record = Record(tmp_path)
    stock = OciServer(net, tmp_path / "s", mode.stock(), "runc", hooks=record.all_stages())
    with stock as server, Peer(net.peer, net.targets(), FLOWING, patience=15) as peer:
        server.checkpoint().check()
        server.restore().check()
        assert record.runs() == ["createRuntime 0", "poststop 0", "createRuntime 0"]
        assert record.stderr() == "" and lock_tables(net) == []
        finish(peer)


# ---- a restore whose network comes late


EMPTY = ["--empty-ns", "network"]


def checkpoint(server: OciServer, net: Switched) -> None:
    """Of one with a namespace of its own."""
    before = server.mode
    server.mode = before.plus(f"action-script {net.detach}")
    server.checkpoint(extra=EMPTY).check()
    server.mode = before


@pytest.mark.parametrize("start", STARTS)
def test_new_namespace(
    tmp_path: Path, leftovers: checks.Leftovers, holdfast_mode: Mode, start: str
) -> None:
    """CRIU makes it, and a hook listed after ours attaches it while the peers keep sending."""
    record = Record(tmp_path)
    with Switched(tmp_path) as net:
        first = {start: [record.entry(start)]}
        hooks = {**first, "createRuntime": [*first.get("createRuntime", []), net.entry()]}
        server = OciServer(
            net, tmp_path / "s", holdfast_mode, "runc", hooks=hooks, own_netns=True
        )
        with server, Peer(net.peer, net.targets(), ROLES, patience=20) as peer:
            checkpoint(server, net)
            record.runs()
            net.wait.touch()
            server.restore(extra=EMPTY).check()
            assert record.runs() == [f"{start} 0"] and record.stderr() == ""
            assert held(net.seen.read_text()) > 0
            assert re.search(r'comment "holdfast: restore, pid \d+', net.seen.read_text())
            assert not checks.repair_sockets(server.pids())
            finish(peer)
    assert not checks.holdfast_tables(HOST)


def test_new_namespace_without_hook(
    tmp_path: Path, leftovers: checks.Leftovers, holdfast_mode: Mode
) -> None:
    """What it is for."""
    with Switched(tmp_path) as net:
        hooks = {"createRuntime": [net.entry()]}
        server = OciServer(
            net, tmp_path / "s", holdfast_mode, "runc", hooks=hooks, own_netns=True
        )
        with server, Peer(net.peer, net.targets(), ["sink*3"], patience=5) as peer:
            checkpoint(server, net)
            net.wait.touch()
            server.restore(extra=EMPTY).check()
            assert peer.finish().lost > 0


# CRIU runs it with the first process of what it restores.
AT_ACTION = """#!/bin/sh
[ "$CRTOOLS_SCRIPT_ACTION" != {action} ] || exec {attach} "$CRTOOLS_INIT_PID"
"""


def test_new_namespace_without_hooks(
    tmp_path: Path, leftovers: checks.Leftovers, holdfast_mode: Mode
) -> None:
    """crun calls none when it restores: the plugin takes the lock once the tasks are there."""
    script = tmp_path / "script"
    with Switched(tmp_path) as net:
        script.write_text(AT_ACTION.format(action="post-restore", attach=net.attach))
        script.chmod(0o755)
        empty = holdfast_mode.plus("empty-ns net")
        start = {"createRuntime": [net.entry()]}
        server = OciServer(net, tmp_path / "s", empty, "crun", hooks=start, own_netns=True)
        with server, Peer(net.peer, net.targets(), ROLES, patience=20) as peer:
            server.mode = empty.plus(f"action-script {net.detach}")
            server.checkpoint().check()
            net.wait.touch()
            server.mode = empty.plus(f"action-script {script}")
            assert server.restore().check().lines("holdfast: lock taken")
            assert held(net.seen.read_text()) > 0
            finish(peer)
        assert not checks.holdfast_tables(HOST)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_namespace_made_anew(
    tmp_path: Path, leftovers: checks.Leftovers, holdfast_mode: Mode, runtime: Runtime
) -> None:
    """By its path. crun calls no hooks: the plugin has found it and taken the lock before."""
    record, script = Record(tmp_path), tmp_path / "script"
    with Switched(tmp_path) as net:
        script.write_text(AT_ACTION.format(action="setup-namespaces", attach=net.attach))
        script.chmod(0o755)
        netns = ["ip", "netns", "add", net.container.name]
        proc.run(netns).check()
        start = {"createRuntime": [record.entry("createRuntime"), net.entry()]}
        server = OciServer(net, tmp_path / "s", holdfast_mode, runtime, hooks=start)
        with server, Peer(net.peer, net.targets(), ROLES, patience=20) as peer:
            server.checkpoint().check()
            proc.run([net.detach]).check()
            proc.run(["ip", "netns", "del", net.container.name]).check()
            proc.run(netns).check()
            remove_locks(net)  # as on another host
            record.runs()
            net.wait.touch()
            if runtime == "crun":
                server.mode = server.mode.plus(f"action-script {script}")
            server.restore().check()
            assert record.runs() == ([] if runtime == "crun" else ["createRuntime 0"])
            assert held(net.seen.read_text()) > 0
            finish(peer)
        assert lock_tables(net) == []
    assert record.stderr() == ""


# ---- podman


class Podman:
    """One with storage of its own, which reads our hook's file as it is installed."""

    def __init__(self, work: Path, runtime: Runtime) -> None:
        self.record = Record(work)
        self.command = ["podman", "--root", work / "storage", "--runroot", work / "run"]
        self.command += ["--hooks-dir", work / "hooks", "--runtime", runtime]
        text = (builddir() / "hooks" / "holdfast.json").read_text()
        content = json.loads(text)
        assert content["hook"]["path"].endswith("/holdfast/holdfast-hook")
        content["hook"]["path"] = str(self.record.path)
        (work / "hooks").mkdir()
        (work / "hooks" / "holdfast.json").write_text(json.dumps(content))
        with tarfile.open(work / "image.tar", "w") as tar:
            tar.add(program("hf-server"), "hf-server")
        self("import", "--quiet", work / "image.tar", "localhost/hf").check()

    def __call__(self, *words: object) -> proc.Done:
        return proc.run([*self.command, *words])

    def start(self, net: Network, name: str) -> None:
        ready = self.record.path.with_name(name)
        ready.mkdir()
        words = ["run", "--detach", "--name", name, "--network", f"ns:{net.container.path}"]
        words += ["--volume", f"{ready}:/run", "localhost/hf"]
        self(*words, "/hf-server", *net.listen_args(), "--ready-file=/run/ready").check()
        proc.wait_for((ready / "ready").exists, f"start of {name}")

    def remove(self, name: str) -> None:
        self("rm", "--force", "--time", 0, name).check()


@pytest.fixture
def podman(tmp_path: Path, runtime: Runtime, holdfast_mode: Mode) -> Iterator[Podman]:
    work = tmp_path / "podman"
    work.mkdir()
    with criu_conf(holdfast_mode):
        found = Podman(work, runtime)
        yield found
        assert found.record.stderr() == ""
        for name in found("ps", "--all", "--quiet").output.split():
            found.remove(name)
        for mount in (work / "storage" / "overlay", work / "storage"):
            proc.run(["umount", "--lazy", mount])


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_podman(net: Network, podman: Podman) -> None:
    """Start, checkpoint, restore, stop: podman calls the hook for the last itself."""
    before = rulesets(net.container, HOST)
    podman.start(net, "one")
    assert podman.record.runs() == ["0"] and rulesets(net.container, HOST) == before
    with Peer(net.peer, net.targets(), FLOWING, patience=15) as peer:
        assert podman("container", "checkpoint", "one").rc == 0
        assert podman.record.runs() == ["0"] and len(lock_tables(net)) == 3
        assert podman("container", "restore", "one").rc == 0
        assert rulesets(net.container, HOST) == before
        podman.record.runs()
        finish(peer)
    podman.remove("one")
    assert podman.record.runs() == ["0"] and rulesets(net.container, HOST) == before


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_podman_failed_restore(net: Network, podman: Podman) -> None:
    """It calls no hook for the container whose restore fails, but for the next one."""
    podman.start(net, "one")
    route = ["10.77.0.0/24", "dev", "eth0"]
    with Peer(net.peer, net.targets(), ["echo*3"], patience=5):
        assert podman("container", "checkpoint", "one").rc == 0
        net.container.run("ip", "route", "del", *route).check()
        assert podman("container", "restore", "one").rc != 0
        net.container.run("ip", "route", "add", *route, "src", net.container.v4).check()
    podman.record.runs()
    podman.remove("one")
    assert podman.record.runs() == [] and the_lock(net.container)["situation"] == "waiting"
    podman.start(net, "next")
    assert podman.record.runs() == ["0"] and lock_tables(net) == []
    with Peer(net.peer, net.targets(), FLOWING, patience=10) as peer:
        finish(peer)
