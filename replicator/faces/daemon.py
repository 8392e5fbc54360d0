"""The daemon: one directory, its node, and the socket for the programs of this machine."""

import logging
import resource
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import trio

from replicator.config import LISTEN_BACKLOG
from replicator.faces import unixsocket
from replicator.faces.access import Role
from replicator.faces.configuration import Config
from replicator.faces.handle import Replica
from replicator.faces.library import open_replica
from replicator.faces.nursery import TrioReplica
from replicator.faces.redis.entrances import Entrance
from replicator.faces.redis.server import Server

logger = logging.getLogger("replicator")

ADOPTION_LOG_KEYS = 100_000


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
    raise_descriptor_limit()
    async with open_replica(data, adoption_progress=_log_adoption, **config.keywords) as replica:
        await _serve_until_signal(data, replica, on_ready)


def raise_descriptor_limit() -> None:
    """Let this process have as many file descriptors as it may: a client takes one. Before LevelDB
    is opened, which looks how many tables it may keep open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(OSError, ValueError):  # a kernel that has no such number
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _log_adoption(keys: int) -> None:
    if keys % ADOPTION_LOG_KEYS == 0:
        logger.info("taking over the data that is there: %s keys so far", f"{keys:,}")


async def _serve_until_signal(
    data: Path, replica: TrioReplica, on_ready: Callable[[Replica], object]
) -> None:
    listener = unixsocket.listen(data, LISTEN_BACKLOG)
    server = Server(replica, [Entrance(listener, Role.ADMIN, admits=unixsocket.peer_is_allowed)])
    try:
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async with trio.open_nursery() as nursery:
                await nursery.start(server.run)
                on_ready(replica)
                number = await anext(signals)
                logger.info("closing: %s", signal.Signals(number).name)
                await server.drain()
    finally:
        unixsocket.remove(data)
