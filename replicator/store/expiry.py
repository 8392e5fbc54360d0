"""When a key has to be looked at because what it shows expires (R17).

What a key shows is a function of its live versions and of the wall clock: the winner of the fold,
unless that has expired. The expiry rows (keyspace module) say when to look: written in the batch
that writes the index row, and never taken at their word, so a row that is out of date costs one
look-up. `Due` keeps in memory whether there is anything to look at.
"""

import threading
from dataclasses import replace

from replicator.core import rows
from replicator.core.record import Record, Version
from replicator.store.keyspace import EXPIRY, NEVER_MS, SEQ, expiry_key, swept_key

NOTHING_DUE = EXPIRY + SEQ.pack(NEVER_MS)
"""Behind all expiry rows of values that are shown, before all of those that were swept."""


def expiry_of(version: Version) -> int | None:
    """When a version expires, wall clock in milliseconds; None for never."""
    expiry_ms = version.expiry_ms
    if expiry_ms is None or expiry_ms >= NEVER_MS or version.is_delete:
        return None
    return expiry_ms


def has_expired(version: Version, now_ms: int) -> bool:
    """Whether a version has expired by this wall clock."""
    expiry_ms = expiry_of(version)
    return expiry_ms is not None and expiry_ms <= now_ms


def without_expired(version: Version, now_ms: int) -> Version:
    """The version; as a delete, where it has expired by this wall clock: so whoever works with
    versions and knows of deletes does not take up a value that the key does not show."""
    if has_expired(version, now_ms):
        return replace(version, is_delete=True, value=None, expiry_ms=None, checksum=0)
    return version


def keeps_aside(record: Record) -> bool:
    """Whether the values of a record are kept aside, beside what the user's row shows."""
    versions = record.versions
    return len(versions) > 1 or (len(versions) == 1 and versions[0].expiry_ms is not None)


def due_ms(record: Record, visible: int) -> int | None:
    """When to look at the key of a record, wall clock in milliseconds; None for never.

    Args:
        visible: place of the shown version, or `rows.MERGED`: which versions a merged value is made
            of is not kept, so the first expiry among them counts.
    """
    if visible != rows.MERGED:
        return expiry_of(record.versions[visible])
    expiries = [expiry for one in record.versions if (expiry := expiry_of(one)) is not None]
    return min(expiries, default=None)


def shown_until_ms(record: Record, visible: int) -> int | None:
    """When what a key shows expires, wall clock in milliseconds; None for never. What is merged
    goes with the last of its parts.

    Args:
        visible: see `due_ms`.
    """
    if visible != rows.MERGED:
        return expiry_of(record.versions[visible])
    expiries = [expiry_of(version) for version in record.versions if not version.is_delete]
    return None if None in expiries else max(filter(None, expiries), default=None)


def expiry_row_of(key: bytes, record: Record, visible: int, is_shown: bool) -> bytes | None:
    """The key of the expiry row that a user's key needs, as far as its rows tell; None for none.

    Args:
        visible: see `due_ms`.
        is_shown: whether the user's row is there.
    """
    due = due_ms(record, visible)
    if due is None:
        return None
    if is_shown:
        return expiry_key(due, key)
    if visible == rows.MERGED:  # gone with the last of its parts
        due = max(expiry for one in record.versions if (expiry := expiry_of(one)) is not None)
    return swept_key(due, key)


def moment_of(row_key: bytes) -> int:
    """The expiry that an expiry row speaks of."""
    moment: int = SEQ.unpack(row_key[len(EXPIRY) : len(EXPIRY) + SEQ.size])[0]
    return moment & ~NEVER_MS


def key_of(row_key: bytes) -> bytes:
    """The user's key that an expiry row speaks of."""
    return row_key[len(EXPIRY) + SEQ.size :]


class Due:
    """Bounds of the expiry rows that there are. Thread-safe.

    A row is noted before its batch is committed, by whoever holds the write lock at the commit, or
    again there: a sweep in between has looked without finding it.

    Attributes:
        first: no row of a value that is shown lies before this row key.
        swept_ms: no row of a swept value has a later expiry.
        was_any: whether there was any row since opening; a sweep forgets the others for a moment.
    """

    __slots__ = ("_lock", "first", "swept_ms", "was_any")

    def __init__(self) -> None:
        self.was_any = False
        self.first = NOTHING_DUE
        self.swept_ms = 0
        self._lock = threading.Lock()

    def note(self, expiry_ms: int, key: bytes, *, is_swept: bool) -> None:
        """There is, or is about to be, such a row."""
        if is_swept:
            if expiry_ms > self.swept_ms:
                with self._lock:
                    self.swept_ms = max(expiry_ms, self.swept_ms)
        else:
            self.note_row(expiry_key(expiry_ms, key))

    def note_row(self, row_key: bytes) -> None:
        """There is, or is about to be, this row of a value that is shown."""
        if EXPIRY < row_key < NOTHING_DUE:
            self.was_any = True
        if row_key < self.first:
            with self._lock:
                self.first = min(row_key, self.first)

    def restart(self) -> tuple[bytes, int]:
        """Forget the bounds, to be noted anew by a sweep; returns what they were."""
        with self._lock:
            before = self.first, self.swept_ms
            self.first, self.swept_ms = NOTHING_DUE, 0
        return before

    @property
    def is_any(self) -> bool:
        """Whether there may be any rows."""
        return self.first != NOTHING_DUE or self.swept_ms > 0

    @property
    def next_ms(self) -> int | None:
        """No shown value expires before; None where none does at all."""
        return None if self.first == NOTHING_DUE else moment_of(self.first)

    def is_now(self, now_ms: int) -> bool:
        """Whether there may be something to sweep, or to show again, at this wall clock."""
        return self.first < EXPIRY + SEQ.pack(now_ms + 1) or now_ms < self.swept_ms
