"""What becomes keyspace notifications beside the commands of the server's turns: writes of peers,
what has expired, and writes of commands that run in threads.

Nothing comes twice. Writes of this node are told by the commands that made them, and the feed is
read for all other origins alone. A key that peers have written several times since the last look
is told of once, as it is now.
"""

from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from time import perf_counter

import trio

from replicator.core.rows import EXPIRY_MS_MAX
from replicator.faces.changes import AsyncChanges
from replicator.faces.handle import Replica
from replicator.faces.redis.flags import EXPIRED, GENERIC, STRING
from replicator.faces.redis.limits import RESP_PUSH_SECONDS
from replicator.faces.redis.notifications import Event, events_of
from replicator.faces.redis.shared import Shared
from replicator.faces.redis.turn import Written
from replicator.faces.resp import Request


class Following:
    """Makes notifications of what others do to this store. For the thread of the server.

    Args:
        shared: with the notifications; while there are none, nothing is looked at.
    """

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._notifications = shared.notifications
        self._changed = trio.Event()
        self._scope = trio.CancelScope()
        self._expired: deque[bytes] = deque()
        self._token: trio.lowlevel.TrioToken | None = None
        shared.notifications.on_change = self._on_change
        shared.tell = self.tell

    def _on_change(self) -> None:
        self._changed.set()
        self._scope.cancel()

    async def keep(self) -> None:
        """Follow while there are notifications; never ends."""
        self._token = trio.lowlevel.current_trio_token()
        while True:
            self._changed = trio.Event()
            are_on = self._notifications.are_on
            self._shared.store.when_expired(
                self._note_expired if self._notifications.wants(EXPIRED) else None
            )
            if not are_on:
                await self._changed.wait()
                continue
            with trio.CancelScope() as self._scope:
                await self._follow()

    def close(self) -> None:
        """The server ends."""
        self._shared.store.when_expired(None)

    # Writes of peers

    async def _follow(self) -> None:
        """Tell of what peers write from now on, until the feed cannot go on or this node takes
        another origin (R13): what it wrote under the old one would look like a peer's."""
        shared = self._shared
        token = await trio.to_thread.run_sync(shared.replica.token)
        origin = shared.store.origin
        until = perf_counter() + RESP_PUSH_SECONDS
        async for change in AsyncChanges(shared.replica, token, "remote", True, None):
            if change.kind != "change" or shared.store.origin != origin:
                return
            if change.value is None:
                self.add([(GENERIC, b"del", change.key)])
            else:
                self.add([(STRING, b"set", change.key)])
            if perf_counter() > until:
                await trio.lowlevel.checkpoint()
                until = perf_counter() + RESP_PUSH_SECONDS

    def tell(self, request: Request, written: list[Written]) -> None:
        """Tell of what a command has written outside of a turn."""
        self.add(events_of(request[0].upper(), request, written))

    def add(self, events: Iterable[Event]) -> None:
        """Have events published that did not happen in a turn."""
        notifications = self._notifications
        had_some = notifications.waits
        for event in events:
            notifications.add(event)
        if notifications.waits and not had_some:
            self._shared.clients.ring()

    # What expires

    def _note_expired(self, keys: list[bytes]) -> None:
        """In the sweeper's thread."""
        assert self._token is not None
        self._expired.extend(keys)
        with suppress(trio.RunFinishedError):
            self._token.run_sync_soon(self._tell_expired, idempotent=True)

    def _tell_expired(self) -> None:
        while self._expired:
            self.add([(EXPIRED, b"expired", self._expired.popleft())])


def written_before(replica: Replica, request: Request) -> list[Written]:
    """What a command that waits in a thread is to write, as far as that can be told before."""
    name = request[0].upper()
    if name == b"REPL.PUT":
        expires = len(request) > 3 and request[3].upper() == b"PX"
        return [(request[1], request[2], EXPIRY_MS_MAX if expires else None)]
    if name == b"REPL.DELETE":
        return [(request[1], None, None)]
    if name == b"REPL.BATCH":
        return _written_by_batch(request)
    if name == b"REPL.LOAD":
        last = dict(zip(request[1::2], request[2::2], strict=False))
        return [(key, value, None) for key, value in last.items() if replica.get(key) != value]
    if name == b"REPL.LOADPXAT":
        last = dict(zip(request[1::3], request[2::3], strict=False))
        return [
            (key, value, EXPIRY_MS_MAX) for key, value in last.items() if replica.get(key) != value
        ]
    return []


def _written_by_batch(request: Request) -> list[Written]:
    """What ``REPL.BATCH`` writes of each key in the end."""
    last: dict[bytes, Written] = {}
    place = 1
    while place + 1 < len(request):
        word, key = request[place].upper(), request[place + 1]
        if word == b"DELETE":
            last[key] = key, None, None
        elif word in (b"PUT", b"PUTPX"):
            last[key] = key, b"", EXPIRY_MS_MAX if word == b"PUTPX" else None
        place += {b"PUT": 3, b"PUTPX": 4}.get(word, 2)
    return list(last.values())


def written_after(replica: Replica, request: Request) -> list[Written]:
    """The same for one of which it can be told only afterwards."""
    if request[0].upper() == b"REPL.RESOLVE":
        return [(request[1], replica.get(request[1]), None)]
    return []
