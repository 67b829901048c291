# SPDX-License-Identifier: GPL-2.0-or-later
"""The OCI hook by hand, and where there is nothing to do for it."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import statistics
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.cases import FLOWING, finish
from harness.hooks import RUNTIMES, STAGES, STARTS, Ran, Record, by_hand, ended, refused, rulesets
from harness.mode import Mode
from harness.net import HOST, Network
from harness.oci import OciServer, Runtime
from harness.peer import Peer

NOBODY = 65534


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
