# SPDX-License-Identifier: GPL-2.0-or-later
"""System calls that go wrong: the lock is there or not, never in part, and nobody is told else."""

from __future__ import annotations

import functools
import os
import shutil
from pathlib import Path

import pytest

from harness import checks, proc
from harness.cases import FLOWING, Connect, Serve, finish
from harness.mode import Mode
from harness.net import HOST, Network
from harness.programs import builddir, program

NETFILTER = 12  # NETLINK_NETFILTER


def hf_fault(*args: str, deny: tuple[str, ...] = ()) -> str:
    """Runs one case of hf-fault, which looks at the rules itself."""
    denied = [word for what in deny for word in (program("hf-deny"), what)]
    done = proc.run([*denied, program("hf-fault"), *args])
    assert done.rc == 0, done.output
    return done.output


@pytest.mark.parametrize(
    "function, what",
    [
        ("socket", "EMFILE"),
        ("bind", "ENOMEM"),
        ("setsockopt", "EPERM"),
        ("sendto", "ENOBUFS"),
        ("sendto", "EINTR"),
        ("sendto", "EBUSY"),
        ("sendto", "refused"),
        ("recvmsg", "ENOBUFS"),
        ("recvmsg", "ENOMEM"),
        ("recvmsg", "EINTR"),
        ("recvmsg", "EAGAIN"),
        ("recvmsg", "lost"),
    ],
)
@pytest.mark.parametrize("operation", ["lock", "relock", "unlock"])
def test_lock_is_whole_or_not_there(operation: str, function: str, what: str) -> None:
    """Each call once, and each with all later ones."""
    assert "recvmsg:1:lost: 0, " in hf_fault(operation, function, what) or what != "lost"


@pytest.mark.parametrize(
    "function, what",
    [
        ("socket", "EMFILE"),
        ("getsockname", "ENOMEM"),
        ("sendto", "EBUSY"),
        ("sendto", "ENOBUFS"),
        ("recvmsg", "ENOBUFS"),
        ("recvmsg", "EINTR"),
        ("recvmsg", "ENOMEM"),
        ("recvmsg", "lost"),
        ("recvmsg", "interrupted"),
    ],
)
def test_list_is_whole_or_an_error(function: str, what: str) -> None:
    hf_fault("list", function, what)


@pytest.mark.parametrize("what", ["overrun", "changing", "unknown"])
def test_the_kernel_itself(what: str) -> None:
    """It drops answers, says that a dump is inconsistent, and ends one with an error."""
    hf_fault(what)


@pytest.mark.parametrize(
    "deny, result",
    [((), 0), (("membarrier",), 0), (("membarrier", "packet"), -97)],
    ids=["membarrier", "packet", "none"],
)
def test_barrier(deny: tuple[str, ...], result: int) -> None:
    output = hf_fault("barrier", deny=deny)
    assert output.startswith(f"barrier: {result}, "), output


def fault(function: str, at: str, what: str) -> dict[str, str]:
    # A sanitizer's library wants to be the first.
    modules = [os.environ.get("LD_PRELOAD"), str(builddir() / "tests/programs/.libs/fault.so")]
    preload = ":".join(filter(None, modules))
    return {"LD_PRELOAD": preload, "HF_FAULT": f"{function}@{NETFILTER}:{at}:{what}"}


@pytest.mark.parametrize(
    "function, what", [("sendto", "ENOBUFS"), ("sendto", "EPERM"), ("recvmsg", "lost")]
)
def test_dump(
    net: Network, serve: Serve, connect: Connect, holdfast_mode: Mode, function: str, what: str
) -> None:
    """A dump succeeds or is refused; either way the running server goes on, without a lock.

    The last calls are those by which CRIU lets it go on; what fails there the guardian does.
    """
    server = serve("criu-external", holdfast_mode)
    refused: list[bool] = []
    with connect(FLOWING, patience=15) as peer:
        for at in range(1, 20):
            server.env = fault(function, str(at), what)
            result = server.checkpoint(leave_running=True)
            fired = "HF_FAULT fired" in result.output
            # (CRIU's own calls on such sockets come later, and have their turn as well.)
            assert result.ok or (fired and result.lines("Error")), result.log
            refused.append(not result.ok)
            tables = functools.partial(checks.holdfast_tables, net.container, HOST)
            proc.wait_for(lambda: not tables(), "end of the lock")
            assert peer.progress().ok
            if not fired:
                break
            shutil.rmtree(server.images)
        assert at > 2 and not fired  # the check of the kernel, the lock
        if what == "EPERM":
            assert refused[:4] == [True] * 4 and refused == sorted(refused, reverse=True)
        finish(peer)


def test_dump_with_no_answer_at_all(
    net: Network, serve: Serve, connect: Connect, holdfast_mode: Mode
) -> None:
    """Nobody says whether the lock was taken: the refused dump removes it all the same."""
    server = serve("criu-external", holdfast_mode)
    with connect(FLOWING, patience=5) as peer:
        for at in range(1, 6):
            server.env = fault("recvmsg", f"{at}+", "lost")
            result = server.checkpoint(leave_running=True)
            if result.ok:
                break
            shutil.rmtree(server.images)
            assert not checks.holdfast_tables(net.container, HOST)
        assert at > 2  # the check of the kernel, the lock
        finish(peer)


def refuse(what: tuple[str, ...], directory: Path) -> str:
    """A PATH with a criu that dumps on a kernel which refuses this; restored tasks stay free."""
    words = " ".join(f"{program('hf-deny')} {word}" for word in what)
    script = directory / "criu"
    script.write_text(
        f'#!/bin/sh\n[ "$1" = dump ] && set -- {words} {shutil.which("criu")} "$@" ||'
        f' set -- {shutil.which("criu")} "$@"\nexec "$@"\n'
    )
    script.chmod(0o755)
    return f"{directory}:{os.environ['PATH']}"


def test_dump_without_membarrier(
    tmp_path: Path, serve: Serve, connect: Connect, holdfast_mode: Mode
) -> None:
    """As on a nohz_full kernel that is not known: twenty rounds under load, every byte checked."""
    path = refuse(("if_flags", "membarrier"), tmp_path)
    server = serve("criu-external", holdfast_mode, env={"PATH": path})
    with connect(["idle*2", "echo*6", "source*3", "sink*3", "duplex*3"], patience=15) as peer:
        for _ in range(20):
            server.checkpoint().check()
            server.restore().check()
            shutil.rmtree(server.images)
        finish(peer)


def test_dump_without_any_barrier(
    tmp_path: Path, serve: Serve, connect: Connect, holdfast_mode: Mode
) -> None:
    """Nothing to wait with for packets under way: refused, and everything goes on."""
    path = refuse(("if_flags", "membarrier", "packet"), tmp_path)
    server = serve("criu-external", holdfast_mode, env={"PATH": path})
    with connect(["echo*6", "duplex*3"], patience=15) as peer:
        result = server.checkpoint()
        assert not result.ok
        assert result.lines("nothing was changed", "membarrier")
        finish(peer)
