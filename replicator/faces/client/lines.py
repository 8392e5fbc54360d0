"""A connection to a daemon that blocks, and the world of programs without an event loop.

Reference: https://redis.io/docs/latest/develop/reference/protocol-spec/
"""

import select
import socket
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from replicator.errors import UnreachableError
from replicator.faces import unixsocket
from replicator.faces.client.replies import MORE, ReplyReader

if TYPE_CHECKING:  # the command line has no URLs, and need not wait for what reads them
    from replicator.faces.client.endpoints import Endpoint

READ_BYTES = 1 << 16

KEEPALIVE_SECONDS = 20
"""A machine that is gone is noticed by a client that waits, after four times as long."""


class LostError(Exception):
    """The answer did not come.

    Attributes:
        may_have_run: whether the daemon may have got all of what was asked.
    """

    def __init__(self, why: str, *, may_have_run: bool) -> None:
        super().__init__(why)
        self.may_have_run = may_have_run


class Line:
    """A connection. For one thread at a time.

    Args:
        connection: connected; taken over.
    """

    __slots__ = ("_connection", "_reader")

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._reader = ReplyReader()

    def exchange(self, data: bytes, count: int, timeout: float | None) -> list[object]:
        """Send requests and read their replies.

        Args:
            count: how many replies come.
            timeout: seconds for all of it; None waits as long as it takes.

        Raises:
            LostError: not all of them came. The connection is of no use any more.
        """
        end = None if timeout is None else time.monotonic() + timeout
        replies: list[object] = []
        is_sent = False
        try:
            self._connection.settimeout(timeout)
            # A daemon that has no room says so and hangs up: its words may be there although
            # ours do not arrive.
            with suppress(BrokenPipeError):
                self._connection.sendall(data)
                is_sent = True
            while len(replies) < count:
                if (reply := self._reader.next()) is not MORE:
                    replies.append(reply)
                    continue
                if end is not None:
                    self._connection.settimeout(max(end - time.monotonic(), 0.001))
                part = self._connection.recv(READ_BYTES)
                if not part:
                    raise ConnectionResetError
                self._reader.feed(part)
        except TimeoutError:
            raise LostError("it does not answer", may_have_run=True) from None
        except OSError as error:
            raise LostError(gone(error), may_have_run=is_sent or count > 1) from None
        return replies

    def is_quiet(self) -> bool:
        """Whether it can be used: nothing has come that nobody asked for, an end for instance."""
        poll = select.poll()
        poll.register(self._connection, select.POLLIN)
        return not poll.poll(0)

    def close(self) -> None:
        """Hang up. Idempotent."""
        self._connection.close()


def gone(error: OSError) -> str:
    """What to say of a connection that has ended."""
    is_plain = isinstance(error, ConnectionResetError | BrokenPipeError)
    return "it went away" if is_plain else f"it went away: {words_of(error)}"


def words_of(error: OSError) -> str:
    """What an operating system or TLS says, for people."""
    return error.strerror or str(error) or type(error).__name__


def dial(endpoint: "Endpoint", timeout: float) -> socket.socket:
    """Connect to a daemon.

    Args:
        timeout: seconds.

    Raises:
        UnreachableError: that failed.
    """
    try:
        if endpoint.path is not None:
            return dial_path(endpoint, timeout)
        connection = socket.create_connection((endpoint.host, endpoint.port), timeout)
        try:
            keep_alive(connection)
            if endpoint.tls is None:
                return connection
            return endpoint.tls.wrap_socket(connection, server_hostname=endpoint.host)
        except BaseException:
            connection.close()
            raise
    except OSError as error:
        raise unreachable(endpoint, error) from error


def dial_path(endpoint: "Endpoint", timeout: float) -> socket.socket:
    """Connect to a daemon of this machine, by its socket or its data directory.

    Raises:
        OSError: that failed.
    """
    assert endpoint.path is not None
    path = endpoint.path
    if path.is_dir():
        path = path / unixsocket.DIRECTORY_NAME / unixsocket.SOCKET_NAME
    return unixsocket.connect_to(path, timeout)


class HasOptions(Protocol):
    """A socket of the standard library or of trio."""

    def setsockopt(self, level: int, option: int, value: int, /) -> None: ...


def keep_alive(connection: HasOptions) -> None:
    """Let small requests go at once, and notice when the other end is gone."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, number in (
        (socket.TCP_KEEPIDLE, KEEPALIVE_SECONDS),
        (socket.TCP_KEEPINTVL, KEEPALIVE_SECONDS),
        (socket.TCP_KEEPCNT, 3),
    ):
        connection.setsockopt(socket.IPPROTO_TCP, option, number)


def unreachable(endpoint: "Endpoint", error: OSError) -> UnreachableError:
    """What to say where a daemon could not be connected to."""
    if isinstance(error, FileNotFoundError | ConnectionRefusedError):
        why = "no daemon is there"
    elif isinstance(error, PermissionError):
        why = "it is closed to this user"
    elif isinstance(error, TimeoutError):
        why = "it does not answer"
    else:
        why = words_of(error)
    return UnreachableError(f"{endpoint}: {why}")


class Slots:
    """So many may be taken at a time."""

    def __init__(self, count: int) -> None:
        self._free = threading.BoundedSemaphore(count)

    async def take(self, timeout: float) -> bool:
        """Take one; whether one was free in so many seconds."""
        return self._free.acquire(timeout=max(timeout, 0))

    def give_back(self) -> None:
        """Give one back."""
        self._free.release()


class Threads:
    """The world in which a call blocks its thread (`replicator.faces.client.calling.World`)."""

    def now(self) -> float:
        """Seconds, of a clock that nobody sets."""
        return time.monotonic()

    async def pause(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)

    async def dial(self, endpoint: "Endpoint", timeout: float) -> Line:
        """Connect. Raises as `dial`."""
        return Line(dial(endpoint, timeout))

    async def exchange(
        self, line: Line, data: bytes, count: int, timeout: float | None
    ) -> list[object]:
        """As `Line.exchange`."""
        return line.exchange(data, count, timeout)

    def slots(self, count: int) -> Slots:
        """A limit."""
        return Slots(count)
