# SPDX-License-Identifier: GPL-2.0-or-later
"""Packets lost on purpose: one direction of chosen connections, in a namespace's input.

Only packets without a mark are dropped: what a program sends, and not the segments that a restore
makes up in the name of a peer.
"""

from __future__ import annotations

from .net import Netns


class Blocks:
    """Connections are known by their two ports."""

    TABLE = "inet hftest-blocks"

    def __init__(self, ns: Netns) -> None:
        self.ns = ns
        self.made = False

    def _nft(self, rules: str) -> None:
        self.ns.run("nft", rules).check()

    def drop(self, pairs: list[tuple[int, int]]) -> None:
        """From now on, what goes from the first port to the second of a pair."""
        if not self.made:
            self._nft(
                f"table {self.TABLE} {{"
                " set lost { type inet_service . inet_service; };"
                " chain in { type filter hook input priority -10;"
                " meta mark 0 tcp sport . tcp dport @lost counter drop; }; }"
            )
            self.made = True
        elements = ", ".join(f"{source} . {target}" for source, target in pairs)
        self._nft(f"add element {self.TABLE} lost {{ {elements} }}")

    def lift(self) -> None:
        """Everything passes again."""
        if self.made:
            self._nft(f"delete table {self.TABLE}")
            self.made = False
