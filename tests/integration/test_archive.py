# SPDX-License-Identifier: GPL-2.0-or-later
"""Checkpoints in archives and in the directories of engines: read whole and right, or refused."""

from __future__ import annotations

import gzip
import io
import os
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.left import Said, holdfast
from harness.programs import TOP

GOOD = (TOP / "tests/fuzz/corpus/good-sample").read_bytes()
BAD = GOOD[:-1] + bytes([GOOD[-1] ^ 1])
PAGES = os.urandom(300_000)
NO_ARCHIVE = (
    "neither an image directory nor a checkpoint archive"
    " (a tar file, plain or compressed with gzip or zstd)"
)
DAMAGED = "the archive is damaged: "
MIB = 1 << 20

Entry = tuple[str, bytes | None]
IMAGE: Entry = ("checkpoint/holdfast.img", GOOD)
REST: list[Entry] = [("checkpoint/pages-1.img", PAGES), ("config.dump", b"{}")]


def tar(entries: list[Entry], format: int = tarfile.PAX_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format) as archive:
        for name, content in entries:
            info = tarfile.TarInfo(name)
            if content is None:
                info.type = tarfile.DIRTYPE
            else:
                info.size = len(content)
            archive.addfile(info, io.BytesIO(content or b""))
    return out.getvalue()


