# SPDX-License-Identifier: GPL-2.0-or-later
"""A server in a container of containerd's own client, ctr, checkpointed and restored by that."""

from __future__ import annotations

import contextlib
import json
import secrets
import tarfile
from dataclasses import dataclass, field
from typing import Any

from . import proc
from .closing import Closing
from .containerd import SERVER, Containerd
from .net import Network
from .oci_image import INDEX, Layout

CRIU = "container.criu.checkpoint.criu.tar"  # in the type of what holds CRIU's files


@dataclass
class CtrServer(Closing):
    """with CtrServer(containerd, net) as server: ...; in the namespace net.container."""

    containerd: Containerd
    net: Network
    id: str = field(default_factory=lambda: f"hf{secrets.token_hex(4)}")

    def open(self) -> None:
        # Without a share of the processor: see containerd's WRAPPER, which a restore would not use.
        words: list[object] = ["run", "--detach", "--cpu-shares", "0"]
        words += ["--log-uri", f"file://{self.containerd.work}/{self.id}.log"]
        words += ["--with-ns", f"network:{self.net.container.path}", SERVER, self.id]
        words += ["/hf-server", *self.net.listen_args()]
        self.containerd.ctr(*words).check()

    def pids(self) -> list[int]:
        """The processes of the server, its first one first."""
        for line in self.containerd.ctr("tasks", "ls").check().output.splitlines()[1:]:
            name, pid, status = line.split()
            if name == self.id and status == "RUNNING":
                return proc.tree(int(pid))
        return []

    def checkpoint(self, *, leave_running: bool = False) -> str:
        """By "tasks checkpoint"; the name of the image that it made."""
        words = [] if leave_running else ["--exit"]
        done = self.containerd.ctr("tasks", "checkpoint", *words, self.id).check()
        return done.output.strip()

    def _index(self, image: str) -> dict[str, Any]:
        listed = self.containerd.ctr("images", "ls", f"name=={image}").check().output.splitlines()
        digest = listed[1].split()[2]
        index: dict[str, Any] = json.loads(
            self.containerd.ctr("content", "get", digest).check().output
        )
        return index

    def files(self, image: str) -> list[str]:
        """The names of CRIU's files in a checkpoint."""
        blobs = [entry for entry in self._index(image)["manifests"] if CRIU in entry["mediaType"]]
        path = self.containerd.work / "root/io.containerd.content.v1.content/blobs"
        with tarfile.open(path / blobs[0]["digest"].replace(":", "/")) as tar:
            return tar.getnames()

    def complete(self, image: str) -> str:
        """The name of an image from which ctr can restore.

        In one of "tasks checkpoint" the index lacks what "containers restore" looks for.
        """
        index = self._index(image)
        index["annotations"] |= {
            "org.opencontainers.image.ref.name": SERVER,
            "io.containerd.checkpoint.runtime": "io.containerd.runc.v2",
            "io.containerd.checkpoint.snapshotter": "overlayfs",
        }
        where = self.containerd.work / secrets.token_hex(4)
        layout = Layout(where)
        name = layout.put("localhost/checkpoint:" + secrets.token_hex(4), layout.json(index, INDEX))
        archive = layout.archive(where.with_suffix(".tar"))
        self.containerd.ctr("images", "import", "--no-unpack", archive).check()
        return name

    def copy(self) -> str:
        """By "containers checkpoint", which leaves the container running; the image's name."""
        name = "localhost/copy:" + secrets.token_hex(4)
        words = ["containers", "checkpoint", "--task", "--rw", self.id, name]
        self.containerd.ctr(*words).check()
        return name

    def remove(self) -> None:
        self.containerd.ctr("tasks", "delete", "--force", self.id)  # 137 is what it exited with
        self.containerd.ctr("containers", "delete", self.id).check()

    def restore(self, image: str) -> None:
        words = ["containers", "restore", "--live", "--rw", self.id, image]
        self.containerd.ctr(*words).check()

    def close(self) -> None:
        with contextlib.suppress(RuntimeError):
            self.remove()
