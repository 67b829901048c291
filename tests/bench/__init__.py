# SPDX-License-Identifier: GPL-2.0-or-later
"""The benchmark: what holdfast costs and how soon traffic flows again, beside stock CRIU.

far         a container and its peers: near, 20 and 100 ms away
stall       how long peers stand still after an outage
tricks      what each way of resuming quickly is worth
cost        whole dumps and restores, by the number of connections
floor       the system calls that nobody can do without
queues      much queued data
throughput  before and after, and the trace of one migration
machine     what it all ran on
results     what the parts have in common
runs        what is measured when, and the command
targets     what is wanted, and whether it was found
page        docs/benchmarks.md, made of bench.json alone; pictures
"""

import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS / "integration"))
