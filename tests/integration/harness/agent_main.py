# SPDX-License-Identifier: GPL-2.0-or-later
"""hf-agent: does what a test says, piece by piece, with sockets, threads and child processes.

    python3 agent_main.py DIRECTORY NAME

Requests come as lines from the fifo DIRECTORY/NAME.in, answers go to DIRECTORY/NAME.out. Both are
held open for reading and writing here, so that whoever asks can come and go, and nothing but two
fifos is to be checkpointed. It needs nothing but this file and Python.
"""

from __future__ import annotations

import array
import ast
import ctypes
import errno
import fcntl
import os
import random
import select
import socket
import struct
import sys
import termios
import threading
import time
import traceback
from pathlib import Path
from typing import Any, NoReturn

STATES = (
    "",
    "ESTABLISHED",
    "SYN_SENT",
    "SYN_RECV",
    "FIN_WAIT1",
    "FIN_WAIT2",
    "TIME_WAIT",
    "CLOSE",
    "CLOSE_WAIT",
    "LAST_ACK",
    "LISTEN",
    "CLOSING",
)
POLL_NAMES = ("IN", "PRI", "OUT", "ERR", "HUP", "RDHUP")
# A prime number of bytes, and more than any stream has: no two places in it look alike.
_TABLE = random.Random(1).randbytes(1_048_573)
PATIENCE = 20.0


def pattern(stream: int, start: int, length: int) -> bytes:
    """The bytes of a stream from a position on: what is sent, and what must come."""
    begin = (stream * 100_003 + start) % len(_TABLE)
    data = _TABLE[begin : begin + length]
    return data if len(data) == length else data + _TABLE[: length - len(data)]


def poll_names(events: int) -> str:
    """ "IN|RDHUP" """
    return "|".join(name for name in POLL_NAMES if events & getattr(select, f"POLL{name}"))


def poll_now(fd: int, timeout: float = 0) -> str:
    poll = select.poll()
    poll.register(fd, select.POLLIN | select.POLLPRI | select.POLLOUT | select.POLLRDHUP)
    found = poll.poll(timeout * 1000)
    return poll_names(found[0][1]) if found else ""


def error_name(error: OSError) -> str:
    return errno.errorcode.get(error.errno or 0, str(error))


