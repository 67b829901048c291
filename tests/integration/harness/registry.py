# SPDX-License-Identifier: GPL-2.0-or-later
"""A registry of container images, read only: containerd pulls from nothing else.

As a program: registry.py LAYOUT ADDRESS PORT, in whichever network namespace it is started.
"""

from __future__ import annotations

import http.server
import json
import re
import sys
from pathlib import Path

PATH = re.compile(r"/v2/(?P<name>[^?]+)/(?P<kind>manifests|blobs)/(?P<what>[^/?]+)(\?.*)?$")

READY = "ready"  # a file that it makes in the layout


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    layout: Path
    host: str

    def _find(self) -> tuple[Path, str] | None:
        """Where the blob is, and of what type."""
        match = PATH.match(self.path)
        if not match:
            return None
        digest, kind = match["what"], "application/octet-stream"
        if match["kind"] == "manifests":
            name = f"{self.host}/{match['name']}:{digest}"
            for entry in json.loads((self.layout / "index.json").read_text())["manifests"]:
                if digest in (entry["digest"], "") or self._named(entry, name):
                    digest, kind = entry["digest"], entry["mediaType"]
        path = self.layout / "blobs" / digest.replace(":", "/")
        return (path, kind) if path.is_file() else None

    @staticmethod
    def _named(entry: dict[str, dict[str, str]], name: str) -> bool:
        return entry["annotations"]["io.containerd.image.name"] == name

    def _answer(self, *, body: bool) -> None:
        if self.path == "/v2/":
            self._send(200, b"{}", "application/json", body=body)
        elif found := self._find():
            path, kind = found
            self._send(200, path.read_bytes(), kind, body=body, digest=f"sha256:{path.name}")
        else:
            self._send(404, b"{}", "application/json", body=body)

    def _send(
        self, status: int, data: bytes, kind: str, *, body: bool, digest: str | None = None
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        if digest:
            self.send_header("Docker-Content-Digest", digest)
        self.end_headers()
        if body:
            self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)


def main(layout: str, address: str, port: str) -> None:
    Handler.layout = Path(layout)
    Handler.host = f"{address}:{port}"
    server = http.server.ThreadingHTTPServer((address, int(port)), Handler)
    (Handler.layout / READY).touch()
    server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
