"""Connections of the HTTP server: who is let in, how long each may take, and how all of them end.

anycorn speaks HTTP on a connection; who gets one, and for how long, is decided here, because it
has no limits for that: it accepts without end, and waits without end, shielded from cancellation,
for a client that does not read. So the stream it is given is one that gives up (`Line`).

Of anycorn this uses ``TCPServer``, one connection, which is no documented name: hence the narrow
version in pyproject.toml, and `tests/http/test_listening.py`.
"""

import logging
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import anyio.abc
import trio
from anycorn.app_wrappers import ASGIWrapper
from anycorn.config import Config
from anycorn.tcp_server import TCPServer
from anycorn.typing import ConnectionState
from anycorn.worker_context import WorkerContext
from anyio.abc import SocketAttribute
from anyio.streams.tls import TLSAttribute
from starlette.types import ASGIApp, Receive, Scope, Send
from trio.lowlevel import ParkingLot

from replicator.faces.http.limits import (
    HTTP_CLOSE_SECONDS,
    HTTP_CONNECTIONS_MAX,
    HTTP_HEAD_BYTES_MAX,
    HTTP_IDLE_SECONDS,
    HTTP_SEND_SECONDS,
)

logger = logging.getLogger("replicator")

_LIBRARY_LOG = logging.getLogger("replicator.http")
"""What anycorn has to say: faults of ours only, nothing that any client can have it write."""
_LIBRARY_LOG.setLevel(logging.ERROR)

_HTTP_2 = b"PRI * HTTP/2"

_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nRetry-After: 5\r\n"
    b"Connection: close\r\nContent-Length: 44\r\n\r\ntoo many connections: try again in a moment\n"
)


class Line(anyio.abc.ByteStream):
    """One connection as anycorn wants it: an anyio stream, over trio's, that gives up on a client
    who does not read.

    Args:
        stream: the connection, or TLS over it.
        raw: its socket.

    Attributes:
        requests: how many are being answered.
        scope: all that goes on for this connection.
    """

    def __init__(
        self,
        stream: "trio.SocketStream | trio.SSLStream[trio.SocketStream]",
        raw: trio.socket.SocketType,
    ) -> None:
        self._stream = stream
        self._raw = raw
        self._is_new = True
        self._is_over = False
        self.requests = 0
        self.scope = trio.CancelScope()

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        found: dict[Any, Callable[[], Any]] = {SocketAttribute.raw_socket: lambda: self._raw}
        if isinstance(self._stream, trio.SSLStream):
            found[TLSAttribute.alpn_protocol] = lambda: "http/1.1"
        return found

    async def receive(self, max_bytes: int = 65536) -> bytes:
        try:
            data = bytes(await self._stream.receive_some(max_bytes))
        except trio.BrokenResourceError as error:
            self._end()
            raise anyio.BrokenResourceError from error
        except trio.ClosedResourceError as error:
            self._end()
            raise anyio.ClosedResourceError from error
        # HTTP/2 has ways of its own to keep a server busy, and nobody here needs it.
        if not data or (self._is_new and data.startswith(_HTTP_2)):
            self._end()
            raise anyio.EndOfStream
        self._is_new = False
        return data

    def _end(self) -> None:
        """The client says no more. anycorn would keep the connection until it had been idle for
        long; what is being answered is answered."""
        self._is_over = True
        self.scope.deadline = trio.current_time() + HTTP_CLOSE_SECONDS
        if not self.requests:
            self.scope.cancel()

    @contextmanager
    def request(self) -> Iterator[None]:
        """A request that is answered in the context."""
        self.requests += 1
        try:
            yield
        finally:
            self.requests -= 1
            if self._is_over and not self.requests:
                self.scope.cancel()

    async def send(self, item: bytes) -> None:
        try:
            with trio.move_on_after(HTTP_SEND_SECONDS) as limit:
                await self._stream.send_all(item)
        except trio.BrokenResourceError as error:
            raise anyio.BrokenResourceError from error
        except trio.ClosedResourceError as error:
            raise anyio.ClosedResourceError from error
        if limit.cancelled_caught:
            self.abort()
            raise anyio.BrokenResourceError

    async def send_eof(self) -> None:
        """Half close; TLS has no such thing."""
        if isinstance(self._stream, trio.SocketStream):
            try:
                await self._stream.send_eof()
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                raise anyio.ClosedResourceError from error

    async def aclose(self) -> None:
        with trio.move_on_after(HTTP_CLOSE_SECONDS):
            with suppress(trio.BrokenResourceError):
                await self._stream.aclose()
            return
        self.abort()

    def abort(self) -> None:
        """Close at once; who waits for this client is told so."""
        self._raw.close()


