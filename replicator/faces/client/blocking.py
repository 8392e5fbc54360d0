"""The handle of a client for threads: the methods of the one within trio, run to their end.

In a world that blocks no coroutine ever suspends, so one step is all of it.
"""

import functools
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar

from replicator.faces.client.answers import Change
from replicator.faces.client.batch import Operations
from replicator.faces.client.calling import Caller
from replicator.faces.client.following import Following, Origins
from replicator.faces.client.handle import AsyncClient, Conflict
from replicator.faces.client.scanning import Pages
from replicator.faces.client.view import AsyncPrefixedView, AsyncView
from replicator.faces.client.words import key_of

P = ParamSpec("P")
R = TypeVar("R")
Item = TypeVar("Item")


def finished(work: Coroutine[Any, Any, R]) -> R:
    """What a coroutine returns that never suspends."""
    try:
        work.send(None)
    except StopIteration as end:
        result: R = end.value
        return result
    work.close()
    raise AssertionError("a blocking client waited for an event loop")


def _blocking(
    method: Callable[Concatenate[Any, P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate[Any, P], R]:
    """A method of the twin as one that blocks, with its signature and its docstring."""

    @functools.wraps(method)
    def call(self: "View", /, *args: P.args, **kwargs: P.kwargs) -> R:
        return finished(method(self._twin, *args, **kwargs))

    return call


class WriteBatch(Operations):
    """Operations that become one commit: all of them or none. For one thread at a time.

    As a context manager it is written at the end, even where the block raised, unless it is a
    transaction.
    """

    def write(self) -> None:
        """Commit. Does nothing where there are no operations. Raises as `View.put`."""
        finished(self._write())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not (self._transaction and exc_type is not None):
            self.write()
        self.clear()


class Iterator(Generic[Item]):
    """Items in order. For one thread at a time; closing it is optional."""

    def __init__(self, pages: Pages[Item]) -> None:
        self._pages = pages

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Item:
        try:
            return finished(self._pages.next())
        except StopAsyncIteration:
            raise StopIteration from None

    def close(self) -> None:
        """Give no more. Idempotent."""
        self._pages.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class Changes:
    """A feed to be iterated over; it blocks for what comes. For one thread at a time."""

    def __init__(self, following: Following) -> None:
        self._following = following

    @property
    def token(self) -> str | None:
        """Where to go on behind all that was given so far; None for from the beginning. Store it
        with what was made of the items before it."""
        return self._following.token

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Change:
        try:
            return finished(self._following.next())
        except StopAsyncIteration:
            raise StopIteration from None


class View:
    """What a client and its prefixed views have in common. Thread-safe."""

    def __init__(self, twin: AsyncView) -> None:
        self._twin = twin

    get = _blocking(AsyncView.get)
    get_many = _blocking(AsyncView.get_many)
    put = _blocking(AsyncView.put)
    delete = _blocking(AsyncView.delete)
    expire = _blocking(AsyncView.expire)
    persist = _blocking(AsyncView.persist)
    ttl = _blocking(AsyncView.ttl)
    set_if_absent = _blocking(AsyncView.set_if_absent)
    incr = _blocking(AsyncView.incr)

    def write_batch(
        self,
        *,
        transaction: bool = False,
        sync: bool | None = None,
        replicas: int | None = None,
        timeout: float | None = None,
    ) -> WriteBatch:
        """A batch: its operations become one commit, at the daemon and at every reader.

        Args:
            transaction: whether a ``with`` block that raises leaves the batch unwritten.
            sync, replicas, timeout: as in `put`.
        """
        twin = self._twin
        return WriteBatch(twin._caller, twin._within, transaction, sync, replicas, timeout)

    def iterator(
        self,
        *,
        reverse: bool = False,
        start: bytes | None = None,
        stop: bytes | None = None,
        include_start: bool = True,
        include_stop: bool = False,
        prefix: bytes | None = None,
        include_key: bool = True,
        include_value: bool = True,
    ) -> Iterator[Any]:
        """An iterator over a range of keys; the arguments are plyvel's.

        It reads page by page: a key that is written meanwhile may show its old or its new value.

        Raises:
            TypeError: an argument is of another type, or `prefix` comes with a start or stop.
        """
        found = self._twin.iterator(
            reverse=reverse,
            start=start,
            stop=stop,
            include_start=include_start,
            include_stop=include_stop,
            prefix=prefix,
            include_key=include_key,
            include_value=include_value,
        )
        return Iterator(found.pages)

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        return self.iterator()

    def prefixed_db(self, prefix: bytes) -> "PrefixedView":
        """The keys that begin with `prefix`, seen without it."""
        twin = self._twin
        return PrefixedView(AsyncPrefixedView(twin._caller, twin._within + key_of(prefix)))


class PrefixedView(View):
    """A client's keys behind a prefix, seen without it. Thread-safe."""

    @property
    def prefix(self) -> bytes:
        """What is put before every key."""
        return self._twin._within

    def __repr__(self) -> str:
        return f"<replicator.PrefixedView with prefix {self.prefix!r}>"


class Client(View):
    """Daemons, as one handle. Made by `replicator.connect`; thread-safe.

    In a forked child it connects anew.
    """

    _twin: AsyncClient

    def __init__(self, caller: Caller[Any]) -> None:
        super().__init__(AsyncClient(caller))

    update = _blocking(AsyncClient.update)
    versions = _blocking(AsyncClient.versions)
    resolve = _blocking(AsyncClient.resolve)
    reevaluate = _blocking(AsyncClient.reevaluate)
    digest = _blocking(AsyncClient.digest)
    token = _blocking(AsyncClient.token)
    wait_for = _blocking(AsyncClient.wait_for)
    status = _blocking(AsyncClient.status)
    members = _blocking(AsyncClient.members)
    sync = _blocking(AsyncClient.sync)
    join = _blocking(AsyncClient.join)
    forget = _blocking(AsyncClient.forget)
    execute = _blocking(AsyncClient.execute)

    def conflicts(self, *, after: bytes | None = None) -> Iterator[Conflict]:
        """Every key in conflict, in key order, with its live versions, winner first.

        Args:
            after: only keys behind this one.
        """
        return Iterator(self._twin.conflicts(after=after).pages)

    def changes(
        self,
        since: str | None = None,
        *,
        origins: Origins = None,
        follow: bool = True,
        timeout: float | None = None,
    ) -> Changes:
        """What is written, at the daemon and at peers, as `Replica.changes`: at least once, each
        origin in its order, the latest state of each key.

        Args:
            since: the token behind which to go on; None begins with all there is.
            origins: only writes of "local" or "remote" nodes, or of one origin.
            follow: whether to wait for more at the end.
            timeout: ends when nothing has come for so many seconds; None waits for ever.

        Raises:
            UsageError: `origins` are none, or a timeout without following.
        """
        return Changes(Following(self._twin._caller, since, origins, follow, timeout))

    @property
    def closed(self) -> bool:
        """Whether the client is closed."""
        return self._twin.closed

    @property
    def endpoint(self) -> str | None:
        """Which daemon it uses at the moment; None between two of them."""
        return self._twin.endpoint

    def close(self) -> None:
        """Hang up. Calls in other threads end as they do; new ones are refused. Idempotent."""
        self._twin.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        closed = " (closed)" if self.closed else ""
        return f"<replicator.Client of {self.endpoint}{closed}>"