class Conn:
    """A TCP socket, with the positions of its two streams."""

    def __init__(self, sock: socket.socket, stream_out: int = 0, stream_in: int = 0) -> None:
        self.sock = sock
        self.stream_out, self.stream_in = stream_out, stream_in
        self.sent = self.received = 0

    def fileno(self) -> int:
        return self.sock.fileno()

    def _wait(self, events: int, end: float, what: str) -> None:
        poll = select.poll()
        poll.register(self.sock, events)
        if not poll.poll(max(0, end - time.monotonic()) * 1000):
            raise AssertionError(f"{what}: nothing in time, state {self.state()}")

    # ---- streams

    def send(self, length: int, timeout: float = PATIENCE) -> int:
        """The next bytes of our stream, all of them."""
        end, left = time.monotonic() + timeout, length
        while left:
            data = pattern(self.stream_out, self.sent, left)
            try:
                done = self.sock.send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
            except BlockingIOError:
                self._wait(select.POLLOUT, end, f"sending: {left} of {length} left")
                continue
            self.sent += done
            left -= done
        return length

    def fill(self) -> int:
        """As much as goes without waiting."""
        before = self.sent
        try:
            while True:
                data = pattern(self.stream_out, self.sent, 65536)
                self.sent += self.sock.send(data, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return self.sent - before

    def take(self, data: bytes) -> int:
        """Bytes that came, however."""
        expected = pattern(self.stream_in, self.received, len(data))
        if data != expected:
            at = next(i for i in range(len(data)) if data[i] != expected[i])
            raise AssertionError(f"wrong data at {self.received + at} of the stream")
        self.received += len(data)
        return len(data)

    def recv(self, length: int, timeout: float = PATIENCE) -> int:
        """Exactly so many bytes, the right ones."""
        end, left = time.monotonic() + timeout, length
        while left:
            try:
                data = self.sock.recv(min(left, 65536), socket.MSG_DONTWAIT)
            except BlockingIOError:
                self._wait(select.POLLIN, end, f"receiving: {left} of {length} missing")
                continue
            if not data:
                raise AssertionError(f"end of file with {left} of {length} bytes missing")
            left -= self.take(data)
        return length

    def eof(self, timeout: float = PATIENCE) -> bool:
        """End of file, with nothing before it, and again."""
        end = time.monotonic() + timeout
        for _ in range(2):
            while True:
                try:
                    data = self.sock.recv(65536, socket.MSG_DONTWAIT)
                    break
                except BlockingIOError:
                    self._wait(select.POLLIN, end, "end of file")
            if data:
                raise AssertionError(f"{len(data)} bytes instead of end of file")
        return True

    def error(self, what: str) -> str:
        """The name of the error that recv, send or "option" (SO_ERROR) gives now; "" for none."""
        try:
            if what == "recv":
                self.sock.recv(1, socket.MSG_DONTWAIT)
            elif what == "send":
                self.sock.send(b"x", socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
            else:
                value = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                return errno.errorcode[value] if value else ""
        except OSError as error:
            return error_name(error)
        return ""

    # ---- what can be seen of it

    def state(self) -> str:
        return STATES[self.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]]

    def wait_state(self, *states: str, timeout: float = PATIENCE) -> str:
        end = time.monotonic() + timeout
        while (now := self.state()) not in states:
            if time.monotonic() > end:
                raise AssertionError(f"state {now}, not {' or '.join(states)}")
            time.sleep(0.005)
        return now

    def poll(self, timeout: float = 0) -> str:
        return poll_now(self.sock.fileno(), timeout)

    def wait_poll(self, *names: str, timeout: float = PATIENCE) -> str:
        """Until all these events are there at once."""
        end = time.monotonic() + timeout
        while not set(names) <= set((now := self.poll()).split("|")):
            if time.monotonic() > end:
                raise AssertionError(f"poll says {now or 'nothing'}, not {'|'.join(names)}")
            time.sleep(0.005)
        return now

    def _ioctl(self, request: int) -> int:
        value = array.array("i", [0])
        try:
            fcntl.ioctl(self.sock, request, value)
        except OSError as error:
            return -(error.errno or 1)
        return value[0]

    def inq(self) -> int:
        return self._ioctl(termios.FIONREAD)

    def outq(self) -> int:
        return self._ioctl(termios.TIOCOUTQ)

    def wait_inq(self, length: int, timeout: float = PATIENCE) -> None:
        end = time.monotonic() + timeout
        while (now := self.inq()) != length:
            if time.monotonic() > end:
                raise AssertionError(f"{now} bytes to be read, not {length}")
            time.sleep(0.005)

    def wait_outq(self, length: int, timeout: float = PATIENCE) -> None:
        end = time.monotonic() + timeout
        while (now := self.outq()) != length:
            if time.monotonic() > end:
                raise AssertionError(f"{now} bytes not acknowledged, not {length}")
            time.sleep(0.005)

    def names(self) -> tuple[Any, Any]:
        """Our address and the peer's, or why there is none."""
        found: list[Any] = []
        for get in (self.sock.getsockname, self.sock.getpeername):
            try:
                found.append(get())
            except OSError as error:
                found.append(error_name(error))
        return found[0], found[1]

    def view(self) -> dict[str, Any]:
        """All that the program can see without changing anything."""
        local, peer = self.names()
        return {
            "state": self.state(),
            "local": local,
            "peer": peer,
            "poll": self.poll(),
            "inq": self.inq(),
            "flags": fcntl.fcntl(self.sock, fcntl.F_GETFL),
        }

    def wait_stuck(self, timeout: float = PATIENCE) -> None:
        """Until the peer's window is full: what was sent is acknowledged, and more is queued."""
        end = time.monotonic() + timeout
        while self.outq() == 0 or self._unacked():
            if time.monotonic() > end:
                raise AssertionError(f"{self.outq()} queued, {self._unacked()} segments in flight")
            time.sleep(0.005)

    def _unacked(self) -> int:
        info = self.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 28)
        return int.from_bytes(info[24:28], sys.byteorder)

    # ---- the rest

    def connect(self, host: str, port: int, wait: bool = True) -> None:
        """Without wait the state is SYN_SENT, or the error stays with the socket."""
        self.sock.setblocking(False)
        try:
            self.sock.connect((host, port))
        except BlockingIOError:
            if wait:
                self._wait(select.POLLOUT, time.monotonic() + PATIENCE, "connecting")
                code = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if code:
                    raise OSError(code, os.strerror(code)) from None
        finally:
            self.sock.setblocking(True)

    def disconnect(self) -> None:
        """connect(AF_UNSPEC)"""
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.connect(self.sock.fileno(), bytes(16), 16) < 0:
            raise OSError(ctypes.get_errno(), "connect(AF_UNSPEC)")

    def option(self, level: int, option: int, value: int) -> None:
        self.sock.setsockopt(level, option, value)

    def shutdown(self, how: str = "WR") -> None:
        self.sock.shutdown(getattr(socket, f"SHUT_{how}"))

    def close(self) -> None:
        self.sock.close()

    def reset(self) -> None:
        """Closes with a RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


conns: dict[str, Conn] = {}
listeners: dict[str, socket.socket] = {}


def _family(host: str) -> int:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def new_socket(host: str, options: list[tuple[int, int, int]]) -> socket.socket:
    sock = socket.socket(_family(host), socket.SOCK_STREAM)
    for level, option, value in options:
        sock.setsockopt(level, option, value)
    return sock


def listen(
    name: str,
    host: str,
    port: int = 0,
    options: list[tuple[int, int, int]] | None = None,
    backlog: int = 16,
) -> int:
    """Makes a listener and returns its port; "::" also takes IPv4."""
    sock = new_socket(host, [(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1), *(options or [])])
    sock.bind((host, port))
    sock.listen(backlog)
    listeners[name] = sock
    local_port: int = sock.getsockname()[1]
    return local_port


def listen_on(name: str, conn: str, backlog: int = 16) -> None:
    """Makes a listener of a socket that has an address."""
    listeners[name] = conns[conn].sock
    listeners[name].listen(backlog)


def new_conn(
    name: str,
    host: str,
    port: int | None = None,
    streams: tuple[int, int] = (0, 0),
    options: list[tuple[int, int, int]] | None = None,
) -> None:
    """A socket without a connection; bound to the address if there is a port."""
    sock = new_socket(host, options or [])
    conns[name] = Conn(sock, *streams)
    if port is not None:
        sock.bind((host, port))


def connect(
    name: str,
    host: str,
    port: int,
    streams: tuple[int, int] = (0, 0),
    options: list[tuple[int, int, int]] | None = None,
    wait: bool = True,
) -> int:
    """Makes a connection and returns our port."""
    new_conn(name, host, None, streams, options)
    conns[name].connect(host, port, wait)
    local_port: int = conns[name].sock.getsockname()[1]
    return local_port


def accept(
    name: str, listener: str, streams: tuple[int, int] = (0, 0), timeout: float = PATIENCE
) -> int:
    """Takes the next connection of a listener and returns the peer's port."""
    poll = select.poll()
    poll.register(listeners[listener], select.POLLIN)
    if not poll.poll(timeout * 1000):
        raise AssertionError(f"{name}: nothing to accept in time")
    sock, address = listeners[listener].accept()
    conns[name] = Conn(sock, *streams)
    port: int = address[1]
    return port


