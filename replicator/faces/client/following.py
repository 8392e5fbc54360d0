"""What is written, as a daemon tells it: the feed of `replicator.faces.promises`, page by page."""

from collections.abc import Collection
from math import inf
from typing import Any, Self

from replicator.errors import UsageError
from replicator.faces.client.answers import Change, change_of, text_of
from replicator.faces.client.calling import Caller, call_of
from replicator.faces.client.limits import CLIENT_SLICE_SECONDS
from replicator.faces.client.scanning import Pages
from replicator.faces.client.words import milliseconds

Origins = str | Collection[str] | None
"""Whose writes a feed tells of: "local", "remote", one origin as hex digits, or None for all."""


class Following:
    """Reads a feed. For one reader at a time.

    A daemon that the client has moved to is given some time to get what the reader has seen; where
    it has not, the feed says "reset".

    Raises:
        UsageError: a timeout without following, or several origins.
    """

    def __init__(
        self,
        caller: Caller[Any],
        since: str | None,
        origins: Origins,
        follow: bool,
        timeout: float | None,
    ) -> None:
        if timeout is not None:
            milliseconds(timeout)
            if not follow:
                raise UsageError("timeout= is about waiting for more, which follow=False does not")
        if origins is not None and not isinstance(origins, str):
            if len(origins) != 1:
                raise UsageError('origins= takes "local", "remote" or one origin at a client')
            (origins,) = origins
        self.pages: Pages[Change] = Pages(self._page)
        self._caller = caller
        self._words = [] if origins is None else [b"ORIGINS", origins.encode()]
        self._follow = follow
        self._timeout = inf if timeout is None else timeout
        self._since = since
        self._place = caller.chooser.current
        self._given: str | None = None

    @property
    def token(self) -> str | None:
        """Where to go on behind all that was given so far; None for from the beginning."""
        return self._since if self._given is None else self._given

    async def next(self) -> Change:
        """The next item. Raises as `Pages.next`."""
        change = await self.pages.next()
        # Behind the last one of a page the token of the page stands for all that was looked at.
        self._given = None if self.pages.is_drained else change.token
        return change

    async def _page(self) -> list[Change]:
        end = self._caller.world.now() + self._timeout
        self._given = None
        while True:
            left = max(min(end - self._caller.world.now(), CLIENT_SLICE_SECONDS), 0.0)
            wait = left if self._follow else 0.0
            token, *items = await self._read(wait)
            self._since = text_of(token)
            if items or not self._follow or self._caller.world.now() >= end:
                return [change_of(item) for item in items]

    async def _read(self, wait: float) -> list[Any]:
        """What the daemon tells behind the token. One that the client has just moved to is first
        given the time to get what the reader has seen at another one."""
        since = () if self._since is None else (b"SINCE", self._since.encode())
        words = (b"REPL.CHANGES", *since, *self._words, b"WAIT", milliseconds(wait))
        while True:
            told: list[Any] = await self._caller.call(call_of(*words, seconds=wait))
            place = self._caller.chooser.current
            if place is self._place or not since:
                self._place = place
                return told
            self._place = place
            seconds = CLIENT_SLICE_SECONDS / 2
            await self._caller.call(
                call_of(b"REPL.WAITFOR", since[1], milliseconds(seconds), seconds=seconds)
            )


class AsyncChanges:
    """A feed by ``async for``; see `Following`. For one task at a time.

    Attributes:
        token: where to go on; store it with what was made of the items before it.
    """

    def __init__(self, following: Following) -> None:
        self._following = following

    @property
    def token(self) -> str | None:
        """Where to go on behind all that was given so far; None for from the beginning."""
        return self._following.token

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Change:
        return await self._following.next()
