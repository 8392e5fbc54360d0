"""Writers beside daemons: they write through the sockets, as programs in any language do, and keep
books of what was acknowledged."""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from math import inf
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

    def longest_pause(self, since: float) -> float:
        """Seconds between two answers, at most, where the later one came after a moment."""
        times = self.times[:]
        return max(
            (later - sooner for sooner, later in pairwise(times) if later > since), default=0.0
        )

    def during(self, since: float, until: float) -> int:
        """How many answers came between two moments."""
        return sum(since <= moment <= until for moment in self.times[:])

    def taken_since(self, since: float) -> int:
        """How many answers have come from a moment on."""
        return self.during(since, inf)


class Writer:
    """A client of the daemon on one directory, which comes back whenever the daemon does.

    Attributes:
        ledger: what it was told.
    """

    def __init__(self, data: Path, name: str) -> None:
        self.ledger = Ledger()
        self._data = data
        self._name = name.encode()
        self._dice = Random(name)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._write, name=f"writer {name}")
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
        key = b"%s/%d" % (self._name, self._dice.randrange(KEYS))
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
def writing(directories: Mapping[str, Path], count: int) -> Iterator[dict[str, list[Ledger]]]:
    """So many writers beside each daemon, for as long as the context is open; gives their books."""
    writers = {
        name: [Writer(data, f"{name}/{number}") for number in range(count)]
        for name, data in directories.items()
    }
    try:
        yield {name: [writer.ledger for writer in some] for name, some in writers.items()}
    finally:
        for some in writers.values():
            for writer in some:
                writer.stop()
