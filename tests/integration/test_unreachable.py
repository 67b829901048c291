# SPDX-License-Identifier: GPL-2.0-or-later
"""Restored where one of two addresses is another one: what becomes of its connections is
configured."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import checks
from harness.agent import AgentTask, Control, PeerAgent, RemoteConn
from harness.cases import finish
from harness.mode import Mode
from harness.net import Network
from harness.oci import OciServer, Runtime
from harness.peer import Peer
from harness.proc import run

PORT = 7500
STAYS = {"v4": "10.77.0.5", "v6": "fd77::5"}
MOVES = {"v4": "10.77.0.6", "v6": "fd77::6"}
NEW = {"v4": "10.77.0.9", "v6": "fd77::9"}
LOOPBACK = {"v4": "127.0.0.1", "v6": "::1"}


class Scene:
    """Connections of the container at each address; those at MOVES cannot be had afterwards."""

    def __init__(self, net: Network, a: AgentTask, b: PeerAgent, inner: Control) -> None:
        self.net, self.a, self.b, self.inner = net, a, b, inner
        self.streams = 0
        a.listen("v4", "0.0.0.0", PORT)
        a.listen("v6", "::", PORT + 1)
        self.stay = [self.link(STAYS, name) for name in STAYS]
        self.stay += [self.link(LOOPBACK, name, inside=True) for name in LOOPBACK]
        self.move = [self.link(MOVES, name) for name in MOVES]
        for ours, theirs in self.move:  # something in every queue
            theirs.send(1000)
            ours.wait_inq(1000)

    def link(
        self, addresses: dict[str, str], family: str, inside: bool = False
    ) -> tuple[RemoteConn, RemoteConn]:
        self.streams += 2
        name = f"{addresses[family]}"
        streams = (self.streams, self.streams + 1)
        other = self.inner if inside else self.b
        port = PORT + (family == "v6")
        other.connect(name, addresses[family], port, streams=streams)
        self.a.accept(name, family, streams=streams[::-1])
        return self.a[name], other[name]

    def addresses(self, verb: str, which: dict[str, str]) -> None:
        ip = ["ip", "-n", self.net.container.name, "addr", verb]
        run([*ip, f"{which['v4']}/24", "dev", "eth0"]).check()
        run([*ip, f"{which['v6']}/64", "dev", "eth0", *(["nodad"] * (verb == "add"))]).check()

    def exchange(self, links: list[tuple[RemoteConn, RemoteConn]], more: int = 0) -> None:
        for one, other in links:
            one.send(5000)
            other.recv(5000)
            other.send(5000)
            one.recv(5000 + more)


@pytest.fixture
def scene(net: Network, tmp_path: Path, holdfast_mode: Mode) -> Iterator[Scene]:
    for address in (STAYS, MOVES):
        for value, length in ((address["v4"], 24), (address["v6"], 64)):
            ip = ["ip", "-n", net.container.name, "addr", "add", f"{value}/{length}", "dev", "eth0"]
            run([*ip, "nodad"] if length == 64 else ip).check()
    with (
        AgentTask(net.container, tmp_path / "a", holdfast_mode) as a,
        PeerAgent(net.peer, tmp_path / "b") as b,
    ):
        yield Scene(net, a, b, a.worker("inner"))


def configure(scene: Scene, work: Path, text: str) -> None:
    path = work / "holdfast.conf"
    path.write_text(text)
    scene.a.env = {"HOLDFAST_CONF": str(path)}


def test_abort(scene: Scene) -> None:
    """As it is without a word: nothing is changed, and with the old address it works."""
    scene.a.checkpoint().check()
    scene.addresses("del", MOVES)
    scene.addresses("add", NEW)
    result = scene.a.restore()
    assert not result.ok
    (line,) = result.lines("Error (holdfast): restore failed, the lock is kept")
    assert "give the container its old address, or set on-unreachable = close" in line
    assert f"{MOVES['v4']}:{PORT}" in line
    assert checks.holdfast_tables(scene.net.container)
    scene.addresses("add", MOVES)
    scene.a.restore().check()
    scene.exchange(scene.stay)
    scene.exchange(scene.move, more=1000)


def test_close(scene: Scene, tmp_path: Path) -> None:
    """Those alone: their peers are reset, the program sees end of file; all others go on."""
    configure(scene, tmp_path, "on-unreachable = close\n")
    scene.a.checkpoint().check()
    scene.addresses("del", MOVES)
    scene.addresses("add", NEW)
    result = scene.a.restore().check()
    assert len(result.lines("Warn  (holdfast): 2 connections cannot be had here")) == 1
    for address in (f"{MOVES['v4']}:{PORT}", f"[{MOVES['v6']}]:{PORT + 1}"):
        assert len(result.lines("Warn  (holdfast):   ", address)) == 1
    assert result.lines("restored 6 connections")
    assert not checks.holdfast_tables(scene.net.container)
    scene.exchange(scene.stay)
    for ours, theirs in scene.move:
        theirs.wait_poll("HUP")
        assert theirs.error("recv") == "ECONNRESET"
        assert ours.eof()
        with pytest.raises(OSError) as error:
            ours.send(1)
        assert error.value.errno == errno.EPIPE
        assert "HUP" in ours.poll()
    # And once more, with what is closed.
    scene.a.checkpoint().check()
    scene.a.restore().check()
    scene.exchange(scene.stay)
    assert all(ours.eof() for ours, _ in scene.move)


@pytest.mark.parametrize("runtime", ["crun", "runc"])
@pytest.mark.parametrize("annotated", ["close", "abort", "maybe", None])
def test_annotation(
    net: Network, tmp_path: Path, holdfast_mode: Mode, runtime: Runtime, annotated: str | None
) -> None:
    """Of the container, over the host's configuration."""
    conf = tmp_path / "holdfast.conf"
    conf.write_text(f"on-unreachable = {'abort' if annotated == 'close' else 'close'}\n")
    annotations = {"org.holdfast.on-unreachable": annotated} if annotated else None
    server = OciServer(
        net, tmp_path / "server", holdfast_mode, runtime, annotations=annotations,
        listen=[f"--listen=0.0.0.0:{PORT}"], env={"HOLDFAST_CONF": str(conf)},
    )
    ip = ["ip", "-n", net.container.name, "addr"]
    target = {"v4": f"{net.container.v4}:{PORT}"}
    with server, Peer(net.peer, target, ["echo"], patience=10) as peer:
        server.checkpoint().check()
        run([*ip, "del", f"{net.container.v4}/24", "dev", "eth0"]).check()
        run([*ip, "add", f"{NEW['v4']}/24", "dev", "eth0"]).check()
        result = server.restore()
        assert result.ok == (annotated in ("close", None)), result.log
        if annotated == "maybe":
            assert result.lines("Error (holdfast): restore refused", "org.holdfast.on-unreachable")
        if result.ok:
            # Nobody is left to end it: the peer was told.
            assert not peer.progress().ok
        else:
            run([*ip, "add", f"{net.container.v4}/24", "dev", "eth0"]).check()
            if annotated == "maybe":
                config = json.loads((server.bundle / "config.json").read_text())
                del config["annotations"]
                (server.bundle / "config.json").write_text(json.dumps(config))
            if runtime == "crun":  # which keeps its own state of it
                delete = ["delete", "--force", server.id]
                run(["crun", "--root", server.work / "state", *delete]).check()
            server.restore().check()
            finish(peer)


def test_close_where_nothing_moved(scene: Scene, tmp_path: Path) -> None:
    configure(scene, tmp_path, "on-unreachable = close\n")
    scene.a.checkpoint().check()
    scene.a.restore().check()
    scene.exchange(scene.stay)
    scene.exchange(scene.move, more=1000)
