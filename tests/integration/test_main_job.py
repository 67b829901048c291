# SPDX-License-Identifier: GPL-2.0-or-later
"""The main job: established connections survive a real checkpoint and restore, with the plugin."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import checks, mode
from harness.arrangements import Server
from harness.cases import EVERYTHING, FLOWING, Connect, Serve, finish
from harness.mode import Mode
from harness.net import Network, nft_tables
from harness.peer import Peer
from harness.programs import builddir, program


def there_and_back(server: Server, *, pause: float = 0) -> None:
    server.checkpoint().check()
    assert not server.pids()
    time.sleep(pause)
    server.restore().check()
    assert server.pids()


def image(server: Server) -> Path:
    return server.images / "holdfast.img"


def show(server: Server, *args: str) -> subprocess.CompletedProcess[str]:
    command = [builddir() / "holdfast", "show", *args, server.images]
    return subprocess.run(command, capture_output=True, text=True, check=False)


# ---- what must work


def test_round_trip(
    net: Network, serve: Serve, connect: Connect, holdfast_mode: Mode, arrangement: str
) -> None:
    server = serve(arrangement, holdfast_mode)
    with connect(EVERYTHING, patience=15) as peer:
        server.checkpoint().check()
        assert len(checks.holdfast_tables(net.container)) == 1  # the lock is on
        assert image(server).stat().st_mode & 0o777 == 0o600
        time.sleep(1)
        restored = server.restore().check()
        assert not checks.holdfast_tables(net.container)
        assert restored.lines("holdfast: restored 20 connections")
        assert restored.lines("lock is there since the dump")
        finish(peer)


def test_twenty_rounds_under_load(
    serve: Serve, connect: Connect, holdfast_mode: Mode, arrangement: str
) -> None:
    server = serve(arrangement, holdfast_mode)
    with connect(["idle*2", "echo*6", "source*3", "sink*3", "duplex*3"], patience=15) as peer:
        for _ in range(20):
            there_and_back(server)
            shutil.rmtree(server.images)
        finish(peer)


@pytest.mark.parametrize("count", [1, 100, 2000])
def test_counts(serve: Serve, connect: Connect, holdfast_mode: Mode, count: int) -> None:
    server = serve("criu-external", holdfast_mode)
    with connect([f"echo,gap=500*{count}"], patience=20) as peer:
        there_and_back(server)
        finish(peer)


@pytest.mark.parametrize("size", ["0", "1", "1000", "300k", "5M"])
def test_queues(serve: Serve, connect: Connect, holdfast_mode: Mode, size: str) -> None:
    buffers = ["--sndbuf=16M", "--rcvbuf=16M"]
    server = serve("criu-shared", holdfast_mode, server_args=buffers)
    spec = f"hold,in={size},out={size},hold_ms=4000,sndbuf=16M,reading=64M*4"
    with connect([spec], patience=20) as peer:
        time.sleep(1)
        there_and_back(server)
        finish(peer)


@pytest.mark.parametrize(
    "args", [["--processes=3"], ["--share=dup"], ["--share=fork"]], ids=lambda args: args[0]
)
def test_several_holders(
    serve: Serve, connect: Connect, holdfast_mode: Mode, arrangement: str, args: list[str]
) -> None:
    server = serve(arrangement, holdfast_mode, server_args=args)
    with connect(["idle*3", "echo*6", "duplex*3"], patience=15) as peer:
        for _ in range(2):
            there_and_back(server)
        finish(peer)


def test_leave_running(
    net: Network, serve: Serve, connect: Connect, holdfast_mode: Mode, arrangement: str
) -> None:
    server = serve(arrangement, holdfast_mode)
    with connect(EVERYTHING, patience=15) as peer:
        before = server.pids()
        peer.mark()
        server.checkpoint(leave_running=True).check()
        assert server.pids() == before
        finish(peer)
    assert not checks.holdfast_tables(net.container)


@pytest.mark.parametrize("end", ["kill -9 $PPID", "exit 1"], ids=["killed", "script-fails"])
def test_dump_ends_before_the_tasks_are_killed(
    tmp_path: Path, net: Network, serve: Serve, connect: Connect, holdfast_mode: Mode, end: str
) -> None:
    """CRIU dies, or its post-dump script fails: the guardian sees that the tasks go on."""
    script = tmp_path / "script"
    script.write_text(f'#!/bin/sh\n[ "$CRTOOLS_SCRIPT_ACTION" != post-dump ] || {end}\n')
    script.chmod(0o755)
    server = serve("criu-external", holdfast_mode)
    with connect(EVERYTHING, patience=15) as peer:
        before = server.pids()
        assert not server.checkpoint(extra=["--action-script", str(script)]).ok
        assert image(server).exists() or "kill" in end  # it came as far as the end of the dump
        assert server.pids() == before
        finish(peer)
    assert not checks.holdfast_tables(net.container)


def test_new_clients_wait(
    net: Network, serve: Serve, connect: Connect, holdfast_mode: Mode
) -> None:
    """A SYN during the outage is held, not refused."""
    server = serve("criu-external", holdfast_mode)
    with connect(["echo"], patience=15) as peer:
        server.checkpoint().check()
        client = net.peer.popen(["nc", "-zw", "10", net.container.v4, net.PORT])
        time.sleep(0.5)
        assert client.poll() is None  # refused would have ended it
        server.restore().check()
        assert client.wait(timeout=10) == 0
        finish(peer)


def test_tcp_established_is_left_alone(
    serve: Serve, connect: Connect, holdfast_mode: Mode, arrangement: str
) -> None:
    """CRIU restores the connections; holdfast sees that and only takes its lock away."""
    established = holdfast_mode.without("tcp-close", "network-lock").plus(
        "tcp-established", "network-lock nftables"
    )
    server = serve(arrangement, established)
    with connect(FLOWING, patience=15) as peer:
        server.checkpoint().check()
        restored = server.restore().check()
        assert restored.lines("restored 4 connections (4 by CRIU)"), restored.log
        finish(peer)


@pytest.fixture
def plugins() -> Iterator[Path]:
    """A directory with our plugin between two others, in whichever order it is read: tmpfs keeps
    the order in which files were made."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name:
        libdir = Path(name)
        count = builddir() / "tests/programs/.libs/count_plugin.so"
        shutil.copy(count, libdir / "one.so")
        shutil.copy(builddir() / ".libs/holdfast_plugin.so", libdir)
        shutil.copy(count, libdir / "other.so")
        yield libdir


