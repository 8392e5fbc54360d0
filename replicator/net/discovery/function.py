"""Peers that a function of the program finds: a service registry's client, for example."""

import inspect
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
)
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import TypeAlias

import trio

from replicator.config import DISCOVERED_ADDRESSES_MAX, DISCOVERY_INTERVAL
from replicator.errors import ConfigError
from replicator.net.discovery.lines import excerpt, parse_each, summary
from replicator.net.discovery.pace import Finding, LookError, checked_interval, keep_looking
from replicator.net.discovery.provider import Advert, Outlook

ITEM_SECONDS = 0.1
"""Pause after an item of an iterator: one that never waits must not keep the node busy."""

CLOSING_SECONDS = 1.0
"""How long an iterator that is no longer read may take to clean up."""

Peers: TypeAlias = Iterable[str]
"""All addresses that there are now, ``host:port``."""

Source: TypeAlias = (
    Callable[[], Peers] | Callable[[], Awaitable[Peers]] | Callable[[], AsyncIterable[Peers]]
)


@dataclass(frozen=True, slots=True)
class Function:
    """Asks a function of the program, in one of these forms:

    - a plain function is called every interval, in a worker thread;
    - an async function is called every interval, in the node's trio thread;
    - an async generator function, or an object with ``__aiter__``, is iterated in the trio thread;
      it is begun anew, after the interval, when it ends.

    Each result, or item, is the full list of addresses. When the function raises or gives something
    else, the last list stays and it is asked again.

    Args:
        function: as above, without arguments.
        interval: seconds between two calls.

    Raises:
        ConfigError: an argument is none.
    """

    function: Source | AsyncIterable[Peers]
    interval: float = DISCOVERY_INTERVAL

    def __post_init__(self) -> None:
        function: object = self.function
        if not callable(function) and not isinstance(function, AsyncIterable):
            raise ConfigError(
                f"{function!r} finds no peers: give a function that returns their addresses, or an "
                "async iterator of such lists"
            )
        checked_interval("the interval of the function", self.interval)

    @property
    def name(self) -> str:
        plain = self.function.func if isinstance(self.function, partial) else self.function
        return f"function {getattr(plain, '__qualname__', type(plain).__qualname__)}"

    async def run(self, outlook: Outlook, advert: Advert | None) -> None:
        """See `Provider`."""
        asking = _Asking(self.function)
        try:
            await keep_looking(outlook, asking.look, self.interval)
        finally:
            await asking.aclose()


class _Asking:
    """Asks, and remembers the iterator that is being read."""

    def __init__(self, source: Source | AsyncIterable[Peers]) -> None:
        self._source = source
        self._iterator: AsyncIterator[object] | None = None
        self._limiter = trio.CapacityLimiter(1)

    async def look(self) -> Finding:
        """The next list."""
        if self._iterator is not None:
            return await self._next(self._iterator)
        result: object = self._source
        if callable(result):
            result = await self._call(result)
        if isinstance(result, Awaitable):
            result = await result
        if isinstance(result, AsyncIterable):
            self._iterator = aiter(result)
            return await self._next(self._iterator)
        return _finding(_listed(result))

    async def aclose(self) -> None:
        """Let the iterator clean up, within a bound."""
        iterator, self._iterator = self._iterator, None
        if isinstance(iterator, AsyncGenerator):
            with trio.move_on_after(CLOSING_SECONDS, shield=True), suppress(Exception):
                await iterator.aclose()

    async def _call(self, function: Callable[[], object]) -> object:
        if _is_async(function):
            return function()
        # In a tuple, since trio takes a coroutine that comes out of a thread for a mistake.
        (result,) = await trio.to_thread.run_sync(
            lambda: (_listed(function()),), abandon_on_cancel=True, limiter=self._limiter
        )
        return result

    async def _next(self, iterator: AsyncIterator[object]) -> Finding:
        try:
            item = await anext(iterator)
        except StopAsyncIteration:
            self._iterator = None
            return Finding(None)
        except Exception:
            self._iterator = None
            raise
        return replace(_finding(_listed(item)), pause=ITEM_SECONDS)


def _is_async(function: object) -> bool:
    """Whether calling it only makes something to await or to iterate."""
    call = getattr(function, "__call__", None)  # noqa: B004 - asked of objects that have one
    return any(
        inspect.iscoroutinefunction(one) or inspect.isasyncgenfunction(one)
        for one in (function, call)
    )


def _listed(result: object) -> object:
    """The items of a list, no more than are of interest; whatever is to be awaited as it is.

    Raises:
        LookError: it is neither.
    """
    if isinstance(result, Awaitable | AsyncIterable):
        return result
    if isinstance(result, str | bytes) or not isinstance(result, Iterable):
        raise LookError(
            f"gave {excerpt(repr(result))}, which is no list: give all addresses that there are, "
            "such as ['10.0.0.1:9000', '10.0.0.2:9000']"
        )
    return list(islice(result, DISCOVERED_ADDRESSES_MAX + 1))


def _finding(items: object) -> Finding:
    if not isinstance(items, list):
        raise LookError(f"gave {excerpt(repr(items))}, which is no list: give all addresses")
    named = [(f"item {number}", item) for number, item in enumerate(items, start=1)]
    addresses, faults = parse_each((where, item) for where, item in named if isinstance(item, str))
    faults += [
        f"{where}: {excerpt(repr(item))} is no text: write host:port"
        for where, item in named
        if not isinstance(item, str)
    ]
    if faults and not addresses:
        raise LookError(summary(faults) or "")
    return Finding(addresses, summary(faults))
