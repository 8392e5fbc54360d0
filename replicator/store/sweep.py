"""Taking expired values out of the user's keys, and putting back what went too early (R17).

A pass goes through the expiry rows of values that are shown, up to the present moment, and through
those of swept values that expire only later: a clock that was ahead swept them too soon, and what
a key shows must depend on nothing but its versions and the wall clock, or nodes would differ for
good. Both are settled alike: the record is read again and installed as it is, which decides what
is shown now. A pass holds the write lock for a few keys at a time, with pauses for local writers.

Nearly all that is swept is of one version, whose value has been kept aside since long before the
last sync point. That value survives a power cut whatever becomes of the sweep's own batch, so it is
not written again, nor read: the other rows of the key are (R11).
"""

import logging
import time
from collections.abc import Callable, Mapping
from itertools import islice
from zlib import crc32

from plyvel._plyvel import WriteBatch

from replicator.config import (
    SWEEP_BATCH_BYTES,
    SWEEP_BATCH_KEYS,
    SWEEP_KEY_BYTES,
    SWEEP_PAUSE_SECONDS,
)
from replicator.core import rows
from replicator.core.record import ABSENT, Record, Version
from replicator.core.resolve import Resolution
from replicator.errors import CorruptionError
from replicator.store.expiry import (
    NOTHING_DUE,
    expiry_of,
    has_expired,
    key_of,
    moment_of,
)
from replicator.store.keyspace import (
    EXPIRY,
    INDEX,
    LOG,
    NEVER_MS,
    NUMBER,
    SEQ,
    VALUE,
    after,
    expiry_key,
    swept_key,
)
from replicator.store.pace import Pace
from replicator.store.resolving import Settler
from replicator.store.state import State

logger = logging.getLogger("replicator")

_ALONE = bytes([rows.GENERAL, 0, 0, 0, 1])
_MERGED = bytes([rows.GENERAL, 0xFF, 0xFF])
_PLACE, _CHECKSUM, _MOMENT = slice(10, 22), slice(38, 42), slice(42, 50)
_FLAGS, _NUMBER, _SEQ = 9, slice(10, 14), slice(14, 22)
"""How rows begin (`replicator.core.rows`), and what lies where in one of a single version."""

_ROW_MOMENT, _ROW_KEY = slice(len(EXPIRY), len(EXPIRY) + SEQ.size), len(EXPIRY) + SEQ.size
_SWEPT_BIT = NEVER_MS >> 56
"""What lies where in the key of an expiry row (keyspace module)."""

KEY_BYTES = 400
"""What settling a key puts into the memtable beside its values, roughly."""

Merged = dict[bytes, tuple[bytes, Resolution]]
"""Keys whose value the resolver has merged: of which index row, and what came of it."""

Asked = dict[bytes, tuple[bytes, bytes, Record]]
"""Keys whose value the resolver has to merge again: expiry row, index row, record with values."""


