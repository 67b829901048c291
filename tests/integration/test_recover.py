# SPDX-License-Identifier: GPL-2.0-or-later
"""holdfast status and holdfast recover: what is left is found and put right, and nothing else."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from harness import checks, proc
from harness.agent import AgentTask, PeerAgent
from harness.arrangements import make_server
from harness.cases import Connect, Serve, finish
from harness.left import (
    comm,
    dump,
    holdfast,
    kill,
    locks,
    reuseaddr,
    set_repair,
    stop,
    the_lock,
)
from harness.mode import Mode
from harness.net import HOST, Netns, Network
from harness.peer import Peer

CONNS = ["idle*2", "echo*2", "source,rate=1M", "sink,rate=1M", "duplex,rate=1M"]
N_CONNS = 7
OTHER_ID = "0123456789abcdef0123456789abcdef"
NOBODY = 65534
PTRACE_SEIZE, PTRACE_DETACH, PTRACE_INTERRUPT = 0x4206, 17, 0x4207

libc = ctypes.CDLL(None, use_errno=True)


def recover(ns: Netns, *args: str, rc: int = 0) -> list[str]:
    said = holdfast("recover", *args, "--netns", ns.path)
    assert (said.rc, said.err) == (rc, ""), said
    return said.lines


def recover_host() -> None:
    """The host's lock, which is about connections elsewhere."""
    assert any("host" in table for table in checks.holdfast_tables(HOST))
    said = holdfast("recover")
    assert said.line("/proc/").endswith("): stale, removed")
    assert not checks.holdfast_tables(HOST)


@pytest.mark.parametrize("arrangement", ["criu-shared", "criu-external"])
def test_both_killed(
    tmp_path: Path,
    net: Network,
    serve: Serve,
    connect: Connect,
    holdfast_mode: Mode,
    arrangement: str,
) -> None:
    """A lock on a running server, and connections in repair mode."""
    ns = net.container
    server = serve(arrangement, holdfast_mode, server_args=["--share=fork"])
    with connect(CONNS, patience=15) as peer:
        with dump(server, ns, tmp_path / "dump") as going:
            going.kill()
        frozen = set_repair(server.pids(), 2)
        proc.wait_for(lambda: the_lock(ns)["packets_held"] > 0, "a held packet")
        lock = the_lock(ns)
        assert (lock["situation"], lock["connections"], lock["open"]) == ("stale", N_CONNS, N_CONNS)
        assert lock["owner"] == {"why": "checkpoint", "pid": going.criu, "runs": False}
        assert 0 <= lock["age"] < 60 and abs(time.time() - lock["created"]) < 60
        assert lock["netns"] == str(ns.path) and lock["netns_inode"] == ns.inode
        assert checks.holdfast_tables(ns) == [f"{ns.name}: inet {lock['table']}"]
        assert lock["table"] == f"holdfast-{lock['id']}"

        row = holdfast("status", "--netns", ns.path).line(lock["id"]).split()
        assert row[:4] == [lock["id"], "stale", str(N_CONNS), str(N_CONNS)]
        assert int(row[4]) >= lock["packets_held"]
        assert row[6:] == ["s", "-", "checkpoint,", "pid", str(going.criu), "(ended)", str(ns.path)]

        for _ in range(2):
            lines = recover(ns, "--dry-run", rc=3)
            assert len(lines) == 3
            repair = [" in repair mode: would be taken out of it" in line for line in lines[:2]]
            assert repair == [True, True]
            assert lines[2].startswith(f"lock {lock['id']} ")
            assert lines[2].endswith(f" {N_CONNS} connections): stale, would be removed")
            said = holdfast("recover", "--dry-run", "--json", "--netns", ns.path)
            assert said.rc == 3 and said.json["dry_run"] is True
            assert [sock["outcome"] for sock in said.json["sockets"]] == ["to do"] * 2
            (one,) = said.json["locks"]
            assert (one["id"], one["situation"], one["outcome"]) == (lock["id"], "stale", "to do")
            # Each is held by two processes.
            assert len(checks.repair_sockets(server.pids())) == 2 * len(frozen)
            assert the_lock(ns)["id"] == lock["id"]

        lines = recover(ns)
        assert [line.rpartition(": ")[2] for line in lines] == [
            "taken out of it, SO_REUSEADDR set to 1",
            "taken out of it, SO_REUSEADDR set to 1",
            "stale, removed",
        ]
        assert re.search(r"socket \S+:70\d\d .* of hf-server \(pid \d+\) in /run/netns/", lines[0])
        assert not checks.repair_sockets(server.pids())
        assert not checks.holdfast_tables(ns)
        assert reuseaddr(server.pids(), lambda sock: True) == {1}
        assert recover(ns) == ["nothing to recover"]
        assert recover(ns, "--dry-run") == ["nothing to recover"]
        assert holdfast("status", "--netns", ns.path).lines == ["no locks"]
        assert locks(ns) == []
        if arrangement == "criu-external":
            recover_host()
        finish(peer)


