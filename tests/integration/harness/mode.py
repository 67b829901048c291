# SPDX-License-Identifier: GPL-2.0-or-later
"""Who carries the connections over: the options for CRIU, as lines of its configuration file."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from .programs import plugin_dir

# Seen necessary: the test root has cgroup2 alone, without the controllers.
CGROUPS = "manage-cgroups=ignore"


@dataclass(frozen=True)
class Mode:
    name: str
    options: tuple[str, ...]

    def config(self) -> str:
        return "".join(f"{line}\n" for line in (CGROUPS, *self.options))

    @property
    def plugin(self) -> bool:
        return any(line.startswith("libdir ") for line in self.options)

    def plus(self, *options: str) -> Mode:
        return replace(self, options=self.options + options)

    def without(self, *names: str) -> Mode:
        """Without the options of these names, to see what happens then."""
        kept = tuple(line for line in self.options if line.split()[0] not in names)
        return replace(self, options=kept)


def holdfast(libdir: Path | str | None = None) -> Mode:
    """CRIU leaves TCP alone and loads the plugin."""
    where = libdir or plugin_dir()
    return Mode("holdfast", ("tcp-close", "network-lock skip", f"libdir {where}"))


def established(libdir: Path | str | None = None) -> Mode:
    """CRIU carries the connections' state and locks them, with the plugin beside it."""
    where = libdir or plugin_dir()
    return Mode("established", ("tcp-established", "network-lock nftables", f"libdir {where}"))


def stock(network_lock: str = "nftables") -> Mode:
    """CRIU's own support, without the plugin."""
    return Mode("stock", ("tcp-established", f"network-lock {network_lock}"))


MODES = {"holdfast": holdfast, "established": established, "stock": stock}
# Tests of everything that CRIU can do are made in the first two, or in those named here.
CHOSEN = os.environ.get("HOLDFAST_TEST_MODE", "holdfast established").split()
