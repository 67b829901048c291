# SPDX-License-Identifier: GPL-2.0-or-later
"""An image with nginx, Redis and PostgreSQL, made of Debian's packages as installed here."""

from __future__ import annotations

import io
import os
import random
import shutil
import tarfile
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .hosts import CONTAINERS, address4, address6
from .podman import busybox
from .proc import Done, run
from .programs import builddir

NAME = "localhost/holdfast-programs"
POSTGRESQL = max(Path("/usr/lib/postgresql").glob("*/bin"), default=Path("/usr/bin"))
SERVERS = ("/usr/sbin/nginx", "/usr/bin/redis-server", str(POSTGRESQL / "postgres"))
CLIENTS = ("curl", "nghttp", "redis-cli", str(POSTGRESQL / "psql"), str(POSTGRESQL / "pgbench"))

# PostgreSQL refuses root, and a user that does not own its data.
OTHER_USER, OTHER_USER_ID = "/other_user.so", 999
DATA = "/var/lib/postgresql/data"
SITE, TLS = "/srv", "/etc/tls"

PASSWD = "root:x:0:0:root:/root:/bin/sh\npostgres:x:999:999::/tmp:/bin/sh\n"
GROUP = "root:x:0:\npostgres:x:999:\n"

NGINX = f"""
daemon off;
user root;
worker_processes 2;
pid /run/nginx.pid;
error_log stderr;
events {{ }}
http {{
    access_log off;
    sendfile on;
    keepalive_requests 100000;
    server {{
        listen 80;
        listen [::]:80;
        listen 443 ssl;
        listen [::]:443 ssl;
        http2 on;
        ssl_certificate {TLS}/certificate;
        ssl_certificate_key {TLS}/key;
        client_max_body_size 0;
        root {SITE};
        location /status {{ stub_status; }}
        location /up/ {{ dav_methods PUT; }}
    }}
}}
"""


# The machine does not crash here.
POSTGRESQL_CONF = """
listen_addresses = '*'
unix_socket_directories = '/tmp'
shared_buffers = 16MB
huge_pages = off
fsync = off
timezone = GMT
log_timezone = GMT
"""


@dataclass(frozen=True)
class Image:
    tar: Path
    certificate: Path
    pages: dict[str, bytes]  # what nginx serves, by name


class Tar:
    """Files and directories, of root's where nothing else is said."""

    def __init__(self, path: Path) -> None:
        self._tar = tarfile.open(path, "w", dereference=True)  # noqa: SIM115
        self._there: set[str] = set()

    def file(self, source: str | Path, name: str | Path | None = None) -> None:
        name = str(name or source).lstrip("/")
        if name not in self._there:
            self._there.add(name)
            self._tar.add(source, name)

    def owned(self, source: Path, name: str, user: int) -> None:
        def give(info: tarfile.TarInfo) -> tarfile.TarInfo:
            info.uid = info.gid = user
            info.uname = info.gname = ""
            return info

        self._tar.add(source, name.lstrip("/"), filter=give)

    def text(self, name: str, content: str | bytes) -> None:
        data = content.encode() if isinstance(content, str) else content
        info = tarfile.TarInfo(name.lstrip("/"))
        info.size, info.mode = len(data), 0o644
        self._tar.addfile(info, io.BytesIO(data))

    def directory(self, name: str, mode: int = 0o755) -> None:
        info = tarfile.TarInfo(name.lstrip("/"))
        info.type, info.mode = tarfile.DIRTYPE, mode
        self._tar.addfile(info)

    def close(self) -> None:
        self._tar.close()


def missing() -> list[str]:
    """Programs that are not installed."""
    return [program for program in (*SERVERS, *CLIENTS, "openssl") if not shutil.which(program)]


def libraries(program: str) -> list[str]:
    """All that the dynamic linker loads, and itself."""
    words = run(["ldd", program]).check().output.split()
    return [word for word in words if word.startswith("/")]


def make(work: Path) -> Image:
    """In a directory that is there and empty."""
    tar = Tar(work / "image.tar")
    try:
        for name in ("tmp", "run", "root", "etc", f"{SITE}/up", "var/lib/nginx", "var/log/nginx"):
            tar.directory(name)
        for server in SERVERS:
            for path in (server, *libraries(server)):
                tar.file(path)
        tar.file(busybox(), "/bin/busybox")
        tar.text("/etc/passwd", PASSWD)
        tar.text("/etc/group", GROUP)
        tar.text("/etc/nginx.conf", NGINX)
        pages = make_pages()
        for name, page in pages.items():
            tar.text(f"{SITE}/{name}", page)
        key = certificate(work)
        for name in ("key", "certificate"):
            tar.file(work / name, f"{TLS}/{name}")
        tar.file(builddir() / "tests/programs/.libs/other_user.so", OTHER_USER)
        postgresql(tar)
    finally:
        tar.close()
    return Image(work / "image.tar", key, pages)


# Bytes of the pages that are asked for at once are told apart by their upper two bits.
AT_ONCE = 4
PAGES = {"page": 30_000, "large": 8_000_000}


def make_pages() -> dict[str, bytes]:
    pages = {name: random.randbytes(size) for name, size in PAGES.items()}
    for number in range(AT_ONCE):
        table = bytes((number << 6) | (value & 63) for value in range(256))
        pages[f"part{number}"] = random.randbytes(1_000_000).translate(table)
    return pages


def certificate(work: Path) -> Path:
    """For all addresses that a container can have."""
    addresses = [address(n) for n in CONTAINERS for address in (address4, address6)]
    names = ",".join(f"IP:{address}" for address in addresses)
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    words += ["-nodes", "-days", "2", "-subj", "/CN=holdfast", "-addext", f"subjectAltName={names}"]
    run([*words, "-keyout", work / "key", "-out", work / "certificate"]).check()
    return work / "certificate"


def postgresql(tar: Tar) -> None:
    """A database, and what the server needs of the packages beside its libraries."""
    share = Path("/usr/share/postgresql") / POSTGRESQL.parent.name
    tar.file(share / "timezonesets")
    tar.directory(f"{POSTGRESQL.parent}/lib")
    # Not below a directory that is root's alone.
    with tempfile.TemporaryDirectory(prefix="holdfast-", dir="/tmp") as name:
        shutil.chown(name, "postgres", "postgres")
        data = Path(name) / "data"
        words = ["initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8"]
        words += ["--locale=C", "--wal-segsize=1", "--no-sync", "--no-instructions"]
        as_postgres(words, name).check()
        (data / "pg_hba.conf").write_text("host all all all trust\n")
        (data / "postgresql.conf").write_text(POSTGRESQL_CONF)
        tar.owned(data, DATA, OTHER_USER_ID)


def as_postgres(words: Sequence[object], directory: str) -> Done:
    user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
    command = [*user, POSTGRESQL / str(words[0]), *words[1:]]
    return run(command, cwd=directory, env={**os.environ, "HOME": directory})
