"""Iterators of a wrapped handle: plyvel's own, kept out of the reserved range and safe to close.

LevelDB moves a native iterator without the GIL, and closing it or its database meanwhile crashes
the process. So nobody gets hold of a native iterator: entries are read ahead in batches, each
under the handle's lease, and handed out from the batch at the price of a C call. Where a user
turns round, the native iterator first steps back over what was read but not handed out, so that
every method is the native one's in the end. A native iterator sees one state of the database as
long as it lives, so reading ahead changes nothing that can be seen.
"""

from collections import abc
from collections.abc import Callable
from itertools import chain, islice
from operator import length_hint
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

import plyvel

from replicator.config import READ_AHEAD_BYTES, READ_AHEAD_ITEMS_MAX
from replicator.errors import ClosedError
from replicator.faces.lease import ITERATOR_CLOSED, Lease, leased

if TYPE_CHECKING:
    from plyvel import _plyvel

    from replicator.faces.shape import Handle

Item = TypeVar("Item")


class _Ahead:
    """Reads ahead, batch by batch. It knows nothing of its iterator: no cycle keeps that alive.

    Whatever is raised in the middle of it, by a signal handler for example, skips nothing: what
    was read is in `items` at any moment.

    Attributes:
        items: what is read and not handed out yet.
    """

    __slots__ = ("_count", "_handle", "_is_busy", "_native", "items")

    def __init__(self, handle: "Handle", native: "_plyvel.Iterator[Any]") -> None:
        self._handle = handle
        self._native = native
        self._count = 1
        self._is_busy = False
        self.items: abc.Iterator[Any] = iter([])

    def stream(self) -> abc.Iterator[Any]:
        """All from here on. `chain` takes an error for the end; `_next_item` then goes on."""
        return chain(chain.from_iterable(self), iter(self._next_item, self))

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> abc.Iterator[Any]:
        if not length_hint(self.items):
            self._read()
        return self.items

    def _next_item(self) -> Any:
        """The next item, or this object at the end."""
        try:
            for item in next(self):
                return item
        except StopIteration:
            pass
        return self

    def _read(self) -> None:
        if self._is_busy:
            raise RuntimeError("an iterator is for one thread at a time")
        batch: list[Any] = []
        self.items = iter(batch)
        lease = self._handle._lease
        try:
            lease.store  # noqa: B018 — raises where it is shut
            self._is_busy = True
            batch.extend(islice(self._native, self._count))
        finally:
            self._is_busy = False
            del lease
        if not batch:
            raise StopIteration
        fitting = 1 + READ_AHEAD_BYTES // (1 + _size_of(batch[-1]))
        self._count = min(2 * self._count, READ_AHEAD_ITEMS_MAX, fitting)


class Iterator(Generic[Item]):
    """plyvel's iterator over what a handle shows. For one thread at a time.

    Closing the handle, in any thread, closes it: every method then raises RuntimeError.
    """

    __slots__ = ("__next__", "__weakref__", "_ahead", "_handle", "_native")

    __next__: Callable[[], Item]
    # A slot of the instance, not a method: ``for`` then calls straight into C for each entry.

    def __init__(self, handle: "Handle", native: "_plyvel.Iterator[Item]") -> None:
        self._handle = handle
        self._native = native
        self._go_on()
        handle._iterators.add(self)

    @property
    def _lease(self) -> Lease:
        return self._handle._lease

    def __iter__(self) -> Self:
        return self

    @leased
    def prev(self) -> Item:
        """Step back, and return what was stepped over.

        Raises:
            StopIteration: it stands before the first entry.
        """
        for _ in self._ahead.items:
            self._native.prev()
        self._go_on()
        return self._native.prev()

    @leased
    def seek(self, target: bytes) -> None:
        """Go to just before the first key at or behind `target`."""
        self._native.seek(target)
        self._go_on()

    @leased
    def seek_to_start(self) -> None:
        """Go to before the first key of the range."""
        self._native.seek_to_start()
        self._go_on()

    @leased
    def seek_to_stop(self) -> None:
        """Go to behind the last key of the range."""
        self._native.seek_to_stop()
        self._go_on()

    def close(self) -> None:
        """Free what LevelDB keeps for it. Idempotent."""
        self._native.close()
        self.__next__ = _refuse

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _go_on(self) -> None:
        """Read on from where the native iterator stands."""
        self._ahead = _Ahead(self._handle, self._native)
        self.__next__ = self._ahead.stream().__next__


def _size_of(item: Any) -> int:
    if type(item) is tuple:
        return len(item[0]) + len(item[1])
    return 0 if item is None else len(item)


def _refuse() -> Any:
    raise ClosedError(ITERATOR_CLOSED)


class RawIterator:
    """plyvel's raw iterator over the keys of one namespace, its reserved range left out.

    For one thread at a time; closing the handle, in any thread, closes it. Outside of the
    namespace it is invalid, as plyvel's is behind the last key.

    Args:
        native: over the whole LevelDB.
        prefix: of the namespace.
        stop: the first key behind what it shows.
    """

    __slots__ = ("_handle", "_native", "_prefix", "_stop")

    def __init__(
        self, handle: "Handle", native: "_plyvel.RawIterator", prefix: bytes, stop: bytes
    ) -> None:
        self._handle = handle
        self._native = native
        self._prefix = prefix
        self._stop = stop

    @property
    def _lease(self) -> Lease:
        return self._handle._lease

    @leased
    def valid(self) -> bool:
        """Whether it stands on an entry."""
        return self._is_valid()

    @leased
    def seek_to_first(self) -> None:
        """Go to the first entry."""
        self._native.seek(self._prefix)

    @leased
    def seek_to_last(self) -> None:
        """Go to the last entry."""
        self._native.seek(self._stop)
        if self._native.valid():
            self._native.prev()
        else:
            self._native.seek_to_last()

    @leased
    def seek(self, target: bytes) -> None:
        """Go to the first entry at or behind `target`."""
        if not isinstance(target, bytes):
            raise TypeError(f"a key must be bytes, not {type(target).__name__}")
        self._native.seek(self._prefix + target)

    @leased
    def next(self) -> None:
        """Go one entry on.

        Raises:
            plyvel.IteratorInvalidError: it stands on none.
        """
        self._check_valid()
        self._native.next()

    @leased
    def prev(self) -> None:
        """Go one entry back. Raises as `next`."""
        self._check_valid()
        self._native.prev()

    @leased
    def key(self) -> bytes:
        """The key it stands on. Raises as `next`."""
        self._check_valid()
        return self._native.key()[len(self._prefix) :]

    @leased
    def value(self) -> bytes:
        """The value it stands on. Raises as `next`."""
        self._check_valid()
        return self._native.value()

    def item(self) -> tuple[bytes, bytes]:
        """The key and the value it stands on. Raises as `next`."""
        return self.key(), self.value()

    def close(self) -> None:
        """Free what LevelDB keeps for it. Idempotent."""
        self._native.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _is_valid(self) -> bool:
        return self._native.valid() and self._prefix <= self._native.key() < self._stop

    def _check_valid(self) -> None:
        if not self._is_valid():
            raise plyvel.IteratorInvalidError
