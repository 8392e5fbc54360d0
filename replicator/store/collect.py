"""Collecting: dropping what is deleted everywhere, shrinking contexts that nobody needs (R8).

What may go is said by a watermark (`replicator.core.members`), and every row is judged by itself:

- a record all of whose versions are deletes, or puts that expired before the wall clock that every
  member has told (R17), goes whole when its context lies under the watermark;
- the context of any other record under the watermark shrinks to its live dots.

Either raises the purge floor by every context entry that goes, in the same WriteBatch: so nobody
who missed the delete is served by the log (R9).

A pass reads the index in key order, in steps of bounded size: each reads some rows without the
write lock and looks at those that may go once more under it, in one commit. The place where the
next step goes on is kept in memory alone. Applies wait for a step (the apply mutex), local writers
only for its commit. A power cut may take any of these commits and leave others: each drops or
rewrites whole keys, and what it drops lies under this node's own durable known set (R11).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice

from plyvel._plyvel import WriteBatch

from replicator.config import COLLECT_RECORDS_MAX, COLLECT_ROWS_MAX, COLLECT_SHRUNK_MAX
from replicator.core import rows
from replicator.core.members import Watermark
from replicator.core.record import Record, merge_contexts
from replicator.store.expiry import expiry_of, keeps_aside
from replicator.store.keyspace import (
    INDEX,
    SEQ,
    after,
    expiry_key,
    floor_key,
    log_key,
    swept_key,
    value_key,
)
from replicator.store.pace import Pace
from replicator.store.state import State

_SINGLE, _DELETE = rows.SINGLE, rows.DELETE
_unpack_single = rows.SINGLE_ROW.unpack

RECORD_BYTES = 150
"""What dropping a record puts into the memtable, beside three times its key."""


@dataclass(frozen=True, slots=True)
class Step:
    """What one step of a pass did.

    Attributes:
        last: the last key that was read; None where that was the end of the pass.
        rows: rows read.
        dropped: records dropped.
        shrunk: contexts shrunk.
        tombstones: records of deletes, or of what has expired, that were read and stay as yet.
        wide: other records whose contexts may shrink later.
        expires_ms: wall clock at which the first of the records that were read may go because it
            has expired; None where none does.
        is_void: whether the watermark could not be used, which ends the pass.
    """

    last: bytes | None
    rows: int = 0
    dropped: int = 0
    shrunk: int = 0
    tombstones: int = 0
    wide: int = 0
    expires_ms: int | None = None
    is_void: bool = False


@dataclass(slots=True)
class _Found:
    """What a step has read: index rows of one delete, keys of other records that are not of the
    short kind; the rest as in `Step`."""

    singles: list[tuple[bytes, bytes]] = field(default_factory=list)
    others: list[bytes] = field(default_factory=list)
    last: bytes | None = None
    rows: int = 0
    tombstones: int = 0


class Collector:
    """Collects in one store. Thread-safe: steps take turns, with applies too.

    Attributes:
        dropped: records dropped since opening.
        shrunk: contexts shrunk since opening.
        passes: complete passes since opening.
        tombstones: how many the last complete pass has left.
    """

    def __init__(self, state: State, pace: Pace) -> None:
        self._state = state
        self._pace = pace
        self._left = 0
        self.dropped = 0
        self.shrunk = 0
        self.passes = 0
        self.tombstones = 0

    def step(self, watermark: Watermark, origin: int, after_key: bytes | None) -> Step:
        """Look at the next rows behind a key, and collect what may go.

        Args:
            watermark: taken earlier.
            origin: who this store was when it was taken: after a fork it is void (R13).
            after_key: None begins at the first key.

        Returns:
            What was done. Nothing, and that the step is void, where the watermark may not be used:
            this store does not know every dot in the acknowledgements it was taken from, or is
            another one.

        Raises:
            ClosedError: the store is closed.
            CommitError, StoreFailedError: see `Level.commit`; nothing of this step was done.
        """
        state = self._state
        with state.apply_mutex:
            state.refuse_closed()
            with state.level.lock:
                if state.origin != origin or not state.known_now().issuperset(watermark.needs):
                    return Step(None, is_void=True)
                if after_key is None:  # under the lock: a write marks it first, then commits
                    state.is_littered = False
            found = self._read(self._by_number(watermark), after_key)
            step = Step(found.last, found.rows, tombstones=found.tombstones)
            if found.singles or found.others:
                self._pace.give_way(RECORD_BYTES * (len(found.singles) + len(found.others)))
                with state.level.lock:
                    state.refuse_closed()
                    step = self._collect(found, watermark)
            self._count(step, after_key)
            return step

    def _count(self, step: Step, after_key: bytes | None) -> None:
        self.dropped += step.dropped
        self.shrunk += step.shrunk
        self._left = step.tombstones + (0 if after_key is None else self._left)
        if step.last is None:
            self.passes += 1
            self.tombstones = self._left

    def _by_number(self, watermark: Watermark) -> dict[int, int]:
        """What the watermark covers, by the numbers in the rows."""
        numbers = self._state.origins.numbers
        return {
            numbers[origin]: seq for origin, seq in watermark.covered.items() if origin in numbers
        }

    def _read(self, covered: Mapping[int, int], after_key: bytes | None) -> _Found:
        """The next rows, until enough of them may go. Nearly all are short: they are judged by
        hand."""
        found = _Found()
        skip = len(INDEX)
        start = INDEX if after_key is None else INDEX + after_key + b"\0"
        singles, others = found.singles, found.others
        row_key = b""
        with self._state.db.iterator(start=start, stop=after(INDEX)) as index:
            for row_key, row in islice(index, COLLECT_ROWS_MAX):
                found.rows += 1
                if row[0] != _SINGLE:
                    others.append(row_key[skip:])
                    if len(others) >= COLLECT_SHRUNK_MAX:
                        break
                elif row[1] & _DELETE:
                    _, _, number, seq, _, _, _ = _unpack_single(row)
                    if seq > covered.get(number, 0):
                        found.tombstones += 1
                        continue
                    singles.append((row_key, row))
                    if len(singles) >= COLLECT_RECORDS_MAX:
                        break
            else:
                if found.rows < COLLECT_ROWS_MAX:
                    return found
        found.last = row_key[skip:]
        return found

    def _collect(self, found: _Found, watermark: Watermark) -> Step:
        """Judge again what was found, and commit. The caller holds the lock."""
        state, covered = self._state, watermark.covered
        changes = _Changes(state)
        changes.drop_singles(found.singles)
        tombstones, wide = found.tombstones, 0
        expiries: list[int] = []
        for key in found.others:
            row = state.db.get(INDEX + key)
            if row is None or row[0] == _SINGLE:
                continue  # a local write came before; another pass sees what it left
            record, visible = rows.unpack(row, key, state.origins.by_number)
            is_over = _is_over(record, watermark.said_ms)
            if any(seq > covered.get(origin, 0) for origin, seq in record.context.items()):
                tombstones += is_over
                wide += not is_over
            elif is_over:
                changes.drop(key, record)
            else:
                changes.shrink(key, record, visible)
            if not is_over:
                expiries += _goes_at(record)
        changes.commit()
        return Step(
            found.last,
            found.rows,
            changes.dropped,
            changes.shrunk,
            tombstones,
            wide,
            min(expiries, default=None),
        )


class _Changes:
    """One commit of a step in the making. The caller holds the lock.

    Attributes:
        dropped, shrunk: how many records are in it.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self._batch: WriteBatch = state.db.write_batch()
        self._floor: dict[int, int] = {}
        self._own_went = False
        self.dropped = 0
        self.shrunk = 0

    def drop_singles(self, found: Iterable[tuple[bytes, bytes]]) -> None:
        """Drop records of one delete, given by index row, where they are still what they were."""
        get, delete, floor = self._state.db.get, self._batch.delete, self._floor
        by_number: dict[int, int] = {}
        skip = len(INDEX)
        for row_key, row in found:
            if get(row_key) != row:
                continue
            _, _, number, seq, _, _, _ = _unpack_single(row)
            delete(row_key)
            delete(row_key[skip:])
            delete(log_key(number, seq))
            if seq > by_number.get(number, 0):
                by_number[number] = seq
            self.dropped += 1
        origins = self._state.origins.by_number
        for number, seq in by_number.items():
            floor[origins[number]] = max(seq, floor.get(origins[number], 0))
        self._own_went |= self._state.number in by_number

    def drop(self, key: bytes, record: Record) -> None:
        """Drop a record whole, with its context."""
        self._own_went |= self._state.remove(self._batch, key, record)
        self._floor = merge_contexts(self._floor, record.context)
        self.dropped += 1

    def shrink(self, key: bytes, record: Record, visible: int) -> None:
        """Leave of a record's context what its live versions need, if that is less.

        The batch is whole for the key all the same: every row of it is written again (R11).
        """
        live = {version.dot.origin: version.dot.seq for version in record.versions}
        gone = {origin: seq for origin, seq in record.context.items() if live.get(origin) != seq}
        if not gone:
            return
        state, batch = self._state, self._batch
        number = state.origins.number
        for version in record.versions:
            place = number(version.dot.origin), version.dot.seq
            batch.put(log_key(*place), key)
            aside = state.db.get(value_key(*place)) if keeps_aside(record) else None
            if aside is not None:
                batch.put(value_key(*place), aside)
        for expiry_ms in map(expiry_of, record.versions):
            if expiry_ms is not None:
                for row_key in (expiry_key(expiry_ms, key), swept_key(expiry_ms, key)):
                    if state.db.get(row_key) is not None:
                        batch.put(row_key, b"")
        batch.put(INDEX + key, rows.pack(Record(record.versions, live), number, visible))
        shown = state.db.get(key)
        if shown is None:
            batch.delete(key)
        else:
            batch.put(key, shown)
        self._floor = merge_contexts(self._floor, gone)
        self.shrunk += 1

    def commit(self) -> None:
        """Commit, with the purge floor that goes with it (R8); nothing where nothing goes."""
        if not self.dropped and not self.shrunk:
            return
        state, batch = self._state, self._batch
        floor = {o: seq for o, seq in self._floor.items() if seq > state.floor.get(o, 0)}
        for origin, seq in floor.items():
            batch.put(floor_key(state.origins.number(origin)), SEQ.pack(seq))
        if self._own_went:
            state.own_known_row(batch)
        state.commit_quietly(batch)
        state.floor.update(floor)


def _goes_at(record: Record) -> list[int]:
    """The wall clock after which nothing of a record is there for anybody any more; none where some
    of it stays for good."""
    puts = [version for version in record.versions if not version.is_delete]
    expiries = [version.expiry_ms for version in puts if version.expiry_ms is not None]
    return [max(expiries, default=-1)] if len(expiries) == len(puts) else []


def _is_over(record: Record, said_ms: int) -> bool:
    """Whether nothing of a record is there for anybody any more: deletes, and what has expired."""
    return any(expiry_ms < said_ms for expiry_ms in _goes_at(record))