waiting: dict[tuple[str, int], Conn] = {}  # accepted, but asked for by nobody yet


def accept_from(
    name: str,
    listener: str,
    port: int,
    streams: tuple[int, int] = (0, 0),
    timeout: float = PATIENCE,
) -> None:
    """Takes the connection that comes from this port, in whatever order they come."""
    end = time.monotonic() + timeout
    while (listener, port) not in waiting:
        found = accept("next", listener, timeout=max(0, end - time.monotonic()))
        waiting[listener, found] = conns.pop("next")
    conns[name] = waiting.pop((listener, port))
    conns[name].stream_out, conns[name].stream_in = streams


# ---- epoll


class EpollSet:
    """An epoll instance that calls connections and listeners by name."""

    def __init__(self) -> None:
        self.epoll = select.epoll()
        self.names: dict[int, str] = {}

    def _fd(self, name: str) -> int:
        return (listeners.get(name) or conns[name]).fileno()

    @staticmethod
    def _mask(events: str) -> int:
        """Of "IN|ET|ONESHOT" """
        mask = 0
        for word in events.split("|"):
            mask |= getattr(select, f"EPOLL{word}")
        return mask

    def add(self, name: str, events: str, fd: int = -1) -> None:
        fd = self._fd(name) if fd < 0 else fd
        self.names[fd] = name
        self.epoll.register(fd, self._mask(events))

    def rearm(self, name: str, events: str) -> None:
        self.epoll.modify(self._fd(name), self._mask(events))

    def wait(self, timeout: float = 0) -> dict[str, str]:
        """What epoll_wait tells: name -> "IN|RDHUP"; forever with a timeout below 0."""
        found = self.epoll.poll(timeout)
        return {self.names[fd]: poll_names(events) for fd, events in found}


