"""A slow line: a process that passes TCP connections on at a bounded rate.

    with Throttle(50_000) as throttle:
        slow = throttle.before("127.0.0.1:9000", towards=True)     # an address to dial instead

One process for all lines of one node, so that they share the rate as they would share a link.
"""

import multiprocessing
from functools import partial
from multiprocessing.connection import Connection

import trio

CHUNK_BYTES = 4096


class Line:
    """One direction of the slow node's link: bytes leave one after the other."""

    def __init__(self, bytes_per_second: float) -> None:
        self._rate = bytes_per_second
        self._free_at = 0.0

    async def pass_on(self, size: int) -> None:
        """Wait until so many bytes are over the line."""
        self._free_at = max(self._free_at, trio.current_time()) + size / self._rate
        await trio.sleep_until(self._free_at)


async def _pump(source: trio.SocketStream, target: trio.SocketStream, line: Line) -> None:
    try:
        while data := await source.receive_some(CHUNK_BYTES):
            await line.pass_on(len(data))
            await target.send_all(data)
        await target.send_eof()
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        await trio.aclose_forcefully(source)
        await trio.aclose_forcefully(target)


async def _connect(
    client: trio.SocketStream, host: str, port: int, there: Line, back: Line
) -> None:
    try:
        server = await trio.open_tcp_stream(host, port)
    except OSError:
        await client.aclose()
        return
    async with client, server, trio.open_nursery() as nursery:
        nursery.start_soon(_pump, client, server, there)
        nursery.start_soon(_pump, server, client, back)


async def _serve(pipe: Connection, rate: float) -> None:
    to_slow, from_slow = Line(rate), Line(rate)
    async with trio.open_nursery() as nursery:
        while (order := await trio.to_thread.run_sync(pipe.recv)) is not None:
            host, port, towards = order
            there, back = (to_slow, from_slow) if towards else (from_slow, to_slow)
            (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
            handler = partial(_connect, host=host, port=port, there=there, back=back)
            nursery.start_soon(trio.serve_listeners, handler, [listener])
            pipe.send(listener.socket.getsockname()[1])
        nursery.cancel_scope.cancel()


def _run(pipe: Connection, rate: float) -> None:
    try:
        trio.run(_serve, pipe, rate)
    except* EOFError:
        pass  # the parent is gone


class Throttle:
    """The slow line of one node; a context that ends its process.

    Args:
        bytes_per_second: for each direction, all connections together.
    """

    def __init__(self, bytes_per_second: float) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_run, args=(theirs, bytes_per_second), daemon=True)
        self._process.start()
        theirs.close()

    def __enter__(self) -> "Throttle":
        return self

    def __exit__(self, *exception: object) -> None:
        self._pipe.send(None)
        self._process.join(2)
        self._process.kill()
        self._process.join()
        self._pipe.close()

    def before(self, address: str, *, towards: bool) -> str:
        """An address that leads to `address` over the slow line.

        Args:
            towards: whether `address` is the slow node's; else the slow node dials it.
        """
        host, _, port = address.rpartition(":")
        self._pipe.send((host, int(port), towards))
        return f"127.0.0.1:{self._pipe.recv()}"
