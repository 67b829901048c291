# SPDX-License-Identifier: GPL-2.0-or-later
"""sshd on hosts, and the way from one to the other."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from . import proc
from .closing import Closing
from .host import Host
from .proc import Done, run
from .programs import builddir

PORT = 22

SSHD = """
ListenAddress {v4}:{port}
HostKey {work}/host-key
AuthorizedKeysFile {work}/key.pub
PermitRootLogin prohibit-password
PasswordAuthentication no
UsePAM no
StrictModes no
PidFile none
SetEnv PATH={work}/bin:/usr/sbin:/usr/bin:/sbin:/bin
"""

SSH = """
Host *
  User root
  Port {port}
  IdentityFile {work}/key
  UserKnownHostsFile {work}/known-hosts
  StrictHostKeyChecking yes
"""


class Ssh(Closing):
    """with Ssh(hosts.all, tmp_path) as ssh: every host has sshd and knows every other.

    The holdfast command as just built is in the PATH of whoever logs in.
    """

    def __init__(self, hosts: Sequence[Host], work: Path) -> None:
        self.hosts, self.work = hosts, work
        self._running: dict[Host, subprocess.Popen[bytes]] = {}

    @property
    def path(self) -> str:
        return f"{self.work}/bin:/usr/sbin:/usr/bin:/sbin:/bin"

    @property
    def command(self) -> str:
        """To be given where somebody asks for an ssh command."""
        return f"ssh -F {self.work}/config"

    def open(self) -> None:
        (self.work / "bin").mkdir(parents=True)
        (self.work / "bin" / "holdfast").symlink_to(builddir() / "holdfast")
        for name in ("key", "host-key"):
            run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.work / name]).check()
        (self.work / "config").write_text(SSH.format(port=PORT, work=self.work))
        public = (self.work / "host-key.pub").read_text()
        known = [f"{host.ns.v4} {public}" for host in self.hosts]
        (self.work / "known-hosts").write_text("".join(known))
        for host in self.hosts:
            self.start(host)

    def start(self, host: Host) -> None:
        config, log = self.work / f"{host}.sshd", self.work / f"{host}.log"
        config.write_text(SSHD.format(v4=host.ns.v4, port=PORT, work=self.work))
        host.run("mkdir", "-p", "/run/sshd").check()
        command = [shutil.which("sshd") or "/usr/sbin/sshd", "-D", "-f", config, "-E", log]
        self._running[host] = host.popen(command, stdin=subprocess.DEVNULL)
        probe = ["nc", "-z", host.ns.v4, PORT]
        proc.wait_for(lambda: host.run(*probe).rc == 0, f"sshd of {host}: {log}")

    def stop(self, host: Host) -> None:
        """With all sessions: as if the host had no power."""
        process = self._running.pop(host)
        proc.kill(proc.tree(process.pid))

    def run(self, host: Host, *command: object, timeout: float = 120) -> Done:
        """On a host, as its administrator."""
        return host.run("env", f"PATH={self.path}", *command, timeout=timeout)

    def close(self) -> None:
        for host in list(self._running):
            self.stop(host)
