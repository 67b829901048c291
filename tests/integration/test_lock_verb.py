# SPDX-License-Identifier: GPL-2.0-or-later
"""holdfast lock and unlock: a checkpoint moves to another host, and nothing gets through on the
way; who asks wrongly, or for too much, changes nothing."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from harness import checks, proc
from harness.agent import AgentTask, PeerAgent
from harness.arrangements import Server, make_server
from harness.cases import Connect, Serve, finish
from harness.left import Said, dump, holdfast, locks, the_lock
from harness.mode import Mode
from harness.net import HOST, Netns, Network, nft_tables
from harness.peer import Peer
from harness.routed import Routed

# They never stand still: some retransmission falls into every moment.
BUSY = ["source*3", "sink*3", "duplex*4", "echo,gap=20*4"]
GAP = 1.5  # seconds for which the address is there and the connections are not
NOBODY = 65534
NO_ID = "0123456789abcdef0123456789abcdef"


def lock(where: Netns, *args: object, rc: int = 0) -> Said:
    said = holdfast("lock", "--netns", where.path, *args)
    assert said.rc == rc, said
    return said


def unlock(*args: object, rc: int = 0, err: str = "") -> list[str]:
    said = holdfast("unlock", *args)
    assert said.rc == rc and err in said.err and bool(said.err) == bool(err), said
    return said.lines


def tables(ns: Netns) -> list[str]:
    return sorted(name for _, name in nft_tables(ns))


def archive(images: Path, path: Path, *options: str) -> Path:
    """As an engine makes it, with files of its own beside the images."""
    (images.parent / "config.dump").write_text("{}")
    command = ["tar", "-C", images.parent, f"--transform=s,^{images.name},checkpoint,"]
    names = [images.name, "config.dump"]
    subprocess.run([*command, *options, "-cf", path, *names], check=True)
    return path


def inside(ns: Netns) -> list[str]:
    """A command that runs others there."""
    return ["nsenter", f"--net={ns.path}", "--"]


# ---- what it is for


@pytest.fixture
def routed(leftovers: checks.Leftovers) -> Iterator[Routed]:
    with Routed() as net:
        yield net
        assert not checks.holdfast_tables(net.one, net.two, net.container, net.peer, HOST)


@contextlib.contextmanager
def moved(net: Routed, server: Server, locked: bool) -> Iterator[Path]:
    """The checkpoint of the server goes from one host to the other. Inside: the container's address
    is there, and it is not."""
    server.criu_wrapper = inside(net.one)
    server.checkpoint().check()
    path = archive(server.images, server.work / "checkpoint.tar.zst", "--zstd")
    net.detach()
    if locked:
        # As somebody does who has come to that host by ssh.
        said = holdfast("lock", path, wrapper=inside(net.two))
        assert said.rc == 0 and re.fullmatch(
            r"lock [0-9a-f]{32} taken in this network namespace: 14 connections, \d+ addresses "
            r"that listen, for 900 s\n", said.out
        ), said  # fmt: skip
    net.attach(net.two)
    time.sleep(GAP)
    yield path
    server.criu_wrapper = inside(net.two)
    server.restore().check()
    assert not tables(net.two)


def test_moved_to_another_host(tmp_path: Path, routed: Routed, holdfast_mode: Mode) -> None:
    net = routed
    with (
        make_server("crun", net, tmp_path, holdfast_mode) as server,
        Peer(net.peer, net.targets(), BUSY, patience=30) as peer,
    ):
        with moved(net, server, locked=True) as path:
            (found,) = locks(net.two)
            assert found["packets_held"] > 0
            assert (found["situation"], found["owner"]["why"]) == ("waiting", "lock")
        finish(peer)
        # The first host still has its own; nobody will restore there.
        (line,) = unlock(path)
        assert f" in {net.one.path} (checkpoint, pid " in line and line.endswith(": removed")


def test_moved_without_a_lock(tmp_path: Path, routed: Routed, holdfast_mode: Mode) -> None:
    """What the test above would show without it: whoever sends is reset."""
    net = routed
    with (
        make_server("crun", net, tmp_path, holdfast_mode) as server,
        Peer(net.peer, net.targets(), BUSY, patience=5) as peer,
    ):
        with moved(net, server, locked=False) as path:
            unlock(path)
        lost = [conn for conn in peer.stats() if not conn.kept]
        assert len(lost) > len(BUSY) and all("reset" in conn.error for conn in lost)


# ---- the forms


@pytest.fixture
def elsewhere() -> Iterator[list[Netns]]:
    """Two other hosts, where no connection of the container is."""
    found = [Netns(f"hf{os.urandom(3).hex()}{name}", "", "") for name in "xy"]
    for ns in found:
        proc.run(["ip", "netns", "add", ns.name]).check()
    yield found
    for ns in found:
        proc.run(["ip", "netns", "del", ns.name]).check()


@contextlib.contextmanager
def checkpoint(serve: Serve, connect: Connect, holdfast_mode: Mode) -> Iterator[Server]:
    """One of a server with three connections, which are whole after it."""
    server = serve("criu-external", holdfast_mode)
    with connect(["idle*2", "echo"], patience=20) as peer:
        server.checkpoint().check()
        yield server
        server.restore().check()
        finish(peer)


def id_of(server: Server) -> str:
    found: str = holdfast("show", "--json", server.images).json["id"]
    return found


def test_forms_of_a_checkpoint(
    tmp_path: Path, serve: Serve, connect: Connect, holdfast_mode: Mode, elsewhere: list[Netns]
) -> None:
    one, two = elsewhere
    with checkpoint(serve, connect, holdfast_mode) as server:
        ours = id_of(server)
        layout = tmp_path / "container"
        layout.mkdir()
        (layout / "checkpoint").mkdir()
        image = (server.images / "holdfast.img").read_bytes()
        (layout / "checkpoint/holdfast.img").write_bytes(image)
        forms = [server.images, layout, archive(server.images, tmp_path / "a.tar")]
        forms += [archive(server.images, tmp_path / "a.tar.gz", "--gzip")]
        forms += [archive(server.images, tmp_path / "a.tar.zst", "--zstd")]
        for form in forms:
            said = lock(one, form)
            assert said.out == (
                f"lock {ours} taken in {one.path}: 3 connections, 5 addresses that listen,"
                " for 900 s\n"
            )
            assert sorted(nft_tables(one)) == [
                ("bridge", f"holdfast-{ours}"), ("inet", f"holdfast-{ours}"),
            ]  # fmt: skip
            # Again, by any other form.
            said = lock(one, forms[0])
            assert re.fullmatch(
                f"lock {ours} is there already in {one.path}: 3 connections, 5 addresses that "
                r"listen, for another (900|899|898|897) s\n", said.out
            ), said  # fmt: skip
            found = lock(one, "--json", form).json
            assert found.pop("expires_in") in range(890, 901)
            assert found == {
                "id": ours, "outcome": "already there", "connections": 3, "listeners": 5,
            }  # fmt: skip
            said = lock(two, "--json", "--timeout", 77, form)
            assert (said.json["outcome"], said.json["expires_in"]) == ("taken", 77)
            lines = unlock("--netns", one.path, form)
            assert len(lines) == 1 and lines[0].startswith(f"lock {ours} in {one.path} (lock, pid ")
            assert lines[0].endswith("; 3 connections): removed")
            assert not tables(one) and len(tables(two)) == 2
            said = holdfast("unlock", "--json", "--netns", two.path, form)
            assert (said.rc, said.err) == (0, "")
            (removed,) = said.json["locks"]
            assert (removed["id"], removed["outcome"]) == (ours, "removed")
            assert not tables(two)
        # The host's and the namespace's own are from the checkpoint.
        assert {name for ns in (HOST, server.net.container) for name in tables(ns)} == {
            f"holdfast-{ours}"
        }


def test_it_expires(
    serve: Serve, connect: Connect, holdfast_mode: Mode, elsewhere: list[Netns], tmp_path: Path
) -> None:
    """And can then be taken again; how long it lasts is configured, or told."""
    one, two = elsewhere
    conf = tmp_path / "holdfast.conf"
    with checkpoint(serve, connect, holdfast_mode) as server:
        lock(one, "--timeout", 1, server.images)
        proc.wait_for(lambda: the_lock(one)["situation"] == "expired", "the end of the lock")
        found = lock(one, "--json", "--timeout", 600, server.images).json
        assert (found["outcome"], found["connections"], found["expires_in"]) == ("taken", 3, 600)
        conf.write_text("lock-timeout = 50\n")
        words = ["lock", "--json", "--netns", two.path]
        said = holdfast(*words, server.images, env={"HOLDFAST_CONF": str(conf)})
        assert said.json["expires_in"] == 50
        conf.write_text("lock-timeout = never\n")
        said = holdfast(*words, server.images, env={"HOLDFAST_CONF": str(conf)})
        assert said.rc == 1 and f"{conf}:1: `lock-timeout` must be" in said.err
        unlock(id_of(server), "--netns", one.path)
        unlock(id_of(server), "--netns", two.path)


def test_nothing_to_hold(
    tmp_path: Path, net: Network, holdfast_mode: Mode, elsewhere: list[Netns]
) -> None:
    """Connections over loopback are each namespace's own: another one may have the same."""
    (one, two) = elsewhere
    bind = "sock.bind(('127.0.0.1', 7401))"
    with (
        AgentTask(net.container, tmp_path / "a", holdfast_mode) as a,
        PeerAgent(net.peer, tmp_path / "b", "same") as same,
    ):
        for agent in (a, same):
            agent.listen("l", "127.0.0.1", 7400)
            agent.run(f"sock = socket.socket(); {bind}; sock.connect(('127.0.0.1', 7400))")
            agent.accept("c", "l")
        a.checkpoint().check()
        said = holdfast("show", "--json", a.images)
        assert len(said.json["connections"]) == 2
        ours = said.json["id"]
        assert lock(one, a.images).out == f"checkpoint {ours}: nothing to hold\n"
        found = lock(one, "--json", a.images).json
        assert (found["outcome"], found["connections"]) == ("nothing to hold", 0)
        assert not tables(one)
        a.restore().check()


