# SPDX-License-Identifier: GPL-2.0-or-later
"""Every socket option that can be read and set, over a dump and a restore.

Each option has a socket of its own on which it is set to a value that is not the default, so that
none hides another: a connection, a listener and one that was never connected, IPv4 and IPv6. All
are in one checkpoint: with holdfast, with CRIU's own tcp-established and holdfast beside it, and,
for docs/options.md, with stock CRIU.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import option_values
import pytest
from option_values import EARLY, NEEDS, OTHER_VALUES, VALUES, On, Option

from harness import checks, pages
from harness.criu import Result
from harness.mode import CHOSEN, MODES, Mode
from harness.programs import program
from harness.scenes import Link, World, world

AGENT = Path(__file__).with_name("harness") / "agent_options.py"
FAMILIES = {"IPv4": socket.AF_INET, "IPv6": socket.AF_INET6}
STATES = {On.CONNECTION: "ESTABLISHED", On.LISTENER: "LISTEN", On.CLOSED: "CLOSE"}
KINDS = {On.CONNECTION: "connections", On.LISTENER: "listeners", On.CLOSED: "unconnected sockets"}
# Those can be set there, to no purpose: no value that was set, or one that nothing uses.
NOT_ON = {
    ("TCP_MAXSEG", On.CONNECTION),
    ("TCP_FASTOPEN_KEY", On.CONNECTION),
    ("SO_INCOMING_CPU", On.CONNECTION),
}
# bind() sets it where the address is one of IPv6, and a connection that is restored was bound.
SET_BY_RESTORE = {("IPV6_V6ONLY", On.CONNECTION)}
UNKNOWN = {errno.errorcode[errno.ENOPROTOOPT], errno.errorcode[errno.EOPNOTSUPP], "ENOTSUP"}


@dataclass(frozen=True)
class Cell:
    """An option on a socket."""

    name: str
    kind: On
    family: str

    def __str__(self) -> str:
        return f"{self.name}, {self.family} {self.kind.name}"


@dataclass
class Found:
    """What came of the options in one mode."""

    results: dict[Cell, str] = field(default_factory=dict)  # kept, lost, changed
    complaints: dict[str, list[str]] = field(default_factory=dict)
    changed: dict[str, set[On]] = field(default_factory=dict)  # though nobody had set them

    def complain(self, name: str, text: str) -> None:
        self.complaints.setdefault(name, []).append(text)


def rows() -> dict[str, Option]:
    """All that can be read and set, in the order of the table."""
    return {
        option.name: option
        for option in option_values.options("holdfast", "criu", "state")
        if option.name in VALUES or option.name in OTHER_VALUES
    }


def is_expected(option: Option, kind: On) -> bool:
    """Whether the kernel should take it there."""
    return bool(option.on & kind) if option.name in VALUES else True


class Sockets:
    """All the sockets, in the container of a world."""

    def __init__(self, w: World) -> None:
        self.w = w
        self.rows = rows()
        self.found = Found()
        self.before: dict[Cell, tuple[bytes, bytes]] = {}
        self.plain: dict[Cell, dict[tuple[int, int], bytes]] = {}
        w.a.run(AGENT.read_text())

    def make(self) -> None:
        container, peer = self.w.net.container, self.w.net.peer
        for family, local, host in (
            ("IPv4", container.v4, peer.v4),
            ("IPv6", container.v6, peer.v6),
        ):
            port = self.w.b.listen(family, host, 0, [], 1000)
            for kind in On:
                for option in self.rows.values():
                    self._make_one(Cell(option.name, kind, family), local, (host, port))
                self._make_plain(Cell("", kind, family), local, (host, port))

    def _options(self, family: str) -> list[Option]:
        level = socket.IPPROTO_IPV6
        return [row for row in self.rows.values() if family == "IPv6" or row.level != level]

    def _make_one(self, cell: Cell, local: str, peer: tuple[str, int]) -> None:
        option = self.rows[cell.name]
        if option not in self._options(cell.family) or (cell.name, cell.kind) in NOT_ON:
            return
        names = [NEEDS[cell.name]] if cell.name in NEEDS else []
        settings = [
            (self.rows[name].level, self.rows[name].number, self._value(name, cell))
            for name in (*names, cell.name)
        ]
        kind = str(cell.kind.name).lower()
        made = self.w.a.with_options(str(cell), kind, local, peer, settings, cell.name in EARLY)
        if isinstance(made, str):
            if made not in UNKNOWN and is_expected(option, cell.kind):
                self.found.complain(cell.name, f"{cell}: cannot be set: {made}")
            return
        if made[0] == made[1]:
            self.found.complain(cell.name, f"{cell}: the value changes nothing")
        self.before[cell] = made

    def _value(self, name: str, cell: Cell) -> bytes:
        return option_values.value(name, cell.kind, FAMILIES[cell.family])

    def _make_plain(self, cell: Cell, local: str, peer: tuple[str, int]) -> None:
        kind = str(cell.kind.name).lower()
        assert not isinstance(self.w.a.with_options(str(cell), kind, local, peer, []), str)
        self.plain[cell] = self._read_plain(cell)

    def _read_plain(self, cell: Cell) -> dict[tuple[int, int], bytes]:
        numbers = [
            (option.level, option.number)
            for option in self._options(cell.family)
            if (option.name, cell.kind) not in NOT_ON
        ]
        found: dict[tuple[int, int], bytes] = self.w.a.read_options(str(cell), numbers)
        return found

    def look(self) -> Found:
        """After the restore."""
        for cell, (fresh, before) in self.before.items():
            option = self.rows[cell.name]
            number = (option.level, option.number)
            now = self.w.a.read_options(str(cell), [number]).get(number)
            result = "kept" if now == before else "lost" if now == fresh else "changed"
            self.found.results[cell] = result
            state = self.w.a.state_of(str(cell))
            if state != STATES[cell.kind]:
                self.found.complain(cell.name, f"{cell}: the socket is in state {state}")
            if result != "kept":
                text = f"{before.hex()} became {now.hex() if now else now}"
                self.found.complain(cell.name, f"{cell}: {result}: {text}")
        for cell, was in self.plain.items():
            after = self._read_plain(cell)
            for option in self._options(cell.family):
                number = (option.level, option.number)
                if after.get(number) == was.get(number):
                    continue
                self.found.changed.setdefault(option.name, set()).add(cell.kind)
                if (option.name, cell.kind) in SET_BY_RESTORE:
                    continue
                text = f"{was[number].hex()} became {after[number].hex()}"
                where = f"{option.name}, {cell.family} {cell.kind.name}"
                self.found.complain(option.name, f"{where}: not set, and yet {text}")
        return self.found


Run = Callable[[str], Found]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """What came of it in a mode; done once for each."""
    done: dict[str, Found | Exception] = {}

    def found(name: str) -> Found:
        if name not in done:
            try:
                with world(tmp_path_factory.mktemp(name), MODES[name]()) as w:
                    sockets = Sockets(w)
                    sockets.make()
                    w.a.checkpoint().check()
                    w.a.restore().check()
                    done[name] = sockets.look()
            except Exception as error:
                done[name] = error
        result = done[name]
        if isinstance(result, Exception):
            raise result
        return result

    return found


def test_every_option_has_a_value() -> None:
    """Of those that are part of the state some are the means of a dump, and no settings."""
    assert set(OTHER_VALUES) - {"SO_REUSEADDR", "IPV6_V6ONLY"} == {
        option.name for option in option_values.options("criu")
    }


@pytest.mark.parametrize("mode", CHOSEN)
@pytest.mark.parametrize("name", [*VALUES, *OTHER_VALUES])
def test_option(run: Run, mode: str, name: str) -> None:
    found = run(mode)
    assert not found.complaints.get(name)
    if not any(cell.name == name for cell in found.results):
        print("not in this kernel")


# ---- what cannot be set on the target


@pytest.fixture
def w(tmp_path: Path, holdfast_mode: Mode) -> Iterator[World]:
    with world(tmp_path, holdfast_mode) as made:
        made.a.run(AGENT.read_text())
        yield made


def link_with(w: World, name: str, *options: str) -> Link:
    """A connection with these options."""
    link = w.link(name)
    for option in options:
        found = rows()[option]
        value = option_values.value(option, On.CONNECTION, socket.AF_INET)
        w.a.run(f"set_option(conns[{name!r}].sock, {found.level}, {found.number}, {value!r})")
    return link


def value_of(w: World, name: str, option: str) -> bytes:
    found = rows()[option]
    value: bytes = w.a.run(f"get_option(conns[{name!r}].sock, {found.level}, {found.number})")
    return value


def restore_without(w: World, what: str) -> Result:
    """On a kernel that lacks this."""
    w.a.criu_wrapper = [program("hf-deny"), what]
    return w.a.restore()


@pytest.mark.parametrize(
    "option, what, warning",
    [
        (
            "TCP_CONGESTION",
            "congestion",
            "congestion control not here: reno ({} is used instead)",
        ),
        (
            "TCP_USER_TIMEOUT",
            "user_timeout",
            "options that this kernel does not know: TCP_USER_TIMEOUT",
        ),
    ],
    ids=["TCP_CONGESTION", "TCP_USER_TIMEOUT"],
)
def test_not_on_the_target(w: World, option: str, what: str, warning: str) -> None:
    """The default, and one warning however many connections had it; all else is restored."""
    other = "TCP_LINGER2"
    fresh = value_of(w, w.link("plain").a.conn, option)
    links = [link_with(w, str(number), other, option) for number in range(3)]
    w.a.checkpoint().check()
    result = restore_without(w, what).check()
    (line,) = result.lines("Warn", "holdfast")
    assert line.endswith("(holdfast): " + warning.format(fresh.rstrip(b"\0").decode()))
    for link in links:
        assert value_of(w, link.a.conn, option) == fresh
        expected = option_values.value(other, On.CONNECTION, socket.AF_INET)
        assert value_of(w, link.a.conn, other) == expected
        w.exchange(link.a, link.b)


def test_what_the_peer_would_miss(w: World) -> None:
    """The restore is refused, the lock stays, and where the option can be set it works."""
    link, other = link_with(w, "one", "IP_OPTIONS"), w.link("other")
    w.a.checkpoint().check()
    result = restore_without(w, "ip_options")
    assert not result.ok
    errors = result.lines("Error (holdfast)")
    assert len(errors) == 1
    assert "restore failed, the lock is kept" in errors[0]
    name = f"{w.host}:{link.a_port} -> {w.net.peer.v4}:{link.b_port}"
    assert f"connection {name}" in errors[0]
    assert "has option IP_OPTIONS, which its peer would miss" in errors[0]
    assert len(checks.holdfast_tables(w.net.container)) == 1
    w.a.criu_wrapper = []
    w.a.restore().check()
    value = option_values.value("IP_OPTIONS", On.CONNECTION, socket.AF_INET)
    assert value_of(w, "one", "IP_OPTIONS") == value
    w.exchange(other.a, other.b)
    w.exchange(link.a, link.b)


# ---- docs/options.md

UNTESTED = "not tested"
INTRODUCTION = """\
# Socket options

