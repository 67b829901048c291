# SPDX-License-Identifier: GPL-2.0-or-later
"""The harness tested: what works with CRIU's own support works, and what is broken is seen."""

from __future__ import annotations

import array
import fcntl
import os
import shutil
import socket
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from harness import checks, mode, proc
from harness.cases import EVERYTHING, FLOWING, Connect, Serve
from harness.net import Network, nft_tables


def inq(sock: socket.socket) -> int:
    value = array.array("i", [0])
    fcntl.ioctl(sock, termios.FIONREAD, value)
    return value[0]


def nft(net: Network, rules: str) -> None:
    net.container.run("nft", rules).check()


def drop(net: Network, match: str) -> None:
    nft(
        net,
        "table inet hftest { chain in { type filter hook input priority 0;"
        f" tcp dport {{ {net.PORT}, {net.DUAL_PORT} }} {match}; }}; }}",
    )


# ---- the way it should be


def test_stock_round_trip(net: Network, serve: Serve, connect: Connect, arrangement: str) -> None:
    server = serve(arrangement, mode.stock())
    with connect(EVERYTHING, patience=15) as peer:
        for _ in range(2):
            server.checkpoint().check()
            assert not server.pids()
            server.restore().check()
            assert server.pids()
            assert peer.progress().ok
        report = peer.finish()
    assert report.lost == 0, report.complaints()
    assert {c.family for c in report.connections} == {"IPv4", "IPv6", "v4-mapped"}
    assert {c.state for c in report.connections} == {"ESTABLISHED"}
    assert not checks.criu_tables(net.container)


def test_stock_leave_running(serve: Serve, connect: Connect, arrangement: str) -> None:
    server = serve(arrangement, mode.stock())
    with connect(EVERYTHING, patience=15) as peer:
        before = server.pids()
        server.checkpoint(leave_running=True).check()
        assert server.pids() == before
        assert peer.progress().ok
        report = peer.finish()
    assert report.lost == 0, report.complaints()


def test_refused_checkpoint_leaves_the_server(
    serve: Serve, connect: Connect, arrangement: str
) -> None:
    server = serve(arrangement, mode.stock().without("tcp-established"))
    with connect(FLOWING) as peer:
        result = server.checkpoint()
        assert not result.ok
        assert result.lines("Error", "tcp"), result.log
        assert peer.progress().ok
        report = peer.finish()
    assert report.lost == 0, report.complaints()


@pytest.mark.parametrize(
    "args", [["--processes=3"], ["--share=dup"], ["--share=fork"]], ids=lambda args: args[0]
)
def test_several_holders(
    serve: Serve, connect: Connect, arrangement: str, args: list[str]
) -> None:
    server = serve(arrangement, mode.stock(), server_args=args)
    with connect(["idle*3", "echo*6", "duplex*3"]) as peer:
        expected = {"--processes=3": 3, "--share=dup": 1, "--share=fork": 13}[args[0]]
        for _ in range(2):
            assert len(server.pids()) == expected
            server.checkpoint().check()
            server.restore().check()
            assert len(server.pids()) == expected
            assert peer.progress().ok
        report = peer.finish()
    assert report.lost == 0, report.complaints()


def test_many_connections(serve: Serve, connect: Connect) -> None:
    serve("criu-shared", mode.stock())
    with connect(["echo,gap=500*1500", "idle*500"]) as peer:
        assert peer.progress().ok
        report = peer.finish()
    assert (report.kept, report.lost) == (2000, 0), report.complaints()


def test_mptcp(net: Network, serve: Serve, connect: Connect) -> None:
    serve("criu-shared", mode.stock(), server_args=["--mptcp"])
    with connect(FLOWING, mptcp=True) as peer:
        listing = net.container.run("ss", "-HMn").check().output
        assert len(listing.splitlines()) == len(FLOWING), listing
        report = peer.finish()
    assert report.lost == 0, report.complaints()


def test_exact_queues(serve: Serve, connect: Connect) -> None:
    server = serve("criu-shared", mode.stock(), server_args=["--rcvbuf=8M", "--sndbuf=8M"])
    sizes = [0, 1, 1000, 5_000_000]
    conns = [f"hold,in={size},out={size},rcvbuf=8M,sndbuf=8M,to=IPv4" for size in sizes]
    with connect(conns) as peer:
        proc.wait_for(
            lambda: [c.acked for c in peer.stats()] == sizes
            and [c.inq for c in peer.stats()] == sizes,
            "full queues",
        )
        found = {
            sock.getpeername()[1]: inq(sock)
            for sock in checks.sockets(server.pid)
            if sock.type == socket.SOCK_STREAM and not sock.getsockopt(socket.SOL_SOCKET, 30)
        }
        ports = [int(c.local.rpartition(":")[2]) for c in peer.stats()]
        assert [found[port] for port in ports] == sizes
        report = peer.finish()
    assert report.lost == 0, report.complaints()


