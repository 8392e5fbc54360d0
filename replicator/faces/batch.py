"""The write batch of a wrapped handle. plyvel's cannot be read back, so this one keeps its own
list, which the store turns into one commit."""

from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from replicator.config import KEY_BYTES_MAX, VALUE_BYTES_MAX
from replicator.errors import UsageError
from replicator.faces.lease import Lease, leased
from replicator.faces.ttl import expiry_after
from replicator.store.keyspace import RESERVED
from replicator.store.local import Operation, check_key, check_value

if TYPE_CHECKING:
    from replicator.faces.shape import Handle

HEADER_BYTES = 12
"""What LevelDB's own batch begins with."""


class WriteBatch:
    """Operations that become one commit: all of them or none, here and at every reader.

    As plyvel's: it may be written again, and as a context manager it is written at the end, even
    where the block raised, unless it is a transaction. For one thread at a time.

    Args:
        handle: the handle.
        prefix: what is put before the keys.
        transaction: whether a block that raises leaves the batch unwritten.
        sync, replicas, timeout: see `Replica.put`.

    Raises:
        TypeError: `transaction` or `sync` is no truth value.
        RuntimeError: the handle is closed.
    """

    __slots__ = (
        "_expiries",
        "_handle",
        "_operations",
        "_prefix",
        "_replicas",
        "_sync",
        "_timeout",
        "_transaction",
    )

    def __init__(
        self,
        handle: "Handle",
        prefix: bytes,
        transaction: bool,
        sync: bool | None,
        replicas: int | None,
        timeout: float | None,
    ) -> None:
        check_flag("transaction", transaction)
        check_flag("sync", sync)
        handle._check_waiting(replicas, timeout)
        self._replicas = replicas
        self._timeout = timeout
        self._handle = handle
        self._prefix = prefix
        self._transaction = transaction
        self._sync = sync
        self._operations: list[Operation] = []
        self._expiries: dict[bytes, int] = {}
        handle._check_open()

    @property
    def _lease(self) -> Lease:
        return self._handle._lease

    def put(self, key: bytes, value: Any, *, ttl: float | None = None) -> None:
        """Set a key. The value is copied now.

        Args:
            ttl: seconds from now after which the key shows nothing any more; None is never.

        Raises:
            TypeError: the key is no bytes, the value has no buffer, or `ttl` is no number.
            ReservedKeyError: the key is reserved, or key or value are too large.
            ExpiryError: the time to live is out of range.
            RuntimeError: the handle is closed.
        """
        # Written out: a bulk load calls this for every record.
        if self._prefix or type(key) is not bytes or key >= RESERVED or len(key) > KEY_BYTES_MAX:
            key = self._full(key)
        if type(value) is not bytes:
            value = bytes(memoryview(value))
        if len(value) > VALUE_BYTES_MAX:
            check_value(key, value)
        store = self._handle._lease.store  # raises where it is shut
        if ttl is not None:
            self._expiries[key] = expiry_after(ttl, store.wall_ms())
        elif self._expiries:
            self._expiries.pop(key, None)
        self._operations.append((key, value))

    def delete(self, key: bytes) -> None:
        """Delete a key. Raises as `put`."""
        key = self._full(key)
        self._handle._lease.store  # noqa: B018 — raises where it is shut
        self._expiries.pop(key, None)
        self._operations.append((key, None))

    @leased
    def clear(self) -> None:
        """Forget all operations so far."""
        self._operations.clear()
        self._expiries.clear()

    @leased
    def append(self, source: "WriteBatch") -> None:
        """Add the operations of another batch behind the own ones.

        Raises:
            TypeError: `source` is no batch of a wrapped handle.
            UsageError: it is one of a handle that wraps another prefix.
            RuntimeError: the handle is closed.
        """
        if not isinstance(source, WriteBatch):
            raise TypeError(
                f"cannot append {type(source).__module__}.{type(source).__name__}: only a batch "
                "of a wrapped handle can be replicated; make it with write_batch()"
            )
        if source._handle.prefix != self._handle.prefix:
            raise UsageError(
                f"cannot append a batch of the prefix {source._handle.prefix!r} to one of "
                f"{self._handle.prefix!r}: they are two stores"
            )
        expiries = source._expiries.copy()
        for key, _ in source._operations if self._expiries else ():
            self._expiries.pop(key, None)
        self._expiries |= expiries
        self._operations += source._operations[:]

    @leased
    def approximate_size(self) -> int:
        """How many bytes LevelDB's own batch of the same operations has."""
        begin = len(self._handle.prefix)
        size = HEADER_BYTES
        for key, value in self._operations:
            size += 1 + _counted(begin + len(key)) + (0 if value is None else _counted(len(value)))
        return size

    @leased
    def write(self) -> None:
        """Commit. Does nothing where there are no operations.

        Raises:
            CommitError: it did not happen.
            StoreFailedError: the LevelDB refuses writes until it is reopened.
            NotReplicated: it is in, and not at so many peers in time; it stays.
            RuntimeError: the handle is closed.
        """
        self._handle._write(
            self._operations, self._sync, self._replicas, self._timeout, self._expiries
        )

    def __enter__(self) -> Self:
        self._handle._check_open()
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

    def _full(self, key: bytes) -> bytes:
        if type(key) is not bytes:
            raise TypeError(f"a key must be bytes, not {type(key).__name__}")
        key = self._prefix + key
        check_key(key)
        return key


def check_flag(name: str, value: object) -> None:
    """Refuse what plyvel refuses: anything but True, False and None.

    Raises:
        TypeError: it is something else.
    """
    if value is not None and not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, not {type(value).__name__}")


def _counted(length: int) -> int:
    """Bytes of a string of this length behind its own length as a varint."""
    return length + max(1, (length.bit_length() + 6) // 7)
