# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs that are connected to a server, as their packages have them: what goes in and out."""

from __future__ import annotations

import os
import select
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from . import proc
from .closing import Closing
from .net import Netns

PATIENCE = 30.0


class ClientError(RuntimeError):
    """A client that did not end well."""


class Client(Closing):
    """with Client(ns, work, "name", words) as client: ...; client.end()

    Its input is ours; its outputs go to files.
    """

    def __init__(self, ns: Netns, work: Path, name: str, words: Sequence[object]) -> None:
        self.ns, self.name, self.words = ns, name, words
        self._out, self._errors = work / f"{name}.out", work / f"{name}.err"
        self.process: subprocess.Popen[bytes] | None = None

    def open(self) -> None:
        with self._out.open("wb") as out, self._errors.open("wb") as errors:
            self.process = self.ns.popen(
                self.words,
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=self._stdout(out.fileno()),
                stderr=errors,
            )

    def _stdout(self, file: int) -> int:
        return file

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def progress(self) -> int | None:
        """Something that grows as long as its connection is well."""
        return None

    def output(self) -> str:
        return self._out.read_text(errors="replace")

    def errors(self) -> str:
        return self._errors.read_text(errors="replace")

    def complaint(self) -> str:
        """The first, if it made any."""
        lines = self.errors().splitlines()
        return next((line for line in lines if not line[:1].isdigit()), "")

    def fail(self, what: str) -> ClientError:
        tail = "\n".join(self.output().splitlines()[-5:])
        return ClientError(f"{self.name}: {what}\n{self.errors()}\n{tail}")

    def write(self, data: bytes) -> None:
        assert self.process and self.process.stdin
        try:
            self.process.stdin.write(data)
        except BrokenPipeError as error:
            raise self.fail(f"ended with {self.process.wait()}") from error

    def end(self) -> str:
        """Closes its input and returns its output, if it ends well."""
        assert self.process and self.process.stdin
        self.process.stdin.close()
        try:
            status = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise self.fail(f"not done after {PATIENCE} s") from None
        if status:
            raise self.fail(f"ended with {status}")
        return self.output()

    def close(self) -> None:
        if self.process:
            proc.end(self.process)


class Fed(Client):
    """Gets input all the time, a piece every few milliseconds, until its end."""

    def __init__(
        self, ns: Netns, work: Path, name: str, words: Sequence[object], *, gap: float
    ) -> None:
        super().__init__(ns, work, name, words)
        self.gap = gap
        self._stop = threading.Event()
        self._broken: ClientError | None = None
        self._thread = threading.Thread(target=self._feed, daemon=True)

    def pieces(self) -> Iterator[bytes]:
        """Without an end."""
        raise NotImplementedError

    def open(self) -> None:
        super().open()
        self._thread.start()

    def _feed(self) -> None:
        try:
            for piece in self.pieces():
                self.write(piece)
                if self._stop.wait(self.gap):
                    return
        except ClientError as error:
            self._broken = error

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(PATIENCE)
        if self._broken:
            raise self._broken
        if self._thread.is_alive():
            raise self.fail(f"takes no input for {PATIENCE} s")

    def end(self) -> str:
        self.stop()
        return super().end()

    def close(self) -> None:
        self._stop.set()
        if self.process and self.process.poll() is None:
            self.process.kill()
        if self._thread.ident:
            self._thread.join()
        super().close()


class Paced(Client):
    """Has its output taken slowly, until its end, and so gets no further meanwhile."""

    PIECE = 16384

    def __init__(
        self, ns: Netns, work: Path, name: str, words: Sequence[object], *, rate: float
    ) -> None:
        super().__init__(ns, work, name, words)
        self.rate = rate  # bytes a second
        self.taken = bytearray()
        self._hurry = threading.Event()
        self._thread = threading.Thread(target=self._take, daemon=True)

    def _stdout(self, file: int) -> int:
        return subprocess.PIPE

    def progress(self) -> int:
        return len(self.taken)

    def open(self) -> None:
        super().open()
        self._thread.start()

    def _take(self) -> None:
        assert self.process and self.process.stdout
        while piece := os.read(self.process.stdout.fileno(), self.PIECE):
            self.taken += piece
            self._hurry.wait(len(piece) / self.rate)

    def hurry(self) -> bytes:
        """The rest, as fast as it comes; all that came."""
        self._hurry.set()
        self.end()
        self._thread.join()
        return bytes(self.taken)

    def close(self) -> None:
        self._hurry.set()
        if self.process and self.process.poll() is None:
            self.process.kill()
        if self._thread.ident:
            self._thread.join()
        super().close()


class Asked(Client):
    """Answers what it is asked, and marks the end of its answers."""

    def _stdout(self, file: int) -> int:
        return subprocess.PIPE

    def question(self, text: str, mark: str) -> str:
        raise NotImplementedError

    def ask(self, text: str, patience: float = PATIENCE) -> list[str]:
        """The lines of its answer."""
        assert self.process and self.process.stdout
        mark = f"-- {time.monotonic_ns()}"
        self.write(self.question(text, mark).encode())
        fd, got, end = self.process.stdout.fileno(), b"", time.monotonic() + patience
        while not got.endswith(f"{mark}\n".encode()):
            if not select.select([fd], [], [], max(0, end - time.monotonic()))[0]:
                raise self.fail(f"no answer to {text!r} in {patience} s")
            piece = os.read(fd, 65536)
            if not piece:
                raise self.fail(f"ended with {self.process.wait()} at {text!r}")
            got += piece
        return got.decode().splitlines()[:-1]
