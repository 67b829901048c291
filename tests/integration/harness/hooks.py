# SPDX-License-Identifier: GPL-2.0-or-later
"""The OCI hook: by hand, by the runtimes, and beside another hook that attaches the network."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .checks import holdfast_tables
from .net import HOST, Netns, Network
from .oci import OciServer
from .proc import run
from .programs import Missing, builddir

RUNTIMES = ["runc", "crun"]
STARTS = ["prestart", "createRuntime"]
STAGES = [*STARTS, "poststop"]
ROLES = ["idle*2", "echo*3", "source*2", "sink*3", "duplex*2"]

MAC = "02:77:00:00:00:01"

# Says after each call what came of it.
RECORD = """#!/bin/sh
{hook} "$@" 2>>{log}.stderr
status=$?
echo "$@" $status >>{log}
exit $status
"""

# The kernel takes a dying namespace's rules away before its devices, so what comes then is answered
# by a reset. The host's lock holds what the host forwards; but the bridge here is not the host's.
DETACH = """#!/bin/sh
[ "${{CRTOOLS_SCRIPT_ACTION:-post-dump}}" != post-dump ] || exec ip -n {switch} link set port down
"""

# The network of a container whose namespace did not exist before: the other end of its cable is a
# port of the bridge (as soon as that of the namespace before is gone). Then waits for a packet of
# those that could not reach it so far.
ATTACH = """#!/bin/sh
set -e
pid=${{1:-$(jq .pid)}}
ns="nsenter --net=/proc/$pid/ns/net --"
$ns nft 'table inet arrived {{ chain c {{
	type filter hook prerouting priority -400; tcp dport {{ {ports} }} counter
}} ; }}'
while ip -n {switch} link show port >/dev/null 2>&1; do sleep 0.05; done
ip -n {switch} link add port type veth peer name eth0 address {mac} netns "$pid"
ip -n {switch} link set port master br0 up
$ns ip link set lo up
$ns ip addr add {v4}/24 dev eth0
$ns ip addr add {v6}/64 dev eth0 nodad
$ns ip link set eth0 up
if [ -e {wait} ]; then
	timeout 30 sh -c "while $ns nft list table inet arrived | grep -q 'packets 0 '
		do sleep 0.05; done"
	sleep 0.2
fi
$ns nft list ruleset >{seen}
"""


def hook() -> Path:
    path = builddir() / "holdfast-hook"
    if not path.exists():
        raise Missing(f"{path} is missing: run make")
    return path


@dataclass(frozen=True)
class Ran:
    rc: int
    out: str
    err: str


def by_hand(
    *stage: str, state: bytes | dict[str, Any], before: Sequence[object] = (), **popen: Any
) -> Ran:
    """before: a command that runs it, such as setpriv."""
    text = state if isinstance(state, bytes) else json.dumps(state).encode()
    words = [*map(str, before), str(hook()), *stage]
    done = subprocess.run(words, input=text, capture_output=True, timeout=60, **popen)
    return Ran(done.returncode, done.stdout.decode(), done.stderr.decode())


def refused(ran: Ran, stage: str, *words: str) -> None:
    """One line, and a container is not kept from being removed."""
    assert ran.out == "" and ran.err.count("\n") == 1 and ran.err.endswith("\n"), ran
    assert ran.err.startswith(f"holdfast-hook: {stage}: ") and ran.err.isascii(), ran
    for word in words:
        assert word in ran.err, ran
    assert ran.rc == (0 if stage == "poststop" else 1), ran


@contextlib.contextmanager
def ended(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """At the end, whatever comes between; one with an output is ready when it says so."""
    with process:
        try:
            assert not process.stdout or process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


class Record:
    """The hook as a script that writes down how each of its runs ended."""

    def __init__(self, work: Path, command: Sequence[object] = ()) -> None:
        self.log, self.path = work / "hook.log", work / "hook"
        words = " ".join(map(str, [*command, hook()]))
        self.path.write_text(RECORD.format(hook=words, log=self.log))
        self.path.chmod(0o755)

    def entry(self, stage: str) -> dict[str, Any]:
        """For a list of hooks in config.json."""
        return {"path": str(self.path), "args": ["holdfast-hook", stage]}

    def all_stages(self, start: str = "createRuntime") -> dict[str, Any]:
        return {stage: [self.entry(stage)] for stage in (start, "poststop")}

    def runs(self) -> list[str]:
        """As "createRuntime 0", since the last call."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        self.log.unlink(missing_ok=True)
        return lines

    def stderr(self) -> str:
        path = Path(f"{self.log}.stderr")
        return path.read_text() if path.exists() else ""


