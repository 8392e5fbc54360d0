"""What the store showed at one moment, for commands that go through many keys.

They go on in slices, and read beside the loop (`replicator.faces.redis.aside`).
"""

import threading
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future
from typing import Any, TypeVar

from replicator.core import rows
from replicator.faces.handle import Replica
from replicator.faces.lease import Lease, leased
from replicator.faces.redis.aside import begun, ended
from replicator.faces.redis.globs import Glob
from replicator.faces.redis.limits import RESP_SCAN_BYTES, RESP_SCAN_KEYS
from replicator.store.expiry import expiry_of
from replicator.store.keyspace import EXPIRY, INDEX, RESERVED, SEQ, after

T = TypeVar("T")


class View:
    """A snapshot of a store and the wall clock. For one command; closed by it, in any thread.

    What begins with ``read`` is for `aside`, one call at a time.
    """

    def __init__(self, replica: Replica) -> None:
        self.replica = replica
        store = self.store = replica._lease.store
        self.moment_ms = store.wall_ms()
        self._may_hide = store.due.was_any
        self._has_looked = not self._may_hide
        self._merged: dict[bytes, bool] = {}
        self._snapshot = store.db.snapshot()
        self._iterators: list[Any] = []
        self._reading: Future[Any] | None = None
        self._closing = threading.Lock()
        replica._engine.held.add(self)

    @property
    def _lease(self) -> Lease:
        return self.replica._lease

    def aside(self, read: Callable[..., T], *arguments: object) -> Generator[bytes, None, T]:
        """Call one of the methods below in a thread; to be had with ``yield from``.

        Raises:
            ClosedError: the handle is closed.
            What the call raises.
        """
        reading = begun(read, *arguments)
        self._reading = reading
        return (yield from ended(reading))

    def close(self) -> None:
        """Let go of what LevelDB keeps for it, behind a call that is not over. Idempotent."""
        reading = self._reading
        if reading is None or reading.cancel():
            self._let_go()
        else:
            reading.add_done_callback(lambda _: self._let_go())

    def _let_go(self) -> None:
        with self._closing:
            iterators, self._iterators = self._iterators, []
            for one in iterators:
                one.close()
            self._snapshot.close()
        self.replica._engine.held.discard(self)

    # Keys

    def keys(
        self, start: bytes = b"", stop: bytes | None = None, *, include_start: bool = True
    ) -> Iterator[bytes]:
        """A native iterator over the keys of a range, for `read_keys`, expired ones included."""
        found: Iterator[bytes] = self._iterator(
            start=start,
            stop=RESERVED if stop is None else min(stop, RESERVED),
            include_start=include_start,
            include_value=False,
        )
        return found

    @leased
    def read_keys(
        self, keys: Iterator[bytes], glob: Glob, count: int = RESP_SCAN_KEYS
    ) -> tuple[list[bytes], bytes | None]:
        """The next keys.

        Args:
            keys: what `keys` gave.
            count: how many are looked at.

        Returns:
            Those that match and show something, and the last one that was looked at; None where
            there are no more.
        """
        batch: list[bytes] = []
        size = 0
        for key in keys:
            batch.append(key)
            size += len(key)
            if len(batch) >= count or size >= RESP_SCAN_BYTES:
                return self._shown(glob.matching(batch)), key
        return self._shown(glob.matching(batch)), None

    # Rows

    def rows(self) -> Iterator[tuple[bytes, bytes]]:
        """A native iterator over the index, for `read_rows`."""
        found: Iterator[tuple[bytes, bytes]] = self._iterator(start=INDEX, stop=after(INDEX))
        return found

    @leased
    def read_rows(
        self, found: Iterator[tuple[bytes, bytes]], count: int
    ) -> list[tuple[bytes, bytes]]:
        """The next keys with their rows, some deleted ones among them; empty at the end."""
        batch: list[tuple[bytes, bytes]] = []
        size = 0
        for row_key, row in found:
            batch.append((row_key[len(INDEX) :], row))
            size += len(row_key) + len(row)
            if len(batch) >= count or size >= RESP_SCAN_BYTES:
                break
        return batch

    # Values

    @leased
    def read_values(self, keys: list[bytes]) -> list[bytes | None]:
        """What some keys show, as far as a batch goes, at least the first one."""
        values: list[bytes | None] = []
        size = 0
        get = self._snapshot.get
        for key in keys:
            value = None if key >= RESERVED or not self._shown([key]) else get(key)
            values.append(value)
            size += len(value or b"")
            if size >= RESP_SCAN_BYTES:
                break
        return values

    # What has expired and is not swept (R17)

    def _shown(self, keys: list[bytes]) -> list[bytes]:
        if not self._has_looked:
            self._has_looked = True
            self._may_hide = self._is_any_due()
        if not self._may_hide:
            return keys
        return [key for key in keys if not self._has_expired(key)]

    def _is_any_due(self) -> bool:
        """Whether there is an expiry row up to the moment: without one nothing is to be hidden."""
        stop = EXPIRY + SEQ.pack(self.moment_ms + 1)
        with self._snapshot.iterator(start=EXPIRY, stop=stop, include_value=False) as due:
            return any(True for _ in due)

    def _has_expired(self, key: bytes) -> bool:
        row = self._snapshot.get(INDEX + key)
        if row is None or row[0] == rows.SINGLE:
            return False
        record, visible = rows.unpack(row, key, self.store.origins.by_number)
        if visible == rows.MERGED:  # said alike each time it is asked
            return self._merged.setdefault(key, self.store.has_expired(key))
        expiry_ms = expiry_of(record.versions[visible])
        return expiry_ms is not None and expiry_ms <= self.moment_ms

    # Single steps

    @leased
    def read_key_from(self, start: bytes, stop: bytes | None = None) -> bytes | None:
        """The first key of a range, and with `read_key_before` the last one before a key."""
        with self._ranged(start, stop) as found:
            return next(found, None)

    @leased
    def read_key_before(self, stop: bytes | None) -> bytes | None:
        """The last key before another one, or before none."""
        with self._ranged(b"", stop, reverse=True) as found:
            return next(found, None)

    def _ranged(self, start: bytes, stop: bytes | None, *, reverse: bool = False) -> Any:
        stop = RESERVED if stop is None else min(stop, RESERVED)
        return self._snapshot.iterator(start=start, stop=stop, reverse=reverse, include_value=False)

    def is_shown(self, key: bytes) -> bool:
        """Whether a key that is there has not expired; for `aside`, inside of a call."""
        return bool(self._shown([key]))

    def _iterator(self, **bounds: Any) -> Any:
        found = self._snapshot.iterator(**bounds)
        self._iterators.append(found)
        return found