def test_other_plugins_get_their_turn(plugins: Path, serve: Serve, connect: Connect) -> None:
    server = serve("criu-shared", mode.holdfast(plugins), server_args=["--processes=3"])
    with connect(FLOWING, patience=15) as peer:
        calls = 2 * len(server.pids())
        assert len(server.checkpoint().check().lines("count_plugin: hook called")) == calls
        assert len(server.restore().check().lines("count_plugin: hook called")) == calls
        finish(peer)


def test_show(serve: Serve, connect: Connect, holdfast_mode: Mode) -> None:
    server = serve("criu-shared", holdfast_mode)
    with connect(["idle*2", "echo"], patience=15) as peer:
        server.checkpoint().check()
        table = show(server)
        assert table.returncode == 0 and table.stdout.count("ESTABLISHED") == 3, table
        shown = json.loads(show(server, "--json").stdout)
        assert len(shown["connections"]) == 3
        assert {c["state"] for c in shown["connections"]} == {"ESTABLISHED"}
        assert all(c["mss_clamp"] > 500 and c["sack"] for c in shown["connections"])
        assert shown["listeners"] and all(c["holders"] for c in shown["listeners"])
        assert table.stdout.count("\nLISTEN") == len(shown["listeners"])
        server.restore().check()
        finish(peer)


