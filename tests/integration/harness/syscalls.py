# SPDX-License-Identifier: GPL-2.0-or-later
"""Numbers of the system calls in which the tests see a task blocked, as the kernel has them."""

from __future__ import annotations

import platform

_X86_64 = {
    "poll": 7,
    "sendfile": 40,
    "connect": 42,
    "recvfrom": 45,
    "epoll_wait": 232,
    "accept4": 288,
    "sendto": 44,
}
_GENERIC = {
    "poll": 73,  # ppoll
    "sendfile": 71,
    "connect": 203,
    "recvfrom": 207,
    "epoll_wait": 22,  # epoll_pwait
    "accept4": 242,
    "sendto": 206,
}
_HERE = _X86_64 if platform.machine() == "x86_64" else _GENERIC

POLL = _HERE["poll"]
SENDFILE = _HERE["sendfile"]
CONNECT = _HERE["connect"]
RECV = _HERE["recvfrom"]
SEND = _HERE["sendto"]
EPOLL_WAIT = _HERE["epoll_wait"]
ACCEPT = _HERE["accept4"]
