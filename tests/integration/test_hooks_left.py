# SPDX-License-Identifier: GPL-2.0-or-later
"""The OCI hook where a restore has failed, or another container's goes on, in one namespace."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from harness import checks, proc
from harness.arrangements import make_server
from harness.cases import FLOWING, finish
from harness.hooks import (
    ROLES,
    RUNTIMES,
    Ran,
    Record,
    by_hand,
    ended,
    fail,
    lock_tables,
    refused,
    remove_locks,
)
from harness.left import the_lock
from harness.mode import Mode
from harness.net import HOST, Netns, Network
from harness.oci import OciServer, Runtime
from harness.peer import Peer

POD_PORT = 7600  # of another container there


@pytest.fixture
def pod(
    tmp_path: Path, net: Network, holdfast_mode: Mode, runtime: Runtime
) -> Iterator[OciServer]:
    """Another container in the same network namespace, whose connections must not notice."""
    listen = [f"--listen=[{net.container.v6}]:{POD_PORT}"]
    server = OciServer(net, tmp_path / "pod", holdfast_mode, runtime, listen=listen)
    targets = {"IPv6": f"[{net.container.v6}]:{POD_PORT}"}
    with server, Peer(net.peer, targets, FLOWING, patience=10) as peer:
        yield server
        finish(peer)


def works(server: OciServer) -> None:
    with Peer(server.net.peer, server.net.targets(), FLOWING, patience=10) as peer:
        finish(peer)


@pytest.mark.parametrize("lock", ["since the dump", "by the restore"])
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_failed_restore(
    tmp_path: Path, net: Network, pod: OciServer, holdfast_mode: Mode, runtime: Runtime, lock: str
) -> None:
    """The next container with the same port is reached."""
    record = Record(tmp_path)
    hooks = record.all_stages()
    with OciServer(net, tmp_path / "s", holdfast_mode, runtime, hooks=hooks) as server:
        with Peer(net.peer, net.targets(), ["echo*3"], patience=5):
            server.checkpoint().check()
            if lock == "by the restore":
                remove_locks(net)
            record.runs()
            fail(server)
        if runtime == "runc":
            assert record.runs() == ["createRuntime 0", "poststop 0"]
            assert lock_tables(net) == []
        else:
            # It calls no hook, not even when told to forget the container.
            server.forget()
            assert record.runs() == [] and the_lock(net.container)["situation"] == "waiting"
    with OciServer(net, tmp_path / "next", holdfast_mode, runtime, hooks=hooks) as server:
        assert lock_tables(net) == []
        works(server)
    assert record.stderr() == ""


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_waiting_lock_stays(
    tmp_path: Path, net: Network, holdfast_mode: Mode, runtime: Runtime
) -> None:
    """Of a container that was checkpointed, whatever starts and stops beside it."""
    record = Record(tmp_path)
    hooks = record.all_stages()
    listen = [f"--listen=[::]:{POD_PORT}"]
    other = OciServer(net, tmp_path / "o", holdfast_mode, runtime, hooks=hooks, listen=listen)
    with OciServer(net, tmp_path / "s", holdfast_mode, runtime, hooks=hooks) as server:
        with Peer(net.peer, net.targets(), ROLES, patience=15) as peer:
            server.checkpoint().check()
            assert record.runs() == ["createRuntime 0", "poststop 0"]
            tables = lock_tables(net)
            assert the_lock(net.container)["owner"]["why"] == "checkpoint"
            with other:
                assert record.runs() == ["createRuntime 0"] and lock_tables(net) == tables
            assert record.runs() == ["poststop 0"] and lock_tables(net) == tables
            server.restore().check()
            finish(peer)
    assert record.stderr() == ""


def test_busy_lock_stays(tmp_path: Path, net: Network, holdfast_mode: Mode) -> None:
    """A restore that goes on, beside which another container starts and stops."""
    record, waiting, go_on = Record(tmp_path), tmp_path / "waiting", tmp_path / "go-on"
    wait = tmp_path / "wait"
    wait.write_text(f"#!/bin/sh\ntouch {waiting}\nwhile [ ! -e {go_on} ]; do sleep 0.05; done\n")
    wait.chmod(0o755)
    go_on.touch()
    hooks = record.all_stages()
    hooks["createRuntime"].append({"path": str(wait), "args": ["wait"]})
    other = OciServer(
        net, tmp_path / "o", holdfast_mode, "crun", hooks=record.all_stages(),
        listen=[f"--listen=[::]:{POD_PORT}"],
    )  # fmt: skip
    with OciServer(net, tmp_path / "s", holdfast_mode, "runc", hooks=hooks) as server:
        with Peer(net.peer, net.targets(), ROLES, patience=20) as peer:
            server.checkpoint().check()
            for path in (waiting, go_on):
                path.unlink()
            record.runs()
            with ThreadPoolExecutor(1) as pool:
                restore = pool.submit(server.restore)
                try:
                    proc.wait_for(waiting.exists, "the restore's second hook")
                    tables = lock_tables(net)
                    assert the_lock(net.container)["situation"] == "busy"
                    start = time.monotonic()
                    with other:
                        assert lock_tables(net) == tables
                    assert lock_tables(net) == tables
                    assert record.runs() == ["createRuntime 0", "createRuntime 0", "poststop 0"]
                    assert time.monotonic() - start < 5  # nobody waits for it
                finally:
                    go_on.touch()
                restore.result(60).check()
            finish(peer)
    assert record.stderr() == ""


# Which reading of /proc is made to last: each list of the processes takes two calls. The hook makes
# three for the namespace, and three more for the host, of which this is the last. What it knows of
# the locks is older.
LATE = 11


@pytest.mark.parametrize("host", [True, False], ids=["host", "no-host"])
def test_tried_again_meanwhile(
    tmp_path: Path, net: Network, holdfast_mode: Mode, host: bool
) -> None:
    """A restore finds the lock there, just when the hook is about to remove it."""
    waiting, go_on, trace = tmp_path / "waiting", tmp_path / "go-on", tmp_path / "trace"
    script = tmp_path / "script"
    script.write_text(
        f'#!/bin/sh\n[ "$CRTOOLS_SCRIPT_ACTION" = setup-namespaces ] || exit 0\n'
        f"touch {waiting}\nwhile [ ! -e {go_on} ]; do sleep 0.05; done\n"
    )
    script.chmod(0o755)
    strace = ["strace", "-qq", "-o", trace, "-e", "trace=getdents64"]
    strace += ["-e", f"inject=getdents64:delay_enter=4000000:when={LATE}"]
    server = OciServer(net, tmp_path / "s", holdfast_mode, "crun")
    with server, Peer(net.peer, net.targets(), ROLES, patience=20) as peer:
        server.checkpoint().check()
        fail(server)
        server.forget()
        if not host:
            remove_locks(net, HOST)
        state = {"ociVersion": "1", "id": "hf", "status": "stopped", "bundle": str(server.bundle)}
        server.mode = server.mode.plus(f"action-script {script}")
        with ThreadPoolExecutor(2) as pool:
            cleaning = pool.submit(by_hand, "poststop", state=state, before=strace)
            proc.wait_for(
                lambda: trace.exists() and trace.read_text().count("\n") == LATE - 1, "the hook"
            )
            restore = pool.submit(server.restore)
            try:
                proc.wait_for(waiting.exists, "the restore")
                assert not cleaning.done()
                assert cleaning.result(60) == Ran(0, "", "")
                assert len(checks.holdfast_tables(net.container)) == 1
                assert len(checks.holdfast_tables(HOST)) == 2
            finally:
                go_on.touch()
            restore.result(60).check()
        finish(peer)


def test_removed_meanwhile(tmp_path: Path, net: Network, holdfast_mode: Mode) -> None:
    """The lock goes away between the moment in which a restore finds it there and its note: it is
    taken anew. What the peers send in between would be reset."""
    report, seen = tmp_path / "calls", tmp_path / "seen"
    script = tmp_path / "script"
    ruleset = " ".join(net.container.command(["nft", "list", "ruleset"]))
    script.write_text(
        f'#!/bin/sh\n[ "$CRTOOLS_SCRIPT_ACTION" != post-restore ] || {ruleset} >{seen}\n'
    )
    script.chmod(0o755)
    strace = ["strace", "-qq", "-o", report, "-e", "trace=sendto", "-e", "signal=none"]
    mode = holdfast_mode.plus(f"action-script {script}")
    server = make_server("criu-external", net, tmp_path / "s", mode)
    with server, Peer(net.peer, net.targets(), ["idle*4"], patience=20) as peer:
        server.checkpoint().check()
        server.criu_wrapper = strace
        server.restore().check()
        calls = report.read_text().splitlines()
        # The host's lock, a note in it, the namespace's lock, a note in it.
        note = [i for i, call in enumerate(calls) if ", [[{nlmsg_len=20," in call][3]
        server.criu_wrapper = ()
        server.checkpoint().check()
        report.unlink()
        inject = f"inject=sendto:delay_enter=1000000:when={note + 1}"
        server.criu_wrapper = [*strace, "-e", inject]
        with ThreadPoolExecutor(1) as pool:
            restore = pool.submit(server.restore)
            proc.wait_for(
                lambda: report.exists() and report.read_text().count("\n") == note, "the note"
            )
            remove_locks(net, net.container)
            restore.result(60).check()
        assert re.search(r'comment "holdfast: restore, pid \d+', seen.read_text())
        finish(peer)


# Whose name is that of a guardian, and who holds the namespace open.
GUARDIAN = """
import ctypes, os, sys, time
fd = os.open(sys.argv[1], os.O_RDONLY)
if sys.argv[2] == "nobody": os.setuid(65534)
ctypes.CDLL(None).prctl(15, b"holdfast-guard", 0, 0, 0)
print("ready", flush=True)
time.sleep(float(sys.argv[3]))
"""


def guardian(
    ns: Netns, owner: str, seconds: float
) -> contextlib.AbstractContextManager[subprocess.Popen[str]]:
    words = [sys.executable, "-I", "-S", "-c", GUARDIAN, str(ns.path), owner, str(seconds)]
    return ended(subprocess.Popen(words, stdout=subprocess.PIPE, text=True))


@pytest.fixture
def failed(tmp_path: Path, net: Network, holdfast_mode: Mode) -> dict[str, Any]:
    """The state of a container whose restore has failed, and whose lock is still there."""
    with OciServer(net, tmp_path / "s", holdfast_mode, "crun") as server:
        with Peer(net.peer, net.targets(), ["echo"], patience=5):
            server.checkpoint().check()
            fail(server)
    assert the_lock(net.container)["situation"] == "waiting"
    return {
        "ociVersion": "1.2.1", "id": "hf", "status": "stopped", "bundle": str(server.bundle)
    }  # fmt: skip


def test_guardian_is_waited_for(net: Network, failed: dict[str, Any]) -> None:
    with guardian(net.container, "root", 0.5) as process:
        assert the_lock(net.container)["situation"] == "busy"
        assert by_hand("poststop", state=failed) == Ran(0, "", "")
        assert process.poll() == 0
    assert lock_tables(net) == []


def test_guardian_stays(net: Network, failed: dict[str, Any]) -> None:
    """Not waited for without end, and by a start not at all."""
    tables = lock_tables(net)
    with guardian(net.container, "root", 60) as process:
        start = time.monotonic()
        refused(by_hand("poststop", state=failed), "poststop", "1 lock", "holdfast status")
        assert 1 < time.monotonic() - start < 10
        with ended(net.container.popen(["sleep", "60"])) as sleeper:
            started = {**failed, "pid": sleeper.pid}
            assert by_hand("prestart", state=started) == Ran(0, "", "")
            assert lock_tables(net) == tables
            process.kill()
            process.wait()
            assert by_hand("prestart", state=started) == Ran(0, "", "")
    assert lock_tables(net) == []


def test_guardian_of_nobody(net: Network, failed: dict[str, Any]) -> None:
    """A name is not enough."""
    with guardian(net.container, "nobody", 60) as process:
        assert by_hand("poststop", state=failed) == Ran(0, "", "")
        assert process.poll() is None
    assert lock_tables(net) == []


# A socket with the addresses of one of the lock's connections, made without a packet.
IN_USE = """
import socket, sys, time
sock = socket.socket()
sock.setsockopt(6, 19, 1)
sock.setsockopt(1, 15, 1)
sock.bind((sys.argv[1], int(sys.argv[2])))
sock.connect((sys.argv[3], int(sys.argv[4])))
print("ready", flush=True)
time.sleep(600)
"""


def test_in_use(net: Network, failed: dict[str, Any]) -> None:
    """Whose connection somebody has open is not removed: recover knows what to do."""
    listed = net.container.run("nft", "list", "ruleset").check().output
    match = re.search(r"elements = { (\S+) \. (\d+) \. (\S+) \. (\d+)", listed)
    assert match
    peer, peer_port, local, local_port = match.groups()
    words = [sys.executable, "-I", "-S", "-c", IN_USE, local, local_port, peer, peer_port]
    with ended(net.container.popen(words, stdout=subprocess.PIPE, text=True)):
        refused(by_hand("poststop", state=failed), "poststop", "1 lock", "holdfast status")
        assert the_lock(net.container)["open"] == 1
    assert by_hand("poststop", state=failed) == Ran(0, "", "")
    assert lock_tables(net) == []


def test_host_network(net: Network, failed: dict[str, Any]) -> None:
    """A container without a network namespace of its own is in that of the runtime."""
    config = Path(failed["bundle"]) / "config.json"
    content = json.loads(config.read_text())
    content["linux"]["namespaces"] = [{"type": "network"}]
    config.write_text(json.dumps(content))
    inside = net.container.command([])
    assert by_hand("poststop", state=failed, before=inside) == Ran(0, "", "")
    assert checks.holdfast_tables(net.container)  # of its own: it is gone
    content["linux"]["namespaces"] = []
    config.write_text(json.dumps(content))
    assert by_hand("poststop", state=failed, before=inside) == Ran(0, "", "")
    assert not checks.holdfast_tables(net.container)
    remove_locks(net)
