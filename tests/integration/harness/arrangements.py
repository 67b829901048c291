# SPDX-License-Identifier: GPL-2.0-or-later
"""All ways in which a server is checkpointed, by name, for tests that go through them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .criu import CriuServer
from .mode import Mode
from .net import Network
from .oci import OciServer

ARRANGEMENTS = ("criu-shared", "criu-external", "crun", "runc")

Server = CriuServer | OciServer


def make_server(
    arrangement: str,
    net: Network,
    work: Path,
    mode: Mode,
    server_args: Sequence[str] = (),
    **kwargs: Any,
) -> Server:
    """To be entered with "with"."""
    kwargs["server_args"] = server_args
    if arrangement == "criu-shared":
        return CriuServer(net, work, mode, "shared", **kwargs)
    if arrangement == "criu-external":
        return CriuServer(net, work, mode, "external", **kwargs)
    if arrangement == "crun":
        return OciServer(net, work, mode, "crun", **kwargs)
    if arrangement == "runc":
        return OciServer(net, work, mode, "runc", **kwargs)
    raise ValueError(f"no arrangement {arrangement!r}, only {', '.join(ARRANGEMENTS)}")
