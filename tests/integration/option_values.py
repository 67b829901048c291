# SPDX-License-Identifier: GPL-2.0-or-later
"""A value for every socket option that is carried, none of them the base value.

The options themselves (level, number, on which sockets) come from the option table, through
`hf-options table`; tests see that no row of it is without a value here.
"""

from __future__ import annotations

import dataclasses
import enum
import socket
import struct

from harness.proc import run
from harness.programs import program


class On(enum.IntFlag):
    """The sockets on which an option is carried: HF_SOCKOPT_ON_* of lib/sockopt.h."""

    CONNECTION = 1
    LISTENER = 2
    CLOSED = 4


class Flag(enum.IntFlag):
    """HF_SOCKOPT_* of lib/sockopt.h, those that tests look at."""

    PEER = 0x01
    CRIU_IPV4 = 0x02


@dataclasses.dataclass(frozen=True)
class Option:
    """A row of the option table that holdfast carries."""

    name: str
    level: int
    number: int
    on: On
    flags: Flag
    note: str = ""

    def applies(self, kind: On, family: int) -> bool:
        """As hf_sockopt_applies()."""
        if family == socket.AF_INET:
            if self.level == socket.IPPROTO_IPV6 or self.flags & Flag.CRIU_IPV4:
                return False
        return bool(self.on & kind)


def _table() -> list[list[str]]:
    return [line.split("\t") for line in run([program("hf-options"), "table"]).output.splitlines()]


def options(*carriers: str) -> list[Option]:
    """The rows of the table that these carry, in order; without any, those of holdfast."""
    return [
        Option(name, int(level), int(number), On(int(on)), Flag(int(flags) & 0x03), note)
        for name, level, number, carrier, on, flags, note in _table()
        if carrier in (carriers or ("holdfast",))
    ]


def in_table() -> set[tuple[int, int]]:
    """Level and number of every row, carried or not."""
    return {(int(row[1]), int(row[2])) for row in _table()}


def _words(*words: int) -> bytes:
    return struct.pack(f"={len(words)}I", *words)


# A no-op and a record-route option with room for one address, RFC 791 section 3.1.
IP_OPTIONS = bytes([1, 7, 7, 4, 0, 0, 0, 0])
# Destination options with PadN, RFC 8200 section 4.2, and so hop-by-hop ones.
PADDING = bytes([0, 0, 1, 4, 0, 0, 0, 0])
# A segment routing header with the one segment ::1, RFC 8754 section 2.
ROUTING = bytes([0, 2, 4, 0, 0, 0, 0, 0]) + socket.inet_pton(socket.AF_INET6, "::1")

# SOF_TIMESTAMPING_RX_SOFTWARE, SOFTWARE and OPT_ID; the last needs a connection.
_TIMESTAMPING = 0x8 | 0x10
_OPT_ID = 0x80

# What is set; an int is a C int. Of several names for one setting only one can be set at a time:
# see ALTERNATIVES.
VALUES: dict[str, int | bytes] = {
    "TCP_SYNCNT": 3,
    "TCP_LINGER2": 25,
    "TCP_DEFER_ACCEPT": 7,
    "TCP_THIN_LINEAR_TIMEOUTS": 1,
    "TCP_USER_TIMEOUT": 3000,
    "TCP_NOTSENT_LOWAT": 16384,
    "TCP_SAVE_SYN": 1,
    "TCP_INQ": 1,
    "TCP_TX_DELAY": 250,
    "TCP_RTO_MAX_MS": 30000,
    "TCP_RTO_MIN_US": 100000,
    "TCP_DELACK_MAX_US": 100000,
    "TCP_CONGESTION": b"reno",
    "TCP_WINDOW_CLAMP": 5_000_000,
    "TCP_MAXSEG": 1200,
    "TCP_FASTOPEN": 16,
    "TCP_FASTOPEN_NO_COOKIE": 1,
    "TCP_FASTOPEN_KEY": bytes(range(32)),
    "TCP_FASTOPEN_CONNECT": 1,
    "SO_REUSEPORT": 1,
    "SO_DEBUG": 1,
    "SO_SELECT_ERR_QUEUE": 1,
    "SO_RXQ_OVFL": 1,
    "SO_WIFI_STATUS": 1,
    "SO_NOFCS": 1,
    "SO_RCVMARK": 1,
    "SO_RCVPRIORITY": 1,
    "SO_BUSY_POLL": 50,
    "SO_PREFER_BUSY_POLL": 1,
    "SO_MAX_PACING_RATE": struct.pack("=Q", 5_000_000_000),
    "SO_ZEROCOPY": 1,
    "SO_TXTIME": _words(1, 1),  # CLOCK_MONOTONIC, SOF_TXTIME_DEADLINE_MODE
    "SO_TXREHASH": 0,
    "SO_TIMESTAMP_OLD": 1,
    "SO_TIMESTAMPNS_OLD": 1,
    "SO_TIMESTAMP_NEW": 1,
    "SO_TIMESTAMPNS_NEW": 1,
    "SO_TIMESTAMPING_OLD": _words(_TIMESTAMPING, 0),
    "SO_TIMESTAMPING_NEW": _words(_TIMESTAMPING, 0),
    "SO_LOCK_FILTER": 1,
    "SO_INCOMING_CPU": 0,
    "SO_PEEK_OFF": 0,
    "SO_RESERVE_MEM": 65536,
    "IP_TOS": 0x28,
    "IP_TTL": 33,
    "IP_PKTINFO": 1,
    "IP_OPTIONS": IP_OPTIONS,
    "IP_TRANSPARENT": 1,
    "IP_BIND_ADDRESS_NO_PORT": 1,
    "IP_LOCAL_PORT_RANGE": _words(50000 << 16 | 40000),
    "IP_MTU_DISCOVER": 3,
    "IP_MINTTL": 2,
    "IP_RECVERR": 1,
    "IP_RECVERR_RFC4884": 1,
    "IP_RECVTTL": 1,
    "IP_RECVTOS": 1,
    "IP_RECVOPTS": 1,
    "IP_RETOPTS": 1,
    "IP_PASSSEC": 1,
    "IP_RECVORIGDSTADDR": 1,
    "IP_CHECKSUM": 1,
    "IP_MULTICAST_LOOP": 0,
    "IP_MULTICAST_ALL": 0,
    "IP_UNICAST_IF": struct.pack("!I", 1),
    "IPV6_TCLASS": 0x28,
    "IPV6_UNICAST_HOPS": 33,
    "IPV6_HOPOPTS": PADDING,
    "IPV6_RTHDR": ROUTING,
    "IPV6_RTHDRDSTOPTS": PADDING,
    "IPV6_DSTOPTS": PADDING,
    "IPV6_MTU_DISCOVER": 3,
    "IPV6_MINHOPCOUNT": 2,
    "IPV6_DONTFRAG": 1,
    "IPV6_AUTOFLOWLABEL": 0,
    "IPV6_FLOWINFO_SEND": 1,
    "IPV6_ADDR_PREFERENCES": 0x402,  # IPV6_PREFER_SRC_PUBLIC, IPV6_PREFER_SRC_HOME
    "IPV6_RECVERR": 1,
    "IPV6_RECVERR_RFC4884": 1,
    "IPV6_2292PKTINFO": 1,
    "IPV6_RECVHOPLIMIT": 1,
    "IPV6_2292HOPLIMIT": 1,
    "IPV6_RECVRTHDR": 1,
    "IPV6_2292RTHDR": 1,
    "IPV6_RECVHOPOPTS": 1,
    "IPV6_2292HOPOPTS": 1,
    "IPV6_RECVDSTOPTS": 1,
    "IPV6_2292DSTOPTS": 1,
    "IPV6_RECVTCLASS": 1,
    "IPV6_FLOWINFO": 1,
    "IPV6_RECVPATHMTU": 1,
    "IPV6_RECVORIGDSTADDR": 1,
    "IPV6_RECVFRAGSIZE": 1,
    "IPV6_MULTICAST_LOOP": 0,
    "IPV6_MULTICAST_ALL": 0,
    "IPV6_ROUTER_ALERT_ISOLATE": 1,
    "IPV6_UNICAST_IF": struct.pack("!I", 1),
}

