"""Local writes that say more than a key and a value: what the writer has seen, and until when; and
those that depend on what is there."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from zlib import crc32

from plyvel._plyvel import WriteBatch

from replicator.core import rows
from replicator.core.dots import Dot
from replicator.core.merge import Seen, counted_as_seen, next_clock
from replicator.core.merge import write as write_record
from replicator.core.record import ABSENT, Record, Version
from replicator.core.rows import CLOCK_MAX, EXPIRY_MS_MAX
from replicator.errors import ExpiryError, ReservedKeyError
from replicator.store.expiry import expiry_of, has_expired, without_expired
from replicator.store.keyspace import INDEX
from replicator.store.local import LocalWrites, check_key, check_value
from replicator.store.state import winner_first
from replicator.store.tally import Conflict, conflict_of


class CarefulWrites(LocalWrites):
    """Writes with more arguments, and those of an expiry. Thread-safe, as all local writes."""

    def put_with(
        self,
        key: bytes,
        value: Any,
        *,
        sync: bool | None = None,
        expiry_ms: int | None = None,
        seen: Seen = None,
        seen_clock: int = -1,
    ) -> Dot:
        """Write one key (R1), as `put`.

        Args:
            value: None deletes.
            expiry_ms: wall clock at which the value expires, milliseconds since the epoch (R17).
            seen: dots of the versions that the writer has seen: those of them that are still live
                are superseded, all others stay beside the new version, but for deletes that may be
                collected elsewhere (`counted_as_seen`). None supersedes all.
            seen_clock: the highest clock among what it has seen, where some of that may not be
                live any more: the new version's clock is above it.

        Returns:
            The dot of the new version.

        Raises:
            ExpiryError: the expiry is out of range, or of a delete.
            ReservedKeyError: the key is reserved or too large, or gets too many versions side by
                side; the value is too large.
        """
        check_key(key)
        if value is not None:
            if type(value) is not bytes:
                value = bytes(memoryview(value))
            check_value(key, value)
        check_expiry(key, value, expiry_ms)
        if self._slow:
            self._admit()
        with self._lock:
            self.refuse_closed()
            old = self._before(key, seen)
            if seen is not None:
                now_ms = self.wall_ms()
                seen = counted_as_seen(old, seen, self.durable.union(self.becoming), now_ms)
            clock = min(max(next_clock(old, seen), seen_clock + 1), CLOCK_MAX)
            new = self._after(old, key, value, clock, expiry_ms, seen)
            resolution = self.settler.resolve(new.versions)
            with self._issuing(key) as batch:
                self.absent.add(key)
                self.install(batch, key, old, new, resolution)
            dot = Dot(self.origin, self.seq)
        self._arisen(conflict_of(key, new.versions, resolution))
        if sync or (sync is None and self._sync_default):
            self.level.sync()
        return dot

    def _arisen(self, conflict: Conflict | None) -> None:
        """A write has left versions beside its own that it had not seen."""
        if conflict is not None:
            self.tally.note(conflict.reason, conflict.versions[0].dot.origin)
            if self.on_conflict is not None:
                self.on_conflict(conflict)

    def update(
        self,
        key: bytes,
        fn: Callable[[list[Version]], bytes | None],
        *,
        sync: bool | None = None,
    ) -> bytes | None:
        """`update_with`; what `fn` returned."""
        return self.update_with(key, fn, sync=sync)[0]

    def update_with(
        self,
        key: bytes,
        fn: Callable[[list[Version]], bytes | None],
        *,
        sync: bool | None = None,
        expiry_ms: int | None = None,
    ) -> tuple[bytes | None, Dot]:
        """Read, change and write one key, with no other write of this node in between.

        Args:
            fn: gets the live versions, winner first (none for an absent key; one that has expired
                as a delete), returns the new value or None to delete. It runs under the write lock
                of the LevelDB: keep it short. It may read; writing to a store of this LevelDB in it
                raises UsageError. What it raises is passed on, nothing written.
            expiry_ms: when the new value expires; None is never, whatever the old one did.

        Returns:
            What `fn` returned, and the dot.
        """
        check_key(key)
        if self._slow:
            self._admit()
        with self._lock:
            self.refuse_closed()
            now_ms = self.wall_ms()
            versions = winner_first(*self.read_shown(key))
            value = self._run(fn, [without_expired(one, now_ms) for one in versions])
            if value is not None:
                value = bytes(memoryview(value))
                check_value(key, value)
            with self._issuing(key) as batch:
                self._stage(batch, key, value, expiry_ms=None if value is None else expiry_ms)
            dot = Dot(self.origin, self.seq)
        if sync or (sync is None and self._sync_default):
            self.level.sync()
        return value, dot

    @contextmanager
    def _issuing(self, key: bytes) -> Iterator[WriteBatch]:
        """A batch to put the write of one key into; at the end it is committed under the next own
        seq. The caller holds the lock."""
        try:
            yield self._batch
            if self.dirty is not None:
                self.dirty.add(key)
            self._issue(self._batch, 1)
        finally:
            self._batch.clear()

    def _run(
        self, fn: Callable[[list[Version]], bytes | None], versions: list[Version]
    ) -> bytes | None:
        """Run a user's function under the lock, so that a write in it is noticed instead of
        waiting for ever: every store of the LevelDB looks twice meanwhile."""
        level = self.level
        level.updating = threading.get_ident()
        try:
            for store in level.stores:
                store._slow = True
            return fn(versions)
        finally:
            level.updating = None
            self._slow = self.closed is not None

    def set_expiry(self, key: bytes, expiry_ms: int | None, *, sync: bool | None = None) -> bool:
        """Write what a key shows again (R1), with another expiry.

        Args:
            expiry_ms: see `put_with`; None takes the expiry off, where there is one.

        Returns:
            Whether it was written: not where the key shows nothing, or has no expiry to take off.
        """
        check_key(key)
        if self._slow:
            self._admit()
        with self._lock:
            self.refuse_closed()
            shown = self._shown(*self.read_shown(key))
            if shown is None or shown.value is None or has_expired(shown, self.wall_ms()):
                return False
            if expiry_ms is None and expiry_of(shown) is None:
                return False
            check_expiry(key, shown.value, expiry_ms)
            try:
                self._stage(self._batch, key, shown.value, expiry_ms=expiry_ms)
                if self.dirty is not None:
                    self.dirty.add(key)
                self._issue(self._batch, 1)
            finally:
                self._batch.clear()
        if sync or (sync is None and self._sync_default):
            self.level.sync()
        return True

    def remaining_ms(self, key: bytes) -> int | None:
        """For how many milliseconds a key goes on showing what it shows: 0 where it shows nothing;
        None for good, as far as expiries go."""
        self.refuse_closed()
        with self.db.snapshot() as snapshot:
            shown = self._shown(*self.read_shown(key, snapshot.get))
        if shown is None or shown.is_delete:
            return 0
        expiry_ms = expiry_of(shown)
        return None if expiry_ms is None else max(0, expiry_ms - self.wall_ms())

    def expiry_ms(self, key: bytes) -> int | None:
        """When what a key shows expires, wall clock in milliseconds; None for never.

        Needs no lock, and takes none where nothing was merged.
        """
        row = self.db.get(INDEX + key)
        if row is None or row[0] == rows.SINGLE:
            return None
        record, visible = rows.unpack(row, key, self.origins.by_number)
        if visible != rows.MERGED:
            return expiry_of(record.versions[visible])
        left_ms = self.remaining_ms(key)
        return None if left_ms is None else self.wall_ms() + left_ms

    def has_expired(self, key: bytes) -> bool:
        """Whether what a key shows has expired, and is only not yet swept."""
        expiry_ms = self.expiry_ms(key)
        return expiry_ms is not None and expiry_ms <= self.wall_ms()

    def row(self, key: bytes) -> bytes | None:
        """The index row of a key. Every write of the key changes it, whoever's it is."""
        row: bytes | None = self.db.get(INDEX + key)
        return row

    def _shown(self, record: Record, visible: int) -> Version | None:
        """The version that a key shows, expired or not; what the resolver merges where it does."""
        if not record.versions:
            return None
        if visible == rows.MERGED:
            return self.settler.resolve(record.versions).visible
        return record.versions[visible]

    def _before(self, key: bytes, seen: Seen) -> Record:
        """The record there is; its values are loaded where some of it may stay."""
        row = self.db.get(INDEX + key) if self.absent.may_contain(key) else None
        if row is None:
            return ABSENT
        record, _ = rows.unpack(row, key, self.origins.by_number)
        if seen is None or all(version.dot in seen for version in record.versions):
            return record
        return self.load(record, self.db.get)

    def _after(
        self,
        old: Record,
        key: bytes,
        value: bytes | None,
        clock: int,
        expiry_ms: int | None,
        seen: Seen,
    ) -> Record:
        version = Version(
            key,
            Dot(self.origin, self.seq + 1),
            clock,
            self.clock.tick(self.wall_ms()),
            value is None,
            value,
            expiry_ms,
            0 if value is None else crc32(value),
        )
        new = write_record(old, version, seen)
        if len(new.versions) > rows.VERSIONS_MAX:
            raise ReservedKeyError(
                f"key {key[:40]!r} would get more than {rows.VERSIONS_MAX} versions side by side: "
                "write it once having seen them all"
            )
        return new


def check_expiry(key: bytes, value: bytes | None, expiry_ms: int | None) -> None:
    """Refuse an expiry that no record can hold.

    Raises:
        ExpiryError: it is out of range, or of a delete.
    """
    if expiry_ms is None:
        return
    if value is None:
        raise ExpiryError(f"the delete of key {key[:40]!r} has an expiry: deletes do not expire")
    if not 0 <= expiry_ms <= EXPIRY_MS_MAX:
        raise ExpiryError(
            f"the expiry {expiry_ms} of key {key[:40]!r} is out of range: it is in milliseconds "
            f"since the epoch, from 0 to {EXPIRY_MS_MAX}"
        )
