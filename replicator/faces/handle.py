"""The handle: a LevelDB handle of plyvel's shape whose writes are replicated.

Reads are LevelDB's own with the reserved range cut off; writes go through the store; everything
about peers through the node. What plyvel documents for ``DB`` holds here, same errors included:
where it raises RuntimeError for a closed database so does this one (ClosedError is one).
"""

import atexit
import os
import threading
import weakref
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Self

from replicator.core.dots import format_origin
from replicator.core.known import KnownSet
from replicator.core.record import Version
from replicator.errors import UsageError
from replicator.faces.batch import check_flag
from replicator.faces.engine import Engine
from replicator.faces.iterators import RawIterator
from replicator.faces.lease import CLOSED, Lease, Recall, Shut, is_held_here, leased, lend
from replicator.faces.views import Writable
from replicator.net.address import Address
from replicator.status import Status
from replicator.store.keyspace import RESERVED
from replicator.store.local import Operation

FORKED = (
    "this process was forked from the one that opened the handle, and LevelDB cannot be used in "
    "both: open another directory here, or fork before opening"
)

_replicas: "weakref.WeakSet[Replica]" = weakref.WeakSet()
_left_in_child: list[Engine] = []
"""A child must not even let go of LevelDB: its destructor waits for a thread of the parent."""


