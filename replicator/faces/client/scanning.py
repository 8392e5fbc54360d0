"""Going through keys in order, page by page. Each page is a snapshot of its own."""

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Generic, Self, TypeVar

from replicator.errors import ClosedError
from replicator.faces.client.calling import Caller, call_of
from replicator.faces.client.words import key_of

Item = TypeVar("Item")


class Pages(Generic[Item]):
    """Items that come page by page, in a world of either kind. For one reader at a time.

    Args:
        read: gives the next page; an empty one ends it.
    """

    def __init__(self, read: Callable[[], Awaitable[list[Item]]]) -> None:
        self._read = read
        self._items: deque[Item] = deque()
        self._is_over = False
        self._is_closed = False

    async def next(self) -> Item:
        """The next item.

        Raises:
            StopAsyncIteration: there is none.
            ClosedError: it is closed.
            What a read raises; the next call then goes on where this one stopped.
        """
        if self._is_closed:
            raise ClosedError("the iterator is closed")
        while not self._items:
            if self._is_over:
                raise StopAsyncIteration
            page = await self._read()
            self._is_over = not page
            self._items.extend(page)
        return self._items.popleft()

    @property
    def is_drained(self) -> bool:
        """Whether the next item takes another read."""
        return not self._items

    def close(self) -> None:
        """Give no more. Idempotent."""
        self._is_closed = True
        self._items.clear()


class Scan:
    """Reads the pages of a range.

    Args:
        within: what is put before the keys, and taken off those that come.

    Raises:
        TypeError: a key is no bytes, or `prefix` comes with a start or stop.
    """

    def __init__(
        self,
        caller: Caller[Any],
        within: bytes,
        *,
        reverse: bool,
        start: bytes | None,
        stop: bytes | None,
        include_start: bool,
        include_stop: bool,
        prefix: bytes | None,
        include_key: bool,
        include_value: bool,
    ) -> None:
        for key in (start, stop, prefix):
            if key is not None:
                key_of(key)
        if prefix is not None and (start is not None or stop is not None):
            raise TypeError("'prefix' cannot be used together with 'start' or 'stop'")
        first = (prefix if start is None else start) or b""
        if start is not None and not include_start:
            first += b"\0"
        words = [b"REPL.SCAN", b"PREFIX", within + (prefix or b""), b"START", within + first]
        if stop is not None:
            words += [b"STOP", within + stop + (b"\0" if include_stop else b"")]
        if reverse:
            words += [b"REVERSE", b"1"]
        if not include_value:
            words += [b"VALUES", b"0"]
        self._caller = caller
        self._words = words
        self._cut = len(within)
        self._shown = include_key, include_value
        self._after: tuple[bytes, ...] | None = ()

    async def page(self) -> list[Any]:
        """The next items; none at the end."""
        page: list[Any] = []
        while not page and self._after is not None:
            last, found = await self._caller.call(call_of(*self._words, *self._after))
            self._after = None if last is None else (b"AFTER", last)
            page = self._items(found)
        return page

    def _items(self, found: list[bytes]) -> list[Any]:
        has_key, has_value = self._shown
        keys = found[::2] if has_value else found
        if not has_key:
            return found[1::2] if has_value else [None] * len(found)
        if self._cut:
            keys = [key[self._cut :] for key in keys]
        return list(zip(keys, found[1::2], strict=True)) if has_value else keys


class AsyncIterator(Generic[Item]):
    """Items by ``async for``. For one task at a time; closing it is optional.

    Attributes:
        pages: where they come from.
    """

    def __init__(self, pages: Pages[Item]) -> None:
        self.pages = pages

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Item:
        return await self.pages.next()

    def close(self) -> None:
        """Give no more. Idempotent."""
        self.pages.close()