def test_lock_is_taken_again(
    tmp_path: Path,
    net: Network,
    serve: Serve,
    connect: Connect,
    holdfast_mode: Mode,
    arrangement: str,
) -> None:
    """Where the lock is not there any more, the restore takes it before anything exists."""
    server = serve(arrangement, holdfast_mode)
    with connect(["idle*4"], patience=15) as peer:
        server.checkpoint().check()
        for family, name in nft_tables(net.container):
            net.container.run("nft", f"delete table {family} {name}").check()
        # CRIU calls it when the tasks exist, before the plugin's last hook.
        script, seen = tmp_path / "script", tmp_path / "seen"
        listing = " ".join(net.container.command(["nft", "list", "tables"]))
        script.write_text(
            f'#!/bin/sh\n[ "$CRTOOLS_SCRIPT_ACTION" != post-restore ] || {listing} >{seen}\n'
        )
        script.chmod(0o755)
        server.mode = server.mode.plus(f"action-script {script}")
        assert server.restore().check().lines("checkpoint with 4 connections; lock taken")
        assert "holdfast-" in seen.read_text()
        finish(peer)


# ---- what is refused, and changes nothing


def refused(server: Server, peer: Peer, net: Network, *words: str) -> None:
    """The dump fails with one line that has these words, and every connection goes on."""
    result = server.checkpoint()
    assert not result.ok
    assert len(result.lines("Error (holdfast)", *words)) == 1, result.log
    assert not image(server).exists()
    assert not checks.holdfast_tables(net.container)
    finish(peer)


def test_no_options_at_all(
    net: Network, serve: Serve, connect: Connect, holdfast_mode: Mode, arrangement: str
) -> None:
    """CRIU's own error stands."""
    server = serve(arrangement, holdfast_mode.without("tcp-close"))
    with connect(FLOWING, patience=15) as peer:
        result = server.checkpoint()
        assert not result.ok
        assert result.lines("Error", "tcp-established"), result.log
        assert result.lines("holdfast: the dump failed: connections are as they were")
        assert not image(server).exists()
        assert not checks.holdfast_tables(net.container)
        finish(peer)


@pytest.mark.parametrize("bad", ["mode = maybe\n", "\nmoed = on\n"])
def test_bad_configuration(
    tmp_path: Path, net: Network, serve: Serve, connect: Connect, holdfast_mode: Mode, bad: str
) -> None:
    conf = tmp_path / "holdfast.conf"
    conf.write_text(bad)
    line = 1 + bad.index("mo")
    server = serve("criu-shared", holdfast_mode, env={"HOLDFAST_CONF": str(conf)})
    with connect(FLOWING, patience=15) as peer:
        refused(server, peer, net, f"holdfast.conf:{line}:")


def test_mptcp(net: Network, serve: Serve, connect: Connect, holdfast_mode: Mode) -> None:
    server = serve("criu-shared", holdfast_mode, server_args=["--mptcp"])
    with connect(["echo"], mptcp=True, patience=15) as peer:
        refused(server, peer, net, "MPTCP", "->")


