"""Connections to a server of Redis's protocol, ours or a real one, for tests that look at every
reply."""

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import hiredis

from replicator.faces.resp import encode_request
from replicator.faces.unixsocket import DIRECTORY_NAME, SOCKET_NAME
from tests.cli.daemons import WAIT_SECONDS, Daemon, until

REDIS_SERVER = shutil.which("redis-server")


class Connection:
    """A client that sends and reads what it is told to.

    Args:
        place: a Unix socket, or a host and a port.
        protocol: 3 greets first.
    """

    def __init__(self, place: Path | tuple[str, int], protocol: int = 2) -> None:
        family = socket.AF_UNIX if isinstance(place, Path) else socket.AF_INET
        self.socket = socket.socket(family)
        self.socket.settimeout(WAIT_SECONDS)
        self.socket.connect(str(place) if isinstance(place, Path) else place)
        self._reader = hiredis.Reader()
        if protocol == 3:
            self.ask("HELLO", "3")

    def send(self, *requests: str) -> None:
        """Requests, each with spaces between its words, all at once."""
        words = [map(str.encode, request.split(" ")) for request in requests]
        self.socket.sendall(b"".join(encode_request(*request) for request in words))

    def get(self) -> Any:
        """The next reply or message; errors as `hiredis.ReplyError`."""
        while (reply := self._reader.gets()) is False:
            data = self.socket.recv(1 << 16)
            if not data:
                raise EOFError
            self._reader.feed(data)
        return reply

    def ask(self, *words: str | bytes) -> Any:
        """One request, and its reply."""
        encoded = [word.encode() if isinstance(word, str) else word for word in words]
        self.socket.sendall(encode_request(*encoded))
        return self.get()

    def say(self, request: str) -> Any:
        """One request with spaces between its words, and its reply."""
        return self.ask(*request.split(" "))

    @property
    def is_quiet(self) -> bool:
        """Whether nothing more has come."""
        self.socket.setblocking(False)
        try:
            with suppress(BlockingIOError):
                self._reader.feed(self.socket.recv(1 << 16))
        finally:
            self.socket.settimeout(WAIT_SECONDS)
        return not self._reader.has_data()

    def is_closed(self) -> bool:
        """Whether the server hangs up."""
        try:
            while self.socket.recv(1 << 16):
                pass
        except ConnectionResetError:
            pass
        return True

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def socket_of(daemon: Daemon) -> Path:
    """Where a daemon of tests is reached."""
    return daemon.data / DIRECTORY_NAME / SOCKET_NAME


def text(reply: Any) -> Any:
    """A reply that can be compared and read: bytes as text, errors as ``-words``."""
    if isinstance(reply, bytes):
        return reply.decode()
    if isinstance(reply, hiredis.ReplyError):
        return f"-{reply}"
    if isinstance(reply, dict):
        return {text(key): text(value) for key, value in reply.items()}
    if isinstance(reply, hiredis.PushNotification):
        return [">", *map(text, reply)]
    if isinstance(reply, list | tuple):
        return [text(item) for item in reply]
    return reply


@contextmanager
def real_redis(directory: Path, *options: str) -> Iterator[Path]:
    """A redis-server for as long as the context is open; its Unix socket."""
    assert REDIS_SERVER is not None
    path = directory / "redis.sock"
    usual = ("--port", "0", "--unixsocket", str(path), "--save", "", "--dir", str(directory))
    with (directory / "redis.log").open("w") as log:
        process = subprocess.Popen([REDIS_SERVER, *usual, *options], stdout=log, stderr=log)
    try:
        until(path.exists)
        yield path
    finally:
        process.kill()
        process.wait()
