# SPDX-License-Identifier: GPL-2.0-or-later
"""Redis: subscribers hear every message in its turn, and pipelining counts exactly."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from .net import Netns
from .proc import wait_for
from .real_clients import Asked, Client, Fed
from .real_image import Image
from .real_programs import Clients, RealServer

CHANNEL = "news"


def redis_cli(address: str) -> list[str]:
    return ["redis-cli", "-h", address, "-p", Redis.port]


class Subscriber(Client):
    def __init__(self, ns: Netns, work: Path, name: str, address: str) -> None:
        super().__init__(ns, work, name, [*redis_cli(address), "SUBSCRIBE", CHANNEL])

    def progress(self) -> int:
        return len(self.output())

    def messages(self) -> list[str]:
        lines = self.output().splitlines()
        assert lines[:3] == ["subscribe", CHANNEL, "1"]
        found = list(zip(lines[3::3], lines[4::3], lines[5::3], strict=False))
        assert {message[:2] for message in found} <= {("message", CHANNEL)}
        return [text for _, _, text in found]


class Publisher(Fed):
    """One message after the other; each waits for its reply."""

    def __init__(self, ns: Netns, work: Path, name: str, address: str) -> None:
        super().__init__(ns, work, name, redis_cli(address), gap=0.002)
        self.count = 0

    def pieces(self) -> Iterator[bytes]:
        # redis-cli connects again by itself, and this tells.
        yield b"CLIENT ID\n"
        while True:
            self.count += 1
            yield f"PUBLISH {CHANNEL} {self.count}\n".encode()

    def stop(self) -> None:
        super().stop()
        self.write(b"CLIENT ID\n")


class Pipeline(Fed):
    """Commands one upon the other, without a wait for their replies."""

    def __init__(self, ns: Netns, work: Path, name: str, address: str) -> None:
        super().__init__(ns, work, name, [*redis_cli(address), "--pipe"], gap=0.005)
        self.count = 0

    def pieces(self) -> Iterator[bytes]:
        while True:
            numbers = range(self.count, self.count + 100)
            commands = [f"INCR {self.name}.n\r\nRPUSH {self.name}.list {n}\r\n" for n in numbers]
            self.count += len(commands)
            yield "".join(commands).encode()


class Commands(Asked):
    def __init__(self, ns: Netns, work: Path, name: str, address: str) -> None:
        super().__init__(ns, work, name, redis_cli(address))

    def question(self, text: str, mark: str) -> str:
        return f"{text}\nECHO '{mark}'\n"


class Redis:
    port: ClassVar[str] = "6379"
    words: ClassVar[Sequence[str]] = (
        "/usr/bin/redis-server", "--port", port, "--bind", "*", "-::*",
        "--protected-mode", "no", "--save", "", "--dir", "/tmp",
    )

    def __init__(self, server: RealServer, clients: Clients, image: Image, rounds: int) -> None:
        addresses = (server.v4, server.v6)
        self.subscribers = [
            clients.add(Subscriber, f"subscriber{i}", address)
            for i, address in enumerate(addresses)
        ]
        for subscriber in self.subscribers:
            wait_for(lambda: subscriber.output().count("\n") == 3, f"{subscriber.name} subscribes")
        self.publisher = clients.add(Publisher, "publisher", server.v4)
        self.pipelines = [
            clients.add(Pipeline, f"pipeline{i}", address) for i, address in enumerate(addresses)
        ]
        self.commands = clients.add(Commands, "commands", server.v6)
        clients.go_on()
        self.go_on()
        self.before = self._accepted()

    def _accepted(self) -> str:
        lines = self.commands.ask("INFO stats")
        (line,) = [line for line in lines if line.startswith("total_connections_received:")]
        return line

    def go_on(self) -> None:
        """Pipelining does, of which nothing is seen from outside."""
        for pipeline in self.pipelines:
            get = f"GET {pipeline.name}.n"
            before = self.commands.ask(get)
            wait_for(lambda: self.commands.ask(get) != before, f"{pipeline.name} goes on")

    def check(self) -> None:
        assert self._accepted() == self.before, "somebody connected again"
        self._check_publisher()
        self._check_subscribers()
        for pipeline in self.pipelines:
            self._check_pipeline(pipeline)

    def _check_publisher(self) -> None:
        first, *received, last = self.publisher.end().split()
        assert first == last, "the publisher connected again"
        assert received == [str(len(self.subscribers))] * self.publisher.count
        assert self.publisher.count > 100

    def _check_subscribers(self) -> None:
        messages = [str(n) for n in range(1, self.publisher.count + 1)]
        for subscriber in self.subscribers:
            wait_for(lambda: len(subscriber.messages()) >= len(messages), "the last message")
            assert subscriber.running and subscriber.messages() == messages

    def _check_pipeline(self, pipeline: Pipeline) -> None:
        output = pipeline.end()
        assert f"errors: 0, replies: {2 * pipeline.count}\n" in output
        assert self.commands.ask(f"GET {pipeline.name}.n") == [str(pipeline.count)]
        found = self.commands.ask(f"LRANGE {pipeline.name}.list 0 -1")
        assert found == [str(n) for n in range(pipeline.count)]
