# SPDX-License-Identifier: GPL-2.0-or-later
"""What the two ends agreed on: TCP options, segment sizes and clocks, with data on its way.

harness/scenes.py says how these are run. ECN is the one thing that no restore brings back:
TCP_REPAIR has no option for it.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from harness.net import Netns
from harness.scenes import WHERES_AND_RUNNING, Link, Scene, Stage, World, end, make_stage, name_of

TCP, SOCKET = socket.IPPROTO_TCP, socket.SOL_SOCKET
HALF_A_WINDOW = 32_000


@contextlib.contextmanager
def sysctls(spaces: list[Netns], **values: int) -> Iterator[None]:
    """net.ipv4.* in network namespaces, for the connections made meanwhile."""
    old = []
    for ns in spaces:
        for name, value in values.items():
            path = f"/proc/sys/net/ipv4/{name}"
            old.append((ns, path, ns.run("cat", path).check().output.strip()))
            ns.run("sh", "-c", f"echo {value} > {path}").check()
    try:
        yield
    finally:
        for ns, path, before in old:
            ns.run("sh", "-c", f"echo '{before}' > {path}").check()


def agreed(w: World, link: Link, lost: str = "") -> Iterator[None]:
    """Data lies on both sides, and more than a window of 64 KiB follows."""
    link.b.send(3000)
    link.a.wait_inq(3000)
    link.lose()
    link.a.send(30_000)
    before = [side.negotiated() for side in (link.a, link.b)]
    yield
    after = [side.negotiated() for side in (link.a, link.b)]
    if w.restored and lost:
        before[0]["options"].remove(lost)
    if w.restored and "timestamps" not in before[0]["options"]:
        before[0]["mss"] -= 12  # as TCP_INFO has it; the segments are as long as before
    for old, new in zip(before, after, strict=True):
        if old["mss"] > HALF_A_WINDOW:  # never more than half of the peer's window, which grows
            old["mss"] = new["mss"] = HALF_A_WINDOW
    assert after == before
    w.lift()
    link.b.recv(30_000)
    link.a.recv(3000)
    w.exchange(link.a, link.b, 200_000)
    end(w, link)


@dataclass(frozen=True)
class Agreed:
    """Options of the connection that are on or off, by a sysctl of both ends."""

    sysctl: dict[str, int]
    has: tuple[str, ...]
    lost: str = ""  # the option that no restore can bring back

    def __str__(self) -> str:
        return "-".join(f"{name[4:]}={value}" for name, value in self.sysctl.items())

    __hash__ = object.__hash__

    def __call__(self, w: World) -> Iterator[None]:
        with sysctls([w.net.container, w.net.peer], **self.sysctl):
            link = w.link(str(self))
        assert tuple(link.a.negotiated()["options"]) == self.has
        yield from agreed(w, link, self.lost)


AGREED = [
    Agreed({"tcp_sack": 0}, ("timestamps", "wscale")),
    Agreed({"tcp_timestamps": 0}, ("sack", "wscale")),
    Agreed({"tcp_window_scaling": 0}, ("timestamps", "sack")),
    Agreed({"tcp_sack": 0, "tcp_timestamps": 0, "tcp_window_scaling": 0}, ()),
    Agreed({"tcp_ecn": 1}, ("timestamps", "sack", "wscale", "ecn"), lost="ecn"),
]


def microseconds(w: World) -> Iterator[None]:
    """Timestamps in microseconds, which a route asks for."""
    for ns in (w.net.container, w.net.peer):
        route = f"ip route replace 10.77.0.0/24 dev eth0 src {ns.v4}"
        ns.run(*f"{route} features tcp_usec_ts".split()).check()
    link = w.link("microseconds")
    for ns in (w.net.container, w.net.peer):
        ns.run(*f"ip route replace 10.77.0.0/24 dev eth0 src {ns.v4}".split()).check()
    assert "usec" in link.a.negotiated()["options"]
    yield from agreed(w, link)


@dataclass(frozen=True)
class Mss:
    """The segment size that an end asks for; 88 is the smallest that Linux takes."""

    size: int
    inside: bool = False

    def __str__(self) -> str:
        return f"mss-{self.size}{'-loopback' if self.inside else ''}"

    def __call__(self, w: World) -> Iterator[None]:
        link = w.link(str(self), self.inside, options=[(TCP, socket.TCP_MAXSEG, self.size)])
        yield from agreed(w, link)


def mss_of_the_loopback_device(w: World) -> Iterator[None]:
    link = w.link("mss-loopback", inside=True)
    assert link.a.negotiated()["mss"] > 30_000
    yield from agreed(w, link)


def set_jumbo(w: World) -> None:
    """Everybody's MTU is 9000 from here on, but only new connections make use of it."""
    for ns in (w.net.container, w.net.peer):
        ns.run("ip", "link", "set", "eth0", "mtu", 9000).check()


def jumbo_frames(w: World) -> Iterator[None]:
    set_jumbo(w)
    link = w.link("jumbo")
    link.a.send(20_000)  # the kernel lets the first segments be smaller
    link.b.recv(20_000)
    assert link.a.negotiated()["mss"] > 8000
    yield from agreed(w, link)


def windows(w: World) -> Iterator[None]:
    """Both have grown with the traffic; they are neither shrunk nor forgotten.

    The next acknowledgement may offer more than the last one did, where the program has read.
    """
    link = w.link("windows")
    w.exchange(link.a, link.b, 400_000)
    before = link.a.windows()
    assert min(before) > 100_000
    yield
    now = link.a.windows()
    assert now[0] >= before[0] and now[1] >= before[1], (now, before)
    end(w, link)


def window_smaller_than_a_segment(w: World) -> Iterator[None]:
    """It flows all the same, and does not wait for window probes."""
    set_jumbo(w)
    link = w.link("small-window", options=[(SOCKET, socket.SO_RCVBUF, 8192)])
    link.a.send(60_000)
    link.a.wait_stuck()
    yield
    start = time.monotonic()
    link.b.recv(60_000)
    assert time.monotonic() - start < 2
    end(w, link)


SCENES: list[Scene] = [
    jumbo_frames,
    microseconds,
    *AGREED,
    *(Mss(size, inside) for size in (88, 536) for inside in (False, True)),
    mss_of_the_loopback_device,
    window_smaller_than_a_segment,
    windows,
]


@pytest.fixture(scope="module", params=WHERES_AND_RUNNING)
def stage(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stage]:
    yield from make_stage(request, tmp_path_factory.mktemp("agreed"), tcp_agents=True)


@pytest.mark.parametrize("scene", SCENES, ids=name_of)
def test_agreed(stage: Stage, scene: Scene) -> None:
    stage.play(scene)