def test_waiting(
    tmp_path: Path, net: Network, serve: Serve, connect: Connect, holdfast_mode: Mode
) -> None:
    """A lock between dump and restore is as it should be, in another namespace's trouble too."""
    ns = net.container
    server = serve("criu-external", holdfast_mode)
    with connect(CONNS, patience=15) as peer:
        server.checkpoint().check()
        lock = the_lock(ns)
        assert (lock["situation"], lock["connections"], lock["open"]) == ("waiting", N_CONNS, 0)
        assert not lock["owner"]["runs"]
        for args in (["--dry-run"], []):
            lines = recover(ns, *args)
            assert lines[0].endswith(": left alone, it waits for its restore")
            assert lines[1:] == ["nothing to recover"]
            said = holdfast("recover", *args, "--json", "--netns", ns.path)
            assert said.rc == 0
            assert [one["outcome"] for one in said.json["locks"]] == ["left alone"]
        assert the_lock(ns)["id"] == lock["id"]
        server.restore().check()
        assert locks(ns) == []
        finish(peer)


def test_busy(
    tmp_path: Path, net: Network, serve: Serve, connect: Connect, holdfast_mode: Mode
) -> None:
    """CRIU or the guardian alone, or both: somebody is at it, and nothing is done."""
    ns = net.container
    server = serve("criu-external", holdfast_mode)

    def check(pid: int, name: str) -> None:
        lock = the_lock(ns)
        assert (lock["situation"], lock["busy_pid"]) == ("busy", pid)
        for args in ([], ["--dry-run"]):
            lines = recover(ns, *args)
            assert len(lines) == 3 and lines[0].startswith("socket ")
            for line in lines[:2]:
                assert line.endswith(f": left alone, {name} (pid {pid}) is busy")
        assert len(checks.repair_sockets(server.pids())) == 1
        assert the_lock(ns)["id"] == lock["id"]

    with connect(CONNS, patience=15) as peer:
        with dump(server, ns, tmp_path / "dump1") as going:
            set_repair(server.pids())
            check(going.criu, "criu")
            kill(going.guardian)
            check(going.criu, "criu")
            going.kill()
        assert the_lock(ns)["situation"] == "stale"
        assert len(recover(ns)) == 2
        recover_host()
        assert peer.progress().ok

        with dump(server, ns, tmp_path / "dump2") as going:
            stop(going.guardian)
            kill(going.criu)
            going.go_on.touch()
            set_repair(server.pids())
            check(going.guardian, "holdfast-guard")
            os.kill(going.guardian, signal.SIGCONT)
            proc.wait_for(lambda: not locks(ns), "the guardian's work")
        assert recover(ns) == ["nothing to recover"]
        finish(peer)


def traced_criu() -> list[int]:
    """That of strace, if it runs."""
    found = []
    for path in Path("/proc").glob("[0-9]*/comm"):
        with contextlib.suppress(OSError):
            pid = int(path.parent.name)
            status = (path.parent / "status").read_text()
            tracer = re.search(r"^TracerPid:\t(\d+)$", status, re.M)
            if path.read_text() == "criu\n" and tracer and comm(int(tracer[1])) == "strace":
                found.append(pid)
    return found


def strace(report: Path, *options: str) -> list[str]:
    """Of CRIU's own process, without those that it makes."""
    return ["strace", "-qq", "-o", str(report), "-e", "trace=setsockopt", *options]


