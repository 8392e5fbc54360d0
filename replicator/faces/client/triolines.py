"""A connection to a daemon within trio, and the world of trio programs."""

import select
import ssl

import trio

from replicator.errors import UnreachableError
from replicator.faces.client.endpoints import Endpoint
from replicator.faces.client.lines import (
    READ_BYTES,
    LostError,
    dial_path,
    gone,
    keep_alive,
    unreachable,
    words_of,
)
from replicator.faces.client.replies import MORE, ReplyReader

Stream = trio.SocketStream | trio.SSLStream[trio.SocketStream]


class Line:
    """A connection. For one task at a time.

    Args:
        stream: connected; taken over.
        connection: its socket.
    """

    __slots__ = ("_connection", "_reader", "_stream")

    def __init__(self, stream: Stream, connection: trio.socket.SocketType) -> None:
        self._stream = stream
        self._connection = connection
        self._reader = ReplyReader()

    async def exchange(self, data: bytes, count: int) -> list[object]:
        """Send requests and read so many replies.

        Raises:
            LostError: not all of them came. The connection is of no use any more, neither is it
                after a cancellation.
        """
        replies: list[object] = []
        is_sent = False
        try:
            try:
                await self._stream.send_all(data)
                is_sent = True
            except trio.BrokenResourceError:
                pass  # a daemon that has no room says so and hangs up: its words may be there
            while len(replies) < count:
                if (reply := self._reader.next()) is not MORE:
                    replies.append(reply)
                    continue
                part = await self._stream.receive_some(READ_BYTES)
                if not part:
                    raise ConnectionResetError
                self._reader.feed(bytes(part))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise LostError("it went away", may_have_run=is_sent or count > 1) from None
        except OSError as error:
            raise LostError(gone(error), may_have_run=is_sent or count > 1) from None
        return replies

    def is_quiet(self) -> bool:
        """Whether it can be used: nothing has come that nobody asked for, an end for instance."""
        poll = select.poll()
        poll.register(self._connection.fileno(), select.POLLIN)
        return not poll.poll(0)

    def close(self) -> None:
        """Hang up, at once. Idempotent."""
        self._connection.close()


class Slots:
    """So many may be taken at a time."""

    def __init__(self, count: int) -> None:
        self._free = trio.Semaphore(count, max_value=count)

    async def take(self, timeout: float) -> bool:
        """Take one; whether one was free in so many seconds."""
        try:
            self._free.acquire_nowait()
        except trio.WouldBlock:
            if timeout <= 0:
                return False
            with trio.move_on_after(timeout) as scope:
                await self._free.acquire()
            return not scope.cancelled_caught
        return True

    def give_back(self) -> None:
        """Give one back."""
        self._free.release()


class Tasks:
    """The world of trio's tasks (`replicator.faces.client.world.World`)."""

    def now(self) -> float:
        """Seconds, of trio's clock."""
        return trio.current_time()

    async def pause(self, seconds: float) -> None:
        """Wait."""
        await trio.sleep(seconds)

    async def dial(self, endpoint: Endpoint, timeout: float) -> Line:
        """Connect.

        Raises:
            UnreachableError: that failed.
        """
        try:
            with trio.fail_after(timeout):
                return await _dial(endpoint, timeout)
        except trio.TooSlowError:
            raise UnreachableError(f"{endpoint}: it does not answer") from None
        except OSError as error:
            raise unreachable(endpoint, error) from error
        except trio.BrokenResourceError as error:
            raise UnreachableError(f"{endpoint}: {_tls_words(error)}") from error

    async def exchange(
        self, line: Line, data: bytes, count: int, timeout: float | None
    ) -> list[object]:
        """As `Line.exchange`, for so many seconds at most."""
        with trio.move_on_after(float("inf") if timeout is None else timeout):
            return await line.exchange(data, count)
        raise LostError("it does not answer", may_have_run=True)

    def slots(self, count: int) -> Slots:
        """A limit."""
        return Slots(count)


async def _dial(endpoint: Endpoint, timeout: float) -> Line:
    if endpoint.path is not None:
        found = await trio.to_thread.run_sync(dial_path, endpoint, timeout, abandon_on_cancel=True)
        found.setblocking(False)
        connection = trio.socket.from_stdlib_socket(found)
        return Line(trio.SocketStream(connection), connection)
    plain = await trio.open_tcp_stream(endpoint.host, endpoint.port)
    try:
        keep_alive(plain.socket)
        if endpoint.tls is None:
            return Line(plain, plain.socket)
        stream = trio.SSLStream(
            plain, endpoint.tls, server_hostname=endpoint.host, https_compatible=True
        )
        await stream.do_handshake()
    except BaseException:
        plain.socket.close()
        raise
    return Line(stream, plain.socket)


def _tls_words(error: BaseException) -> str:
    """Why a handshake failed."""
    cause = error.__cause__
    return words_of(cause) if isinstance(cause, ssl.SSLError) else "it went away"