# ---- what is refused, and changes nothing


def refused(where: Netns, what: object, *words: str) -> None:
    before = nft_tables(where)
    said = lock(where, what, rc=1)
    assert said.out == ""
    (line,) = said.err.splitlines()
    assert line.startswith("holdfast: ") and all(word in line for word in words), line
    assert nft_tables(where) == before


def test_bad_checkpoints(
    tmp_path: Path, serve: Serve, connect: Connect, holdfast_mode: Mode, elsewhere: list[Netns]
) -> None:
    one, _ = elsewhere
    with checkpoint(serve, connect, holdfast_mode) as server:
        good = archive(server.images, tmp_path / "good.tar").read_bytes()
        image = server.images / "holdfast.img"
        content = image.read_bytes()
        bad = tmp_path / "bad"
        for data, words in (
            (good[: len(good) // 2], "the archive is damaged"),
            (good + b"garbage", "it goes on after its end"),
            (
                good.replace(b"holdfast.img\0", b"heldfast.img\0"),
                "the archive is damaged: Damaged tar archive",
            ),
            (good.replace(content[-40:], bytes(40)), "holdfast.img: "),
            (b"nothing of the sort\n" * 500, "neither an image directory nor a checkpoint arc"),
        ):
            assert data != good
            bad.write_bytes(data)
            refused(one, bad, str(bad), words)
        image.unlink()
        refused(one, server.images, "made without holdfast")
        refused(one, archive(server.images, tmp_path / "none.tar"), "made without holdfast")
        refused(one, tmp_path / "missing", "No such file")
        image.symlink_to("/etc/passwd")
        refused(one, server.images, "cannot open holdfast.img")
        refused(one, archive(server.images, tmp_path / "link.tar"), "is a link or no ordinary")
        image.unlink()
        image.write_bytes(content[:-1])
        refused(one, server.images, "the file ends at byte")
        unlock(server.images, rc=1, err="the file ends at byte")
        image.write_bytes(content)


def test_running_container(
    serve: Serve, connect: Connect, holdfast_mode: Mode, elsewhere: list[Netns]
) -> None:
    """It would be cut off: it was left running, or is restored already."""
    server = serve("criu-external", holdfast_mode)
    with connect(["idle*2", "echo"], patience=15) as peer:
        server.checkpoint(leave_running=True).check()
        where = f"in use in the network namespace {server.net.container.path}: the container"
        for ns in (*elsewhere, HOST, server.net.container):
            refused(ns, server.images, "3 of its connections are", where)
        server.checkpoint().check()
        lock(elsewhere[0], server.images)
        server.restore().check()
        for ns in elsewhere:
            refused(ns, server.images, where)
        unlock(server.images)
        finish(peer)


def test_no_permission(tmp_path: Path, net: Network, elsewhere: list[Netns]) -> None:
    images = tmp_path / "images"
    images.mkdir()
    good = Path(__file__).parents[1] / "fuzz/corpus/good-sample"
    (images / "holdfast.img").write_bytes(good.read_bytes())
    for path in (images, *images.parents):
        if path.stat().st_uid == 0 and path.stat().st_mode & 0o005 != 0o005:
            path.chmod(path.stat().st_mode | 0o005)
    for verb, args in (("lock", [images]), ("unlock", [NO_ID]), ("unlock", ["--all"])):
        said = holdfast(verb, *args, user=NOBODY)
        (line,) = said.err.splitlines()[:1]
        assert said.rc == 1 and line.endswith(f"({verb} needs to be run as root)"), said
    assert not tables(HOST)


def test_wrong_use(tmp_path: Path, elsewhere: list[Netns]) -> None:
    for args in ([], ["a", "b"], ["--nonsense", "a"], ["--netns"], ["--timeout"]):
        said = holdfast("lock", *args)
        assert (said.rc, said.out) == (2, "") and said.err.startswith("usage: holdfast lock ")
    for value in ("0", "-1", "", "x", "1x", "86401", "99999999999999999999", " 1", "+1"):
        said = holdfast("lock", "--timeout", value, tmp_path)
        assert (said.rc, said.out) == (2, "")
        assert said.err == "holdfast: --timeout is from 1 to 86400 seconds\n"
    for args in ([], ["a", "b"], ["--all", NO_ID], ["--all", "--force"], ["--timeout", "1", "a"]):
        said = holdfast("unlock", *args)
        assert (said.rc, said.out) == (2, "") and said.err.startswith("usage: holdfast unlock ")
    for verb in ("lock", "unlock"):
        for path in (tmp_path / "none", "/etc/passwd"):
            said = holdfast(verb, "--netns", path, tmp_path if verb == "lock" else NO_ID)
            assert (said.rc, said.out) == (1, "") and len(said.err.splitlines()) == 1


# ---- unlock


def make_table(ns: Netns, name: str) -> None:
    ns.run("nft", "add", "table", "inet", name).check()


def ids(ns: Netns) -> set[str]:
    return {name.removeprefix("holdfast-") for name in tables(ns)}


def test_unlock_by_id(elsewhere: list[Netns]) -> None:
    one, two = elsewhere
    names = ["a" * 32, "a" * 12 + "b" * 20, "0123456789" + "c" * 22]
    for name in names:
        make_table(one, f"holdfast-{name}")
    make_table(two, f"holdfast-{names[2]}")
    make_table(one, "holdfast-notes")
    others = {"notes"}
    # Which one?
    for prefix in ("a" * 8, "a" * 12):
        said = holdfast("unlock", prefix)
        assert (said.rc, said.out) == (1, "")
        several = f"there are several locks {prefix}...: more digits are needed"
        assert said.err == f"holdfast: {several}\n"
    # None; and what is no id is a path.
    for name in ("b" * 8, "a" * 31 + "b", NO_ID):
        assert unlock(name, rc=4, err=f"holdfast: there is no lock {name}\n") == []
        said = holdfast("unlock", "--json", name)
        assert said.rc == 4 and said.json == {"locks": []}
    for name in ("a" * 7, "a" * 33, "a" * 31 + "g"):
        unlock(name, rc=1, err=f"holdfast: {name}: No such file or directory\n")
    assert ids(one) == {*names, *others}
    (line,) = unlock(("a" * 12 + "b").upper())
    assert line == f"lock {names[1]} in {one.path} (?; age ?; 0 connections): removed"
    assert ids(one) == {names[0], names[2], *others}
    assert len(unlock("--netns", one.path, names[2][:8])) == 1
    assert (ids(one), ids(two)) == ({names[0], *others}, {names[2]})
    make_table(one, f"holdfast-{names[2]}")
    assert len(unlock(names[2])) == 2
    assert (ids(one), ids(two)) == ({names[0], *others}, set())
    unlock("--netns", two.path, names[0], rc=4, err="there is no lock")
    unlock(names[0])
    assert ids(one) == others


def test_unlock_all(elsewhere: list[Netns]) -> None:
    one, two = elsewhere
    make_table(one, f"holdfast-{NO_ID}")
    make_table(two, "holdfast-" + "e" * 32)
    make_table(two, "filter")
    assert len(unlock("--all", "--netns", one.path)) == 1
    assert not tables(one) and len(tables(two)) == 2
    make_table(one, f"holdfast-{NO_ID}")
    said = holdfast("unlock", "--all", "--json")
    assert (said.rc, said.err) == (0, "")
    assert {(one["id"], one["outcome"]) for one in said.json["locks"]} == {
        (NO_ID, "removed"), ("e" * 32, "removed"),
    }  # fmt: skip
    assert not tables(one) and tables(two) == ["filter"]
    assert unlock("--all") == ["no locks"]
    assert holdfast("unlock", "--all", "--json").json == {"locks": []}


def test_busy(
    tmp_path: Path, net: Network, serve: Serve, connect: Connect, holdfast_mode: Mode
) -> None:
    """A dump is going on: only who insists removes its lock."""
    server = serve("criu-external", holdfast_mode)

    def left(lines: Sequence[str], criu: int) -> None:
        assert len(lines) == 2  # that of the namespace, and the host's
        for line in lines:
            assert line.endswith(f": left alone, criu (pid {criu}) is busy")

    with connect(["idle*2", "echo"], patience=15) as peer:
        with dump(server, net.container, tmp_path / "dump", leave_running=True) as going:
            ours = the_lock(net.container)["id"]
            left(unlock(ours, rc=1, err="--force removes the lock all the same"), going.criu)
            left(unlock("--all"), going.criu)
            said = holdfast("unlock", "--json", ours)
            assert said.rc == 1
            assert [one["outcome"] for one in said.json["locks"]] == ["left alone"] * 2
            assert len(tables(net.container)) == 1 and len(tables(HOST)) == 2
            lines = unlock("--force", ours)
            assert len(lines) == 2 and all(line.endswith(": removed") for line in lines)
            assert not tables(net.container) and not tables(HOST)
            going.end()
        finish(peer)


def test_stale(
    tmp_path: Path, net: Network, serve: Serve, connect: Connect, holdfast_mode: Mode
) -> None:
    """What cuts a running program off is removed as well."""
    server = serve("criu-external", holdfast_mode)
    with connect(["echo"], patience=15) as peer:
        with dump(server, net.container, tmp_path / "dump") as going:
            going.kill()
        assert the_lock(net.container)["situation"] == "stale"
        assert len(unlock(the_lock(net.container)["id"][:8])) == 2
        finish(peer)
