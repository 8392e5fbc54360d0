"""A LevelDB handle of plyvel's shape, over a store: reads, writes, and its end.

Reads are LevelDB's own with the reserved range cut off; writes go through the store. What plyvel
documents for ``DB`` holds here, same errors included: where it raises RuntimeError for a closed
database so does this one (ClosedError is one).
"""

import atexit
import os
import threading
import weakref
from collections.abc import Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

from replicator.core.known import KnownSet
from replicator.errors import UsageError
from replicator.faces.batch import check_flag
from replicator.faces.engine import Engine
from replicator.faces.iterators import RawIterator
from replicator.faces.lease import (
    CLOSED,
    Closable,
    Lease,
    Recall,
    Shut,
    is_held_here,
    leased,
    lend,
)
from replicator.faces.seen import Seen, seen_by
from replicator.faces.ttl import expiry_after
from replicator.faces.views import Writable
from replicator.peers.replicated import check_replicas
from replicator.store.keyspace import RESERVED
from replicator.store.local import NO_EXPIRIES, Operation

FORKED = (
    "this process was forked from the one that opened the handle, and LevelDB cannot be used in "
    "both: open another directory here, or fork before opening"
)

_handles: "weakref.WeakSet[Handle]" = weakref.WeakSet()
_left_in_child: list[object] = []
"""A child must not even let go of LevelDB: that would wait for threads of the parent."""