class Sweeper:
    """Sweeps one store. Its batches take turns with local writes; passes, with one another, are the
    caller's to arrange.

    Attributes:
        swept: how many values were taken out of the user's keys since opening.
        on_expired: called with the keys of which a value was taken out, once that is committed, in
            the thread that sweeps and with the lock held: it must be quick.
    """

    def __init__(self, state: State, settler: Settler) -> None:
        self._state = state
        self._settler = settler
        self._is_foreign = False
        self._pace = Pace(state.level)
        self._written_bytes = 0
        self._gone: list[bytes] = []
        self.swept = 0
        self.on_expired: Callable[[list[bytes]], object] | None = None

    def at_opening(self, *, is_foreign: bool) -> None:
        """See how far the rows of swept values reach, and sweep all that is due.

        Args:
            is_foreign: whether the resolver that the shown values stand for is not at hand: what it
                has merged is left as it is, until all of its parts have expired.
        """
        self._is_foreign = is_foreign
        with self._state.db.iterator(
            start=NOTHING_DUE, stop=after(EXPIRY), include_value=False, reverse=True
        ) as found:
            last = next(found, None)
        self._state.due.note_row(EXPIRY)
        if last is not None:
            self._state.due.note(moment_of(last), b"", is_swept=True)
        self.sweep()

    def sweep(self, batches_max: int | None = None) -> None:
        """One pass over what is due.

        Args:
            batches_max: commits after which it stops, with a pause behind each; the next pass goes
                on there. None goes on to the end without pauses.

        Raises:
            CommitError, StoreFailedError: a commit failed; the next pass goes on there.
            ClosedError: the store is closed.
        """
        state, left = self._state, batches_max
        state.refuse_closed()
        first, swept_ms = state.due.restart()
        try:
            while some := self._rows(
                first, EXPIRY + SEQ.pack(state.wall_ms() + 1), SWEEP_BATCH_KEYS
            ):
                first = self._settle_all(some)
                if left is not None and (left := self._paused(left)) == 0:
                    return
            first = next(iter(self._rows(first, NOTHING_DUE, 1)), NOTHING_DUE)
            now_ms = (
                state.wall_ms()
            )  # once: it may be set meanwhile, and then a next pass has to look
            early = swept_key(now_ms + 1, b"")
            while moment_of(early) <= swept_ms and (
                some := self._rows(early, after(EXPIRY), SWEEP_BATCH_KEYS)
            ):
                early = self._settle_all(some)
                if left is not None and (left := self._paused(left)) == 0:
                    return
            swept_ms = min(swept_ms, now_ms)
        finally:
            state.due.note_row(first)
            state.due.note(swept_ms, b"", is_swept=True)

    def _paused(self, left: int) -> int:
        time.sleep(SWEEP_PAUSE_SECONDS)
        self._pace.give_way(self._written_bytes)
        self._written_bytes = 0
        return left - 1

    def _rows(self, start: bytes, stop: bytes, most: int) -> list[bytes]:
        """Some expiry rows, in order."""
        state = self._state
        with state.level.lock:
            state.refuse_closed()
            with state.db.iterator(start=start, stop=stop, include_value=False) as found:
                return list(islice(found, most))

    def _settle_all(self, some: list[bytes]) -> bytes:
        """Settle the keys of some expiry rows, in one commit; in a second one those for which the
        resolver has to be asked, which is done in between. Returns where to go on."""
        asked: Asked = {}
        with self._state.level.lock:
            done = self._settle_locked(some, {}, asked)
        if asked:
            merged = {
                key: (row, self._settler.resolve(record.versions))
                for key, (_, row, record) in asked.items()
            }
            with self._state.level.lock:
                self._settle_locked([row_key for row_key, _, _ in asked.values()], merged, None)
        return some[done - 1] + b"\0"

    def _settle_locked(self, some: list[bytes], merged: Merged, asked: Asked | None) -> int:
        """Put into one commit what some expiry rows ask for. The caller holds the lock.

        Args:
            asked: gets the keys for which the resolver has to be asked; where it is None, the next
                pass looks at those that `merged` does not speak of.

        Returns:
            How many of them are done: from the first on, until the commit is large enough.
        """
        state = self._state
        state.refuse_closed()
        batch = state.db.write_batch()
        self._gone.clear()
        on_disk = self._on_disk()
        size = done = 0
        while done < len(some) and (size < SWEEP_BATCH_BYTES or asked is None):
            taken = self._take_out(batch, some, done, on_disk)
            done += taken
            size += taken * KEY_BYTES
            if done < len(some):
                size += SWEEP_KEY_BYTES + self._settle(batch, some[done], merged, asked)
                done += 1
        gone, self._gone = self._gone, []
        state.commit_quietly(batch)
        if gone and self.on_expired is not None:
            self.on_expired(gone)
        self._written_bytes += size
        return done

    def _take_out(
        self, batch: WriteBatch, some: list[bytes], start: int, on_disk: Mapping[bytes, bytes]
    ) -> int:
        """Take values out of the user's rows, by hand: of records of one put that has expired and
        whose value aside is on the disk. Stops where a record is of another kind.

        Args:
            start: the place in `some` to begin at.
            on_disk: see `_on_disk`.

        Returns:
            How many were taken out.
        """
        state = self._state
        get, put, delete = state.db.get, batch.put, batch.delete
        stop = EXPIRY + SEQ.pack(state.wall_ms() + 1)
        place = start
        while place < len(some):
            row_key = some[place]
            key = row_key[_ROW_KEY:]
            if row_key >= stop or (row := get(INDEX + key)) is None:
                break
            if (
                row[:5] != _ALONE
                or row[_FLAGS] != rows.EXPIRY
                or row[_MOMENT] != row_key[_ROW_MOMENT]
                or row[_SEQ] > on_disk.get(row[_NUMBER], b"")
            ):
                break
            first = bytes([row_key[len(EXPIRY)] | _SWEPT_BIT])
            put(INDEX + key, row)
            put(EXPIRY + first + row_key[len(EXPIRY) + 1 :], b"")
            delete(row_key)
            delete(key)
            place += 1
        if place > start:
            state.due.note(moment_of(some[place - 1]), b"", is_swept=True)
            self.swept += place - start
            if self.on_expired is not None:
                self._gone += [row_key[_ROW_KEY:] for row_key in some[start:place]]
        return place - start

    def _on_disk(self) -> dict[bytes, bytes]:
        """Up to which seq the values aside survive a power cut as they are, by number of the
        origin, both as in rows. The caller holds the lock."""
        state = self._state
        if state.mends != state.mends_durable:
            return {}
        durable, number = state.durable, state.origins.number
        return {
            NUMBER.pack(number(origin)): SEQ.pack(durable.contiguous(origin))
            for origin in durable.origins()
        }

    def _settle(
        self, batch: WriteBatch, row_key: bytes, merged: Merged, asked: Asked | None
    ) -> int:
        """Put into `batch` what the key of an expiry row asks for by now; see `_settle_locked`.

        Returns:
            How many bytes of values that is.
        """
        state, key = self._state, key_of(row_key)
        row = state.db.get(INDEX + key)
        if row is not None and row[:5] == _ALONE:
            size = self._settle_alone(batch, row_key, key, row)
            if size is not None:
                return size
        record, visible = ABSENT, 0
        if row is not None:
            record, visible = rows.unpack(row, key, state.origins.by_number)
        if moment_of(row_key) not in map(expiry_of, record.versions):
            batch.delete(row_key)
            return 0
        try:
            record = state.load(record, state.db.get)
        except CorruptionError as error:
            self._hide(batch, row_key, key, error)
            return 0
        if visible != rows.MERGED:
            shown = Resolution(record.versions[visible], merged=False, conflict=False)
        elif self._is_over(record):
            shown = Resolution(_last_to_go(record), merged=True, conflict=False)
        elif self._is_foreign:
            return 0
        elif row is not None and key in merged and merged[key][0] == row:
            shown = merged[key][1]
        elif row is not None and asked is not None:
            asked[key] = row_key, row, record
            return 0
        else:  # written since: the next pass looks
            state.due.note(moment_of(row_key), key, is_swept=row_key >= NOTHING_DUE)
            return 0
        state.install(batch, key, record, record, shown)
        if row_key < NOTHING_DUE and has_expired(shown.visible, state.wall_ms()):
            self._note(key)
        return sum(len(version.value or b"") for version in record.versions)

    def _settle_alone(
        self, batch: WriteBatch, row_key: bytes, key: bytes, row: bytes
    ) -> int | None:
        """`_settle` by hand for most of the others: a record of one put that expires.

        Returns:
            As `_settle`; None where the record is not as it should be.
        """
        state = self._state
        place, checksum, moment = row[_PLACE], row[_CHECKSUM], row[_MOMENT]
        value = state.db.get(VALUE + place)
        if (
            row[9] != rows.EXPIRY
            or moment != SEQ.pack(moment_of(row_key))
            or value is None
            or crc32(value) != int.from_bytes(checksum, "big")
        ):
            return None
        expiry_ms = moment_of(row_key)
        is_over = expiry_ms <= state.wall_ms()
        batch.put(INDEX + key, row)
        batch.put(LOG + place, key)
        batch.put(VALUE + place, value)
        batch.delete(row_key)
        if is_over:
            batch.put(swept_key(expiry_ms, key), b"")
            batch.delete(key)
        else:
            batch.put(expiry_key(expiry_ms, key), b"")
            batch.put(key, value)
        state.due.note(expiry_ms, key, is_swept=is_over)
        if row_key < NOTHING_DUE and is_over:
            self._note(key)
        return len(value)

    def _note(self, key: bytes) -> None:
        """A value is taken out with the batch."""
        self.swept += 1
        if self.on_expired is not None:
            self._gone.append(key)

    def _is_over(self, record: Record) -> bool:
        """Whether all puts of a record have expired: then it shows nothing, whoever settles it."""
        now_ms = self._state.wall_ms()
        return all(one.is_delete or has_expired(one, now_ms) for one in record.versions)

    def _hide(self, batch: WriteBatch, row_key: bytes, key: bytes, error: CorruptionError) -> None:
        """Take an expired value out although the values aside are damaged: those stay as they are,
        for whoever looks into it."""
        if row_key < NOTHING_DUE:
            logger.warning("an expired value was taken out: %s", error)
            batch.delete(row_key)
            batch.put(swept_key(moment_of(row_key), key), b"")
            batch.delete(key)
            self._note(key)


def _last_to_go(record: Record) -> Version:
    """Of the puts of a record, all of which expire, the one that does so last."""
    puts = [version for version in record.versions if not version.is_delete]
    return max(puts, key=lambda version: version.expiry_ms or 0)
