"""The HTTP server of a daemon: its parts put together, and its life."""

import socket
import ssl
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import trio

from replicator.faces.handle import Replica
from replicator.faces.http.disk import Disk
from replicator.faces.http.endpoints import Endpoints
from replicator.faces.http.guard import Guard, Judge, Names
from replicator.faces.http.happenings import Happenings
from replicator.faces.http.limits import HTTP_THREADS_MAX
from replicator.faces.http.listening import Listening
from replicator.faces.http.openconflicts import OpenConflicts
from replicator.faces.http.pulse import Pulse
from replicator.faces.http.watch import RespCounts, Watch


class HttpServer:
    """Health, metrics, status and the page of one node. For its trio loop.

    Args:
        replica: its node runs in this loop.
        data: its directory.
        access: gives who has the token, as that is now.
        resp: counters of the Redis server, where there is one.
        allowed_hosts: further names that the node is asked for by, see `Names`.
        tls: makes connections safe ones; None talks in the clear.
    """

    def __init__(
        self,
        replica: Replica,
        data: Path,
        access: Callable[[], Judge],
        *,
        resp: Callable[[], RespCounts] | None = None,
        allowed_hosts: Iterable[str] = (),
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._replica = replica
        store = replica._engine.store
        self._level = store.level
        happenings = Happenings()
        threads = trio.CapacityLimiter(HTTP_THREADS_MAX)
        self._conflicts = OpenConflicts(
            replica, lambda: (store.writes, store.counters().applied), threads
        )
        self._watch = Watch(replica, Disk(data), resp, lambda: self._conflicts.count)
        self._pulse = Pulse(self._watch, happenings, self._conflicts, access)
        self._endpoints = Endpoints(replica, access, self._watch, self._pulse, threads)
        app = Guard(self._endpoints.app(), Names(allowed_hosts))
        self._listening = Listening(app, tls)

    def drain(self) -> None:
        """Answer ``/readyz`` with 503 from now on: the daemon is about to end."""
        self._watch.close()

    async def run(
        self,
        sockets: Sequence[socket.socket],
        *,
        task_status: trio.TaskStatus[list[trio.SocketListener]] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve until cancelled; requests under way get a moment to end.

        Args:
            sockets: listening, not blocking; closed in the end.
        """
        listeners = [trio.SocketListener(trio.socket.from_stdlib_socket(one)) for one in sockets]
        self._level.on_commit = self._watch.commits.observe
        try:
            with self._pulse.happenings.following(self._replica):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._pulse.beat)
                    nursery.start_soon(self._conflicts.keep_counting, lambda: self._watch.is_asked)
                    await self._listening.serve(
                        listeners, self._pulse.broadcast.end, task_status=task_status
                    )
        finally:
            self._level.on_commit = None
