# SPDX-License-Identifier: GPL-2.0-or-later
"""Container images made of a few files: an OCI layout, as a directory and as an archive."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"

Descriptor = dict[str, Any]


def _arch() -> str:
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


def _digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def _layer(files: Mapping[str, Path], dirs: Sequence[str]) -> bytes:
    """An uncompressed tar; the same files give the same bytes."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name in dirs:
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
        for name, path in files.items():
            data = path.read_bytes()
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), path.stat().st_mode & 0o777
            tar.addfile(entry, io.BytesIO(data))
    return out.getvalue()


@dataclass
class Layout:
    """An OCI layout directory; add() puts images into it."""

    path: Path
    names: dict[str, Descriptor] = field(default_factory=dict)

    def blob(self, data: bytes, media_type: str) -> Descriptor:
        digest = _digest(data)
        where = self.path / "blobs" / digest.replace(":", "/")
        where.parent.mkdir(parents=True, exist_ok=True)
        where.write_bytes(data)
        return {"mediaType": media_type, "digest": digest, "size": len(data)}

    def json(self, content: object, media_type: str) -> Descriptor:
        return self.blob(json.dumps(content, sort_keys=True).encode(), media_type)

    def add(
        self,
        name: str,
        files: Mapping[str, Path],
        command: Sequence[str] = (),
        dirs: Sequence[str] = ("run", "tmp"),
        annotations: Mapping[str, str] | None = None,
    ) -> None:
        """One layer with these files: path inside -> where it is; a later name replaces."""
        tar = _layer(files, dirs)
        config = {
            "architecture": _arch(),
            "os": "linux",
            "config": {"Cmd": list(command), "Env": ["PATH=/bin:/"], "WorkingDir": "/"},
            "rootfs": {"type": "layers", "diff_ids": [_digest(tar)]},
        }
        manifest: dict[str, Any] = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self.json(config, CONFIG),
            "layers": [self.blob(gzip.compress(tar, mtime=0), LAYER)],
        }
        if annotations:
            manifest["annotations"] = dict(annotations)
        self.put(name, self.json(manifest, MANIFEST))

    def put(self, name: str, image: Descriptor) -> str:
        """An image that is there under this name."""
        self.names[name] = image
        entries = [
            {**found, "annotations": {"io.containerd.image.name": name}}
            for name, found in self.names.items()
        ]
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}
        (self.path / "index.json").write_text(json.dumps(index))
        (self.path / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
        return name

    def archive(self, where: Path) -> Path:
        """What "ctr images import" takes."""
        with tarfile.open(where, "w") as tar:
            tar.add(self.path, arcname=".")
        return where