class Listening:
    """Serves HTTP to whoever connects. For one trio loop.

    Args:
        app: what answers.
        tls: makes the connections safe ones; None talks in the clear.

    Attributes:
        refused: connections that found no room.
    """

    def __init__(self, app: ASGIApp, tls: ssl.SSLContext | None) -> None:
        self.refused = 0
        self._app = app
        self._tls = tls
        self._config = _config()
        self._context = WorkerContext(None)
        self._open: set[Line] = set()
        self._parted = ParkingLot()
        self._closing = trio.Event()

    async def serve(
        self,
        listeners: list[trio.SocketListener],
        on_closing: Callable[[], object],
        *,
        task_status: trio.TaskStatus[list[trio.SocketListener]] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve until cancelled; requests under way get `HTTP_CLOSE_SECONDS` more.

        Args:
            listeners: closed in the end.
            on_closing: called before those seconds begin.
        """
        async with trio.open_nursery() as nursery:
            handlers = await nursery.start(self._hold_open, on_closing)
            try:
                await trio.serve_listeners(
                    self._handle, listeners, handler_nursery=handlers, task_status=task_status
                )
            finally:
                self._closing.set()

    async def _hold_open(
        self,
        on_closing: Callable[[], object],
        *,
        task_status: trio.TaskStatus[trio.Nursery] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Hold the nursery of the connections, which outlives what cancels the server."""
        with trio.CancelScope(shield=True):
            async with trio.open_nursery() as handlers:
                task_status.started(handlers)
                await self._closing.wait()
                on_closing()
                await self._context.terminated.set()
                with trio.move_on_after(HTTP_CLOSE_SECONDS):
                    while self._open:
                        await self._parted.park()
                for line in self._open:
                    line.abort()
                handlers.cancel_scope.cancel()

    async def _handle(self, stream: trio.SocketStream) -> None:
        if len(self._open) >= HTTP_CONNECTIONS_MAX:
            self.refused += 1
            await self._turn_away(stream)
            return
        safe = None
        if self._tls is not None:
            safe = trio.SSLStream(stream, self._tls, server_side=True, https_compatible=True)
        line = Line(safe or stream, stream.socket)
        self._open.add(line)
        try:
            with line.scope:
                if safe is not None:
                    with trio.fail_after(HTTP_SEND_SECONDS):
                        await safe.do_handshake()
                await self._converse(line)
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError, OSError):
            pass  # it went away, or speaks no TLS
        except Exception:
            logger.exception("a connection of the HTTP server was dropped")
        finally:
            line.abort()
            self._open.discard(line)
            self._parted.unpark_all()

    async def _converse(self, line: Line) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            with line.request():
                await self._app(scope, receive, send)

        server = TCPServer(
            ASGIWrapper(app),  # type: ignore[arg-type]  # scopes are any mapping to starlette
            self._config,
            self._context,
            ConnectionState({}),
            line,  # type: ignore[arg-type]
        )
        await server.run()

    async def _turn_away(self, stream: trio.SocketStream) -> None:
        with trio.move_on_after(1), suppress(trio.BrokenResourceError):
            if self._tls is None:
                await stream.send_all(_FULL)
        await trio.aclose_forcefully(stream)


def _config() -> Config:
    config = Config()
    config.accesslog = None
    config.errorlog = _LIBRARY_LOG
    config.include_server_header = False
    config.keep_alive_timeout = HTTP_IDLE_SECONDS
    config.h11_max_incomplete_size = HTTP_HEAD_BYTES_MAX
    # By an upgrade, which a client may still ask for.
    config.h2_max_concurrent_streams = 4
    config.h2_max_header_list_size = HTTP_HEAD_BYTES_MAX
    return config