def test_restore_under_an_old_lock(
    tmp_path: Path, net: Network, serve: Serve, connect: Connect, holdfast_mode: Mode
) -> None:
    """The CRIU that took the lock is gone, and connections are there: another one makes them."""
    ns = net.container
    server = serve("criu-external", holdfast_mode)
    report = tmp_path / "calls"
    with connect(CONNS, patience=20) as peer, ThreadPoolExecutor(1) as pool:
        server.checkpoint().check()
        server.criu_wrapper = strace(report)
        server.restore().check()
        calls = report.read_text().splitlines()
        # The first: how many calls there are in all depends on the queues.
        built = min(i for i, call in enumerate(calls) if "TCP_REPAIR_WINDOW" in call)
        server.criu_wrapper = ()
        server.checkpoint().check()
        assert the_lock(ns)["situation"] == "waiting"
        report.write_text("")
        stop = f"inject=setsockopt:signal=STOP:when={built + 1}"
        server.criu_wrapper = strace(report, "-e", stop)
        restore = pool.submit(server.restore)
        try:
            proc.wait_for(lambda: "stopped by SIGSTOP" in report.read_text(), "CRIU stops")
            lock = the_lock(ns)
            assert (lock["situation"], comm(lock["busy_pid"])) == ("busy", "criu")
            assert lock["open"] > 0 and not lock["owner"]["runs"]
            frozen = len(checks.repair_sockets(proc.tree(os.getpid())))
            assert frozen > 0
            said = holdfast("recover", "--json", "--netns", ns.path)
            assert said.rc == 0
            outcomes = [one["outcome"] for one in said.json["sockets"] + said.json["locks"]]
            assert set(outcomes) == {"left alone"} and len(outcomes) > 1
            assert the_lock(ns)["id"] == lock["id"]
        finally:
            for pid in traced_criu():
                os.kill(pid, signal.SIGCONT)
        restore.result(60).check()
        finish(peer)


def test_no_connections(
    tmp_path: Path, net: Network, serve: Serve, connect: Connect, holdfast_mode: Mode
) -> None:
    """Listeners alone: they are cut off from new clients."""
    ns = net.container
    server = serve("criu-external", holdfast_mode)
    with dump(server, ns, tmp_path / "dump") as going:
        going.kill()
    lock = the_lock(ns)
    assert (lock["situation"], lock["connections"], lock["open"]) == ("stale", 0, 0)
    assert any("host" in table for table in checks.holdfast_tables(HOST))
    said = holdfast("recover")
    assert len(said.lines) == 2 and all(line.endswith(": stale, removed") for line in said.lines)
    with connect(["echo*2"], patience=10) as peer:
        finish(peer)


def test_other_sockets_do_not_count(
    tmp_path: Path, net: Network, serve: Serve, connect: Connect, holdfast_mode: Mode
) -> None:
    """Another container of the pod with a listener on the port and connections of its own."""
    ns = net.container
    server = serve("criu-external", holdfast_mode)
    with connect(["echo*2"], patience=15) as peer:
        server.checkpoint().check()
        with PeerAgent(ns, tmp_path / "other", "other") as other, PeerAgent(
            net.peer, tmp_path / "client", "client"
        ) as client:
            other.listen("same", ns.v4, Network.PORT)
            other.listen("l", ns.v4, 7600)
            client.connect("c", ns.v4, 7600)
            other.accept("c", "l")
            assert the_lock(ns)["situation"] == "waiting"
            assert recover(ns)[-1] == "nothing to recover"
        server.restore().check()
        finish(peer)


@pytest.fixture
def pair(
    net: Network, tmp_path: Path, holdfast_mode: Mode
) -> Iterator[tuple[AgentTask, PeerAgent]]:
    """A program in the container with the connection "c", which it made itself."""
    with (
        AgentTask(net.container, tmp_path / "a", holdfast_mode) as a,
        PeerAgent(net.peer, tmp_path / "b") as b,
    ):
        b.listen("l", net.peer.v4, 7400)
        a.connect("c", net.peer.v4, 7400, streams=(1, 2))
        b.accept("c", "l", streams=(2, 1))
        yield a, b


def exchange(pair: tuple[AgentTask, PeerAgent]) -> None:
    a, b = pair
    for one, other in ((a, b), (b, a)):
        one["c"].send(1000)
        other["c"].recv(1000)


def test_socket_alone(net: Network, pair: tuple[AgentTask, PeerAgent]) -> None:
    """No lock; the local port is its own, so SO_REUSEADDR is off."""
    a, _ = pair
    ns = net.container
    set_repair(a.pids())
    with pytest.raises(OSError):
        a["c"].send(10)
    (line,) = recover(ns, "--dry-run", rc=3)
    assert "would be taken out of it, SO_REUSEADDR set to 0" in line
    assert checks.repair_sockets(a.pids())
    (line,) = recover(ns)
    assert line.endswith(": in repair mode: taken out of it, SO_REUSEADDR set to 0")
    assert f"pid {a.pid})" in line and str(ns.path) in line
    assert reuseaddr(a.pids(), lambda sock: True) == {0}
    exchange(pair)


