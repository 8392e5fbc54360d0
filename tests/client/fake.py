"""A daemon of a test that does what it is told: answers, hangs up in the middle, keeps silent."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from replicator.core.known import KnownSet
from replicator.core.token import write_token
from replicator.faces.resp import RequestReader, Status, encode

HANG_UP = "hang up"
KEEP_SILENT = "keep silent"


class Raw(bytes):
    """Bytes that are sent as they are."""


class FakeDaemon:
    """Listens on a Unix socket; one thread a connection.

    Args:
        number: of its origin.

    Attributes:
        acts: by the name of a command, what is done; called with the request.
        asked: every request, in order, but for greetings and tokens.
        connections: how many there have been.
        writes: its own seq.
    """

    def __init__(self, path: Path, number: int = 1) -> None:
        self.path = path
        self.url = f"unix:{path}"
        self.acts: dict[bytes, Callable[[list[bytes]], object]] = {}
        self.asked: list[list[bytes]] = []
        self.connections = 0
        self.number = number
        self.writes = 0
        self.has_caught_up = True
        self._open: list[socket.socket] = []
        self._silence = threading.Event()
        self.start()

    def start(self) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        self._listener.listen()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def stop(self) -> None:
        """Go away, with everything."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.path.unlink(missing_ok=True)
        self.drop()
        self._silence.set()
        for thread in self._threads:
            thread.join()

    def drop(self) -> None:
        """End the connections that there are."""
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    @property
    def names(self) -> list[bytes]:
        """The names of the commands that were asked."""
        return [request[0] for request in self.asked]

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(connection)
            self._threads.append(threading.Thread(target=self._serve, args=[connection]))
            self._threads[-1].start()

    def _serve(self, connection: socket.socket) -> None:
        reader = RequestReader()
        with connection, suppress(OSError):
            while data := connection.recv(1 << 16):
                for request in reader.feed(data):
                    reply = self._act(request)
                    if reply == HANG_UP:
                        return
                    if reply == KEEP_SILENT:
                        self._silence.wait()
                        return
                    connection.sendall(
                        reply if isinstance(reply, Raw) else encode(reply, 3)  # type: ignore[arg-type]
                    )

    def _act(self, request: list[bytes]) -> object:
        name = request[0]
        if name in self.acts:
            if name not in (b"HELLO", b"REPL.TOKEN"):
                self.asked.append(request)
            return self.acts[name](request)
        if name == b"HELLO":
            return {"server": "replicator", "proto": 3}
        if name == b"REPL.TOKEN":
            return write_token(KnownSet({self.number: [1, self.writes + 1]} if self.writes else {}))
        self.asked.append(request)
        if name == b"REPL.WAITFOR":
            return self.has_caught_up
        if name in (b"SET", b"REPL.PUT", b"REPL.DELETE"):
            self.writes += 1
            return Status("OK")
        if name == b"GET":
            return b"of %d" % self.number
        return 1


@contextmanager
def fakes(directory: Path, count: int) -> Iterator[list[FakeDaemon]]:
    """So many of them, for as long as the context is open."""
    made: list[FakeDaemon] = []
    try:
        for number in range(1, count + 1):
            made.append(FakeDaemon(directory / f"{number}.sock", number))
        yield made
    finally:
        for daemon in made:
            daemon.stop()


def once(act: object, then: object = None) -> Callable[[list[bytes]], object]:
    """Does one thing the first time, and another one ever after."""
    left = [act]
    return lambda _: left.pop() if left else then
