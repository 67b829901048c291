# SPDX-License-Identifier: GPL-2.0-or-later
"""PostgreSQL: a transaction stays open, and what pgbench does is done once."""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from .net import Netns
from .proc import wait_for
from .real_clients import Asked, Client
from .real_image import DATA, OTHER_USER, POSTGRESQL, Image
from .real_programs import Clients, RealServer

BENCH_CLIENTS, BENCH_RATE = 4, 60  # transactions a second of all
# What ends it by itself, after a day.
BENCH_LIMIT = 86400


def at(address: str) -> list[str]:
    return ["-h", address, "-p", Postgresql.port, "-U", "postgres", "postgres"]


class Psql(Asked):
    def __init__(self, ns: Netns, work: Path, name: str, address: str) -> None:
        words = [POSTGRESQL / "psql", "-XqAt", "-v", "ON_ERROR_STOP=1", *at(address)]
        super().__init__(ns, work, name, words)

    def question(self, text: str, mark: str) -> str:
        return f"{text};\n\\echo {mark}\n"


class Pgbench(Client):
    def __init__(self, ns: Netns, work: Path, name: str, address: str) -> None:
        words = ["-n", "-c", BENCH_CLIENTS, "-T", BENCH_LIMIT, "-R", BENCH_RATE, *at(address)]
        super().__init__(ns, work, name, [POSTGRESQL / "pgbench", *words])

    def end(self) -> str:
        """As if its time was over."""
        assert self.process
        self.process.send_signal(signal.SIGALRM)
        return super().end()


class Postgresql:
    port: ClassVar[str] = "5432"
    # New files: those of the image that were changed are in podman's archive only if the host has
    # files of the same names.
    words: ClassVar[Sequence[str]] = (
        "/bin/busybox", "sh", "-c",
        f"cp -a {DATA} /data && LD_PRELOAD={OTHER_USER} exec {POSTGRESQL}/postgres -D /data",
    )

    def __init__(self, server: RealServer, clients: Clients, image: Image, rounds: int) -> None:
        ready = [POSTGRESQL / "pg_isready", *at(server.v4)[:4]]
        wait_for(lambda: clients.ns.run(*ready).rc == 0, "the database")
        clients.ns.run(POSTGRESQL / "pgbench", "-i", "-q", *at(server.v4)).check()
        self.writer = clients.add(Psql, "writer", server.v4)
        self.reader = clients.add(Psql, "reader", server.v6)
        self.rows = 0
        self.writer.ask("CREATE TABLE written (number int)")
        self.writer.ask("BEGIN; CREATE TEMPORARY TABLE own AS SELECT 'mine'")
        self.bench = clients.add(Pgbench, "pgbench", server.v6)
        # Its clients, the writer and the reader.
        wait_for(lambda: len(self._backends()) == BENCH_CLIENTS + 2, "pgbench")
        self.before = self._backends()
        self.write()

    def _backends(self) -> list[str]:
        where = "FROM pg_stat_activity WHERE backend_type = 'client backend'"
        return self.reader.ask(f"SELECT pid, backend_start {where} ORDER BY pid")

    def _history(self) -> int:
        return int(self.reader.ask("SELECT count(*) FROM pgbench_history")[0])

    def _expect(self, session: Psql, rows: int) -> None:
        found = session.ask("SELECT count(*), coalesce(sum(number), 0) FROM written")
        assert found == [f"{rows}|{rows * (rows + 1) // 2}"], session.name

    def write(self) -> None:
        """In the transaction that stays open, and of which others see nothing."""
        self._expect(self.writer, self.rows)
        self.rows += 1
        self.writer.ask(f"INSERT INTO written VALUES ({self.rows})")
        self._expect(self.writer, self.rows)
        self._expect(self.reader, 0)

    def go_on(self) -> None:
        self.write()
        before = self._history()
        wait_for(lambda: self._history() > before, "pgbench goes on")

    def check(self) -> None:
        assert self._backends() == self.before, "somebody connected again"
        assert self.writer.ask("SELECT * FROM own") == ["mine"]
        self.writer.ask("COMMIT")
        self._expect(self.reader, self.rows)
        self._check_bench()

    def _check_bench(self) -> None:
        output = self.bench.end()
        assert "number of failed transactions: 0 (0.000%)" in output
        assert not self.bench.errors()
        found = re.search(r"transactions actually processed: (\d+)$", output, re.MULTILINE)
        assert found and int(found[1]) == self._history() > 100
        sums = [
            self.reader.ask(f"SELECT sum({column}) FROM pgbench_{table}")
            for table, column in (
                ("history", "delta"),
                ("accounts", "abalance"),
                ("tellers", "tbalance"),
                ("branches", "bbalance"),
            )
        ]
        assert sums == sums[:1] * len(sums)