epolls: dict[str, EpollSet] = {}


def epoll_add(name: str, conn: str, events: str, fd: int = -1) -> None:
    epolls.setdefault(name, EpollSet()).add(conn, events, fd)


def epoll_rearm(name: str, conn: str, events: str) -> None:
    epolls[name].rearm(conn, events)


def epoll_wait(name: str, timeout: float = 0) -> dict[str, str]:
    return epolls[name].wait(timeout)


# ---- threads: what blocks while the agent goes on


class Job(threading.Thread):
    """A snippet in a thread; its outcome is kept until it is asked for."""

    def __init__(self, code: str) -> None:
        super().__init__(daemon=True)
        self.code = code
        self.outcome: tuple[Any, ...] | None = None
        self.start()

    def run(self) -> None:
        self.outcome = attempt(self.code)


jobs: dict[str, Job] = {}


def start_job(name: str, code: str) -> int:
    jobs[name] = Job(code)
    return jobs[name].native_id or 0


def syscall_of(task: str) -> int:
    """The system call that a task ("self/task/TID" or "PID") is blocked in; -1: it runs."""
    word = Path(f"/proc/{task}/syscall").read_text().split()[0]
    return int(word) if word.isdigit() else -1


def job_syscall(name: str) -> int:
    return syscall_of(f"self/task/{jobs[name].native_id}")


# ---- requests


def attempt(code: str) -> tuple[Any, ...]:
    """Runs statements; the value is that of the last one, if it is an expression."""
    try:
        tree = ast.parse(code)
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, "<request>", "exec"), globals())
        if not isinstance(last, ast.Expr):
            return ("value", None)
        return ("value", eval(compile(ast.Expression(last.value), "<request>", "eval"), globals()))
    except AssertionError as error:
        return ("failed", str(error))
    except OSError as error:
        return ("os-error", error.errno, str(error))
    except BaseException:
        return ("broken", traceback.format_exc())


class Control:
    """The two fifos."""

    def __init__(self, directory: str, name: str) -> None:
        self.directory = directory
        self.source = os.open(f"{directory}/{name}.in", os.O_RDWR | os.O_CLOEXEC)
        self.sink = os.open(f"{directory}/{name}.out", os.O_RDWR | os.O_CLOEXEC)
        self.buffer = b""

    def close(self) -> None:
        os.close(self.source)
        os.close(self.sink)

    def line(self) -> str:
        while b"\n" not in self.buffer:
            self.buffer += os.read(self.source, 65536)
        line, _, self.buffer = self.buffer.partition(b"\n")
        return line.decode()

    def serve(self) -> NoReturn:
        while True:
            number, code = ast.literal_eval(self.line())
            answer = (number, *attempt(code))
            data = f"{answer!r}\n".encode()
            while data:
                data = data[os.write(self.sink, data) :]


_control: Control


def fork_worker(name: str) -> int:
    """A child with all that we have, which listens to fifos of its own."""
    global _control
    pid = os.fork()
    if pid:
        return pid
    old, _control = _control, Control(_control.directory, name)
    old.close()
    _control.serve()


def setns(path: str) -> None:
    """Into another network namespace, for the calling thread."""
    with open(path, "rb") as file:
        os.setns(file.fileno(), os.CLONE_NEWNET)


def main() -> NoReturn:
    global _control
    Path("/proc/self/comm").write_text("hf-agent")
    _control = Control(sys.argv[1], sys.argv[2])
    _control.serve()


if __name__ == "__main__":
    main()
