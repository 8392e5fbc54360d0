"""The daemon: one directory, its node, and all by which programs and operators reach it."""

import gc
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from replicator.faces import ending, unixsocket
from replicator.faces.access import Role
from replicator.faces.configuration import Config, Given
from replicator.faces.doors import Doors
from replicator.faces.heart import Heart
from replicator.faces.library import open_replica
from replicator.faces.limits import CLOSE_SECONDS_MAX
from replicator.faces.notify import READY, STOPPING, Notifier
from replicator.faces.nursery import TrioReplica
from replicator.faces.redis.entrances import Entrance, raise_descriptor_limit
from replicator.faces.redis.limits import RESP_BACKLOG
from replicator.faces.redis.server import Server
from replicator.faces.reloading import Reloading

if TYPE_CHECKING:
    from replicator.faces.http.server import HttpServer

logger = logging.getLogger("replicator")

ADOPTION_LOG_KEYS = 100_000

SWITCH_SECONDS = 0.0005
"""After that a thread gives the interpreter away, where another one wants it. The loop gives it
away at every look into LevelDB; with Python's own setting it would wait 5 ms for each return from
there while another thread is busy."""

OnReady = Callable[[TrioReplica, Doors], object]


def log_adoption(keys: int) -> None:
    """Log now and then how many keys were taken over so far."""
    if keys % ADOPTION_LOG_KEYS == 0:
        logger.info("taking over the data that is there: %s keys so far", f"{keys:,}")


async def run_daemon(
    data: Path,
    given: Given,
    config: Config,
    on_ready: OnReady,
    on_adopted: Callable[[int], None] = log_adoption,
) -> None:
    """Run a node until SIGTERM or SIGINT comes; then close it, within `CLOSE_SECONDS_MAX`.

    A second signal ends the process at once, as it does while the store is being opened: nothing
    that was acknowledged is lost by it. SIGHUP reloads.

    Args:
        given: read again by a reload.
        config: what came of it.
        on_ready: called once the node listens and all sockets are there.
        on_adopted: told how many keys that were there were taken over so far, in any thread.

    Raises:
        UsageError, ConfigError: the node cannot run like this, or refuses to.
        StorageError: the directory cannot be opened.
    """
    sys.setswitchinterval(SWITCH_SECONDS)
    notifier = Notifier.take(os.environ)
    heart = Heart(notifier)
    ending.end_at_once_when_told()
    raise_descriptor_limit()
    with trio.open_signal_receiver(signal.SIGHUP) as hangups:
        heart.start()
        with closing(await trio.to_thread.run_sync(Doors, config)) as doors:
            doors.warn()
            opened = open_replica(data, adoption_progress=on_adopted, **config.keywords)
            async with opened as replica:
                level = replica._engine.store.level
                heart.fault = lambda: level.failed
                reloading = Reloading(given, config, replica, doors)
                daemon = _Daemon(data, config, replica, doors, notifier)
                await daemon.serve(lambda: reloading.keep(hangups, notifier), on_ready)


def keep_collections_short() -> None:
    """Have the garbage collector leave alone what was there when the daemon had started.

    Its full passes, of which a busy daemon sees several a minute, hold all clients up, and took
    20 ms, for nothing.
    """
    gc.collect()
    gc.freeze()


class _Daemon:
    """An open store and its servers."""

    def __init__(
        self, data: Path, config: Config, replica: TrioReplica, doors: Doors, notifier: Notifier
    ) -> None:
        self._data = data
        self._config = config
        self._replica = replica
        self._doors = doors
        self._notifier = notifier

    async def serve(self, keep_reloading: Callable[[], Awaitable[None]], on_ready: OnReady) -> None:
        """Serve until told to end, and let what runs then come to an end."""
        self._doors.open()
        told = ending.Ending()
        server = Server(
            self._replica,
            self._entrances(),
            self._config.resp.clients_max,
            access=lambda: self._doors.keys.access,
            stop=lambda: told.ask("SHUTDOWN"),
        )
        server.shared.notifications.set_flags(self._config.resp.notify_keyspace_events)
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(server.run)
                http = await self._begin_http(nursery, server)
                nursery.start_soon(keep_reloading)
                await nursery.start(told.listen)
                keep_collections_short()
                on_ready(self._replica, self._doors)
                self._notifier.tell(READY)
                why = await told.asked()
                ending.end_hard_after(CLOSE_SECONDS_MAX)
                self._notifier.tell(STOPPING)
                logger.info("closing: %s", why)
                if http is not None:
                    http.drain()
                await server.drain()
                nursery.cancel_scope.cancel()
        finally:
            unixsocket.remove(self._data)

    async def _begin_http(self, nursery: trio.Nursery, server: Server) -> "HttpServer | None":
        """Answer operators, where that is wanted."""
        doors = self._doors
        if not doors.http:
            return None
        # Here, not at the top: it takes a fifth of a second to import.
        from replicator.faces.http.server import HttpServer

        http = HttpServer(
            self._replica,
            self._data,
            lambda: doors.keys.access,
            resp=server.status,
            allowed_hosts=self._config.http.allowed_hosts,
            tls=doors.keys.http,
        )
        await nursery.start(http.run, doors.http)
        return http

    def _entrances(self) -> list[Entrance]:
        """Where clients of the Redis server come in."""
        doors = self._doors
        own = unixsocket.listen(self._data, RESP_BACKLOG)
        entrances = [Entrance(own, lambda: Role.ADMIN, admits=unixsocket.peer_is_allowed)]
        entrances += [Entrance(one, self._role, doors.keys.resp) for one in doors.resp]
        if doors.unix is not None:
            entrances.append(Entrance(doors.unix.socket, self._role))
        return entrances

    def _role(self) -> Role | None:
        return self._doors.keys.access.default_role
