# SPDX-License-Identifier: GPL-2.0-or-later
"""Socket options: what is read from one socket and written to another is the same there."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import socket
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import option_values
import pytest
from harness.programs import program
from option_values import NEEDS, VALUES, On, Option

TCP_REPAIR, TCP_REPAIR_OFF_NO_WP = 19, -1
BEFORE, AFTER, LAST = 1, 2, 4
LOOPBACK: dict[int, str] = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}
FAMILY: dict[int, int] = {socket.AF_INET: 4, socket.AF_INET6: 6}
FAMILIES = pytest.mark.parametrize("family", LOOPBACK, ids=["ipv4", "ipv6"])
KINDS = pytest.mark.parametrize("kind", On, ids=lambda kind: kind.name.lower())


@contextlib.contextmanager
def make(family: int, kind: On) -> Iterator[socket.socket]:
    """A new socket of that kind."""
    with contextlib.ExitStack() as stack:
        sock = stack.enter_context(socket.socket(family))
        if kind == On.LISTENER:
            sock.bind((LOOPBACK[family], 0))
            sock.listen()
        elif kind == On.CONNECTION:
            server = socket.create_server((LOOPBACK[family], 0), family=family)
            listener = stack.enter_context(server)
            sock.connect(listener.getsockname())
            stack.enter_context(listener.accept()[0])
        yield sock


def get(sock: socket.socket, option: Option) -> bytes:
    return sock.getsockopt(option.level, option.number, 64)


def put(sock: socket.socket, option: Option, kind: On) -> bool:
    """Sets the option to its value; False if this kernel does not have it."""
    try:
        value = option_values.value(option.name, kind, sock.family)
        sock.setsockopt(option.level, option.number, value)
    except OSError as error:
        if error.errno not in (errno.ENOPROTOOPT, errno.EOPNOTSUPP):
            raise AssertionError(f"{option.name}: {error}") from error
        return False
    return True


def tool(verb: str, *args: object, socks: tuple[socket.socket, ...] = ()) -> list[str]:
    """Lines that hf-options prints."""
    done = subprocess.run(
        [program("hf-options"), verb, *(str(arg) for arg in args)],
        pass_fds=[sock.fileno() for sock in socks],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def text(option: Option, value: bytes) -> str:
    """An option as `hf-options write` takes it."""
    return f"{option.level}/{option.number}={value.hex()}"


def copy(source: socket.socket, target: socket.socket, *phases: int) -> list[str]:
    return tool("copy", source.fileno(), target.fileno(), *phases, socks=(source, target))


def report(lines: list[str]) -> str:
    assert lines[-1].startswith("report:")
    return lines[-1].removeprefix("report:").strip()


@pytest.fixture(scope="module")
def rows() -> dict[str, Option]:
    return {option.name: option for option in option_values.options()}


def test_every_option_has_a_value(rows: dict[str, Option]) -> None:
    assert set(VALUES) == set(rows)


# Beyond the last option come those of netfilter; in the gap of IP those for multicast groups.
PROBED = {
    socket.SOL_SOCKET: range(1, 100),
    socket.IPPROTO_TCP: range(1, 100),
    socket.IPPROTO_IP: [*range(1, 41), 49, 50, 51, 52, *range(53, 64)],
    socket.IPPROTO_IPV6: [*range(1, 48), *range(49, 64), *range(70, 80)],
}
SO_PEERPIDFD = 77  # would open one


def test_every_option_of_this_kernel_is_in_the_table() -> None:
    known = option_values.in_table()
    new = set()
    with make(socket.AF_INET6, On.CONNECTION) as sock:
        for level, number in ((level, n) for level, numbers in PROBED.items() for n in numbers):
            if (level, number) == (socket.SOL_SOCKET, SO_PEERPIDFD):
                continue
            try:
                sock.getsockopt(level, number, 512)
            except OSError as error:
                if error.errno == errno.ENOPROTOOPT:
                    continue
            new.add((level, number))
    assert sorted(new - known) == [], "level, number: add them to lib/sockopt_table.h"


def carried(rows: dict[str, Option], family: int, kind: On) -> Iterator[Option]:
    for option in rows.values():
        if option.applies(kind, family):
            yield option


@FAMILIES
@KINDS
def test_each_option_alone(rows: dict[str, Option], family: int, kind: On) -> None:
    """One by one, so that no option hides what another one does."""
    wrong = []
    missing = []
    for option in carried(rows, family, kind):
        with make(family, kind) as source, make(family, kind) as target:
            if option.name in NEEDS:
                put(source, rows[NEEDS[option.name]], kind)
            fresh = get(target, option)
            if not put(source, option, kind):
                missing.append(option.name)
                continue
            set_to = get(source, option)
            lines = copy(source, target)
            if set_to == fresh:
                wrong.append(f"{option.name}: the value changes nothing")
            if get(source, option) != set_to:
                wrong.append(f"{option.name}: reading changed it")
            if get(target, option) != set_to:
                wrong.append(f"{option.name}: {get(target, option).hex()}, not {set_to.hex()}")
            if report(lines):
                wrong.append(f"{option.name}: {report(lines)}")
            if not any(line.startswith(f"{option.name}=") for line in lines):
                wrong.append(f"{option.name}: not read: {lines}")
    assert not wrong
    print("not in this kernel:", *missing)


@FAMILIES
@KINDS
def test_all_options_together(rows: dict[str, Option], family: int, kind: On) -> None:
    chosen = [
        option
        for option in carried(rows, family, kind)
        if not option_values.has_stand_in(option.name)
    ]
    with make(family, kind) as source, make(family, kind) as target:
        here = [option for option in chosen if put(source, option, kind)]
        priority = source.getsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY)
        target.setsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY, 5)
        lines = copy(source, target)
        assert report(lines) == ""
        assert {option.name: get(target, option) for option in here} == {
            option.name: get(source, option) for option in here
        }
        # IP_TOS sets it as well, but it is CRIU's.
        assert target.getsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY) == 5
        assert source.getsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY) == priority


@FAMILIES
def test_nothing_set(family: int) -> None:
    """A socket on which nothing was set has nothing to carry but what the kernel chose itself."""
    for kind in On:
        with make(family, kind) as sock:
            lines = tool("read", sock.fileno(), socks=(sock,))
            names = {line.split("=")[0] for line in lines}
            expected = {"TCP_CONGESTION"} if congestion() != "cubic" else set()
            if kind == On.CONNECTION:
                expected.add("TCP_WINDOW_CLAMP")
            assert names == expected


def congestion() -> str:
    return Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text().strip()


def disconnect(sock: socket.socket) -> None:
    """connect(AF_UNSPEC), with which a restore begins."""
    libc = ctypes.CDLL(None, use_errno=True)
    address = struct.pack("=H14x", socket.AF_UNSPEC)
    assert libc.connect(sock.fileno(), address, len(address)) == 0, os.strerror(ctypes.get_errno())


@FAMILIES
def test_segment_size_of_a_disconnected_socket(rows: dict[str, Option], family: int) -> None:
    """It is not what TCP_MAXSEG was set to, though it reads so; what is set then counts."""
    option = rows["TCP_MAXSEG"]
    with make(family, On.CONNECTION) as source, make(family, On.CLOSED) as target:
        disconnect(source)
        assert get(source, option) != get(target, option)
        assert not [line for line in copy(source, target) if line.startswith(option.name)]
        assert put(source, option, On.CLOSED)
        copy(source, target)
        assert get(target, option) == get(source, option)


@FAMILIES
def test_order_of_a_restore(rows: dict[str, Option], family: int) -> None:
    """In the phases of a restore: disconnect and the repair connect undo nothing of it."""
    kind = On.CONNECTION
    with make(family, kind) as source, make(family, kind) as target:
        here = [
            option
            for option in carried(rows, family, kind)
            if not option_values.has_stand_in(option.name)
            and put(source, option, kind)
        ]
        local, peer = target.getsockname(), target.getpeername()
        target.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)  # closes without a packet
        target.close()
        with socket.socket(family) as again:
            disconnect(again)
            again.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
            assert report(copy(source, again, BEFORE)) == ""
            again.bind(local)
            again.connect(peer)
            assert report(copy(source, again, AFTER)) == ""
            assert report(copy(source, again, LAST)) == ""
            again.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, TCP_REPAIR_OFF_NO_WP)
            assert {option.name: get(again, option) for option in here} == {
                option.name: get(source, option) for option in here
            }


@contextlib.contextmanager
def sysctl(values: dict[str, str]) -> Iterator[None]:
    paths = {Path("/proc/sys/net", name): value for name, value in values.items()}
    before = {path: path.read_text() for path in paths}
    try:
        for path, value in paths.items():
            path.write_text(value)
        yield
    finally:
        for path, old in before.items():
            path.write_text(old)


# What a socket has that was made where no sysctl was changed.
BASE = {
    "TCP_CONGESTION": b"cubic".ljust(16, b"\0"),
    "TCP_SYNCNT": struct.pack("=i", 6),
    "TCP_LINGER2": struct.pack("=i", 60),
    "TCP_RTO_MAX_MS": struct.pack("=i", 120000),
    "TCP_RTO_MIN_US": struct.pack("=i", 200000),
    "IP_MTU_DISCOVER": struct.pack("=i", 1),
}
BASE_IPV6 = BASE | {
    "IP_TTL": struct.pack("=i", 64),
    "IPV6_UNICAST_HOPS": struct.pack("=i", 64),
    "IPV6_AUTOFLOWLABEL": struct.pack("=i", 1),
}
OTHER = {
    "ipv4/tcp_congestion_control": "reno",
    "ipv4/tcp_syn_retries": "2",
    "ipv4/tcp_fin_timeout": "20",
    "ipv4/tcp_rto_max_ms": "20000",
    "ipv4/tcp_rto_min_us": "50000",
    "ipv4/ip_no_pmtu_disc": "1",
    "ipv4/ip_default_ttl": "99",
    "ipv6/conf/all/hop_limit": "99",
    "ipv6/conf/lo/hop_limit": "99",
    "ipv6/auto_flowlabels": "2",
}


@FAMILIES
def test_not_listed_is_base(rows: dict[str, Option], family: int) -> None:
    """What an image does not list has its base value, though a new socket here has another."""
    base = BASE if family == socket.AF_INET else BASE_IPV6
    with sysctl(OTHER), make(family, On.CONNECTION) as target:
        here = {name: get(target, rows[name]) for name in base}
        assert not set(here.items()) & set(base.items())
        lines = tool("write", target.fileno(), FAMILY[family], socks=(target,))
        assert report(lines) == ""
        assert {name: get(target, rows[name]) for name in base} == base


def test_reuseport_that_criu_left() -> None:
    with make(socket.AF_INET, On.CONNECTION) as target:
        target.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        assert report(tool("write", target.fileno(), 4, socks=(target,))) == ""
        assert target.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT) == 0


def test_congestion_control_that_is_not_here(rows: dict[str, Option]) -> None:
    option = rows["TCP_CONGESTION"]
    with make(socket.AF_INET, On.CONNECTION) as target:
        used = get(target, option).rstrip(b"\0").decode()
        lines = tool("write", target.fileno(), 4, text(option, b"nosuch"), socks=(target,))
        assert report(lines) == f"congestion control not here: nosuch ({used} is used instead)"
        assert get(target, option).rstrip(b"\0").decode() == used


def test_value_that_is_not_taken(rows: dict[str, Option]) -> None:
    """It is named, and the others are set all the same."""
    bad, good = rows["TCP_SYNCNT"], rows["TCP_USER_TIMEOUT"]
    with make(socket.AF_INET, On.CONNECTION) as target:
        options = [text(bad, struct.pack("=i", 1000)), text(good, struct.pack("=i", 3000))]
        lines = tool("write", target.fileno(), 4, *options, socks=(target,))
        assert report(lines) == "options that this kernel did not take: TCP_SYNCNT"
        assert get(target, good) == struct.pack("=i", 3000)


def test_what_the_peer_would_miss(rows: dict[str, Option]) -> None:
    """An option that goes out with the packets is not lost silently."""
    with make(socket.AF_INET, On.CONNECTION) as target:
        with pytest.raises(AssertionError, match="connection .* has option IP_OPTIONS, which its"):
            tool(
                "write",
                target.fileno(),
                4,
                text(rows["IP_OPTIONS"], bytes([7, 2, 0, 0])),
                socks=(target,),
            )


def test_extension_header_too_long_for_the_image(rows: dict[str, Option]) -> None:
    option = rows["IPV6_DSTOPTS"]
    with make(socket.AF_INET6, On.CONNECTION) as source:
        # PadN of 70 bytes.
        source.setsockopt(option.level, option.number, bytes([0, 8, 1, 68]) + bytes(68))
        with pytest.raises(AssertionError, match="IPV6_DSTOPTS is longer than the 64 bytes"):
            tool("read", source.fileno(), socks=(source,))
