"""A server within the process of a test, in a thread of its own, with any passwords."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import trio

from replicator.faces.access import OPEN_ACCESS, Access
from replicator.faces.library import open_replica
from replicator.faces.nursery import TrioReplica
from replicator.faces.redis.entrances import Entrance
from replicator.faces.redis.server import Server

WAIT_SECONDS = 30


class Served:
    """What runs there.

    Attributes:
        place: host and port.
        server, replica: for looking at, from the test's thread.
        stops: how often a client has asked for the end.
    """

    place: tuple[str, int]
    server: Server
    replica: TrioReplica

    def __init__(self) -> None:
        self.stops = 0
        self._is_up = threading.Event()
        self._token: trio.lowlevel.TrioToken
        self._end: trio.Event
        self._thread: threading.Thread
        self._fault: BaseException | None = None

    def start(self, directory: Path, access: Access) -> None:
        self._thread = threading.Thread(target=self._run, args=(directory, access))
        self._thread.start()
        assert self._is_up.wait(WAIT_SECONDS)
        if self._fault is not None:
            raise self._fault

    def end(self) -> None:
        self._token.run_sync_soon(self._end.set)
        self._thread.join(WAIT_SECONDS)
        if self._fault is not None:
            raise self._fault

    def _run(self, directory: Path, access: Access) -> None:
        try:
            trio.run(self._serve, directory, access)
        except BaseException as fault:
            self._fault = fault
        finally:
            self._is_up.set()

    async def _serve(self, directory: Path, access: Access) -> None:
        self._token, self._end = trio.lowlevel.current_trio_token(), trio.Event()
        listener = socket.create_server(("127.0.0.1", 0))
        self.place = listener.getsockname()
        async with open_replica(directory, port=None, discovery=(), name="served") as replica:
            self.replica = replica
            self.server = Server(
                replica,
                [Entrance(listener, lambda: access.default_role)],
                access=lambda: access,
                stop=self._note_stop,
            )
            async with trio.open_nursery() as nursery:
                await nursery.start(self.server.run)
                self._is_up.set()
                await self._end.wait()
                nursery.cancel_scope.cancel()

    def _note_stop(self) -> None:
        self.stops += 1


@contextmanager
def served(directory: Path, access: Access = OPEN_ACCESS) -> Iterator[Served]:
    """A server for as long as the context is open."""
    it = Served()
    it.start(directory, access)
    try:
        yield it
    finally:
        it.end()