def test_full_queues(net: Network, serve: Serve, connect: Connect) -> None:
    serve("criu-shared", mode.stock(), server_args=["--rcvbuf=100k", "--sndbuf=200k"])
    conns = ["duplex,full,rcvbuf=100k,sndbuf=200k*2"]
    with connect(conns) as peer:

        def full() -> bool:
            """Send and receive queue of every connection, on both sides."""
            for ns in (net.container, net.peer):
                lines = ns.run("ss", "-Htn", "state", "established").check().output.splitlines()
                queues = [int(word) for line in lines for word in line.split()[:2]]
                if len(queues) != 4 or min(queues) < 20_000:
                    return False
            return True

        proc.wait_for(full, "full queues")
        report = peer.finish()
    assert report.lost == 0, report.complaints()


# ---- what is broken is seen


@pytest.mark.parametrize(
    ("conn", "error"),
    [
        ("sink,flip_up=70001", "server got a wrong byte at position 70001"),
        ("duplex,flip_up=70001", "server got a wrong byte at position 70001"),
        ("echo,flip_up=700", "server got a wrong byte at position 700"),
        ("source,flip_down=70003", "wrong byte received at position 70003"),
        ("duplex,flip_down=70003", "wrong byte received at position 70003"),
        ("echo,flip_down=703", "wrong byte received at position 703"),
        ("idle,flip_down=3", "wrong byte received at position 3"),
        ("hold,in=9k,out=9k,flip_down=8000", "wrong byte received at position 8000"),
        ("hold,in=9k,out=9k,flip_up=8000", "server got a wrong byte at position 8000"),
    ],
)
def test_wrong_byte_is_lost(
    serve: Serve, connect: Connect, conn: str, error: str
) -> None:
    serve("criu-shared", mode.stock())
    with connect([conn, "idle"]) as peer:
        time.sleep(0.5)
        report = peer.finish()
    assert (report.kept, report.lost) == (1, 1)
    assert report.connections[0].error == error


def test_reset_is_lost(net: Network, serve: Serve, connect: Connect) -> None:
    serve("criu-shared", mode.stock())
    with connect([f"{role},to=IPv4" for role in FLOWING]) as peer:
        drop(net, "tcp flags & syn == 0 reject with tcp reset")
        assert peer.progress().missing == (0, 1, 2, 3)
        report = peer.finish()
    assert report.lost == 4
    assert all("Connection reset" in c.error for c in report.connections), report.complaints()


def test_death_of_the_server_is_lost(serve: Serve, connect: Connect) -> None:
    server = serve("criu-shared", mode.stock())
    with connect(["idle", "echo", "source", "hold,out=10"]) as peer:
        proc.kill(server.pids())
        report = peer.finish()
    assert report.lost == 4, report.complaints()
    assert all(c.error for c in report.connections)


def test_restore_without_a_lock_is_lost(net: Network, serve: Serve, connect: Connect) -> None:
    server = serve("criu-shared", mode.stock())
    with connect(["echo", "sink", "idle"]) as peer:
        server.checkpoint().check()
        net.container.run("nft", "flush", "ruleset").check()
        time.sleep(1)
        server.restore()
        report = peer.finish()
    assert [c.kept for c in report.connections][:2] == [False, False]


def test_stall_is_measured(net: Network, serve: Serve, connect: Connect) -> None:
    serve("criu-shared", mode.stock())
    conns = ["idle", *FLOWING, "duplex,full,reading=4M"]
    with connect(conns) as peer:
        time.sleep(0.5)
        peer.mark()
        time.sleep(0.5)
        assert max(c.stall_ms for c in peer.stats()) < 500
        drop(net, "drop")
        time.sleep(1.5)
        net.container.run("nft", "delete", "table", "inet", "hftest").check()
        assert peer.progress().ok
        stalls = [c.stall_ms for c in peer.stats()]
        assert stalls[0] == 0
        assert min(stalls[1:]) > 1000, stalls
        peer.mark()
        time.sleep(0.3)
        assert max(c.stall_ms for c in peer.stats()) < 300
        report = peer.finish()
    assert report.lost == 0, report.complaints()


def test_progress_names_those_that_stand_still(
    net: Network, serve: Serve, connect: Connect
) -> None:
    serve("criu-shared", mode.stock())
    conns = [f"{role},to={family}" for family in ("IPv4", "v4-mapped") for role in FLOWING]
    with connect(["idle", *conns], patience=1) as peer:
        drop(net, f"tcp dport {net.DUAL_PORT} drop")
        # What was on its way may still count: ask once it is over.
        time.sleep(0.2)
        answer = peer.progress()
        assert not answer.ok
        assert answer.missing == (5, 6, 7, 8)
        assert answer.waited_ms >= 1000
        report = peer.finish()
    assert report.lost == 4
    assert "timeout" in report.connections[5].error


# ---- the checks