What becomes of each socket option that can be read and set: with stock CRIU {criu} (its option
`tcp-established`, without holdfast), and with holdfast. The tests make this page: every option is
set to a value that is not the default, on a socket of its own, and goes through a dump and a
restore. *All* are connections, listeners and sockets that were never connected, IPv4 and IPv6.
*Lost*: afterwards the option has its default. The column for holdfast holds with `tcp-close` and
with `tcp-established`. *Not tested*: the kernel of the tests does not take the option.

holdfast-options(7) says more, and names the options that nobody carries.
"""
LEVELS = {
    socket.IPPROTO_TCP: ("TCP", ""),
    socket.SOL_SOCKET: ("SOL_SOCKET", ""),
    socket.IPPROTO_IP: ("IP", "IPv6 sockets have these too, for IPv4-mapped addresses."),
    socket.IPPROTO_IPV6: ("IPv6", "Of IPv6 sockets."),
}


def join(words: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def where(cells: list[Cell], among: list[Cell]) -> str:
    """Which sockets these are: all, some kinds, one family."""
    if len(cells) == len(among):
        return ""
    kinds = [kind for kind in KINDS if any(cell.kind == kind for cell in cells)]
    families = [family for family in FAMILIES if any(cell.family == family for cell in cells)]
    of = [cell for cell in among if cell.kind in kinds and cell.family in families]
    assert len(of) == len(cells), f"{cells}: say it otherwise"
    all_kinds = {cell.kind for cell in among} == set(kinds)
    all_families = {cell.family for cell in among} == set(families)
    what = "sockets" if all_kinds else join([KINDS[kind] for kind in kinds])
    return what if all_families else f"{families[0]} {what}"


def describe(found: Found, name: str) -> str:
    """ "kept", or "changed on connections, lost on listeners" """
    among = [cell for cell in found.results if cell.name == name]
    if not among:
        return UNTESTED
    texts = []
    for result in ("kept", "changed", "lost"):
        cells = [cell for cell in among if found.results[cell] == result]
        if cells:
            place = where(cells, among)
            texts.append(f"{result} on {place}" if place else result)
    text = ", ".join(texts)
    changed = found.changed.get(name)
    if changed and text == "kept":
        kinds = [KINDS[kind] for kind in KINDS if kind in changed]
        text += f"; set on {join(kinds)} that did not have it"
    return text


def on_what(found: Found, name: str) -> str:
    kinds = {cell.kind for cell in found.results if cell.name == name}
    return "all" if len(kinds) == len(KINDS) else join([KINDS[k] for k in KINDS if k in kinds])


def make_page(run: Run) -> str:
    version = pages.criu_version()
    stock, ours, beside = run("stock"), run("holdfast"), run("established")
    kept = total = 0
    lines = []
    for level, (title, introduction) in LEVELS.items():
        cells = []
        for option in rows().values():
            if option.level != level:
                continue
            texts = [describe(found, option.name) for found in (stock, ours, beside)]
            holdfast = texts[1] if texts[1] == texts[2] else f"{texts[1]}; {texts[2]}"
            row = (f"`{option.name}`", on_what(ours, option.name), texts[0], holdfast)
            cells.append((*row, option.note))
            total += holdfast != UNTESTED
            kept += texts[0] == "kept"
        columns = ("option", "on", f"stock CRIU {version}", "holdfast", "note")
        lines += ["", f"## {title}", "", *([introduction, ""] if introduction else [])]
        lines += pages.table(columns, cells)
    summary = f"Of {total} options stock CRIU keeps {kept} on every socket; holdfast keeps all."
    return "\n".join([INTRODUCTION.format(criu=version), summary, *lines]) + "\n"


def comparable(text: str, names: set[str]) -> list[str]:
    """Without the options that one of two kernels does not have."""
    if not names:
        return text.splitlines()
    lines = [line for line in text.splitlines() if not line.startswith("Of ")]
    return [line for line in lines if not any(line.startswith(f"| {name} ") for name in names)]


def untested(text: str) -> set[str]:
    return {cells[0] for cells in pages.rows_of(text) if UNTESTED in cells}


def test_page(run: Run) -> None:
    """docs/options.md says what was found here."""
    path = pages.page("options.md")
    found = make_page(run)
    if pages.UPDATE:
        path.write_text(found)
    written = path.read_text()
    apart = untested(found) ^ untested(written)
    pages.compare(path.name, comparable(found, apart), comparable(written, apart))