def test_stopped(net: Network, pair: tuple[AgentTask, PeerAgent]) -> None:
    a, _ = pair
    set_repair(a.pids())
    stop(a.pid)
    for args in ([], ["--dry-run"]):
        (line,) = recover(net.container, *args, rc=1)
        assert line.endswith(": left alone, the process is stopped")
    assert checks.repair_sockets(a.pids())
    os.kill(a.pid, signal.SIGCONT)
    assert len(recover(net.container)) == 1
    exchange(pair)


def test_traced(net: Network, pair: tuple[AgentTask, PeerAgent]) -> None:
    a, _ = pair
    set_repair(a.pids())
    assert libc.ptrace(PTRACE_SEIZE, a.pid, None, None) == 0
    (line,) = recover(net.container, rc=1)
    tracer = Path("/proc/self/comm").read_text().strip()
    assert line.endswith(f": left alone, the process is traced by {tracer} (pid {os.getpid()})")
    assert checks.repair_sockets(a.pids())
    assert libc.ptrace(PTRACE_INTERRUPT, a.pid, None, None) == 0
    os.waitpid(a.pid, 0)
    assert libc.ptrace(PTRACE_DETACH, a.pid, None, None) == 0
    assert len(recover(net.container)) == 1
    exchange(pair)


# A runtime, CRIU and a task which it makes: CRIU's child, or as runc has it the runtime's; or the
# runtime has gone.
MAKING = """
import ctypes, os, socket, sys, time
def name(what): ctypes.CDLL(None).prctl(15, what, 0, 0, 0)
def task():
    name(b"hf-agent")
    sock = socket.socket()
    sock.bind(("10.77.0.1", 7700))
    sock.setsockopt(6, 19, 1)
    print("ready", os.getpid(), flush=True)
    time.sleep(60)
sibling = sys.argv[1] == "sibling"
pid = os.fork()
if pid == 0:
    name(b"criu")
    if not sibling and os.fork() == 0: task()
    time.sleep(60)
time.sleep(0.05)
print("criu", pid, flush=True)
if sys.argv[1] == "orphan": sys.exit()
if sibling and os.fork() == 0: task()
time.sleep(60)
"""


@pytest.mark.parametrize("how", ["child", "sibling", "orphan"])
def test_being_made(net: Network, how: str) -> None:
    """Restored by CRIU itself, without our lock: not stopped, not traced, and not to be touched."""
    ns = net.container
    words = [sys.executable, "-I", "-S", "-c", MAKING, how]
    with ns.popen(words, stdout=subprocess.PIPE, text=True) as runtime:
        assert runtime.stdout
        pids: dict[str, str] = {}
        try:
            pids = dict(runtime.stdout.readline().split() for _ in range(2))
            if how == "orphan":
                runtime.wait(10)
            (line,) = recover(ns)[:-1]
            assert line.endswith(f": left alone, criu (pid {pids['criu']}) is busy")
            assert checks.repair_sockets([int(pids["ready"])])
            kill(int(pids["criu"]))
            (line,) = recover(ns)
            assert ": taken out of it, " in line
            assert not checks.repair_sockets([int(pids["ready"])])
        finally:
            proc.kill([int(pid) for pid in pids.values()] + proc.tree(runtime.pid))


