# SPDX-License-Identifier: GPL-2.0-or-later
"""What it all ran on."""

from __future__ import annotations

import os
import platform
import re
import resource
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.proc import run
from harness.programs import builddir

PROGRAMS = {
    "criu": ["criu", "--version"],
    "holdfast": [builddir() / "holdfast", "--version"],
    "nft": ["nft", "--version"],
    "iptables": ["iptables", "--version"],
    "crun": ["crun", "--version"],
    "runc": ["runc", "--version"],
    "podman": ["podman", "--version"],
}


def _cpu() -> str:
    found = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else platform.machine()


def _memory_gib() -> float:
    found = re.search(r"^MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text(), re.MULTILINE)
    return round(int(found[1]) / (1 << 20), 1) if found else 0


def _version(command: Sequence[object]) -> str:
    try:
        found = re.search(r"\d+\.\d[\w.+~-]*", run(command).output)
    except FileNotFoundError:
        return ""
    return found[0] if found else ""


def _sysctl(name: str) -> str:
    path = Path("/proc/sys") / name.replace(".", "/")
    return " ".join(path.read_text().split()) if path.exists() else ""


def describe() -> dict[str, Any]:
    return {
        "cpu": _cpu(),
        "cpus": len(os.sched_getaffinity(0)),
        "memory_gib": _memory_gib(),
        "kernel": platform.release(),
        "architecture": platform.machine(),
        "descriptors": resource.getrlimit(resource.RLIMIT_NOFILE)[1],
        "congestion_control": _sysctl("net.ipv4.tcp_congestion_control"),
        "versions": {name: _version(command) for name, command in PROGRAMS.items()},
        "load_before": load(),
        "date": time.strftime("%Y-%m-%d"),
    }


def load() -> float:
    return round(os.getloadavg()[0], 2)