# Two instructions that let everything pass: BPF_LD | BPF_IMM, BPF_RET | BPF_K.
FILTER = struct.pack("=HBBI", 0x00, 0, 0, 7) + struct.pack("=HBBI", 0x06, 0, 0, 0xFFFFFFFF)

# Those that CRIU carries, and those that are part of a socket's state and can be set all the same.
OTHER_VALUES: dict[str, int | bytes] = {
    "TCP_NODELAY": 1,
    "TCP_CORK": 1,
    "TCP_KEEPIDLE": 1000,
    "TCP_KEEPINTVL": 33,
    "TCP_KEEPCNT": 4,
    "SO_SNDBUF": 100_000,
    "SO_RCVBUF": 100_000,
    "SO_BUF_LOCK": 3,
    "SO_PRIORITY": 5,
    "SO_RCVLOWAT": 100,
    "SO_MARK": 0x77,
    "SO_SNDTIMEO_OLD": struct.pack("@ll", 5, 250_000),
    "SO_RCVTIMEO_OLD": struct.pack("@ll", 7, 500_000),
    "SO_DONTROUTE": 1,
    "SO_NO_CHECK": 1,
    "SO_BROADCAST": 1,
    "SO_KEEPALIVE": 1,
    "SO_OOBINLINE": 1,
    "SO_LINGER": _words(1, 5),
    "SO_BINDTODEVICE": b"eth0",
    "SO_BINDTOIFINDEX": 2,  # eth0, the first interface after lo
    "SO_ATTACH_FILTER": FILTER,
    "SO_REUSEADDR": 1,
    "IP_FREEBIND": 1,
    "IPV6_V6ONLY": 1,
    "IPV6_RECVPKTINFO": 1,
    "IPV6_FREEBIND": 1,
}
# Set before bind(), and not afterwards.
EARLY = {"IPV6_V6ONLY"}

# Options that take one another's place.
ALTERNATIVES = (
    {"SO_TIMESTAMP_OLD", "SO_TIMESTAMPNS_OLD", "SO_TIMESTAMP_NEW", "SO_TIMESTAMPNS_NEW"},
    {"SO_TIMESTAMPING_OLD", "SO_TIMESTAMPING_NEW"},
)


def has_stand_in(name: str) -> bool:
    """True if a test that sets all options at once should set another one instead."""
    return any(name in names and name != min(names) for names in ALTERNATIVES)


# Needs another one that is set before it: IPV6_RTHDRDSTOPTS goes out with IPV6_RTHDR only.
NEEDS = {"IPV6_RTHDRDSTOPTS": "IPV6_RTHDR"}


def value(name: str, kind: On, family: int) -> bytes:
    """The value to set, as setsockopt(2) takes it."""
    if name.startswith("SO_TIMESTAMPING_") and kind == On.CONNECTION:
        return _words(_TIMESTAMPING | _OPT_ID, 0)
    found = VALUES[name] if name in VALUES else OTHER_VALUES[name]
    if name == "IP_MULTICAST_ALL" and family == socket.AF_INET6:
        found = 1  # on by default on IPv4 sockets only
    return found if isinstance(found, bytes) else struct.pack("=i", found)
