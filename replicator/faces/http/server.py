"""The HTTP server of a daemon: its parts put together, and its life."""

import logging
import ssl
from collections.abc import Callable, Iterable
from pathlib import Path

import trio

from replicator.errors import ConfigError
from replicator.faces.http.disk import Disk
from replicator.faces.http.endpoints import Endpoints
from replicator.faces.http.guard import Guard, Judge, Names
from replicator.faces.http.happenings import Happenings
from replicator.faces.http.listening import Listening
from replicator.faces.http.openconflicts import OpenConflicts
from replicator.faces.http.pulse import Pulse
from replicator.faces.http.watch import RespCounts, Watch
from replicator.faces.nursery import TrioReplica

logger = logging.getLogger("replicator")


class HttpServer:
    """Health, metrics, status and the page of one node. For its trio loop.

    Args:
        replica: runs in this loop.
        data: its directory.
        access: who has the token; may be replaced by `reload`.
        resp: counters of the Redis server, where there is one.
        allowed_hosts: further names that the node is asked for by, see `Names`.
        tls: makes connections safe ones, see `server_tls`.
    """

    def __init__(
        self,
        replica: TrioReplica,
        data: Path,
        access: Judge,
        *,
        resp: Callable[[], RespCounts] | None = None,
        allowed_hosts: Iterable[str] = (),
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._replica = replica
        store = replica._engine.store
        self._level = store.level
        happenings = Happenings()
        self._conflicts = OpenConflicts(replica, lambda: (store.writes, store.counters().applied))
        self._watch = Watch(replica, Disk(data), resp, lambda: self._conflicts.count)
        self._pulse = Pulse(
            self._watch, happenings, self._conflicts, lambda: self._endpoints.judge.has_token
        )
        self._endpoints = Endpoints(replica, access, self._watch, self._pulse)
        app = Guard(self._endpoints.app(), Names(allowed_hosts))
        self._listening = Listening(app, tls)

    def reload(self, access: Judge) -> None:
        """Judge by this from now on; pages that are open stay so."""
        self._endpoints.judge = access

    def drain(self) -> None:
        """Answer ``/readyz`` with 503 from now on: the daemon is about to end."""
        self._watch.is_closing = True

    async def run(
        self,
        listeners: list[trio.SocketListener],
        *,
        task_status: trio.TaskStatus[list[trio.SocketListener]] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve until cancelled; requests under way get a moment to end.

        Args:
            listeners: see `replicator.net.listen.open_listeners`; closed in the end.
        """
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


def server_tls(certificate: Path, key: Path) -> ssl.SSLContext:
    """What makes HTTP's connections safe ones.

    Raises:
        ConfigError: the files cannot be read or do not belong together.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    load_certificate(context, certificate, key)
    return context


def load_certificate(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    """Read the files again; connections from now on use them.

    Raises:
        ConfigError: they cannot be read or do not belong together; the former stay in force.
    """
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"the certificate {certificate} and the key {key} cannot be used: {error}; name a PEM "
            "certificate and the key that belongs to it"
        ) from error
