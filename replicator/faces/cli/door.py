"""The way to one store: through the socket of its daemon, or by opening its directory.

Both run the same commands (`replicator.faces.commands`) and give their replies as the same
Python objects: bytes, int, float, bool, None, lists, and dicts with bytes as keys.
"""

import socket
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from replicator.errors import RefusedError, UnreachableError
from replicator.faces.client.lines import Line, LostError
from replicator.faces.configuration import Config
from replicator.faces.resp import encode_request
from replicator.faces.unixsocket import connect

GREETING_SECONDS = 10.0
"""How long a daemon may take to greet: one that is stopped or overrun does not."""

ANSWER_SECONDS = 600.0
"""How long it may take to answer: a digest reads everything."""

WAIT_SECONDS_MAX = 0.9 * ANSWER_SECONDS
"""How long a daemon is asked to wait for something, at most."""


class Door(ABC):
    """Runs commands on one store. Not thread-safe.

    Attributes:
        running: whether a daemon answers.
    """

    running: bool

    def call(self, *arguments: bytes) -> Any:
        """Run one command.

        Returns:
            Its reply.

        Raises:
            RefusedError: it answered with an error.
            UnreachableError: the daemon went away, or is silent.
        """
        reply = self._reply(arguments)
        if isinstance(reply, RefusedError):
            raise reply
        return reply

    @abstractmethod
    def close(self) -> None:
        """Leave. Idempotent."""

    @abstractmethod
    def _reply(self, arguments: tuple[bytes, ...]) -> object:
        """The reply, an error reply as the error itself."""


class SocketDoor(Door):
    """Through the daemon's socket.

    Args:
        connection: connected; taken over.
        data: the directory, for messages.

    Raises:
        UnreachableError: the daemon does not greet, or has no room.
    """

    running = True

    def __init__(self, connection: socket.socket, data: Path) -> None:
        self._line = Line(connection)
        self._daemon = f"the daemon on {data}"
        self._seconds = GREETING_SECONDS
        try:
            self.call(b"HELLO", b"3")
        except BaseException as error:
            connection.close()
            if isinstance(error, RefusedError):
                raise UnreachableError(f"{self._daemon} refuses: {error}") from error
            raise
        self._seconds = ANSWER_SECONDS

    def close(self) -> None:
        self._line.close()

    def _reply(self, arguments: tuple[bytes, ...]) -> object:
        try:
            (reply,) = self._line.exchange(encode_request(*arguments), 1, self._seconds)
        except LostError as error:
            raise UnreachableError(f"{self._daemon}: {error}") from error
        return reply


@contextmanager
def open_door(data: Path, config: Config, *, create: bool = False) -> Iterator[Door]:
    """The way to the store in `data`, for as long as the context is open.

    Args:
        config: who wins conflicts and how safe writes are, where no daemon has it open.
        create: whether to make the store where there is none.

    Raises:
        UsageError: there is no store, or it is another user's.
        StorageError: the directory cannot be opened.
        UnreachableError: its daemon does not answer.
    """
    door = _door(data, config, create)
    try:
        yield door
    finally:
        door.close()


def daemon_door(data: Path) -> SocketDoor | None:
    """The way to the daemon that runs on `data`; None where none does.

    Raises:
        UsageError: it is another user's.
        UnreachableError: it does not answer.
    """
    try:
        connection = connect(data, GREETING_SECONDS)
    except OSError as error:
        raise UnreachableError(f"the daemon on {data} does not answer: {error}") from error
    return None if connection is None else SocketDoor(connection, data)


def _door(data: Path, config: Config, create: bool) -> Door:
    door = daemon_door(data)
    if door is not None:
        return door
    # Here, not at the top: it takes ten times as long to import as all that a socket needs.
    from replicator.faces.cli.localdoor import LocalDoor

    return LocalDoor(data, config, create=create)
