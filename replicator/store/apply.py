"""The receiver's half of a round: merging a peer's records into the store (R2, R3, R9).

An apply is *planned* without the write lock, so that local writers are not kept waiting by the
look-ups and merges, and *committed* under it. Keys written locally in between are seen in
`State.dirty`: then the plan is made again under the lock, where nothing can come between. Applies
themselves take turns (the apply mutex). One commit holds a chunk's records and the dots that
become known by it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial

from replicator.config import CHUNK_RECORDS_MAX
from replicator.core.chunk import Chunk
from replicator.core.compare import Key, Piece
from replicator.core.known import KnownSet, within_known
from replicator.core.merge import raise_context
from replicator.core.record import ABSENT, Record
from replicator.errors import CorruptionError, ProtocolError
from replicator.store.comparing import index_rows
from replicator.store.keyspace import INDEX
from replicator.store.knowledge import SWALLOWED_ROWS_MAX
from replicator.store.pace import Pace
from replicator.store.plan import Knows, Plan, forked
from replicator.store.received import checked
from replicator.store.resolving import Settler
from replicator.store.state import State
from replicator.store.tally import Conflict

WRITTEN_FACTOR = 2
"""Bytes that reach the memtable per byte of a chunk, roughly: log and index beside the data."""

FRESH_RECORDS_MIN = 16
"""Records of a peer for which it is worth a look whether this store holds nothing there."""

KeyAndRecord = tuple[bytes, Record | None]


@dataclass(frozen=True, slots=True)
class Applied:
    """What one apply did.

    Attributes:
        records: looked at.
        changed: of them.
        conflicts: that arose.
        skewed: origins whose timestamps were too far ahead to be adopted.
    """

    records: int
    changed: int
    conflicts: tuple[Conflict, ...]
    skewed: tuple[int, ...] = ()


class Applier:
    """Merges chunks into one store. Thread-safe: applies take turns.

    Attributes:
        applied: records changed so far.
    """

    def __init__(self, state: State, settler: Settler, pace: Pace) -> None:
        self._state = state
        self._settler = settler
        self._knows = Knows(state)
        self._pace = pace
        self.applied = 0

    def apply(self, chunk: Chunk, remote_known: KnownSet) -> Applied:
        """See `Store.apply`."""
        return self.finish(chunk, remote_known, None, {})

    def finish(
        self,
        chunk: Chunk,
        remote_known: KnownSet,
        claim: KnownSet | None,
        floor: Mapping[int, int],
        full: bool = False,
    ) -> Applied:
        """See `Store.finish`."""
        with self._state.apply_mutex:
            self._state.refuse_closed()
            self._pace.give_way(chunk.size_bytes * WRITTEN_FACTOR)
            self._meet(chunk, remote_known, claim or KnownSet(), floor)
            make_plan = partial(self._plan, chunk, remote_known)
            floor = {} if claim is None else floor
            return self._do(make_plan, set(chunk.keys), claim, floor, full)

    def apply_full(
        self,
        chunk: Chunk,
        remote_known: KnownSet,
        floor: Mapping[int, int],
        after_key: Key,
        upto: Key,
    ) -> Applied:
        """See `Store.apply_full`."""
        return self.apply_ranges([Piece(chunk, after_key, upto)], remote_known, floor, None)

    def apply_ranges(
        self,
        pieces: Iterable[Piece],
        remote_known: KnownSet,
        floor: Mapping[int, int],
        mends_ms: int | None,
    ) -> Applied:
        """See `Store.apply_ranges`. Works in steps of bounded size, each of which may stand alone:
        a cut full-state round begins again at the first key."""
        total = Applied(0, 0, ())
        within = within_known(floor, remote_known)
        pieces = list(pieces)
        with self._state.apply_mutex:
            self._state.refuse_closed()
            self._pace.give_way(sum(piece.chunk.size_bytes for piece in pieces) * WRITTEN_FACTOR)
            for piece in pieces:
                if mends_ms is not None:
                    self._meet(piece.chunk, KnownSet(), KnownSet(), {})
                else:
                    self._meet(piece.chunk, remote_known, KnownSet(), floor)
            others = []
            for piece in pieces:
                if mends_ms is not None or not self._is_fresh(piece):
                    others.append(piece)
                    continue
                make_plan = partial(self._plan_fresh, piece.chunk, remote_known, within)
                total = _sum(total, self._do(make_plan, set(piece.chunk.keys), None, {}))
            for some in self._steps(others):
                make_plan = partial(self._plan_full, some, remote_known, within, mends_ms)
                total = _sum(total, self._do(make_plan, {key for key, _ in some}, None, {}))
        return total

    def _is_fresh(self, piece: Piece) -> bool:
        """Whether this store holds nothing there: then absence has nothing to say, not even where
        a local write comes in between, for that is news to the peer."""
        if len(piece.chunk) < FRESH_RECORDS_MIN:
            return False
        _refuse_outside(piece.chunk.keys, piece.after, piece.upto)
        rows_there = index_rows(self._state.db, piece.after, piece.upto, include_value=False)
        with closing(rows_there) as index:
            return next(index, None) is None

    def _plan_fresh(self, chunk: Chunk, remote_known: KnownSet, floor: Mapping[int, int]) -> Plan:
        plan = Plan(self._state, self._settler, self._knows)
        plan.full_known = remote_known
        plan.add_chunk(chunk, remote_known, floor)
        return plan

    def _steps(self, pieces: Iterable[Piece]) -> Iterator[list[KeyAndRecord]]:
        """All keys of both sides in some ranges, each with what the peer has of it, in steps of
        bounded size."""
        step: list[KeyAndRecord] = []
        for piece in pieces:
            remote = checked(piece.chunk)
            for key in self._stretch(sorted(remote), piece.after, piece.upto):
                step.append((key, remote.get(key)))
                if len(step) >= CHUNK_RECORDS_MAX:
                    yield step
                    step = []
        if step:
            yield step

    def _meet(
        self, chunk: Chunk, remote_known: KnownSet, claim: KnownSet, floor: Mapping[int, int]
    ) -> None:
        """Give numbers to new origins; notice a fork of this very store (R13)."""
        state = self._state
        own = state.origin
        if max(remote_known.highest(own), claim.highest(own), floor.get(own, 0)) > state.shown:
            raise forked(state)
        state.origins.intern(*chunk.origins.values(), *claim.origins(), *floor)

    def _do(
        self,
        make_plan: Callable[[], Plan],
        keys: set[bytes],
        claim: KnownSet | None,
        floor: Mapping[int, int],
        full: bool = False,
    ) -> Applied:
        """Plan without the lock, commit with it."""
        state = self._state
        plan: Plan | None
        dirty: set[bytes] = set()
        with state.level.lock:  # a local write that saw none has been committed by now
            state.dirty = dirty
        try:
            try:
                plan = make_plan()
            except CorruptionError:
                plan = None  # or a local write came between two reads of one key
            with state.level.lock:
                if plan is None or not dirty.isdisjoint(keys):
                    state.refuse_closed()
                    plan = make_plan()
                self.applied += plan.changed  # before the node is told of the commit, and looks
                try:
                    stale = plan.commit(claim, floor, full)
                except BaseException:
                    self.applied -= plan.changed
                    raise
        finally:
            with state.level.lock:
                state.dirty = None
        self._remove_stale(stale)
        for conflict in plan.conflicts:
            state.tally.note(conflict.reason, conflict.versions[0].dot.origin)
        return Applied(plan.records, plan.changed, tuple(plan.conflicts), tuple(plan.skewed))

    def _remove_stale(self, stale: list[bytes]) -> None:
        """Remove known-set rows that a larger range swallowed, in bounded batches."""
        for place in range(0, len(stale), SWALLOWED_ROWS_MAX):
            batch = self._state.db.write_batch()
            for row_key in stale[place : place + SWALLOWED_ROWS_MAX]:
                batch.delete(row_key)
            with self._state.level.lock:
                self._state.level.commit(batch)

    def _plan(self, chunk: Chunk, remote_known: KnownSet) -> Plan:
        plan = Plan(self._state, self._settler, self._knows)
        plan.add_chunk(chunk, remote_known)
        return plan

    def _plan_full(
        self,
        some: list[KeyAndRecord],
        remote_known: KnownSet,
        floor: Mapping[int, int],
        mends_ms: int | None,
    ) -> Plan:
        plan = Plan(self._state, self._settler, self._knows)
        plan.full_known = None if mends_ms is not None else remote_known
        for key, record in some:
            if mends_ms is not None:
                plan.mend_record(key, record or ABSENT, mends_ms)
            else:
                raised = ABSENT if record is None else raise_context(record, floor)
                plan.add_record(key, raised, remote_known, may_vanish=True)
        plan.refuse_repeated_dots()
        return plan

    def _stretch(self, remote_keys: list[bytes], after_key: Key, upto: Key) -> Iterator[bytes]:
        """All keys of both sides in a range, in order."""
        _refuse_outside(remote_keys, after_key, upto)
        place = 0
        rows_there = index_rows(self._state.db, after_key, upto, include_value=False)
        with closing(rows_there) as index:
            for row_key in index:
                key = row_key[len(INDEX) :]
                while place < len(remote_keys) and remote_keys[place] < key:
                    yield remote_keys[place]
                    place += 1
                if place < len(remote_keys) and remote_keys[place] == key:
                    place += 1
                yield key
        yield from remote_keys[place:]


def _refuse_outside(keys: Iterable[bytes], after_key: Key, upto: Key) -> None:
    """Raise ProtocolError where a key lies outside of its range."""
    if any(
        (after_key is not None and key <= after_key) or (upto is not None and key > upto)
        for key in keys
    ):
        raise ProtocolError("a record of a full-state round lies outside of its stretch")


def _sum(one: Applied, other: Applied) -> Applied:
    return Applied(
        one.records + other.records,
        one.changed + other.changed,
        one.conflicts + other.conflicts,
        one.skewed + other.skewed,
    )
