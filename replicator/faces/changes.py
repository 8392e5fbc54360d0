"""The feed of a handle as iterators: one that blocks, and its twin within trio."""

import threading
import time
from collections import deque
from collections.abc import Collection
from contextlib import suppress
from math import inf
from typing import TYPE_CHECKING, Self

import trio

from replicator.core.dots import parse_origin
from replicator.core.feeding import Position
from replicator.core.token import read_position, write_token
from replicator.errors import UsageError
from replicator.faces.lease import Lease, leased
from replicator.peers.replicated import check_timeout
from replicator.store.feed import Change, Feed, chosen
from replicator.store.growth import ringing

if TYPE_CHECKING:
    from replicator.faces.shape import Handle

Origins = str | Collection[str] | None
"""Whose writes a feed tells of: "local", "remote", origins as hex digits, or None for all."""


class _Reading:
    """What both iterators share: batches, and where to go on."""

    def __init__(
        self,
        handle: "Handle",
        since: str | None,
        origins: Origins,
        follow: bool,
        timeout: float | None,
    ) -> None:
        check_timeout(timeout)
        if timeout is not None and not follow:
            raise UsageError("timeout= is about waiting for more, which follow=False does not")
        self._handle = handle
        self._store = handle._engine.store
        self._follow = follow
        self._timeout = timeout
        position = Position() if since is None else read_position(since)
        self._feed = Feed(self._store, position, chosen(self._store, _origins(origins)))
        self._items: deque[Change] = deque()
        self._last: Change | None = None

    @property
    def _lease(self) -> Lease:
        return self._handle._lease

    @property
    def token(self) -> str:
        """Where to go on behind all that was given so far; also before the first item. Once all
        that there is was given it stands for everything that was looked at, and may be more than
        the last item's.

        Raises:
            UsageError: see `replicator.core.token.write_token`.
        """
        if self._items and self._last is not None:
            return self._last.token
        if self._items:
            return write_token(self._items[0]._position)
        return write_token(self._feed.position)

    def wait_no_more(self) -> None:
        """End at the end of what there is."""
        self._follow = False

    @leased
    def _fill(self) -> bool:
        """Read the next batch where all of the last one was given. Whether there is an item."""
        if not self._items:
            self._items.extend(self._feed.read())
        return bool(self._items)

    def _take(self) -> Change:
        self._last = self._items.popleft()
        return self._last


class Changes(_Reading):
    """A feed to be iterated over. It blocks for what comes, holds nothing of LevelDB's meanwhile,
    and ends where `Replica.changes` says. For one thread at a time.

    Attributes:
        token: where to go on; store it with what was made of the items before it. An item that was
            given and not dealt with before a crash comes again.
    """

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Change:
        """The next item.

        Raises:
            StopIteration: nothing more has come.
            RuntimeError: the handle is closed.
        """
        if self._items or self._fill():
            return self._take()
        if self._follow and self._wait():
            return self._take()
        raise StopIteration

    def _wait(self) -> bool:
        """Wait until there is an item. Whether there is."""
        end = inf if self._timeout is None else time.monotonic() + self._timeout
        written = threading.Event()
        with ringing(self._store, written.set) as arm:
            while True:
                written.clear()
                arm()
                if self._fill():
                    return True
                left = end - time.monotonic()
                if left <= 0:
                    return False
                written.wait(None if left == inf else left)


class AsyncChanges(_Reading):
    """As `Changes`, to be iterated over by ``async for`` in a trio thread."""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Change:
        """The next item; on cancellation none is lost.

        Raises:
            StopAsyncIteration: nothing more has come.
            RuntimeError: the handle is closed.
        """
        if not self._items:
            await trio.to_thread.run_sync(self._fill)
        if self._items:
            return self._take()
        if not self._follow:
            raise StopAsyncIteration
        with trio.move_on_after(inf if self._timeout is None else self._timeout):
            await self._wait()
        if not self._items:
            raise StopAsyncIteration
        return self._take()

    async def _wait(self) -> None:
        """Wait until there is an item."""
        bell = Bell()
        with ringing(self._store, bell.ring) as arm:
            while True:
                bell.clear()
                arm()
                if await trio.to_thread.run_sync(self._fill):
                    return
                await bell.wait()


class Bell:
    """Wakes a task of the trio loop in which it is made, from any thread."""

    def __init__(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        self._event = trio.Event()

    def ring(self) -> None:
        with suppress(trio.RunFinishedError):
            self._token.run_sync_soon(self._set)

    def clear(self) -> None:
        self._event = trio.Event()

    async def wait(self) -> None:
        await self._event.wait()

    def _set(self) -> None:
        self._event.set()


def _origins(origins: Origins) -> str | Collection[int] | None:
    if origins is None or origins in ("local", "remote"):
        return origins
    if isinstance(origins, str):
        origins = [origins]
    return [parse_origin(origin) for origin in origins]
