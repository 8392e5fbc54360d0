"""Writers beside daemons: they write through the sockets, as programs in any language do, and keep
books of what was acknowledged."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from socket import socket

import hiredis

from replicator.faces.resp import encode_request
from replicator.faces.unixsocket import connect

KEYS = 40
"""How many keys a writer has for itself."""


@dataclass
class Ledger:
    """What one writer knows of its own keys.

    Attributes:
        acknowledged: key → the last value that its node has taken, None for a delete.
        unsure: key → values sent after that, of which no answer has come.
        times: when each answer came.
    """

    acknowledged: dict[bytes, bytes | None] = field(default_factory=dict)
    unsure: dict[bytes, list[bytes | None]] = field(default_factory=dict)
    times: list[float] = field(default_factory=list)

    def allows(self, key: bytes, value: bytes | None) -> bool:
        """Whether a key may show this value, None for nothing."""
        return value in (self.acknowledged.get(key), *self.unsure.get(key, ()))

    def longest_pause(self) -> float:
        """Seconds between two answers, at most."""
        return max(
            (later - sooner for sooner, later in zip(self.times, self.times[1:], strict=False)),
            default=0.0,
        )

    def during(self, since: float, until: float) -> int:
        """How many answers came between two moments."""
        return sum(since <= moment <= until for moment in self.times)


class Writer:
    """A client of the daemon on one directory, which comes back whenever the daemon does.

    Attributes:
        ledger: what it was told.
    """

    def __init__(self, data: Path) -> None:
        self.ledger = Ledger()
        self._data = data
        self._dice = Random(data.name)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._write, name=f"writer of {data.name}")
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def _write(self) -> None:
        count = 0
        while not self._stopping.is_set():
            try:
                connection = connect(self._data, 10)
                if connection is None:
                    time.sleep(0.01)
                    continue
                with connection:
                    reader = hiredis.Reader()
                    while not self._stopping.is_set():
                        count += 1
                        self._write_once(connection, reader, count)
            except OSError:
                time.sleep(0.01)

    def _write_once(self, connection: socket, reader: hiredis.Reader, count: int) -> None:
        """Write one key of its own, and now and then one that all write."""
        key = b"%s/%d" % (self._data.name.encode(), self._dice.randrange(KEYS))
        value = None if self._dice.random() < 0.2 else b"%d" % count
        self.ledger.unsure.setdefault(key, []).append(value)
        request = (
            encode_request(b"DEL", key) if value is None else encode_request(b"SET", key, value)
        )
        self._ask(connection, reader, request)
        self.ledger.acknowledged[key] = value
        self.ledger.unsure[key].clear()
        self.ledger.times.append(time.monotonic())
        if count % 10 == 0:
            shared = b"shared/%d" % self._dice.randrange(5)
            self._ask(connection, reader, encode_request(b"SET", shared, value or b""))
        time.sleep(0.001)

    def _ask(self, connection: socket, reader: hiredis.Reader, request: bytes) -> None:
        connection.sendall(request)
        while (reply := reader.gets()) is False:
            data = connection.recv(4096)
            if not data:
                raise ConnectionResetError
            reader.feed(data)
        if isinstance(reply, hiredis.ReplyError):
            raise ConnectionResetError  # it is being closed


@contextmanager
def writing(directories: list[Path]) -> Iterator[dict[str, Ledger]]:
    """A writer beside each daemon, for as long as the context is open; gives their books."""
    writers = [Writer(data) for data in directories]
    try:
        yield {data.name: writer.ledger for data, writer in zip(directories, writers, strict=True)}
    finally:
        for writer in writers:
            writer.stop()