def test_tables_are_seen(net: Network) -> None:
    assert nft_tables(net.container) == []
    nft(net, "add table inet holdfast-0123")
    assert checks.holdfast_tables(net.container, net.peer) == [
        f"{net.container.name}: inet holdfast-0123"
    ]
    nft(net, "delete table inet holdfast-0123")
    assert checks.holdfast_tables(net.container) == []


@pytest.mark.parametrize("share", [[], ["--share=fork"]], ids=["alone", "shared"])
def test_repair_mode_is_seen(serve: Serve, connect: Connect, share: list[str]) -> None:
    server = serve("criu-shared", mode.stock(), server_args=share)
    with connect(["idle,to=IPv4*2"]) as peer:
        local = peer.stats()[1].local
        assert checks.repair_sockets(server.pids()) == []
        # Not sock.dup(): it would make the server's own socket blocking.
        connected = [
            socket.socket(fileno=os.dup(sock.fileno()))
            for sock in checks.sockets(server.pid)
            if str(_peer_port(sock)) == local.rpartition(":")[2]
        ]
        assert len(connected) == 1
        connected[0].setsockopt(socket.IPPROTO_TCP, checks.TCP_REPAIR, 1)
        found = checks.repair_sockets(server.pids())
        assert len(found) == (2 if share else 1), found
        assert local.rpartition(":")[2] in found[0]
        connected[0].setsockopt(socket.IPPROTO_TCP, checks.TCP_REPAIR, 0)
        connected[0].close()
        assert checks.repair_sockets(server.pids()) == []
        assert peer.finish().lost == 0


def _peer_port(sock: socket.socket) -> int:
    try:
        return int(sock.getpeername()[1])
    except OSError:
        return -1


def test_processes_left_are_seen() -> None:
    leftovers = checks.Leftovers()
    assert leftovers.processes(0) == []
    # Any program will do, under one of our names.
    code = "import time; open('/proc/self/comm', 'w').write('holdfast-guard'); time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", code])
    try:
        proc.wait_for(lambda: leftovers.processes(0), "the process under its new name")
        assert leftovers.processes(0) == [f"holdfast-guard (pid {process.pid})"]
    finally:
        process.kill()
        process.wait()
    assert leftovers.processes(0) == []


def test_output_held_open_is_seen() -> None:
    """What a guardian would do to a runtime that waits for the end of CRIU's output."""
    done = proc.run(["sh", "-c", "sleep 5 & exit 0"], timeout=0.5)
    assert done.rc != 0
    assert "held open" in done.output


def run_pytest(where: Path, *args: str, strict: bool = False) -> proc.Done:
    """On test files elsewhere, with the conftest under test."""
    here = Path(__file__).parent
    shutil.copy(here / "conftest.py", where)
    env = {**os.environ, "PYTHONPATH": str(here), "HOLDFAST_TEST_STRICT": str(int(strict))}
    env["PYTHONDONTWRITEBYTECODE"] = "1"
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rs", *args, where]
    return proc.run(command, env=env, cwd=where)


LEAVES = {
    "nothing": ("pass", None),
    "table": ("net.container.run('nft', 'add table inet holdfast-1').check()", "inet holdfast-1"),
    "repair": (
        "[s.setsockopt(6, checks.TCP_REPAIR, 1) for s in checks.sockets(server.pid)"
        " if s.type == socket.SOCK_STREAM and not s.getsockopt(1, 30)]",
        "10.77.0.2",
    ),
    "process": (
        "net.peer.popen([program('hf-server'), '--listen=127.0.0.1:80'],"
        " start_new_session=True, stderr=-3)",
        "hf-server (pid",
    ),
}


@pytest.mark.parametrize("what", LEAVES)
def test_what_is_left_fails_the_test(tmp_path: Path, what: str) -> None:
    code, complaint = LEAVES[what]
    (tmp_path / "test_leave.py").write_text(
        "import socket\n"
        "from harness import checks, mode\n"
        "from harness.programs import program\n"
        "def test_it(net, serve, connect):\n"
        "    server = serve('criu-shared', mode.stock())\n"
        "    with connect(['idle,to=IPv4']) as peer:\n"
        f"        {code}\n"
        "        peer.finish()\n"
    )
    leftovers = checks.Leftovers()
    done = run_pytest(tmp_path)
    proc.kill(pid for pid, _ in leftovers.found())
    assert (done.rc == 0) == (complaint is None), done.output
    assert complaint is None or complaint in done.output, done.output


@pytest.mark.parametrize("strict", [False, True])
def test_strict_makes_skips_fail(tmp_path: Path, strict: bool) -> None:
    (tmp_path / "test_one.py").write_text(
        "import pytest\ndef test_one():\n    pytest.skip('cannot')\n"
    )
    (tmp_path / "test_two.py").write_text(
        "import pytest\npytest.skip('nor can this', allow_module_level=True)\n"
    )
    done = run_pytest(tmp_path, "--continue-on-collection-errors", strict=strict)
    assert (done.rc != 0) == strict, done.output
    assert "cannot" in done.output and "nor can this" in done.output, done.output