@pytest.mark.parametrize(
    "lack, words",
    [
        (["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin"], "CAP_NET_ADMIN"),
        (["hf-deny", "tcp_repair"], "no TCP_REPAIR"),
        (["hf-deny", "nftables"], "needs nftables"),
        (["hf-deny", "pidfd_getfd"], "needs pidfd_getfd"),
    ],
    ids=["permission", "tcp_repair", "nftables", "pidfd_getfd"],
)
def test_kernel_lacks(
    net: Network,
    serve: Serve,
    connect: Connect,
    holdfast_mode: Mode,
    lack: list[str],
    words: str,
) -> None:
    """Said at once, in one line, before anything is touched."""
    server = serve("criu-shared", holdfast_mode)
    if lack[0] == "hf-deny":
        lack = [str(program("hf-deny")), *lack[1:]]
    with connect(FLOWING, patience=15) as peer:
        server.images.mkdir(exist_ok=True, parents=True)
        config = server.work / "criu.conf"
        config.write_text(server.mode.config())
        done = net.container.run(
            *lack, "criu", "dump", "-t", str(server.pids()[0]), "-D", str(server.images),
            "--config", str(config), "-v4", "-o", "dump.log",
        )  # fmt: skip
        log = (server.images / "dump.log").read_text(errors="replace")
        assert done.rc != 0
        assert len(re.findall(f"Error .holdfast.: dump refused: .*{words}", log)) == 1, log
        assert not (server.images / "holdfast.img").exists()
        assert not checks.holdfast_tables(net.container)
        finish(peer)


def test_switched_off(net: Network, serve: Serve, connect: Connect, holdfast_mode: Mode) -> None:
    """HOLDFAST=off: tcp-close means close, and the peer notices."""
    server = serve("criu-shared", holdfast_mode, env={"HOLDFAST": "off"})
    with connect(["echo"], patience=3) as peer:
        server.checkpoint().check()
        assert not image(server).exists()
        assert not checks.holdfast_tables(net.container)
        server.restore().check()
        assert peer.finish().lost == 1


def test_image_missing(serve: Serve, connect: Connect, holdfast_mode: Mode, net: Network) -> None:
    """A checkpoint that was made without holdfast restores without it."""
    server = serve("criu-shared", holdfast_mode)
    with connect(["echo"], patience=3) as peer:
        server.checkpoint().check()
        image(server).unlink()
        assert server.restore().check().lines("no holdfast.img in this checkpoint")
        for family, name in nft_tables(net.container):
            net.container.run("nft", f"delete table {family} {name}").check()
        assert peer.finish().lost == 1


@pytest.mark.parametrize(
    "damage, words",
    [
        ("magic", "this is not a holdfast image"),
        ("version", "version: 99"),
        ("middle", ""),
        ("short", "the file ends at byte"),
    ],
)
def test_bad_image(
    net: Network,
    serve: Serve,
    connect: Connect,
    holdfast_mode: Mode,
    damage: str,
    words: str,
) -> None:
    """Refused before anything exists; the lock stays, and the right image restores."""
    server = serve("criu-external", holdfast_mode)
    with connect(FLOWING, patience=15) as peer:
        server.checkpoint().check()
        good = image(server).read_bytes()
        bad = bytearray(good)
        if damage == "magic":
            bad[0] ^= 1
        elif damage == "version":
            bad[8] = 99
        elif damage == "middle":
            bad[len(bad) // 2] ^= 1
        else:
            del bad[-3:]
        image(server).write_bytes(bad)
        result = server.restore()
        assert not result.ok
        assert len(result.lines("Error (holdfast): restore refused: holdfast.img", words)) == 1
        assert len(checks.holdfast_tables(net.container)) == 1
        assert show(server).returncode == 1
        image(server).write_bytes(good)
        server.restore().check()
        finish(peer)


def test_restore_is_all_or_nothing(
    net: Network, serve: Serve, connect: Connect, holdfast_mode: Mode
) -> None:
    """No route to some peers: the tree is killed silently, the lock stays, a retry works."""
    server = serve("criu-external", holdfast_mode)
    with connect([*FLOWING, "echo,to=IPv6*2"], patience=15) as peer:
        server.checkpoint().check()
        route = ["10.77.0.0/24", "dev", "eth0"]
        net.container.run("ip", "route", "del", *route).check()
        result = server.restore()
        assert not result.ok
        assert len(result.lines("Error (holdfast): restore failed, the lock is kept")) == 1
        net.container.run("ip", "route", "add", *route, "src", net.container.v4).check()
        assert len(checks.holdfast_tables(net.container)) == 1
        server.restore().check()
        finish(peer)