class Switched(Network):
    """A peer at a bridge, and a container whose network namespace comes and goes.

    Its name may be there or not: attach, a script, goes by a pid. detach is to be run before the
    namespace goes away, as CRIU's action script or by itself.
    """

    def __init__(self, work: Path) -> None:
        super().__init__()
        self.switch = Netns(f"{self.peer.name}s", "", "")
        self.seen, self.wait = work / "seen", work / "wait"
        self.attach = work / "attach"
        self.attach.write_text(
            ATTACH.format(
                switch=self.switch.name, mac=MAC, v4=self.container.v4, v6=self.container.v6,
                ports=f"{self.PORT}, {self.DUAL_PORT}", wait=self.wait, seen=self.seen,
            )
        )  # fmt: skip
        self.attach.chmod(0o755)
        self.detach = work / "detach"
        self.detach.write_text(DETACH.format(switch=self.switch.name))
        self.detach.chmod(0o755)

    def open(self) -> None:
        for ns in (self.peer, self.switch):
            run(["ip", "netns", "add", ns.name]).check()
        switch = ["ip", "-n", self.switch.name]
        run([*switch, "link", "add", "br0", "type", "bridge", "forward_delay", "0"]).check()
        run([*switch, "link", "set", "br0", "up"]).check()
        cable = ["link", "add", "cable", "type", "veth", "peer", "name", "eth0"]
        run([*switch, *cable, "netns", self.peer.name]).check()
        run([*switch, "link", "set", "cable", "master", "br0", "up"]).check()
        peer = ["ip", "-n", self.peer.name]
        run([*peer, "link", "set", "lo", "up"]).check()
        run([*peer, "addr", "add", f"{self.peer.v4}/24", "dev", "eth0"]).check()
        run([*peer, "addr", "add", f"{self.peer.v6}/64", "dev", "eth0", "nodad"]).check()
        run([*peer, "link", "set", "eth0", "up"]).check()
        # So that its packets come at any time, not only after an answer to a question.
        for address in (self.container.v4, self.container.v6):
            entry = ["neigh", "add", address, "lladdr", MAC, "dev", "eth0", "nud", "permanent"]
            run([*peer, *entry]).check()

    def close(self) -> None:
        for ns in (self.container, self.peer, self.switch):
            if ns.path.exists():
                run(["ip", "netns", "del", ns.name])

    def entry(self) -> dict[str, Any]:
        """The hook that attaches the network."""
        return {"path": str(self.attach), "args": [str(self.attach)]}


def rulesets(*namespaces: Netns) -> list[str]:
    return [ns.run("nft", "list", "ruleset").check().output for ns in namespaces]


def held(ruleset: str) -> int:
    """Packets dropped, in what a hook wrote down."""
    return sum(map(int, re.findall(r"counter packets (\d+) bytes \d+ drop", ruleset)))


def lock_tables(net: Network) -> list[str]:
    return holdfast_tables(net.container, HOST)


def remove_locks(net: Network, *where: Netns) -> None:
    for ns in where or (net.container, HOST):
        for table in holdfast_tables(ns):
            ns.run("nft", "delete", "table", *table.split()[1:]).check()


def fail(server: OciServer) -> None:
    """A restore that fails at its end, since the way to some peers is not there."""
    container = server.net.container
    route = ["10.77.0.0/24", "dev", "eth0"]
    container.run("ip", "route", "del", *route).check()
    assert server.restore().lines("Error (holdfast): restore failed, the lock is kept")
    container.run("ip", "route", "add", *route, "src", container.v4).check()