def test_several_namespaces(
    tmp_path: Path, net: Network, serve: Serve, connect: Connect, holdfast_mode: Mode
) -> None:
    """All at once: stale in two, waiting in a third that has no name."""
    server = serve("criu-external", holdfast_mode)
    with (
        Network() as net2,
        make_server("criu-shared", net2, tmp_path / "two", holdfast_mode) as server2,
        connect(["echo*2", "duplex,rate=1M"], patience=20) as peer,
        Peer(net2.peer, net2.targets(), ["idle*2"], patience=20) as peer2,
        subprocess.Popen(["unshare", "-n", "sleep", "100"]) as unnamed,
    ):
        try:
            proc.wait_for(
                lambda: os.stat(f"/proc/{unnamed.pid}/ns/net").st_ino
                != os.stat("/proc/self/ns/net").st_ino,
                "unshare",
            )
            enter = ["nsenter", f"--net=/proc/{unnamed.pid}/ns/net", "nft", "add", "table", "inet"]
            for table in (f"holdfast-{OTHER_ID}", "holdfast-notes", "filter"):
                proc.run([*enter, table]).check()
            for one, space in ((server, net.container), (server2, net2.container)):
                with dump(one, space, tmp_path / space.name) as going:
                    going.kill()
            set_repair(server2.pids())
            said = holdfast("status", "--json")
            assert (said.rc, said.err) == (0, "")
            names = {str(net.container.path), str(net2.container.path)}
            found = {lock["netns"]: lock for lock in said.json["locks"]}
            host = [lock for lock in said.json["locks"] if lock["host"]]
            # The second dump was made inside the namespace: it has no host.
            assert [lock["id"] for lock in host] == [found[str(net.container.path)]["id"]]
            assert host[0]["situation"] == "stale" and 600 < host[0]["expires_in"] <= 900
            assert set(found) == names | {f"/proc/{unnamed.pid}/ns/net", host[0]["netns"]}
            assert {found[name]["situation"] for name in names} == {"stale"}
            other = found[f"/proc/{unnamed.pid}/ns/net"]
            assert (other["id"], other["situation"]) == (OTHER_ID, "waiting")
            assert "owner" not in other and "age" not in other
            # One alone, and then the rest.
            assert len(recover(net.container)) == 1
            assert not locks(net.container) and the_lock(net2.container)
            said = holdfast("recover", "--json")
            assert (said.rc, said.err) == (0, "")
            assert [sock["outcome"] for sock in said.json["sockets"]] == ["done"]
            outcomes = {lock["netns"]: lock["outcome"] for lock in said.json["locks"]}
            assert outcomes == {
                host[0]["netns"]: "done",
                str(net2.container.path): "done",
                other["netns"]: "left alone",
            }
            assert not checks.repair_sockets(server2.pids())
            finish(peer2)
            finish(peer)
        finally:
            unnamed.kill()


@pytest.mark.parametrize("json", [[], ["--json"]], ids=["text", "json"])
@pytest.mark.parametrize("verb", ["status", "recover", "unlock", "check", "show", "lock"])
def test_nowhere_to_write(tmp_path: Path, net: Network, verb: str, json: list[str]) -> None:
    good = Path(__file__).parents[1] / "fuzz/corpus/good-sample"
    (tmp_path / "holdfast.img").write_bytes(good.read_bytes())
    args: dict[str, list[object]] = {
        "unlock": ["--all"], "check": ["crun"], "show": [tmp_path], "lock": [tmp_path],
    }
    here = [] if verb in ("check", "show") else ["--netns", net.container.path]
    full = ["sh", "-c", 'exec "$@" >/dev/full', "sh"]
    said = holdfast(verb, *json, *here, *args.get(verb, []), wrapper=full)
    assert (said.rc, said.err) == (1, "holdfast: cannot write: No space left on device\n")
    # What was to be done is done all the same.
    assert len(locks(net.container)) == (verb == "lock")
    assert holdfast("unlock", "--all", "--netns", net.container.path).rc == 0


def test_wrong_use(tmp_path: Path, net: Network) -> None:
    for verb in ("status", "recover"):
        for args in (["--nonsense"], ["something"], ["--netns"]):
            said = holdfast(verb, *args)
            assert (said.rc, said.out) == (2, "")
            assert said.err.startswith(f"usage: holdfast {verb} ")
        for path in (tmp_path / "none", "/etc/passwd"):
            said = holdfast(verb, "--netns", path)
            assert (said.rc, said.out) == (1, "")
            assert len(said.err.splitlines()) == 1 and str(path) in said.err
    assert holdfast("status", "--dry-run").rc == 2


@pytest.mark.parametrize("verb", ["status", "recover"])
def test_no_permission(net: Network, verb: str) -> None:
    """One line, and no claim that there is nothing."""
    for args in ([], ["--netns", net.container.path]):
        said = holdfast(verb, *args, user=NOBODY)
        assert (said.rc, said.out) == (1, ""), args
        (line,) = said.err.splitlines()
        assert line.endswith(f"({verb} needs to be run as root)")
        said = holdfast(verb, "--json", *args, user=NOBODY)
        assert said.rc == 1 and said.json["error"] in line


def test_sockets_of_others_are_left(net: Network, pair: tuple[AgentTask, PeerAgent]) -> None:
    """Looking at them changes nothing: no FIN, no option, no offset."""
    a, _ = pair
    before = a["c"].view(), reuseaddr(a.pids(), lambda sock: True)
    assert recover(net.container) == ["nothing to recover"]
    assert (a["c"].view(), reuseaddr(a.pids(), lambda sock: True)) == before
    exchange(pair)
