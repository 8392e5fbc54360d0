"""What reads through a handle: a prefixed view, a snapshot, and what the handle shares with them.

The reserved range lies at the end of the wrapped namespace (`replicator.store.keyspace`). A view
hides it by where its iterators stop, so iteration itself stays LevelDB's own.
"""

from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from replicator.faces.batch import WriteBatch, check_flag
from replicator.faces.iterators import Iterator, RawIterator
from replicator.faces.lease import Lease, leased
from replicator.faces.ttl import expiry_after
from replicator.store.keyspace import RESERVED

if TYPE_CHECKING:
    from plyvel import _plyvel

    from replicator.faces.shape import Handle

NOTHING = {"start": b"", "stop": b""}
"""The range of a native iterator that never shows anything, whatever is sought in it."""


def hidden_from(prefix: bytes) -> bytes | None:
    """From which key on, relative to `prefix`, all keys are the replicator's; None for nowhere."""
    if prefix.startswith(RESERVED):
        return b""
    return RESERVED[len(prefix) :] if RESERVED.startswith(prefix) else None


def clip(
    hidden: bytes | None,
    *,
    start: bytes | None,
    stop: bytes | None,
    include_start: bool,
    include_stop: bool,
    prefix: bytes | None,
) -> dict[str, Any]:
    """The range arguments of an iterator, cut where the hidden keys begin.

    Args:
        hidden: see `hidden_from`.

    Returns:
        Arguments for a native iterator; `NOTHING` itself where only hidden keys are asked for.

    Raises:
        TypeError: a key is no bytes, or `prefix` comes with a start or stop.
    """
    given = {
        "start": start,
        "stop": stop,
        "include_start": include_start,
        "include_stop": include_stop,
        "prefix": prefix,
    }
    if hidden is None:
        return given
    if prefix is not None and (start is not None or stop is not None):
        return given  # plyvel refuses it, in its own words
    if ((start if prefix is None else prefix) or b"") >= hidden:
        return NOTHING
    if prefix is None:
        if stop is None or stop >= hidden:
            given |= {"stop": hidden, "include_stop": False}
    elif hidden.startswith(prefix):
        given |= {"start": prefix, "stop": hidden, "prefix": None}
        given |= {"include_start": True, "include_stop": False}
    return given


class Readable:
    """What a handle, its prefixed views and its snapshots have in common. Thread-safe.

    Attributes:
        _source: the native object that is read.
        _hidden: see `hidden_from`.
    """

    __slots__ = ()

    _source: Any
    _hidden: bytes | None

    @property
    def _owner(self) -> "Handle":
        """The handle that all of this comes from."""
        raise NotImplementedError

    @property
    def _lease(self) -> Lease:
        return self._owner._lease

    @leased
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
        if self._hidden is not None and key >= self._hidden:
            return default
        return self._source.get(
            key, default, verify_checksums=verify_checksums, fill_cache=fill_cache
        )

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        return self.iterator()

    @leased
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
        verify_checksums: bool = False,
        fill_cache: bool = True,
    ) -> Iterator[Any]:
        """An iterator over a range of keys; the arguments are plyvel's.

        Returns:
            An iterator of (key, value), or of only one of them as the arguments say.

        Raises:
            TypeError: an argument is of another type, or `prefix` comes with a start or stop.
            RuntimeError: the handle is closed.
        """
        bounds = clip(
            self._hidden,
            start=start,
            stop=stop,
            include_start=include_start,
            include_stop=include_stop,
            prefix=prefix,
        )
        source = self._owner._root if bounds is NOTHING else self._source
        native = source.iterator(
            reverse=reverse,
            include_key=include_key,
            include_value=include_value,
            verify_checksums=verify_checksums,
            fill_cache=fill_cache,
            **bounds,
        )
        return Iterator(self._owner, native)


