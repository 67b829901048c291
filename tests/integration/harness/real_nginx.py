# SPDX-License-Identifier: GPL-2.0-or-later
"""nginx: connections that are used again, a large download, an upload, HTTP/2 over TLS."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from .net import Netns
from .proc import wait_for
from .real_clients import Fed, Paced
from .real_image import AT_ONCE, Image
from .real_programs import Clients, RealServer

REQUESTS = 300
HOLD = 30.0  # seconds of a round that a download lasts, at least


def curl(*words: object) -> list[object]:
    # What it says of each transfer goes to stderr.
    said = "%{stderr}%{num_connects} %{http_version} %{response_code}\n"
    return ["curl", "--silent", "--show-error", "--no-buffer", "-w", said, *words]


class Download(Paced):
    """Of a page, several times on one connection."""

    def __init__(
        self, ns: Netns, work: Path, name: str, hold: float, words: Sequence[object], url: str,
        page: bytes, times: int,
    ) -> None:
        self.expected, self.times = page * times, times
        urls = f"{url}?[1-{times}]" if times > 1 else url
        super().__init__(ns, work, name, curl(*words, urls), rate=len(self.expected) / hold)

    def check(self, version: str) -> None:
        taken = self.hurry()
        assert hashlib.sha256(taken).digest() == hashlib.sha256(self.expected).digest(), self.name
        again = [f"0 {version} 200"] * (self.times - 1)
        assert self.errors().splitlines() == [f"1 {version} 200", *again], self.name


class Upload(Fed):
    """Without a known length."""

    def __init__(self, ns: Netns, work: Path, name: str, url: str) -> None:
        super().__init__(ns, work, name, curl("--upload-file", "-", url), gap=0.01)
        self.sum, self.length = hashlib.sha256(), 0

    def pieces(self) -> Iterator[bytes]:
        while True:
            piece = os.urandom(8192)
            self.sum.update(piece)
            self.length += len(piece)
            yield piece

    def progress(self) -> int:
        """More than fits into the pipe to it."""
        return self.length >> 18

    def check(self, stored: bytes) -> None:
        assert self.errors().split() == ["1", "1.1", "201"]
        assert len(stored) == self.length > 100_000
        assert hashlib.sha256(stored).digest() == self.sum.digest()


class AtOnce(Paced):
    """Streams of one HTTP/2 connection, whose bytes come out mixed."""

    def __init__(
        self, ns: Netns, work: Path, name: str, hold: float, base: str, parts: Sequence[bytes]
    ) -> None:
        self.parts = parts
        urls = [f"{base}/part{number}" for number in range(len(parts))]
        words = ["nghttp", "--no-verify-peer", *urls]
        super().__init__(ns, work, name, words, rate=sum(map(len, parts)) / hold)

    def check(self) -> None:
        taken = self.hurry()
        for number, part in enumerate(self.parts):
            others = bytes(value for value in range(256) if value >> 6 != number)
            assert taken.translate(None, others) == part, number
        assert len(taken) == sum(map(len, self.parts))
        assert not self.errors()


class Nginx:
    port: ClassVar[str] = "80"
    words: ClassVar[Sequence[str]] = ("/usr/sbin/nginx", "-c", "/etc/nginx.conf")

    def __init__(self, server: RealServer, clients: Clients, image: Image, rounds: int) -> None:
        self.server, self.clients = server, clients
        v4, v6, hold = server.v4, f"[{server.v6}]", HOLD * rounds
        tls = ["--http2", "--cacert", image.certificate]
        parts = [image.pages[f"part{number}"] for number in range(AT_ONCE)]
        self.kept = self._download("kept", hold, [], f"http://{v4}", image, "page", REQUESTS)
        self.tls = self._download("tls", hold, tls, f"https://{v6}", image, "page", REQUESTS)
        self.large = self._download("large", hold, [], f"http://{v6}", image, "large", 1)
        self.at_once = clients.add(AtOnce, "at-once", hold, f"https://{v4}", parts)
        self.upload = clients.add(Upload, "upload", f"http://{v4}/up/file")
        clients.go_on()
        self.before = self._accepted()

    def _download(
        self, name: str, hold: float, words: Sequence[object], base: str, image: Image, page: str,
        times: int,
    ) -> Download:
        url, content = f"{base}/{page}", image.pages[page]
        client = self.clients.add(Download, name, hold, words, url, content, times)
        wait_for(lambda: client.taken, f"the first bytes of {name}")
        return client

    def _get(self, path: str) -> bytes:
        words = self.clients.ns.command(["curl", "-sSf", f"http://{self.server.v4}/{path}"])
        return subprocess.run(words, capture_output=True, check=True, timeout=30).stdout

    def _accepted(self) -> int:
        """With the connection that asks."""
        return int(self._get("status").split()[7])

    def go_on(self) -> None:
        pass

    def check(self) -> None:
        assert self._accepted() == self.before + 1, "somebody connected again"
        self.kept.check("1.1")
        self.tls.check("2")
        self.large.check("1.1")
        self.at_once.check()
        self.upload.end()
        self.upload.check(self._get("up/file"))
