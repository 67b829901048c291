# SPDX-License-Identifier: GPL-2.0-or-later
"""What is left when CRIU and the guardian die, and the command that looks for it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import checks, proc
from .arrangements import Server
from .criu import Result
from .net import Netns
from .programs import builddir

WAIT = """#!/bin/sh
[ "$CRTOOLS_SCRIPT_ACTION" = post-dump ] || exit 0
touch {waiting}
while [ ! -e {go_on} ]; do sleep 0.05; done
"""


@dataclass(frozen=True)
class Said:
    """What the command said."""

    rc: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    def line(self, *words: str) -> str:
        """The one line with these words."""
        (found,) = [line for line in self.lines if all(word in line for word in words)]
        return found

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def holdfast(
    *args: object,
    user: int | None = None,
    wrapper: Sequence[object] = (),
    env: Mapping[str, str | None] | None = None,
) -> Said:
    """wrapper: a command that runs it; env: what differs from our own environment."""
    words = [*map(str, wrapper), str(builddir() / "holdfast"), *map(str, args)]
    merged = {**os.environ, **(env or {})}
    done = subprocess.run(
        words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, user=user,
        group=user, extra_groups=None if user is None else [],
        env={name: value for name, value in merged.items() if value is not None},
    )
    return Said(done.returncode, done.stdout, done.stderr)


def locks(ns: Netns) -> list[dict[str, Any]]:
    said = holdfast("status", "--json", "--netns", ns.path)
    assert (said.rc, said.err) == (0, "")
    found: list[dict[str, Any]] = said.json["locks"]
    return found


def the_lock(ns: Netns) -> dict[str, Any]:
    (lock,) = locks(ns)
    return lock


def comm(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


def guardian(ns: Netns) -> int:
    """The one that holds this namespace open."""
    found = []
    for path in Path("/proc").glob("[0-9]*/comm"):
        with contextlib.suppress(OSError):
            if path.read_text().strip() != "holdfast-guard":
                continue
            fds = (path.parent / "fd").iterdir()
            if any(fd.stat().st_ino == ns.inode for fd in fds):
                found.append(int(path.parent.name))
    (pid,) = found
    return pid


@dataclass
class Dump:
    """A dump that waits at its end, when everything is done but to let the tasks go."""

    ns: Netns
    criu: int
    guardian: int
    future: Future[Result]
    go_on: Path

    def end(self) -> Result:
        self.go_on.touch()
        return self.future.result(60)

    def kill(self) -> None:
        """Both, so that nobody puts anything right."""
        kill(self.guardian)
        kill(self.criu)
        assert not self.end().ok


@contextlib.contextmanager
def dump(server: Server, ns: Netns, work: Path, **kwargs: Any) -> Iterator[Dump]:
    """A checkpoint by the criu command."""
    work.mkdir(parents=True, exist_ok=True)
    waiting, go_on, script = work / "waiting", work / "go-on", work / "wait"
    script.write_text(WAIT.format(waiting=waiting, go_on=go_on))
    script.chmod(0o755)
    for path in (waiting, go_on):
        path.unlink(missing_ok=True)
    with ThreadPoolExecutor(1) as pool:
        extra = ["--action-script", str(script)]
        future = pool.submit(server.checkpoint, extra=extra, **kwargs)
        try:
            proc.wait_for(lambda: waiting.exists() or future.done(), "the end of the dump")
            lock = the_lock(ns)
            criu = lock["owner"]["pid"]
            assert comm(criu) == "criu"
            yield Dump(ns, criu, guardian(ns), future, go_on)
        finally:
            go_on.touch()


def set_repair(pids: Sequence[int], count: int = 1, mode: int = 1) -> list[str]:
    """Puts connections into repair mode, or takes them out; their local addresses."""
    done: list[str] = []
    for pid in pids:
        for sock in checks.sockets(pid):
            if len(done) == count or sock.family not in (socket.AF_INET, socket.AF_INET6):
                continue
            with contextlib.suppress(OSError):
                sock.getpeername()
                if sock.getsockopt(socket.IPPROTO_TCP, checks.TCP_REPAIR) != mode:
                    sock.setsockopt(socket.IPPROTO_TCP, checks.TCP_REPAIR, mode)
                    done.append(str(sock.getsockname()))
    assert len(done) == count
    return done


def reuseaddr(pids: Sequence[int], choose: Callable[[socket.socket], bool]) -> set[int]:
    """SO_REUSEADDR of the TCP sockets that are chosen."""
    found = set()
    for pid in pids:
        for sock in checks.sockets(pid):
            if sock.family in (socket.AF_INET, socket.AF_INET6) and choose(sock):
                found.add(sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR))
    return found


def kill(pid: int) -> None:
    """Leaves it to others to reap it: the harness waits for its criu itself."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    proc.wait_for(lambda: not proc.alive(pid), f"end of {pid}")


def stop(pid: int) -> None:
    os.kill(pid, signal.SIGSTOP)
    proc.wait_for(lambda: state(pid) == "T", f"{pid} stops")


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