class Snapshot(Readable):
    """plyvel's snapshot of what a handle shows: later writes do not change it. Thread-safe."""

    __slots__ = ("_handle", "_hidden", "_source")

    def __init__(self, handle: "Handle", native: "_plyvel.Snapshot", hidden: bytes | None) -> None:
        self._handle = handle
        self._source = native
        self._hidden = hidden

    @property
    def _owner(self) -> "Handle":
        return self._handle

    @leased
    def raw_iterator(
        self, *, verify_checksums: bool = False, fill_cache: bool = True
    ) -> RawIterator:
        """A raw iterator over the snapshot. As plyvel's, it knows nothing of `prefixed_db`."""
        native = self._source.raw_iterator(verify_checksums=verify_checksums, fill_cache=fill_cache)
        return RawIterator(self._handle, native, *self._handle._span)

    def close(self) -> None:
        """Let LevelDB drop what only this snapshot needs. Idempotent."""
        self._handle._release(self._source)

    release = close

    def __del__(self) -> None:
        self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class Writable(Readable):
    """What a handle and its prefixed views have in common. Thread-safe."""

    __slots__ = ()

    _within: bytes

    def write_batch(
        self,
        *,
        transaction: bool = False,
        sync: bool | None = None,
        replicas: int | None = None,
        timeout: float | None = None,
    ) -> WriteBatch:
        """A batch: its operations become one commit, here and at every reader.

        Args:
            transaction: whether a ``with`` block that raises leaves the batch unwritten.
            sync, replicas, timeout: as in `put`.

        Raises:
            UsageError: as by `put`.
            RuntimeError: the handle is closed.
        """
        return WriteBatch(self._owner, self._within, transaction, sync, replicas, timeout)

    @leased
    def snapshot(self) -> Snapshot:
        """What the store shows now.

        Raises:
            RuntimeError: the handle is closed.
        """
        return Snapshot(self._owner, self._source.snapshot(), self._hidden)

    @leased
    def expire(self, key: bytes, ttl: float, *, sync: bool | None = None) -> bool:
        """Let what a key shows go in `ttl` seconds. A write like any other: it supersedes.

        Args:
            ttl: seconds from now, above 0.
            sync: as in `put`.

        Returns:
            Whether it was written: not where the key shows nothing.

        Raises:
            ExpiryError: the time to live is out of range.
            What `put` raises.
        """
        check_flag("sync", sync)
        store = self._lease.store
        return store.set_expiry(self._full(key), expiry_after(ttl, store.wall_ms()), sync=sync)

    @leased
    def persist(self, key: bytes, *, sync: bool | None = None) -> bool:
        """Let a key show for good what it shows. A write like any other.

        Returns:
            Whether it was written: not where the key shows nothing, or never expires anyway.

        Raises:
            What `put` raises.
        """
        check_flag("sync", sync)
        return self._lease.store.set_expiry(self._full(key), None, sync=sync)

    @leased
    def ttl(self, key: bytes) -> float | None:
        """For how many seconds more a key shows what it shows, by this node's wall clock.

        Returns:
            Seconds; 0.0 where the key shows nothing; None where it never expires.

        Raises:
            TypeError: the key is no bytes.
            RuntimeError: the handle is closed.
        """
        left = self._lease.store.remaining_ms(self._full(key))
        return None if left is None else left / 1000

    def _full(self, key: bytes) -> bytes:
        if not isinstance(key, bytes):
            raise TypeError(f"a key must be bytes, not {type(key).__name__}")
        return self._within + key

    def prefixed_db(self, prefix: bytes) -> "PrefixedReplica":
        """The part of the store whose keys begin with `prefix`, seen without it."""
        if not isinstance(prefix, bytes):
            raise TypeError(f"a prefix must be bytes, not {type(prefix).__name__}")
        return PrefixedReplica(self._owner, self._within + prefix)


class PrefixedReplica(Writable):
    """plyvel's PrefixedDB on a handle: puts a prefix before every key. Thread-safe."""

    __slots__ = ("_handle", "_hidden", "_source", "_within")

    def __init__(self, db: "Handle", prefix: bytes) -> None:
        self._handle = db
        self._within = prefix
        self._hidden = hidden_from(prefix)
        self._source = db._source.prefixed_db(prefix)

    @property
    def _owner(self) -> "Handle":
        return self._handle

    @property
    def db(self) -> "Handle":
        """The handle."""
        return self._handle

    @property
    def prefix(self) -> bytes:
        """What is put before every key of the handle."""
        return self._within

    def put(self, key: bytes, value: Any, *, sync: bool | None = None, **careful: Any) -> None:
        """As the handle's `put`, with its keywords."""
        self._handle.put(self._within + key, value, sync=sync, **careful)

    def delete(self, key: bytes, *, sync: bool | None = None, **careful: Any) -> None:
        """As the handle's `delete`, with its keywords."""
        self._handle.delete(self._within + key, sync=sync, **careful)

    def __repr__(self) -> str:
        return f"<replicator.PrefixedReplica with prefix {self._within!r} of {self._handle!r}>"
