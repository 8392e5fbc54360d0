"""The daemon: one directory, its node, and the socket for the programs of this machine."""

import logging
import signal
from collections import deque
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import trio

from replicator.config import RESP_CONNECTIONS_MAX, RESP_READ_BYTES
from replicator.faces import unixsocket
from replicator.faces.configuration import Config
from replicator.faces.control import answer
from replicator.faces.handle import Replica
from replicator.faces.library import open_replica
from replicator.faces.resp import Failure, Request, RequestReader, encode
from replicator.faces.stepwise import Session

logger = logging.getLogger("replicator")

ADOPTION_LOG_KEYS = 100_000

_TOO_MANY = encode(Failure("ERR", "max number of clients reached"), 2)


async def run_daemon(data: Path, config: Config, on_ready: Callable[[Replica], object]) -> None:
    """Run a node until SIGTERM or SIGINT comes; then close it.

    A second signal ends the process at once, as it does while the store is being opened: nothing
    that was acknowledged is lost by it.

    Args:
        on_ready: called once the node listens and the socket is there.

    Raises:
        UsageError, ConfigError: the node cannot run like this.
        StorageError: the directory cannot be opened.
    """
    async with open_replica(data, adoption_progress=_log_adoption, **config.keywords) as replica:
        await _serve_until_signal(data, replica, on_ready)


def _log_adoption(keys: int) -> None:
    if keys % ADOPTION_LOG_KEYS == 0:
        logger.info("taking over the data that is there: %s keys so far", f"{keys:,}")


async def _serve_until_signal(
    data: Path, replica: Replica, on_ready: Callable[[Replica], object]
) -> None:
    listener = trio.socket.from_stdlib_socket(unixsocket.listen(data, RESP_CONNECTIONS_MAX))
    clients = Clients(replica)
    try:
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async with trio.open_nursery() as nursery:
                listeners = [trio.SocketListener(listener)]
                nursery.start_soon(trio.serve_listeners, clients.serve, listeners)
                on_ready(replica)
                number = await anext(signals)
                logger.info("closing: %s", signal.Signals(number).name)
                nursery.cancel_scope.cancel()
    finally:
        unixsocket.remove(data)


class Clients:
    """Serves the programs that connect to the socket.

    At most `RESP_CONNECTIONS_MAX` at a time; what a client sends while its requests run waits in
    the kernel.
    """

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._threads = trio.CapacityLimiter(RESP_CONNECTIONS_MAX)
        self._count = 0

    async def serve(self, stream: trio.SocketStream) -> None:
        """Serve one client until it leaves. What goes wrong ends this client alone."""
        self._count += 1
        try:
            async with stream:
                if not unixsocket.peer_is_allowed(stream.socket):
                    logger.warning("a client of another user was refused")
                elif self._count > RESP_CONNECTIONS_MAX:
                    await stream.send_all(_TOO_MANY)
                else:
                    await self._converse(stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # it went away
        except Exception:
            logger.exception("a client of the socket was dropped")
        finally:
            self._count -= 1

    async def _converse(self, stream: trio.SocketStream) -> None:
        with closing(Session()) as session:
            await self._converse_in(session, stream)

    async def _converse_in(self, session: Session, stream: trio.SocketStream) -> None:
        reader = RequestReader()
        while data := await stream.receive_some(RESP_READ_BYTES):
            requests = deque(reader.feed(data))
            while requests and not session.closing:
                await stream.send_all(await self._answer(session, requests))
            if session.closing:
                return
            if reader.error is not None:
                text = Failure("ERR", f"Protocol error: {reader.error}")
                await stream.send_all(encode(text, session.protocol))
                return

    async def _answer(self, session: Session, requests: deque[Request]) -> bytes:
        """The replies to some of the requests, as much as is gathered at once.

        Where the daemon closes meanwhile, the thread is left to finish: closing the store waits
        for what is inside of it.
        """
        return await trio.to_thread.run_sync(
            answer, self._replica, session, requests, limiter=self._threads, abandon_on_cancel=True
        )