class Replica(Writable):
    """A replicated ``plyvel.DB`` or ``PrefixedDB``. Made by `replicate`; thread-safe.

    It has all methods of ``plyvel.DB``, also where it wraps a ``PrefixedDB``: those that
    plyvel's ``PrefixedDB`` lacks then keep to the prefix, but for `get_property`, which tells of
    the whole LevelDB. Closing it closes a wrapped ``DB``, never the ``DB`` behind a wrapped
    ``PrefixedDB``. A handle that nobody refers to any more is closed, as plyvel's is.

    Keys that begin with ``FF FF FF FF`` belong to the replicator: no read shows them, and writing
    them raises ReservedKeyError.
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
        _replicas.add(self)

    @property
    def _owner(self) -> "Replica":
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
            if verify_checksums is False and fill_cache is True:
                return lease.get(key, default)
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

    def put(self, key: bytes, value: Any, *, sync: bool | None = None) -> None:
        """Set a key.

        The first write after opening waits up to `join_timeout` for an attempt to replicate.

        Args:
            value: anything with a buffer, at most `VALUE_BYTES_MAX`.
            sync: return only when it survives a power cut; None follows the setting.

        Raises:
            TypeError: an argument is of another type.
            ReservedKeyError: the key is reserved, or key or value are too large.
            CommitError: it did not happen.
            StoreFailedError: the LevelDB refuses writes until it is reopened.
            RuntimeError: the handle is closed.
        """
        lease = self._lease
        try:
            if sync is not None:
                check_flag("sync", sync)
            lease.store.put(key, value, sync=sync)
        finally:
            del lease

    def delete(self, key: bytes, *, sync: bool | None = None) -> None:
        """Delete a key, also one that is not there: a peer may have it. See `put`."""
        self._write(((key, None),), sync)

    def _write(self, operations: "tuple[Operation, ...] | list[Operation]", sync: Any) -> None:
        lease = self._lease
        try:
            check_flag("sync", sync)
            lease.store.write(operations, sync=sync)
        finally:
            del lease

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
        shut = self._lease = Shut(CLOSED, closing=True)
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

    # The replicator's own

    @leased
    def update(
        self,
        key: bytes,
        fn: Callable[[list[Version]], bytes | None],
        *,
        sync: bool | None = None,
    ) -> bytes | None:
        """Read, change and write one key, with no other write on this node in between.

        Args:
            fn: gets the live versions, winner first (none for an absent key), and returns the
                new value, or None to delete. Other writers wait while it runs: keep it short.
                What it raises is passed on, and nothing is written.
            sync: see `put`.

        Returns:
            What `fn` returned.

        Raises:
            UsageError: `fn` writes to this handle or closes it.
        """
        check_flag("sync", sync)
        return self._engine.store.update(key, fn, sync=sync)

    @leased
    def versions(self, key: bytes) -> list[Version]:
        """All live versions of a key, winner first, tombstones included."""
        return self._engine.store.versions(key)

    def conflicts(self) -> Iterator[tuple[bytes, list[Version]]]:
        """Every key in conflict, in key order, with its live versions, winner first.

        As of the first step. A later write of the key settles it.
        """
        found = self._engine.store.conflicts()
        while True:
            lease = self._lease
            try:
                lease.store  # noqa: B018 — raises where it is shut
                conflict = next(found, None)
            finally:
                del lease
            if conflict is None:
                return
            yield conflict

    @leased
    def digest(self, moment_ms: int | None = None) -> str:
        """A hash, in hex, that is equal on nodes that hold the same data. Reads everything.

        Args:
            moment_ms: wall clock in milliseconds; what expired before does not count. None is now.
        """
        return self._engine.store.digest(moment_ms)

    @leased
    def known(self) -> KnownSet:
        """Which writes of which origins this node holds: a copy."""
        return self._engine.store.known()

    @property
    def origin(self) -> str:
        """Who issues this handle's writes: 16 hex digits. A copied directory takes a new one."""
        return format_origin(self._engine.store.origin)

    @property
    def cluster_id(self) -> str | None:
        """The cluster this store belongs to, in hex; None before its first write or peer."""
        cluster_id = self._engine.store.cluster_id
        return None if cluster_id is None else cluster_id.hex()

    # Peers

    @property
    def address(self) -> Address | None:
        """Where peers reach this node: host and port; None where it does not listen."""
        return self._engine.node.address

    def add_peer(self, address: str) -> None:
        """Dial ``host:port`` from now on. Idempotent.

        Stores that both hold data are merged by that, as by `peers` of `replicate`.

        Raises:
            ConfigError: it is no address.
            RuntimeError: the handle is closed.
        """
        self._check_open()
        self._engine.node.add_peer(address)

    def remove_peer(self, address: str) -> None:
        """Dial it no more, and end the conversation with it. Idempotent. Raises as `add_peer`."""
        self._check_open()
        self._engine.node.remove_peer(address)

    def sync(self, timeout: float | None = None) -> bool:
        """Have a round with every known peer now: each side gets what the other one holds.

        Args:
            timeout: seconds for all of them; None waits as long as they make progress.

        Returns:
            Whether that succeeded with all of them; True where there is none.

        Raises:
            UsageError: called in the trio thread of `open_replica`: await `synchronize` there.
            RuntimeError: the handle is closed.
        """
        self._check_open()
        return self._engine.node.sync(timeout)

    def status(self) -> Status:
        """This node and its peers at this moment.

        Raises:
            UsageError: called in the function given to `update`, or in a resolver.
            RuntimeError: the handle is closed.
        """
        self._check_open()
        return self._engine.node.status()

    def on(self, event: str, callback: Callable[..., object]) -> None:
        """Call `callback` whenever `event` happens.

        Callbacks run in a thread of their own, one after the other; what they raise is logged.

        Args:
            event: "connect" (host and port: this node dialled), "connection" (host and port: it
                was dialled), "round" (a `replicator.status.Round`), "conflict" (key and versions,
                winner first), "error" (an exception).

        Raises:
            UsageError: there is no such event.
            RuntimeError: the handle is closed.
        """
        self._check_open()
        self._engine.events.on(event, callback)

    def off(self, event: str, callback: Callable[..., object]) -> None:
        """Take back one `on` of the same event and callback. Raises as that."""
        self._check_open()
        self._engine.events.off(event, callback)

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
        start, stop = min(start, RESERVED), min(stop, RESERVED)
        return (self._prefix + start, self._prefix + stop) if self._prefix else (start, stop)

    def _release(self, snapshot: Any) -> None:
        """Close a native snapshot, but never while LevelDB is being closed."""
        lease = self._lease
        try:
            if isinstance(lease, Shut):
                lease.drop(snapshot)
            else:
                snapshot.close()
        finally:
            del lease

    def _leave_to_parent(self) -> None:
        """In a forked child: refuse everything and touch nothing."""
        self._lease = Shut(FORKED, closing=False)
        self._finalizer.detach()
        self._engine.closing = threading.RLock()  # another thread may have held it at the fork
        _left_in_child.append(self._engine)


def _after_fork() -> None:
    for replica in list(_replicas):
        replica._leave_to_parent()


os.register_at_fork(after_in_child=_after_fork)


@atexit.register
def _at_exit() -> None:
    for replica in list(_replicas):
        replica.close()
