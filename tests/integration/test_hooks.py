# SPDX-License-Identifier: GPL-2.0-or-later
"""The OCI hook, by hand and by the runtimes: runc, crun, podman."""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import checks, mode, proc
from harness.arrangements import make_server
from harness.cases import FLOWING, finish
from harness.hooks import Ran, Record, Switched, by_hand
from harness.left import the_lock
from harness.mode import Mode
from harness.net import HOST, Netns, Network
from harness.oci import OciServer, Runtime, criu_conf
from harness.peer import Peer
from harness.programs import builddir, program

RUNTIMES = ["runc", "crun"]
STARTS = ["prestart", "createRuntime"]
STAGES = [*STARTS, "poststop"]
NOBODY = 65534
ROLES = ["idle*2", "echo*3", "source*2", "sink*3", "duplex*2"]


# ---- by hand


@contextlib.contextmanager
def ended(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """At the end, whatever comes between; one with an output is ready when it says so."""
    with process:
        try:
            assert not process.stdout or process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


@pytest.fixture
def sleeper() -> Iterator[int]:
    """A process that nobody restores."""
    with ended(subprocess.Popen(["sleep", "600"], text=True)) as process:
        yield process.pid


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    where = tmp_path / "bundle"
    where.mkdir()
    (where / "config.json").write_text("{}")
    return where


@pytest.fixture
def state(sleeper: int, bundle: Path) -> dict[str, Any]:
    return {
        "ociVersion": "1.2.1", "id": "hf", "status": "created", "pid": sleeper,
        "bundle": str(bundle),
    }  # fmt: skip


def stopped(state: dict[str, Any]) -> dict[str, Any]:
    return {**state, "status": "stopped", "pid": 0}


def refused(ran: Ran, stage: str, *words: str) -> None:
    """One line, and a container is not kept from being removed."""
    assert ran.out == "" and ran.err.count("\n") == 1 and ran.err.endswith("\n"), ran
    assert ran.err.startswith(f"holdfast-hook: {stage}: ") and ran.err.isascii(), ran
    for word in words:
        assert word in ran.err, ran
    assert ran.rc == (0 if stage == "poststop" else 1), ran


@pytest.mark.parametrize("stage", STAGES)
def test_nothing_to_do(state: dict[str, Any], stage: str) -> None:
    assert by_hand(stage, state=state) == Ran(0, "", "")


def test_stage_by_state(state: dict[str, Any]) -> None:
    """podman and CRI-O have one command line for all stages."""
    assert by_hand(state=state) == Ran(0, "", "")
    assert by_hand(state=stopped(state)) == Ran(0, "", "")
    (Path(state["bundle"]) / "config.json").unlink()
    assert by_hand(state=state).rc == 1
    ran = by_hand(state=stopped(state))
    assert ran.rc == 0 and ran.err.count("\n") == 1
    ran = by_hand(state={**state, "pid": 0})
    assert ran.rc == 1 and "pid: missing, but the status is `created`" in ran.err


@pytest.mark.parametrize("args", [["start"], ["prestart", "poststop"], [""], ["--json"]])
def test_wrong_use(state: dict[str, Any], args: list[str]) -> None:
    ran = by_hand(*args, state=state)
    assert ran.rc == 2 and ran.err.startswith("usage: holdfast-hook ")


def test_help() -> None:
    ran = by_hand("--help", state=b"")
    assert ran.rc == 0 and ran.out.startswith("usage: ") and ran.err == ""
    assert re.fullmatch(r"holdfast-hook \d+\.\d+\.\d+\n", by_hand("--version", state=b"").out)


def broken_states(state: dict[str, Any]) -> Iterator[tuple[bytes, str]]:
    """What must be refused, and a part of the error."""
    good = json.dumps(state).encode()
    yield b"", "not JSON: at its end: parse error: premature EOF"
    yield good[:-1], "not JSON: at its end: parse error: premature EOF"
    yield good + b"{}", "not JSON: at byte "
    yield b"\0" + good, "not JSON: at byte "
    yield good[:-1] + b',"x":"\xff"}', "invalid bytes in UTF8"
    yield good[:-1] + b',"x":"\n"}', "not JSON: at byte "
    yield b"[%b]" % good, "not a JSON object"
    yield b"[" * 1_000_000, "not a JSON object"
    yield b'{"x":' * 100_000, "nested more than 64 levels deep"
    yield good[:-1] + b',"x":' + b"[" * 64, "nested more than 64 levels deep"
    yield good[:-1] + b',"x":"' + b"y" * 10_000_000 + b'"}', "longer than 1024 KiB"
    yield b" " * 10_000_000 + good, "longer than 1024 KiB"
    yield good[:-1] + b',"pid":1}', "pid: there twice"
    wrong = [
        ("ociVersion", 1, "ociVersion: not a string"),
        ("id", "", "id: empty"),
        ("id", None, "id: missing"),
        ("id", "x" * 1025, "id: too long"),
        ("status", [], "status: not a string"),
        ("pid", "1", "pid: not a number"),
        ("pid", -1, "pid: negative"),
        ("pid", 1.5, "pid: not a whole number"),
        ("pid", 2**31, "pid: too large"),
        ("pid", 2**64 + 1, "pid: too large"),
        ("bundle", "bundle", "bundle: not an absolute path"),
        ("bundle", "/\0", "bundle: with a NUL"),
        ("bundle", "/" + "x" * 4096, "bundle: too long"),
        ("annotations", [], "annotations: not an object"),
        ("annotations", {"org.holdfast.on-unreachable": "no\n\x1b[1mé"}, "not `no??[1m??`"),
    ]  # fmt: skip
    for name, value, error in wrong:
        yield json.dumps({**state, name: value}, ensure_ascii=False).encode(), error
    for name in ("ociVersion", "id", "status", "bundle"):
        left = {key: value for key, value in state.items() if key != name}
        yield json.dumps(left).encode(), f"{name}: missing"


@pytest.mark.parametrize("stage", STAGES)
def test_broken_state(state: dict[str, Any], stage: str) -> None:
    for text, error in broken_states(state):
        refused(by_hand(stage, state=text), stage, "the container's state: ", error)


@pytest.mark.parametrize("stage", STARTS)
def test_no_process(state: dict[str, Any], stage: str) -> None:
    refused(by_hand(stage, state={**state, "pid": 0}), stage, "pid: missing")
    with subprocess.Popen(["true"]) as process:
        pass
    gone = {**state, "pid": process.pid}
    refused(by_hand(stage, state=gone), stage, f"cannot look at process {process.pid}")


@pytest.mark.parametrize("stage", STAGES)
def test_broken_bundle(state: dict[str, Any], bundle: Path, tmp_path: Path, stage: str) -> None:
    config = bundle / "config.json"

    def check(*words: str) -> None:
        refused(by_hand(stage, state=state), stage, f"the bundle {state['bundle']}: ", *words)

    def check_text(text: str | bytes, *words: str) -> None:
        config.write_bytes(text if isinstance(text, bytes) else text.encode())
        check("config.json: ", *words)

    check_text("", "not JSON")
    check_text("[]", "not a JSON object")
    check_text('{"x":' + "[" * 100_000, "nested more than 64 levels deep")
    check_text('{"linux":{"namespaces":[{"type":"network","path":"x"}]}}', "not an absolute path")
    check_text('{"linux":{"namespaces":[{"type":"network"},{"type":"network"}]}}', "a second")
    check_text('{"annotations":{"org.holdfast.on-unreachable":"x"}}', "abort or close, not `x`")
    check_text(b'{"x":"' + b"y" * (17 << 20) + b'"}', "longer than 16384 KiB")
    config.unlink()
    check("cannot open config.json: No such file or directory")
    config.symlink_to("config.json")
    check("cannot open config.json: Too many levels of symbolic links")
    config.unlink()
    for other, make in {
        "a directory": lambda: config.mkdir(),
        "a pipe": lambda: os.mkfifo(config),
        "a device": lambda: config.symlink_to("/dev/zero"),
    }.items():
        make()
        check("config.json is not a regular file")
        config.rmdir() if other == "a directory" else config.unlink()
    shutil.rmtree(bundle)
    check("cannot open it: No such file or directory")
    bundle.write_text("")
    check("cannot open it: Not a directory")


def test_strange_namespace(state: dict[str, Any], bundle: Path, tmp_path: Path) -> None:
    """What is no network namespace any more has no lock; a path into nowhere is told."""
    fifo, loop = tmp_path / "fifo", tmp_path / "loop"
    os.mkfifo(fifo)
    loop.symlink_to(loop)

    def stop(path: object) -> Ran:
        namespaces = [{"type": "network", "path": str(path)}]
        (bundle / "config.json").write_text(json.dumps({"linux": {"namespaces": namespaces}}))
        return by_hand("poststop", state=stopped(state))

    for path in (tmp_path / "gone", bundle / "config.json", tmp_path, "/proc/self/ns/pid", fifo):
        assert stop(path) == Ran(0, "", "")
    refused(stop(loop), "poststop", "Too many levels of symbolic links")
    refused(stop(bundle / "config.json/x"), "poststop", "Not a directory")


@pytest.mark.parametrize("stage", STAGES)
def test_no_permission(state: dict[str, Any], stage: str) -> None:
    caps = ["CAP_NET_ADMIN", "CAP_SYS_ADMIN", "CAP_SYS_PTRACE"]
    refused(by_hand(stage, state=state, user=NOBODY), stage, f"lacks {', '.join(caps)}: ")
    for cap in caps:
        name = cap.removeprefix("CAP_").lower()
        lack = ["setpriv", f"--bounding-set=-{name}", f"--inh-caps=-{name}"]
        refused(by_hand(stage, state=state, before=lack), stage, f"lacks {cap}: ")


def test_gives_up_capabilities_first(state: dict[str, Any], tmp_path: Path) -> None:
    """Nothing of what others wrote is read before."""
    trace = tmp_path / "trace"
    strace = ["strace", "-qq", "-o", trace, "-e", "trace=capset,read,openat,prctl"]
    assert by_hand("prestart", state=state, before=strace).rc == 0
    calls = trace.read_text().splitlines()
    dropped = [i for i, call in enumerate(calls) if call.startswith("capset(")]
    read = [i for i, call in enumerate(calls) if call.startswith("read(0, ")]
    assert len(dropped) == 1 and dropped[0] < read[0]
    kept = "1<<CAP_NET_ADMIN|1<<CAP_SYS_PTRACE|1<<CAP_SYS_ADMIN"
    assert f"effective={kept}, permitted={kept}, inheritable=0" in calls[dropped[0]]
    assert any("PR_SET_NO_NEW_PRIVS, 1" in call for call in calls[: read[0]])


@pytest.mark.parametrize("stage", STAGES)
def test_quick(state: dict[str, Any], tmp_path: Path, stage: str) -> None:
    """However many processes there are, few are looked at; under 10 ms of work."""
    told = state if stage != "poststop" else stopped(state)
    trace = tmp_path / "trace"
    strace = ["strace", "-qq", "-o", trace, "-e", "trace=openat,readlink,readlinkat"]
    assert by_hand(stage, state=told, before=strace).rc == 0
    looked = set(re.findall(r'"/proc/([^/"]+)', trace.read_text()))
    assert looked <= {str(state["pid"]), str(os.getpid()), "thread-self", "self"}, looked
    wall, work = [], []
    for _ in range(20):
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        assert by_hand(stage, state=told).rc == 0
        wall.append(time.monotonic() - start)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        work.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    took = [1000 * value for value in (statistics.median(wall), max(wall), statistics.median(work))]
    print("{}: {:.1f} ms in the median, {:.1f} at most; {:.1f} of work".format(stage, *took))
    assert statistics.median(work) < 0.010


# ---- a normal start and stop


def rulesets(*namespaces: Netns) -> list[str]:
    return [ns.run("nft", "list", "ruleset").check().output for ns in namespaces]


@pytest.fixture
def tables(net: Network) -> Iterator[None]:
    """Tables of others, which must stay as they are."""
    for ns in (net.container, HOST):
        ns.run("nft", "add table inet others { chain c { type filter hook input priority 0; } ; }")
    yield
    for ns in (net.container, HOST):
        ns.run("nft", "delete table inet others")


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_start_and_stop(
    tmp_path: Path, net: Network, tables: None, holdfast_mode: Mode, runtime: Runtime, start: str
) -> None:
    before = rulesets(net.container, HOST)
    record = Record(tmp_path)
    hooks = record.all_stages(start)
    with OciServer(net, tmp_path / "s", holdfast_mode, runtime, hooks=hooks):
        assert record.runs() == [f"{start} 0"]
        assert rulesets(net.container, HOST) == before
        with Peer(net.peer, net.targets(), FLOWING, patience=10) as peer:
            finish(peer)
    assert record.runs() == ["poststop 0"]
    assert record.stderr() == "" and rulesets(net.container, HOST) == before


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_failing_poststop(
    tmp_path: Path, net: Network, holdfast_mode: Mode, runtime: Runtime
) -> None:
    """A container is removed and other hooks are called all the same."""
    record, other = Record(tmp_path), tmp_path / "other"
    second = {"path": "/usr/bin/touch", "args": ["touch", str(other)]}
    hooks = {"poststop": [record.entry("poststop"), second]}
    with OciServer(net, tmp_path / "s", holdfast_mode, runtime, hooks=hooks) as server:
        (server.bundle / "config.json").write_text("[]")
        done = server._call("delete", "--force", server.id)
        assert done.rc == 0, done.output
        assert record.runs() == ["poststop 0"] and other.exists()
        assert "config.json: not a JSON object" in record.stderr()
        assert server.state()["status"] == "gone"


# ---- what is left in a network namespace that stays


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


def lock_tables(net: Network) -> list[str]:
    return checks.holdfast_tables(net.container, HOST)


def remove_locks(net: Network, *where: Netns) -> None:
    for ns in where or (net.container, HOST):
        for table in checks.holdfast_tables(ns):
            ns.run("nft", "delete", "table", *table.split()[1:]).check()


def fail(server: OciServer) -> None:
    """A restore that fails at its end, since the way to some peers is not there."""
    container = server.net.container
    route = ["10.77.0.0/24", "dev", "eth0"]
    container.run("ip", "route", "del", *route).check()
    assert server.restore().lines("Error (holdfast): restore failed, the lock is kept")
    container.run("ip", "route", "add", *route, "src", container.v4).check()


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


def held(ruleset: str) -> int:
    """Packets dropped, in what a hook wrote down."""
    return sum(map(int, re.findall(r"counter packets (\d+) bytes \d+ drop", ruleset)))


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
    """crun calls none when it restores: the plugin takes the lock as soon as the tasks are there."""
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
def test_podman(net: Network, tables: None, podman: Podman) -> None:
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
