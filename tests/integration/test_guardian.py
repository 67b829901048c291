# SPDX-License-Identifier: GPL-2.0-or-later
"""The guardian itself: what it holds, where it belongs, and that it goes away."""

from __future__ import annotations

from pathlib import Path

from harness import proc
from harness.cases import Connect, Serve, finish
from harness.mode import Mode
from harness.net import Network

# Run by CRIU at the end of a dump, while the guardian waits for what becomes of the tasks.
LOOK = """#!/bin/sh
[ "$CRTOOLS_SCRIPT_ACTION" = post-dump ] || exit 0
for comm in /proc/[0-9]*/comm; do
	[ "$(cat $comm 2>/dev/null)" = holdfast-guard ] || continue
	dir=${comm%/comm}
	echo "pid ${dir#/proc/}"
	for fd in $dir/fd/*; do echo "fd $(readlink $fd)"; done
	echo "cwd $(readlink $dir/cwd)"
	grep -E '^(PPid|SigBlk):' $dir/status
	echo "session $(cut -d' ' -f6 $dir/stat)"
done >WHERE
"""


def look(work: Path) -> Path:
    script = work / "look"
    script.write_text(LOOK.replace("WHERE", str(work / "guardian")))
    script.chmod(0o755)
    return script


def test_what_it_holds(
    tmp_path: Path, net: Network, serve: Serve, connect: Connect, holdfast_mode: Mode
) -> None:
    """A runtime waits for its pipes to be closed: the guardian has none of them."""
    server = serve("criu-external", holdfast_mode, server_args=["--share=fork"])
    script = look(tmp_path)
    with connect(["idle*3", "echo*2", "duplex"], patience=15) as peer:
        tasks = server.pids()
        server.checkpoint(leave_running=True, extra=["--action-script", str(script)]).check()
        lines = (tmp_path / "guardian").read_text().splitlines()
        found = [line.split(maxsplit=1) for line in lines]
        fds = [rest[0] for kind, *rest in found if kind == "fd"]
        kinds = ("/dev/null", "socket:", "anon_inode:[pidfd]", "pidfd:", "/run/netns/", "net:")
        by_kind = {kind: sum(fd.startswith(kind) for fd in fds) for kind in kinds}
        namespaces = by_kind.pop("/run/netns/") + by_kind.pop("net:") + fds.count("/")
        pidfds = by_kind.pop("anon_inode:[pidfd]") + by_kind.pop("pidfd:")
        # The sockets: six connections and the guardian's end of the control.
        assert by_kind == {"/dev/null": 3, "socket:": 7}, fds
        # The container's and the host's.
        assert (namespaces, pidfds) == (2, len(tasks)), fds
        assert len(fds) == 3 + 7 + 2 + len(tasks), fds
        facts = {kind.rstrip(":"): rest[0] for kind, *rest in found if kind != "fd"}
        assert facts["cwd"] == "/"
        assert facts["PPid"] == "1"
        # All but SIGKILL and SIGSTOP, which nobody can block.
        assert int(facts["SigBlk"], 16) & 0x7FFFFFFF == 0x7FFFFFFF & ~(1 << 8 | 1 << 18)
        assert facts["session"] not in {str(pid) for pid in tasks}
        proc.wait_for(lambda: not proc.alive(int(facts["pid"])), "the end of the guardian")
        finish(peer)


def test_it_is_replaced(
    tmp_path: Path, serve: Serve, connect: Connect, holdfast_mode: Mode
) -> None:
    """Killed before the end of a good dump: another one sees to the rest."""
    server = serve("criu-external", holdfast_mode)
    script = tmp_path / "kill"
    script.write_text(
        '#!/bin/sh\n[ "$CRTOOLS_SCRIPT_ACTION" != post-dump ] || pkill -KILL -x holdfast-guard\n'
    )
    script.chmod(0o755)
    with connect(["echo*3", "duplex*3"], patience=15) as peer:
        for leave_running in (True, False):
            extra = ["--action-script", str(script)]
            server.checkpoint(leave_running=leave_running, extra=extra).check()
            if not leave_running:
                server.restore().check()
            assert peer.progress().ok
        finish(peer)
