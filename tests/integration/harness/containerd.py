# SPDX-License-Identifier: GPL-2.0-or-later
"""A containerd of the test's own, for containers of ctr and for pods by the CRI.

It runs in our own network namespace, or in one that stands for a host: then pods get addresses on
a bridge in there. Images come from a registry beside it: to restore a pod's container, containerd
pulls the image from which the container was made.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from . import proc, registry
from .closing import Closing
from .cri import Cri, Pod
from .criu import read_log
from .mode import Mode
from .net import Netns
from .oci import criu_conf
from .oci_image import Layout
from .programs import program

REGISTRY = ("127.0.0.1", "5000")
SERVER = "127.0.0.1:5000/hf-server:latest"
PAUSE = "127.0.0.1:5000/pause:latest"
# Runtimes to choose by name: the pods of one get addresses from a range, those of the other one
# all have the same.
POD_NETS = ("10.88.0.0/24", "fd88::/64")
HANDLERS = {
    "range": [("10.88.0.16", "10.88.0.99"), ("fd88::16", "fd88::99")],
    "same": [("10.88.0.7", "10.88.0.7"), ("fd88::7", "fd88::7")],
}

CONFIG = """\
version = 3
root = "{work}/root"
state = "{work}/state"

[grpc]
address = "{work}/containerd.sock"

[ttrpc]
address = "{work}/containerd.sock.ttrpc"

[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = "{pause}"

[plugins."io.containerd.cri.v1.runtime"]
enable_cdi = false
restrict_oom_score_adj = true

[plugins."io.containerd.cri.v1.runtime".cni]
bin_dirs = ["/usr/lib/cni", "/opt/cni/bin"]
conf_dir = "{work}/cni-range"

[plugins."io.containerd.cri.v1.runtime".containerd]
default_runtime_name = "range"
"""

RUNTIME = """
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.{name}]
runtime_type = "io.containerd.runc.v2"
cni_conf_dir = "{work}/cni-{name}"
pod_annotations = ["org.criu.config"]

[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.{name}.options]
BinaryName = "{work}/runtime"
# Without it CRIU's log of a restore that fails goes away with the container.
CriuWorkPath = "{work}/criu"
"""

# containerd gives every pod a share of the processor, and runc fails on it where the kernel's
# controllers are not to be had, as in the test root.
WRAPPER = """\
#!/bin/sh
previous=
for word; do
    [ "$previous" != --bundle ] || bundle=$word
    previous=$word
done
if [ "$bundle" ]; then
    jq 'del(.linux.resources)' "$bundle/config.json" >"$bundle/config.new" &&
        mv "$bundle/config.new" "$bundle/config.json" || exit
