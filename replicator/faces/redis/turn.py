"""What the commands of one turn read and write.

A turn is all that is run between two moments at which replies are sent: pipelined requests of one
client, requests of many. Its writes are gathered over the store, seen by its own reads, and become
one commit (R1: each key takes one dot, whatever was done to it within the turn).

A command that decides by what it reads (INCR, SETNX, DEL) must supersede just that: from its first
read to the commit the turn holds the store's lock, so nothing of a peer comes in between.
"""

from collections.abc import Callable

from replicator.config import KEY_BYTES_MAX, VALUE_BYTES_MAX
from replicator.core.known import KnownSet
from replicator.faces.handle import Replica
from replicator.faces.lease import Lease
from replicator.faces.resp import Request
from replicator.store.keyspace import RESERVED
from replicator.store.local import check_key, check_value

Written = tuple[bytes, bytes | None, int | None]
"""A key, its new value or None for a delete, and when that expires."""


class Turn:
    """One turn. For one thread, from the first command to `commit` or `abandon`, without a pause.

    Args:
        replica: the handle; it stays open as long as the turn.

    Attributes:
        store: its store. Only `Turn` writes to it meanwhile; what takes its lock must not be
            called while the turn `is_held`.
        writes: the new values of keys, None for a delete; later ones are later in it.
        expiries: which of the new values expire, wall clock in milliseconds since the epoch.
        is_touched: whether a command has written, or has seen what another one wrote: then its
            reply stands only if the commit succeeds. The caller resets it.
        is_whole: whether a command must be run to its end within the turn, as one of a transaction
            must, however many keys it has.
        reads: how many keys were read.
    """

    __slots__ = (
        "_get",
        "_held",
        "_lease",
        "expiries",
        "is_touched",
        "is_whole",
        "reads",
        "replica",
        "store",
        "writes",
    )

    def __init__(self, replica: Replica) -> None:
        self.replica = replica
        self._lease: Lease | None = replica._lease
        self.store = self._lease.store  # raises where the handle is closed
        self._get: Callable[[bytes], bytes | None] = self._lease.get
        self._held = False
        self.writes: dict[bytes, bytes | None] = {}
        self.expiries: dict[bytes, int] = {}
        self.is_touched = self.is_whole = False
        self.reads = 0

    # Reads

    def get(self, key: bytes) -> bytes | None:
        """What a key shows; what has expired is not there, also before it is swept (R17)."""
        self.reads += 1
        if key in self.writes:
            self.is_touched = True
            value = self.writes[key]
            if value is not None and self._is_over(key):
                return None
            return value
        if key >= RESERVED:
            return None
        value = self._get(key)
        if value is not None and self.store.due.was_any and self.store.has_expired(key):
            return None
        return value

    def expiry_ms(self, key: bytes) -> int | None:
        """When what a key shows expires, wall clock in milliseconds; None for never.

        Call it for a key that shows something.
        """
        if key in self.writes:
            self.is_touched = True
            return self.expiries.get(key)
        if not self.store.due.was_any:
            return None
        return self.store.expiry_ms(key)

    def row(self, key: bytes) -> bytes | None:
        """The index row of a key as it is committed: it changes with every write, whoever's."""
        return self.store.row(key)

    # Writes

    def hold(self) -> None:
        """What is read from now on stays so until the commit. Idempotent."""
        if not self._held:
            self.store.hold()
            self._held = True

    @property
    def is_held(self) -> bool:
        """Whether the store's lock is held."""
        return self._held

    def put(self, key: bytes, value: bytes, expiry_ms: int | None = None) -> None:
        """Set a key.

        Args:
            expiry_ms: when the value expires; None is never, whatever the old one did.

        Raises:
            ReservedKeyError: the key is reserved, or key or value are too large.
        """
        if key >= RESERVED or len(key) > KEY_BYTES_MAX or len(value) > VALUE_BYTES_MAX:
            check_key(key)
            check_value(key, value)
        self.is_touched = True
        self.writes[key] = value
        if expiry_ms is not None:
            self.expiries[key] = expiry_ms
        elif self.expiries:
            self.expiries.pop(key, None)

    def put_all(self, values: dict[bytes, bytes]) -> None:
        """Set several keys, at least one, to values that never expire.

        Raises:
            ReservedKeyError: as `put`; then none is set.
        """
        check_all(values)
        for key, value in values.items():
            self.put(key, value)

    def delete(self, key: bytes) -> None:
        """Delete a key; only call it for one that shows something. Raises as `put`."""
        check_key(key)
        self.is_touched = True
        self.writes[key] = None
        self.expiries.pop(key, None)

    def another(self) -> "Turn":
        """A turn of the same kind, behind this one: for a command that goes on."""
        return type(self)(self.replica)

    # The end

    def commit(self) -> KnownSet:
        """Commit what was written; without writes nothing happens. It does not wait for the disk.

        Returns:
            The dots.

        Raises:
            CommitError: it did not happen.
            StoreFailedError, ClosedError: nothing is accepted any more.
        """
        try:
            if not self.writes:
                return KnownSet()
            return self.store.write(
                self.writes,
                sync=False,
                expiries=self.expiries,
                is_held=self._held,
                is_checked=True,
            )
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Let go of the store, and of the handle, whose `close` waits for that. Idempotent."""
        self._lease = None
        if self._held:
            self._held = False
            self.store.let_go()

    def _is_over(self, key: bytes) -> bool:
        expiry_ms = self.expiries.get(key)
        return expiry_ms is not None and expiry_ms <= self.store.wall_ms()


class NotingTurn(Turn):
    """A turn that keeps account of what is written, for notifications.

    Args:
        tell: called with a request and what a commit of it has written, where it goes on in
            several.

    Attributes:
        written: keys with their new values and expiries, in order. The caller empties it.
    """

    __slots__ = ("tell", "written")

    def __init__(self, replica: Replica, tell: Callable[[Request, list[Written]], None]) -> None:
        super().__init__(replica)
        self.tell = tell
        self.written: list[Written] = []

    def another(self) -> Turn:
        """As that of any turn."""
        return NotingTurn(self.replica, self.tell)

    def put(self, key: bytes, value: bytes, expiry_ms: int | None = None) -> None:
        """As that of any turn."""
        super().put(key, value, expiry_ms)
        self.written.append((key, value, expiry_ms))

    def delete(self, key: bytes) -> None:
        """As that of any turn."""
        super().delete(key)
        self.written.append((key, None, None))


def check_all(values: dict[bytes, bytes]) -> None:
    """Refuse what cannot be written.

    Raises:
        ReservedKeyError: a key is reserved, or a key or a value is too large.
    """
    if (
        max(values) >= RESERVED
        or max(map(len, values)) > KEY_BYTES_MAX
        or max(map(len, values.values())) > VALUE_BYTES_MAX
    ):
        for key, value in values.items():
            check_key(key)
            check_value(key, value)
