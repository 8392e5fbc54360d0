"""Local writes that say more than a key and a value: what the writer has seen, and until when."""

import time
from typing import Any
from zlib import crc32

from replicator.core import rows
from replicator.core.dots import Dot
from replicator.core.merge import Seen, counted_as_seen, next_clock
from replicator.core.merge import write as write_record
from replicator.core.record import ABSENT, Record, Version
from replicator.core.rows import CLOCK_MAX, EXPIRY_MS_MAX
from replicator.errors import ReservedKeyError, UsageError
from replicator.store.keyspace import INDEX
from replicator.store.local import LocalWrites, check_key, check_value


class CarefulWrites(LocalWrites):
    """See `put_with`. Thread-safe, as all local writes."""

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
            UsageError: the expiry is out of range, a delete has one, or the key has too many
                versions side by side.
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
                now_ms = time.time_ns() // 1_000_000
                seen = counted_as_seen(old, seen, self.durable.union(self.becoming), now_ms)
            clock = min(max(next_clock(old, seen), seen_clock + 1), CLOCK_MAX)
            new = self._after(old, key, value, clock, expiry_ms, seen)
            resolution = self.settler.resolve(new.versions)
            try:
                self.absent.add(key)
                self.install(self._batch, key, old, new, resolution)
                if self.dirty is not None:
                    self.dirty.add(key)
                self._issue(self._batch, 1)
            finally:
                self._batch.clear()
            dot = Dot(self.origin, self.seq)
        if sync or (sync is None and self._sync_default):
            self.level.sync()
        return dot

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
            self.clock.tick(time.time_ns() // 1_000_000),
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
        UsageError: it is out of range, or of a delete.
    """
    if expiry_ms is None:
        return
    if value is None:
        raise UsageError(f"the delete of key {key[:40]!r} has an expiry: deletes do not expire")
    if not 0 <= expiry_ms <= EXPIRY_MS_MAX:
        raise UsageError(
            f"the expiry {expiry_ms} of key {key[:40]!r} is out of range: it is in milliseconds "
            f"since the epoch, from 0 to {EXPIRY_MS_MAX}"
        )
