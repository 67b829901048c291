# SPDX-License-Identifier: GPL-2.0-or-later
"""An OCI bundle with nothing but hf-server in it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .programs import program

CAPABILITIES = ["CAP_NET_BIND_SERVICE", "CAP_KILL", "CAP_SETUID", "CAP_SETGID"]

MOUNTS = [
    ("/proc", "proc", "proc", []),
    ("/dev", "tmpfs", "tmpfs", ["nosuid", "mode=755", "size=64k"]),
    ("/sys", "sysfs", "sysfs", ["nosuid", "noexec", "nodev", "ro"]),
]


def config(args: Sequence[str], netns: Path | None) -> dict[str, Any]:
    network = {"type": "network"} | ({"path": str(netns)} if netns else {})
    return {
        "ociVersion": "1.0.2",
        "hostname": "holdfast",
        "root": {"path": "rootfs", "readonly": False},
        "process": {
            "terminal": False,
            "user": {"uid": 0, "gid": 0},
            "args": list(args),
            "env": ["PATH=/"],
            "cwd": "/",
            "capabilities": {
                kind: CAPABILITIES for kind in ("bounding", "effective", "permitted")
            },
            "noNewPrivileges": True,
        },
        "mounts": [
            {"destination": where, "type": kind, "source": source, "options": options}
            for where, kind, source, options in MOUNTS
        ],
        "linux": {
            "namespaces": [
                {"type": "pid"},
                {"type": "ipc"},
                {"type": "uts"},
                {"type": "mount"},
                network,
            ],
            "maskedPaths": ["/proc/kcore"],
            "readonlyPaths": ["/proc/sys"],
        },
    }


def make(
    where: Path, args: Sequence[str], netns: Path | None, hooks: dict[str, Any] | None = None,
    annotations: dict[str, str] | None = None,
) -> None:
    """args: those of hf-server; netns: None for one of its own; hooks: the OCI configuration's."""
    rootfs = where / "rootfs"
    for name in ("proc", "dev", "sys", "tmp", "run"):
        (rootfs / name).mkdir(parents=True, exist_ok=True)
    shutil.copy2(program("hf-server"), rootfs / "hf-server")
    content = config(["/hf-server", *args], netns)
    if hooks:
        content["hooks"] = hooks
    if annotations:
        content["annotations"] = annotations
    (where / "config.json").write_text(json.dumps(content, indent=1))