fi
exec runc "$@"
"""


def _network(name: str, ranges: Sequence[tuple[str, str]], leases: Path) -> dict[str, Any]:
    """In CNI's terms: a bridge with an address for each pod, the host's way out."""
    ipam = [
        [{"subnet": subnet, "rangeStart": first, "rangeEnd": last}]
        for subnet, (first, last) in zip(POD_NETS, ranges, strict=True)
    ]
    bridge = {
        "type": "bridge",
        "bridge": "pods",
        "isDefaultGateway": True,
        "ipam": {"type": "host-local", "dataDir": str(leases), "ranges": ipam},
    }
    return {"cniVersion": "1.0.0", "name": name, "plugins": [bridge]}


class Containerd(Closing):
    def __init__(self, mode: Mode, host: Netns | None = None, config: str = "") -> None:
        """config: holdfast's own."""
        self.mode = mode
        self.host = host
        self.config = config

    def open(self) -> None:
        # Not below the test's own directory: the path of a socket must be short.
        self.work = Path(tempfile.mkdtemp(prefix="hfcd"))
        self._stack = contextlib.ExitStack()
        self._stack.enter_context(criu_conf(self.mode))
        self._configure()
        self.layout = Layout(self.work / "layout")
        busybox = {"bin/busybox": Path(shutil.which("busybox") or "/bin/busybox")}
        server = {"hf-server": program("hf-server")}
        self.layout.add(SERVER, server | busybox, ["/hf-server"])
        self.layout.add(PAUSE, busybox, ["/bin/busybox", "sleep", "9d"])
        self._start(sys.executable, "-B", registry.__file__, self.layout.path, *REGISTRY)
        config = self.work / "config.toml"
        self._start("containerd", "--config", config, "--log-level", "debug")
        self.cri = Cri(self.socket, self.work)
        self._stack.callback(self.cri.close)
        proc.wait_for(self.socket.exists, "socket of containerd")
        proc.wait_for(self.cri.ready, "start of containerd")
        proc.wait_for(self.layout.path.joinpath(registry.READY).exists, "start of the registry")
        self._load_images()

    @property
    def socket(self) -> Path:
        return self.work / "containerd.sock"

    @property
    def restore_log(self) -> str:
        """CRIU's, of the last restore, also of one that failed."""
        return read_log(self.work / "criu" / "restore.log")

    def _configure(self) -> None:
        text = CONFIG.format(work=self.work, pause=PAUSE)
        for name, ranges in HANDLERS.items():
            text += RUNTIME.format(work=self.work, name=name)
            network = _network(f"net-{name}", ranges, self.work / "leases")
            where = self.work / f"cni-{name}"
            where.mkdir()
            (where / "net.conflist").write_text(json.dumps(network))
        (self.work / "config.toml").write_text(text)
        (self.work / "holdfast.conf").write_text(self.config)
        wrapper = self.work / "runtime"
        wrapper.write_text(WRAPPER)
        wrapper.chmod(0o755)

    def _start(self, *command: object) -> subprocess.Popen[bytes]:
        words = [str(word) for word in command]
        with (self.work / "log").open("ab") as log:
            process = subprocess.Popen(
                self.host.command(words) if self.host else words,
                env={**os.environ, "HOLDFAST_CONF": str(self.work / "holdfast.conf")},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._stack.callback(process.wait)
        self._stack.callback(process.terminate)
        return process

    def _load_images(self) -> None:
        archive = self.layout.archive(self.work / "images.tar")
        for namespace in ("default", "k8s.io"):
            self.ctr("images", "import", archive, namespace=namespace).check()
        # Pulled, for the restore: that pulls by the digest which only a pulled image has.
        self.cri.call("PullImage", image={"image": SERVER})

    def ctr(
        self, *words: object, namespace: str = "default", timeout: float = 60
    ) -> proc.Done:
        command = ["ctr", "--address", self.socket, "--namespace", namespace, *words]
        return proc.run(command, timeout)

    @contextlib.contextmanager
    def pod(self, handler: str = "", **kwargs: Any) -> Iterator[Pod]:
        pod = Pod(self.cri, self.work, handler, **kwargs)
        pod.start()
        try:
            yield pod
        finally:
            pod.remove()  # works a second time too

    def _shims(self) -> list[int]:
        """Those of this containerd: they are no children of it."""
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                words = path.read_bytes().split(b"\0")
                if b"containerd-shim" in words[0] and str(self.socket).encode() in words:
                    found.append(int(path.parent.name))
        return found

    def close(self) -> None:
        shims = self._shims()
        proc.kill([pid for shim in shims for pid in proc.tree(shim)[1:]])
        self._stack.close()
        proc.kill(self._shims())
        self._unmount()
        shutil.rmtree(self.work, ignore_errors=True)

    def _unmount(self) -> None:
        """What is left where a test ended somewhere."""
        mounts = Path("/proc/self/mountinfo").read_text().splitlines()
        for point in [line.split()[4] for line in reversed(mounts)]:
            if point.startswith((f"{self.work}/", "/run/netns/cni-")):
                proc.run(["umount", "--lazy", point])
            if point.startswith("/run/netns/cni-"):
                Path(point).unlink()
