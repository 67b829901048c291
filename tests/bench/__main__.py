# SPDX-License-Identifier: GPL-2.0-or-later
"""The benchmark: holdfast beside stock CRIU, in one run. Needs the test root, and a quiet machine.

    contrib/quickstart bench [--quick] [--only stall cost] [--out DIRECTORY]

Writes bench.json, benchmarks.md and its pictures: into docs/, or with --quick into the directory
`bench` of the build. It fails only where something is wrong, a byte or a connection lost; what
misses its target is marked on the page.
"""

from __future__ import annotations

import sys

from .runs import main

if __name__ == "__main__":
    sys.exit(main())