class Handle(Writable):
    """What `replicator.faces.handle.Replica` shares with ``plyvel.DB``. Thread-safe.

    Args:
        engine: already running; closed with the handle.
    """

    __slots__ = (
        "__weakref__",
        "_engine",
        "_finalizer",
        "_iterators",
        "_lease",
        "_prefix",
        "_root",
        "_source",
    )

    _hidden = RESERVED
    _within = b""

    _lease: Lease

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._source = engine.db
        self._root, self._prefix = engine.root, engine.prefix
        self._lease = lend(engine.db.get, engine.store)
        self._iterators = engine.iterators
        self._finalizer = weakref.finalize(self, engine.close)
        self._finalizer.atexit = False  # `_at_exit` closes it, which minds calls in daemon threads
        _handles.add(self)

    @property
    def _owner(self) -> "Handle":
        return self

    # plyvel's reads

    def get(
        self,
        key: bytes,
        default: Any = None,
        *,
        verify_checksums: bool = False,
        fill_cache: bool = True,
    ) -> Any:
        """The value of `key`, or `default` where there is none. As plyvel's.

        Raises:
            TypeError: the key is no bytes.
            RuntimeError: the handle is closed.
        """
        lease = self._lease
        try:
            if key >= RESERVED:
                lease.store  # noqa: B018 — raises where it is shut
                return default
            return lease.get(key, default, verify_checksums=verify_checksums, fill_cache=fill_cache)
        finally:
            del lease

    @leased
    def raw_iterator(
        self, *, verify_checksums: bool = False, fill_cache: bool = True
    ) -> RawIterator:
        """plyvel's raw iterator over the store.

        Raises:
            RuntimeError: the handle is closed.
        """
        native = self._root.raw_iterator(verify_checksums=verify_checksums, fill_cache=fill_cache)
        return RawIterator(self, native, *self._span)

    @leased
    def get_property(self, name: bytes) -> bytes | None:
        """A property of the LevelDB, such as ``b"leveldb.stats"``; None for an unknown one."""
        return self._root.get_property(name)

    def approximate_size(self, start: bytes, stop: bytes) -> int:
        """Roughly how many bytes of files the keys from `start` to before `stop` take up."""
        return self.approximate_sizes((start, stop))[0]

    @leased
    def approximate_sizes(self, *ranges: tuple[bytes, bytes]) -> list[int]:
        """`approximate_size` of several ranges, given as ``(start, stop)``."""
        return self._root.approximate_sizes(*[self._shown(start, stop) for start, stop in ranges])

    @leased
    def compact_range(self, *, start: bytes | None = None, stop: bytes | None = None) -> None:
        """Let LevelDB tidy the files of a range now."""
        if self._prefix:
            begin, end = self._span
            start = begin if start is None else begin + start
            stop = end if stop is None else begin + stop
        self._root.compact_range(start=start, stop=stop)

    # plyvel's writes

    def put(
        self,
        key: bytes,
        value: Any,
        *,
        sync: bool | None = None,
        seen: Seen | None = None,
        replicas: int | None = None,
        timeout: float | None = None,
        ttl: float | None = None,
    ) -> None:
        """Set a key.

        The first write after opening waits up to `join_timeout` for an attempt to replicate.

        Args:
            value: anything with a buffer, at most `VALUE_BYTES_MAX`.
            sync: return only when it survives a power cut here; None follows the setting.
            seen: what `versions` gave when the key was read: these alone are superseded, and what
                has arrived since stays beside. An empty list supersedes nothing, None everything.
            replicas: return only when so many peers hold it on disk, from 1 on.
            timeout: seconds to wait for that; None waits as long as it takes.
            ttl: seconds, above 0, after which the key shows nothing any more; None is never,
                whatever the value before had.

        Raises:
            TypeError: an argument is of another type.
            ReservedKeyError: the key is reserved, or key or value are too large.
            ExpiryError: the time to live is out of range.
            CommitError: it did not happen.
            StoreFailedError: the LevelDB refuses writes until it is reopened.
            NotReplicated: it is in, and not at so many peers in time; it stays.
            UsageError: `seen`, `replicas` or `timeout` make no sense, or peers are waited for in
                the trio thread of `open_replica`: await `replicated` there.
            RuntimeError: the handle is closed.
        """
        if seen is not None or replicas is not None or timeout is not None or ttl is not None:
            value = bytes(memoryview(value))
            self._write_carefully(key, value, sync, seen, replicas, timeout, ttl)
            return
        lease = self._lease
        try:
            if sync is not None:
                check_flag("sync", sync)
            lease.store.put(key, value, sync=sync)
        finally:
            del lease

    def delete(
        self,
        key: bytes,
        *,
        sync: bool | None = None,
        seen: Seen | None = None,
        replicas: int | None = None,
        timeout: float | None = None,
    ) -> None:
        """Delete a key, also one that is not there: a peer may have it. See `put`."""
        if seen is None:
            self._write(((key, None),), sync, replicas, timeout)
        else:
            self._write_carefully(key, None, sync, seen, replicas, timeout)

    def _write(
        self,
        operations: "tuple[Operation, ...] | list[Operation]",
        sync: Any,
        replicas: Any = None,
        timeout: Any = None,
        expiries: Mapping[bytes, int] = NO_EXPIRIES,
    ) -> None:
        self._check_waiting(replicas, timeout)
        lease = self._lease
        try:
            check_flag("sync", sync)
            dots = lease.store.write(operations, sync=sync, expiries=expiries)
        finally:
            del lease
        self._wait_for_peers(dots, replicas, timeout)

    def _write_carefully(
        self,
        key: bytes,
        value: bytes | None,
        sync: Any,
        seen: Seen | None,
        replicas: Any,
        timeout: Any,
        ttl: float | None = None,
    ) -> None:
        self._check_waiting(replicas, timeout)
        lease = self._lease
        try:
            check_flag("sync", sync)
            dots, clock = seen_by(key, seen)
            expiry_ms = None if ttl is None else expiry_after(ttl, lease.store.wall_ms())
            dot = lease.store.put_with(
                key, value, sync=sync, seen=dots, seen_clock=clock, expiry_ms=expiry_ms
            )
        finally:
            del lease
        self._wait_for_peers(KnownSet.of(dot), replicas, timeout)

    def _check_waiting(self, replicas: Any, timeout: Any) -> None:
        """Refuse a wait that makes no sense, before anything is written."""
        if replicas is not None or timeout is not None:
            check_replicas(replicas, timeout)
            self._engine.node.replicated.refuse_inside()

    def _wait_for_peers(self, dots: KnownSet, replicas: int | None, timeout: float | None) -> None:
        """Wait for peers' disks, with no lease in hand: closing does not wait for peers."""
        if replicas is not None and dots:
            self._engine.node.replicated.wait(dots, replicas, timeout)

    # plyvel's rest

    @property
    def name(self) -> str | bytes:
        """The directory of the LevelDB, as it was opened. (`status` tells the node's name.)"""
        return self._root.name

    @property
    def prefix(self) -> bytes:
        """The prefix of the wrapped ``PrefixedDB``, empty for a wrapped ``DB``."""
        return self._prefix

    @property
    def closed(self) -> bool:
        """Whether the handle is closed; in a forked child it is."""
        return not self._lease.is_open

    def close(self) -> None:
        """Leave the cluster and close, as plyvel's; with it go its iterators and snapshots.

        New calls are refused at once, those in flight in other threads finish first. A wrapped
        ``DB`` is closed, a ``PrefixedDB`` not. Idempotent; a second caller waits for the first.

        Raises:
            UsageError: this thread is inside a call of this very handle: in the function given
                to `update`, or in a signal handler that interrupted a call.
            StoreFailedError: the store could not be left in order; it is closed all the same.
        """
        if is_held_here(self._lease):
            raise UsageError(
                "close() inside a call of the same handle would wait for itself: close it when "
                "that call is over (a signal handler may set a flag, or raise SystemExit)"
            )
        with self._engine.closing:
            if self._lease.is_open:
                self._close()

    def _close(self) -> None:
        calls = Recall(self._lease)
        shut = self._lease = Shut(CLOSED)
        self._finalizer.detach()
        try:
            self._engine.close(calls)
        finally:
            shut.closed()

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
        prefix = f" prefix {self._prefix!r}" if self._prefix else ""
        closed = " (closed)" if self.closed else ""
        return f"<replicator.Replica of {self.name!r}{prefix}{closed} at {id(self):#x}>"

    # Inside of this package

    @leased
    def _check_open(self) -> None:
        """Raise where the handle is closed."""

    @property
    def _span(self) -> tuple[bytes, bytes]:
        """Where what it shows begins in the LevelDB, and where it ends."""
        return self._prefix, self._prefix + RESERVED

    def _shown(self, start: bytes, stop: bytes) -> tuple[bytes, bytes]:
        """The part of a range that is shown, as a range of the LevelDB."""
        return self._prefix + min(start, RESERVED), self._prefix + min(stop, RESERVED)

    def _release(self, holder: Closable) -> None:
        """Close what holds a native snapshot, but never while LevelDB is being closed."""
        lease = self._lease
        try:
            if isinstance(lease, Shut):
                lease.drop(holder)
            else:
                holder.close()
        finally:
            del lease

    def _leave_to_parent(self) -> None:
        """In a forked child: refuse everything and touch nothing."""
        self._lease = Shut(FORKED)
        self._finalizer.detach()
        self._engine.closing = threading.RLock()  # another thread may have held it at the fork
        _left_in_child.append((self._engine, list(self._iterators)))


def _after_fork() -> None:
    for handle in list(_handles):
        handle._leave_to_parent()


os.register_at_fork(after_in_child=_after_fork)


@atexit.register
def _at_exit() -> None:
    with ExitStack() as stack:
        for handle in list(_handles):
            stack.callback(handle.close)
