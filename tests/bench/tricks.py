# SPDX-License-Identifier: GPL-2.0-or-later
"""What each way of resuming quickly is worth: none, each alone, and all of them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import mode
from harness.programs import builddir

from .far import RTTS
from .stall import Outage

# Keys of holdfast.conf(5), and whether they are for connections without selective acknowledgements.
KEYS = {"prelude": False, "kick": False, "hold-back": False, "duplicate-acks": True}
NO_SACK = "net.ipv4.tcp_sack=0"


@dataclass(frozen=True)
class Trick:
    name: str
    config: str
    sack: bool = True


def is_known(key: str, work: Path) -> bool:
    """Whether this build has it."""
    conf = work / "known.conf"
    conf.write_text(f"{key} = on\n")
    done = subprocess.run(
        [builddir() / "holdfast", "check", "--json"],
        env={**os.environ, "HOLDFAST_CONF": str(conf)}, capture_output=True, text=True, check=False,
    )
    return f"unknown key `{key}`" not in done.stdout


def choices(known: Sequence[str]) -> Iterator[Trick]:
    def config(on: Sequence[str]) -> str:
        return "".join(f"{key} = {'on' if key in on else 'off'}\n" for key in known)

    yield Trick("none", config(()))
    for key in known:
        if not KEYS[key]:
            yield Trick(f"{key} alone", config((key,)))
    yield Trick("all", config(known))
    if any(KEYS[key] for key in known):
        yield Trick("none, without SACK", config(()), sack=False)
        for key in known:
            if KEYS[key]:
                yield Trick(f"{key} alone, without SACK", config((key,)), sack=False)
        yield Trick("all, without SACK", config(known), sack=False)


def measure(
    work: Path, trick: Trick, seconds: float, connections: int, rtts: Sequence[float] = RTTS
) -> dict[str, Any]:
    sysctls = () if trick.sack else (NO_SACK,)
    outage = Outage(work, mode.holdfast(), seconds, connections, rtts, trick.config, sysctls)
    return {"trick": trick.name, **outage.measure()}