def tar_of(info: tarfile.TarInfo) -> bytes:
    """With one entry that has no content."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        archive.addfile(info)
    return out.getvalue()


def end_of_entries(data: bytes) -> int:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        archive.getmembers()
        return archive.offset


def compress(*command: str) -> Callable[[bytes], bytes]:
    def run(data: bytes) -> bytes:
        return subprocess.run(command, input=data, stdout=subprocess.PIPE, check=True).stdout

    return run


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "plain": lambda data: data,
    "gzip": lambda data: gzip.compress(data, 1),
    "zstd": compress("zstd", "-qc"),
}


@pytest.fixture(params=PACKERS)
def pack(request: pytest.FixtureRequest) -> Callable[[bytes], bytes]:
    return PACKERS[request.param]


@pytest.fixture
def show(tmp_path: Path) -> Callable[[bytes], Said]:
    """Shows an archive, with little memory."""

    def run(data: bytes) -> Said:
        path = tmp_path / "archive"
        path.write_bytes(data)
        return holdfast("show", "--json", path, wrapper=["prlimit", "--as=134217728"])

    return run


@pytest.fixture
def expected(tmp_path: Path) -> Any:
    """What the same image says in a directory."""
    images = tmp_path / "expected"
    images.mkdir()
    (images / "holdfast.img").write_bytes(GOOD)
    said = holdfast("show", "--json", images)
    assert said.rc == 0 and said.json["connections"]
    return said.json


def refused(said: Said, words: str) -> None:
    """In one line, which is all."""
    assert (said.rc, said.out) == (1, "")
    (line,) = said.err.splitlines()
    assert line.startswith("holdfast: /") and words in line, line


Show = Callable[[bytes], Said]
Pack = Callable[[bytes], bytes]


@pytest.mark.parametrize(
    "format", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT]
)
def test_archives(show: Show, pack: Pack, expected: Any, format: int) -> None:
    for entries in (
        [IMAGE],
        [IMAGE, *REST],
        [("checkpoint/", None), *REST, IMAGE],
        [*REST, ("holdfast.img", GOOD), *REST],
        [*REST, ("./" + "d/" * 30 + "holdfast.img", GOOD)],
        [("noholdfast.img", BAD), ("holdfast.img/x", BAD), IMAGE, ("holdfast.img.old", BAD)],
    ):
        said = show(pack(tar(entries, format)))
        assert (said.rc, said.err) == (0, "")
        assert said.json == expected


def test_other_tools(tmp_path: Path, expected: Any) -> None:
    """As GNU tar makes them, with what the engines keep beside the images."""
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "checkpoint/holdfast.img").write_bytes(GOOD)
    with open(tmp_path / "checkpoint/pages-1.img", "wb") as sparse:
        sparse.truncate(8 * MIB)
    (tmp_path / ("n" * 200)).write_text("a long name")
    (tmp_path / "link").symlink_to("checkpoint/holdfast.img")
    names = ["checkpoint", "n" * 200, "link"]
    for options in ([], ["--gzip"], ["--zstd"], ["--sparse"], ["--format=pax"], ["-b1"], ["-b500"]):
        command = ["tar", "-C", tmp_path, *options, "-cf", tmp_path / "a.tar", *names]
        subprocess.run(command, check=True)
        said = holdfast("show", "--json", tmp_path / "a.tar")
        assert (said.rc, said.err) == (0, "") and said.json == expected, options
    # Compressed piece by piece, and from a pipe.
    data = (tmp_path / "a.tar").read_bytes()
    for pack in PACKERS.values():
        (tmp_path / "a").write_bytes(pack(data[:100_000]) + pack(data[100_000:]))
        assert holdfast("show", "--json", tmp_path / "a").json == expected
        script = f'exec "$0" "$@" <(cat {tmp_path / "a"})'
        assert holdfast("show", "--json", wrapper=["bash", "-c", script]).json == expected


def test_directories(tmp_path: Path, expected: Any) -> None:
    inner = tmp_path / "container/checkpoint"
    inner.mkdir(parents=True)
    refused(holdfast("show", inner.parent), "no holdfast.img in it: this checkpoint was made wit")
    (inner / "holdfast.img").write_bytes(GOOD)
    for path in (inner, inner.parent):
        assert holdfast("show", "--json", path).json == expected
    refused(holdfast("show", tmp_path / "none"), "none: No such file or directory")
    refused(holdfast("show", tmp_path), "no holdfast.img in it")
    # What is in a directory is not followed elsewhere, nor waited for.
    image = inner / "holdfast.img"
    image.rename(tmp_path / "good")
    image.symlink_to(tmp_path / "good")
    refused(holdfast("show", inner), "cannot open holdfast.img")
    image.unlink()
    os.mkfifo(image)
    refused(holdfast("show", inner), "holdfast.img is no ordinary file")
    image.unlink()
    image.mkdir()
    refused(holdfast("show", inner), "holdfast.img is no ordinary file")
    image.rmdir()
    image.write_bytes(BAD)
    refused(holdfast("show", inner.parent), "holdfast.img: checksum: the file is damaged")
    inner.rename(tmp_path / "elsewhere")
    inner.symlink_to(tmp_path / "elsewhere")
    refused(holdfast("show", inner.parent), "cannot open checkpoint")


def test_none_or_several(show: Show, pack: Pack) -> None:
    none = "no holdfast.img in it: this checkpoint was made without holdfast (`holdfast check`"
    refused(show(pack(tar(REST))), none)
    refused(show(pack(tar([]))), none)
    several = "more than one holdfast.img in it"
    refused(show(pack(tar([IMAGE, *REST, IMAGE]))), several)
    refused(show(pack(tar([IMAGE, ("other/holdfast.img", b"")]))), several)


def test_bad_image(show: Show, pack: Pack) -> None:
    """All that the reader of images refuses."""
    for content, words in (
        (BAD, "holdfast.img: checksum: the file is damaged"),
        (b"", "holdfast.img: magic: the file ends at byte 0"),
        (GOOD[:-1], "holdfast.img: checksum: the file ends at byte"),
        (GOOD + b"\0", "holdfast.img: end: the file goes on after its checksum"),
        (b"\0" * 1000, "holdfast.img: magic: this is not a holdfast image"),
    ):
        refused(show(pack(tar([*REST, ("checkpoint/holdfast.img", content), *REST]))), words)


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE]
)
def test_no_file(show: Show, pack: Pack, kind: bytes) -> None:
    info = tarfile.TarInfo("checkpoint/holdfast.img")
    info.type, info.linkname = kind, "/etc/passwd"
    refused(show(pack(tar_of(info))), "holdfast.img in it is a link or no ordinary file")


def test_link_with_content(show: Show, pack: Pack) -> None:
    """pax allows it."""
    info = tarfile.TarInfo("checkpoint/holdfast.img")
    info.type, info.linkname, info.size = tarfile.LNKTYPE, "checkpoint/other", len(GOOD)
    entry = info.tobuf(tarfile.USTAR_FORMAT) + GOOD + bytes(-len(GOOD) % 512)
    refused(show(pack(entry + bytes(1024))), "holdfast.img in it is a link or no ordinary file")


def test_cut_off(show: Show, pack: Pack, expected: Any) -> None:
    data = tar([*REST, IMAGE, *REST])
    end = end_of_entries(data)
    assert show(pack(data[: end + 1024])).json == expected
    missing = f"{DAMAGED}its end is missing"
    refused(show(pack(data[:end])), missing)  # after an entry, and everything is there
    refused(show(pack(data[: end + 512])), missing)
    for size in (end - 1, end - 700, end // 2, 200_000, 700):
        refused(show(pack(data[:size])), DAMAGED)
    refused(show(pack(data[:100])), NO_ARCHIVE)
    packed = pack(data[: end + 1024])
    for size in (len(packed) - 1, len(packed) // 2):
        refused(show(packed[:size]), DAMAGED)
    for size in (0, 1):
        refused(show(packed[:size]), NO_ARCHIVE)


def test_something_behind_it(show: Show, pack: Pack, expected: Any) -> None:
    beyond = f"{DAMAGED}it goes on after its end"
    data = tar([IMAGE, *REST])
    assert show(pack(data + b"\0" * 100_000)).json == expected
    refused(show(pack(data + b"garbage")), beyond)
    refused(show(pack(data + b"\0" * 50_000 + b"x")), beyond)
    refused(show(pack(data + tar([IMAGE]))), beyond)
    refused(show(pack(data + b"\0" * 2 * MIB)), beyond)
    refused(show(pack(data) + b"garbage"), DAMAGED)
    refused(show(pack(data) + data), DAMAGED)


def test_bit_flips(show: Show) -> None:
    """Each byte of the headers: it is refused, or what is shown is right."""
    data = tar([IMAGE], tarfile.USTAR_FORMAT)
    for at in range(0, 512, 7):
        said = show(data[:at] + bytes([data[at] ^ 0x41]) + data[at + 1 :])
        assert said.rc == 1 and len(said.err.splitlines()) == 1, at


def test_no_archive(tmp_path: Path, show: Show) -> None:
    for data in (b"", b"x", b"text\n" * 1000, GOOD, PAGES, compress("xz", "-c")(tar([IMAGE]))):
        refused(show(data), NO_ARCHIVE)
    for pack in list(PACKERS.values())[1:]:
        refused(show(pack(GOOD)), NO_ARCHIVE)
        refused(show(pack(pack(tar([IMAGE])))), "the archive is compressed more than once")
    for path in ("/dev/null", "/dev/zero", "/proc/self/status"):
        refused(holdfast("show", path), NO_ARCHIVE)


def lying(size: int) -> bytes:
    """An entry that says it has this size, and has but an image."""
    info = tarfile.TarInfo("checkpoint/holdfast.img")
    info.size = size
    return info.tobuf(tarfile.GNU_FORMAT) + GOOD + b"\0" * 20_000


def test_sizes_that_lie(show: Show, pack: Pack) -> None:
    for size in (len(GOOD) + 1, 1 << 33, 1 << 50, (1 << 63) - 1):
        refused(show(pack(lying(size))), "")
    refused(show(pack(lying(len(GOOD) - 1))), "the file ends at byte")
    other = tarfile.TarInfo("checkpoint/pages-1.img")
    other.size = (1 << 63) - 1
    refused(show(pack(other.tobuf(tarfile.GNU_FORMAT) + PAGES)), DAMAGED)


def test_bombs(show: Show, expected: Any) -> None:
    """Little that becomes much: it is not kept, and what is not wanted is passed over."""
    zeros = b"\0" * (160 * MIB)
    for pack in list(PACKERS.values())[1:]:
        assert len(pack(zeros)) < 2 * MIB
        said = show(pack(tar([("pages-1.img", zeros), IMAGE])))
        assert said.json == expected
        refused(show(pack(tar([("holdfast.img", zeros)]))), "this is not a holdfast image")
        refused(show(pack(zeros)), f"{DAMAGED}it goes on after its end")
    # A window that takes more memory than an archive may cost.
    wide = compress("zstd", "-qc", "--ultra", "--long=31", "-1")(os.urandom(MIB) + zeros)
    refused(show(wide), "")


def test_large(tmp_path: Path, expected: Any) -> None:
    """What is not compressed is not even read."""
    pages = tarfile.TarInfo("checkpoint/pages-1.img")
    pages.size = 1 << 40
    path = tmp_path / "archive"
    with open(path, "wb") as archive:
        archive.write(pages.tobuf(tarfile.GNU_FORMAT))
        archive.seek(pages.size, os.SEEK_CUR)
        archive.write(tar([IMAGE]))
    assert holdfast("show", "--json", path).json == expected
    with open(path, "r+b") as archive:
        archive.truncate(pages.size // 2)
    refused(holdfast("show", path), DAMAGED)


def test_long_names(show: Show, pack: Pack, expected: Any) -> None:
    """Those of GNU's and pax's headers, of any length."""
    for format in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        long = "d/" * 20_000
        assert show(pack(tar([(f"{long}x", b""), IMAGE], format))).json == expected
        said = show(pack(tar([("d" * (8 * MIB), b""), IMAGE], format)))
        assert said.rc == 1 and len(said.err.splitlines()) == 1 or said.json == expected
    for name in ("\x1b[31m\u00e9/holdfast.img", "caf\u00e9/x"):
        said = show(pack(tar([(name, GOOD)])))
        assert "\x1b" not in said.out + said.err
