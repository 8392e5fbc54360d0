"""The receiver's half of a round: merging a peer's records into the store (R2, R3, R9).

An apply is *planned* without the write lock, so that local writers are not kept waiting by the
look-ups and merges, and *committed* under it. Keys written locally in between are seen in
`State.dirty`: then the plan is made again under the lock, where nothing can come between. Applies
themselves take turns (the apply mutex). One commit holds a chunk's records and the dots that
become known by it.
"""

import time
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from zlib import crc32

from replicator.config import CHUNK_RECORDS_MAX, KEY_BYTES_MAX, VALUE_BYTES_MAX
from replicator.core import rows
from replicator.core.chunk import Chunk, fill
from replicator.core.clock import TIMESTAMP_MAX
from replicator.core.dots import SEQ_MAX, Dot
from replicator.core.known import KnownSet
from replicator.core.merge import merge, raise_context
from replicator.core.ranges import Bounds
from replicator.core.record import ABSENT, Record, Version, merge_contexts
from replicator.errors import (
    CorruptionError,
    ForkedContentsError,
    ForkError,
    FormatError,
    ProtocolError,
)
from replicator.store.keyspace import INDEX, RESERVED, SEQ, after, floor_key, log_key
from replicator.store.knowledge import SWALLOWED_ROWS_MAX, OriginChange
from replicator.store.resolving import Settler
from replicator.store.state import State

MEMTABLE_SHARE_BYTES = 1 << 20
"""What is applied before the next look at whether LevelDB keeps up; its memtable holds 4 MiB."""

LEVEL0_TABLES_MAX = 8
"""LevelDB slows every writer down from 8 tables in level 0 on, and stops them at 12."""

WRITTEN_FACTOR = 2
"""Bytes that reach the memtable per byte of a chunk, roughly: log and index beside the data."""

PAUSE_SECONDS = 0.002
PAUSES_MAX = 500

_SINGLE = rows.SINGLE
_SINGLE_SIZE = rows.SINGLE_ROW.size
_unpack_single = rows.SINGLE_ROW.unpack
_pack_single = rows.SINGLE_ROW.pack


@dataclass(frozen=True, slots=True)
class Conflict:
    """A key that came into conflict.

    Attributes:
        key: the user's key.
        versions: its live versions, the winner first.
        fault: what the resolver did wrong, where the default order decided instead.
    """

    key: bytes
    versions: tuple[Version, ...]
    fault: Exception | None


@dataclass(frozen=True, slots=True)
class Applied:
    """What one apply did: records looked at, records changed, conflicts that arose."""

    records: int
    changed: int
    conflicts: tuple[Conflict, ...]


@dataclass(slots=True)
class _Origin:
    """One origin of a chunk: its number here, what is known of it, what is learnt."""

    origin: int
    number: int
    bounds: Bounds
    seqs: list[int] = field(default_factory=list)


class _Knows:
    """This store's known set as R2 asks for it, without copying it."""

    def __init__(self, state: State) -> None:
        self._state = state

    def __contains__(self, dot: object) -> bool:
        state = self._state
        assert isinstance(dot, tuple)
        return dot[1] <= state.seq if dot[0] == state.origin else dot in state.learnt


class Applier:
    """Merges chunks into one store. Thread-safe: applies take turns.

    Attributes:
        applied: records changed so far.
        conflicts: conflicts that arose so far.
    """

    def __init__(self, state: State, settler: Settler) -> None:
        self._state = state
        self._settler = settler
        self._knows = _Knows(state)
        self._level = state.level
        self._share_bytes = 0
        self.applied = 0
        self.conflicts = 0

    def apply(self, chunk: Chunk, remote_known: KnownSet) -> Applied:
        """See `Store.apply`."""
        return self.finish(chunk, remote_known, None, {})

    def finish(
        self,
        chunk: Chunk,
        remote_known: KnownSet,
        claim: KnownSet | None,
        floor: Mapping[int, int],
    ) -> Applied:
        """See `Store.finish`."""
        with self._state.apply_mutex:
            self._state.refuse_closed()
            self._give_way(chunk.size_bytes * WRITTEN_FACTOR)
            self._meet(chunk, remote_known, claim or KnownSet(), floor)
            make_plan = partial(self._plan, chunk, remote_known)
            return self._do(make_plan, set(chunk.keys), claim, {} if claim is None else floor)

    def apply_full(
        self,
        chunk: Chunk,
        remote_known: KnownSet,
        floor: Mapping[int, int],
        after_key: bytes | None,
        upto: bytes | None,
    ) -> Applied:
        """See `Store.apply_full`. Works in steps of bounded size, each of which may stand alone:
        a cut full-state round begins again at the first key."""
        with self._state.apply_mutex:
            self._state.refuse_closed()
            self._give_way(chunk.size_bytes * WRITTEN_FACTOR)
            self._meet(chunk, remote_known, KnownSet(), floor)
            remote = _checked(chunk)
            total = Applied(0, 0, ())
            for keys in self._stretch(sorted(remote), after_key, upto):
                make_plan = partial(self._plan_full, keys, remote, remote_known, floor)
                step = self._do(make_plan, set(keys), None, {})
                total = Applied(
                    total.records + step.records,
                    total.changed + step.changed,
                    total.conflicts + step.conflicts,
                )
            return total

    def _meet(
        self, chunk: Chunk, remote_known: KnownSet, claim: KnownSet, floor: Mapping[int, int]
    ) -> None:
        """Give numbers to new origins; notice a fork of this very store (R13)."""
        state = self._state
        own = state.origin
        if max(remote_known.highest(own), claim.highest(own), floor.get(own, 0)) > state.shown:
            raise _forked(state)
        state.origins.intern(*chunk.origins.values(), *claim.origins(), *floor)

    def _do(
        self,
        make_plan: Callable[[], "_Plan"],
        keys: set[bytes],
        claim: KnownSet | None,
        floor: Mapping[int, int],
    ) -> Applied:
        """Plan without the lock, commit with it."""
        state = self._state
        plan: _Plan | None
        dirty: set[bytes] = set()
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
                stale = plan.commit(claim, floor)
        finally:
            with state.level.lock:
                state.dirty = None
        self._remove_stale(stale)
        self.applied += plan.changed
        self.conflicts += len(plan.conflicts)
        return Applied(plan.records, plan.changed, tuple(plan.conflicts))

    def _give_way(self, size_bytes: int) -> None:
        """Leave room in LevelDB's memtable for local writers.

        LevelDB stops every writer while one memtable is full and the one before is still being
        flushed, or while level 0 has too many tables; applying at full rate brings both about.
        So applying pauses where it has used its share and LevelDB lags behind.
        """
        self._share_bytes += size_bytes
        if self._share_bytes < MEMTABLE_SHARE_BYTES:
            return
        for _ in range(PAUSES_MAX):
            tables = self._level.db.get_property(b"leveldb.num-files-at-level0")
            flushing = len(self._level.log_names()) > 1
            if not flushing and int(tables or 0) < LEVEL0_TABLES_MAX:
                break
            time.sleep(PAUSE_SECONDS)
        self._share_bytes = 0

    def _remove_stale(self, stale: list[bytes]) -> None:
        """Remove known-set rows that a larger range swallowed, in bounded batches."""
        for place in range(0, len(stale), SWALLOWED_ROWS_MAX):
            batch = self._state.db.write_batch()
            for row_key in stale[place : place + SWALLOWED_ROWS_MAX]:
                batch.delete(row_key)
            with self._state.level.lock:
                self._state.level.commit(batch)

    def _plan(self, chunk: Chunk, remote_known: KnownSet) -> "_Plan":
        plan = _Plan(self._state, self._settler, self._knows)
        plan.add_chunk(chunk, remote_known)
        return plan

    def _plan_full(
        self,
        keys: list[bytes],
        remote: Mapping[bytes, Record],
        remote_known: KnownSet,
        floor: Mapping[int, int],
    ) -> "_Plan":
        plan = _Plan(self._state, self._settler, self._knows)
        for key in keys:
            record = remote.get(key)
            if record is not None:
                record = raise_context(record, floor)
            plan.add_record(key, record or ABSENT, remote_known, may_vanish=True)
        plan.refuse_repeated_dots()
        return plan

    def _stretch(
        self, remote_keys: list[bytes], after_key: bytes | None, upto: bytes | None
    ) -> Iterator[list[bytes]]:
        """All keys of both sides in a stretch, in order, in steps of bounded size."""
        if any(
            (after_key is not None and key <= after_key) or (upto is not None and key > upto)
            for key in remote_keys
        ):
            raise ProtocolError("a record of a full-state round lies outside of its stretch")
        start = INDEX if after_key is None else INDEX + after_key + b"\0"
        stop = after(INDEX) if upto is None else INDEX + upto + b"\0"
        step: list[bytes] = []
        place = 0
        with self._state.db.iterator(start=start, stop=stop, include_value=False) as index:
            for row_key in index:
                key = row_key[len(INDEX) :]
                while place < len(remote_keys) and remote_keys[place] <= key:
                    step.append(remote_keys[place])
                    place += 1
                if not step or step[-1] != key:
                    step.append(key)
                if len(step) >= CHUNK_RECORDS_MAX:
                    yield step
                    step = []
        step += remote_keys[place:]
        if step:
            yield step


class _Plan:
    """One commit in the making."""

    def __init__(self, state: State, settler: Settler, knows: _Knows) -> None:
        self._state = state
        self._settler = settler
        self._knows = knows
        self._batch = state.db.write_batch()
        self._learnt: dict[int, _Origin] = {}
        self._floor: dict[int, int] = {}
        self._stamps: list[int] = []
        self._fresh: list[bytes] = []
        self._own_went = False
        self.records = 0
        self.changed = 0
        self.conflicts: list[Conflict] = []

    def add_chunk(self, chunk: Chunk, remote_known: KnownSet) -> None:
        """Merge every record of a chunk.

        Raises:
            ProtocolError: the chunk is malformed.
            ForkError, ForkedContentsError: see `replicator.errors`.
        """
        state = self._state
        table = {number: self._origin(origin) for number, origin in chunk.origins.items()}
        if len(set(chunk.keys)) != len(chunk.keys) or len(chunk.rows) != len(chunk.keys):
            raise ProtocolError("a chunk names a key twice, or has not one row per key")
        values = iter(chunk.values)
        get, absent = state.db.get, state.absent
        batch, stamps = self._batch, self._stamps
        for key, row in zip(chunk.keys, chunk.rows, strict=True):
            if key >= RESERVED or len(key) > KEY_BYTES_MAX:
                raise _bad_key(key)
            if len(row) != _SINGLE_SIZE or row[0] != _SINGLE:
                self._add_row(key, row, chunk.origins, values, remote_known)
                continue
            _, flags, number, seq, clock, timestamp, checksum = _unpack_single(row)
            try:
                origin = table[number]
                value = None if flags else next(values)
            except (KeyError, StopIteration):
                raise ProtocolError("a chunk lacks an origin or a value of its rows") from None
            if (
                flags > 1
                or not 0 < seq <= SEQ_MAX
                or timestamp > TIMESTAMP_MAX
                or clock > rows.CLOCK_MAX
                or (0 if value is None else crc32(value)) != checksum
                or (value is not None and len(value) > VALUE_BYTES_MAX)
            ):
                raise ProtocolError(f"the record of key {key[:40]!r} is malformed or damaged")
            unknown = bisect_right(origin.bounds, seq) & 1 == 0
            local = get(INDEX + key) if absent.may_contain(key) else None
            if local is None:
                if not unknown:
                    self._refuse_elsewhere(key, Dot(origin.origin, seq))
                    origin.seqs.append(seq)
                    continue
                self._fresh.append(key)
            elif local == row and origin.number == number:
                continue
            else:
                place = _overwritten(local, origin, seq) if unknown else None
                if place is None:
                    single = iter(() if value is None else (value,))
                    self._add_row(key, row, chunk.origins, single, remote_known)
                    continue
                batch.delete(log_key(origin.number, place))
            if origin.origin == state.origin:
                raise _forked(state)
            if value is None:
                batch.delete(key)
            else:
                batch.put(key, value)
            batch.put(log_key(origin.number, seq), key)
            batch.put(
                INDEX + key,
                _pack_single(_SINGLE, flags, origin.number, seq, clock, timestamp, checksum),
            )
            origin.seqs.append(seq)
            stamps.append(timestamp)
            self.changed += 1
        if next(values, None) is not None:
            raise ProtocolError("a chunk has more values than its rows have puts")
        self.records += len(chunk.keys)
        self.refuse_repeated_dots()

    def refuse_repeated_dots(self) -> None:
        """Raise ProtocolError where the records added share a dot: it names one write."""
        if any(len(set(origin.seqs)) != len(origin.seqs) for origin in self._learnt.values()):
            raise ProtocolError("a chunk names a dot twice")

    def _add_row(
        self,
        key: bytes,
        row: bytes,
        origins: Mapping[int, int],
        values: Iterator[bytes],
        remote_known: KnownSet,
    ) -> None:
        record = _decoded(key, row, origins, values)
        self.add_record(key, record, remote_known)

    def add_record(
        self, key: bytes, remote: Record, remote_known: KnownSet, *, may_vanish: bool = False
    ) -> None:
        """Merge one record, values loaded (R2).

        Args:
            may_vanish: whether the key may be gone afterwards: only in a full-state round, where
                absence counts. Elsewhere that shows a peer that contradicts itself.
        """
        state = self._state
        if remote.context.get(state.origin, 0) > state.shown:
            raise _forked(state)
        row = state.db.get(INDEX + key) if state.absent.may_contain(key) else None
        local = rows.unpack(row, key, state.origins.by_number)[0] if row is not None else ABSENT
        merged = merge(local, self._knows, remote, remote_known)
        here = _dots(local)
        for version in remote.versions:
            if version.dot not in here and version.dot in self._knows:
                self._refuse_elsewhere(key, version.dot)
            if version.dot.origin != state.origin:
                self._origin(version.dot.origin).seqs.append(version.dot.seq)
            self._stamps.append(version.timestamp)
        if _dots(merged) == here and merged.context == local.context:
            return
        if merged.versions:
            self._install(key, local, merged)
        elif not local.versions:
            return
        elif may_vanish:
            self._own_went |= state.remove(self._batch, key, local)
            self._floor = merge_contexts(self._floor, local.context)  # R8: in the same batch
        else:
            raise ProtocolError(
                f"the record of key {key[:40]!r} contradicts the known set sent with it"
            )
        self.changed += 1

    def _refuse_elsewhere(self, key: bytes, dot: Dot) -> None:
        """Refuse a known dot of `key` that is live here under another key (R13)."""
        state = self._state
        other = state.db.get(log_key(state.origins.number(dot.origin), dot.seq))
        if other is not None and other != key:
            raise ForkedContentsError(
                f"dot {dot} is a write of key {other[:40]!r} here, and of key {key[:40]!r} at the "
                "peer: two forks of one directory both served peers; keep one of the two nodes "
                "and start the other with an empty directory"
            )

    def _install(self, key: bytes, local: Record, merged: Record) -> None:
        state = self._state
        if len(merged.versions) > rows.VERSIONS_MAX:
            raise ProtocolError(f"key {key[:40]!r} gets more than {rows.VERSIONS_MAX} versions")
        self._fresh.append(key)
        ours = _dots(local)
        if any(version.dot in ours for version in merged.versions):
            merged = _with_values(merged, state.load(local, state.db.get))
        resolution = self._settler.resolve(merged.versions)
        self._own_went |= state.install(self._batch, key, local, merged, resolution)
        if resolution.conflict and _dots(merged) != ours:
            shown = resolution.visible
            order = sorted(merged.versions, key=lambda one: (one is not shown, one.dot))
            self.conflicts.append(Conflict(key, tuple(order), resolution.fault))

    def _origin(self, origin: int) -> _Origin:
        entry = self._learnt.get(origin)
        if entry is None:
            state = self._state
            if origin == state.origin:
                # What no peer was shown, no peer can know: such a dot is a fork's (R13).
                bounds = [1, state.shown + 1] if state.shown else []
            else:
                bounds = state.learnt.bounds(origin)
            entry = _Origin(origin, state.origins.number(origin), bounds)
            self._learnt[origin] = entry
        return entry

    def commit(self, claim: KnownSet | None, floor: Mapping[int, int]) -> list[bytes]:
        """Commit under the lock, which the caller holds.

        Returns:
            Keys of known-set rows to remove afterwards.
        """
        state, batch = self._state, self._batch
        changes = self._changes(claim)
        stale = [row_key for change in changes.values() for row_key in change.write(batch)]
        floor = merge_contexts(self._floor, floor)
        risen = {origin: seq for origin, seq in floor.items() if seq > state.floor.get(origin, 0)}
        for origin, seq in risen.items():
            batch.put(floor_key(state.origins.number(origin)), SEQ.pack(seq))
        if self._own_went:
            state.own_known_row(batch)
        for key in self._fresh:
            state.absent.add(key)
        state.commit(batch)
        for origin, change in changes.items():
            state.learnt.replace(origin, change.bounds)
        state.floor.update(risen)
        self._observe()
        return stale

    def _changes(self, claim: KnownSet | None) -> dict[int, OriginChange]:
        """What becomes known: the dots applied, and the claim (R3)."""
        state = self._state
        changes = {}
        for origin, entry in self._learnt.items():
            if entry.seqs and origin != state.origin:
                change = changes[origin] = OriginChange(entry.number, state.learnt.bounds(origin))
                change.add_seqs(entry.seqs)
        for origin, bounds in claim.items() if claim else ():
            if origin == state.origin or bounds == state.learnt.bounds(origin):
                continue
            if origin not in changes:
                number = state.origins.number(origin)
                changes[origin] = OriginChange(number, state.learnt.bounds(origin))
            for start, stop in zip(bounds[::2], bounds[1::2], strict=True):
                changes[origin].add(start, stop)
        return changes

    def _observe(self) -> None:
        """Let the hybrid clock see what was applied."""
        clock = self._state.clock
        if max(self._stamps, default=0) > clock.last:
            wall_ms = time.time_ns() // 1_000_000
            for timestamp in self._stamps:
                clock.observe(timestamp, wall_ms)


def _overwritten(local: bytes, origin: _Origin, seq: int) -> int | None:
    """The seq of the local version, if it is the only one and an earlier write of `origin`."""
    if local[0] != _SINGLE:
        return None
    _, _, number, local_seq, _, _, _ = _unpack_single(local)
    return int(local_seq) if number == origin.number and local_seq < seq else None


def _decoded(key: bytes, row: bytes, origins: Mapping[int, int], values: Iterator[bytes]) -> Record:
    """A peer's record, checked.

    Raises:
        ProtocolError: it is malformed or damaged.
    """
    try:
        record = fill(rows.unpack(row, key, origins)[0], values)
    except FormatError as error:
        raise ProtocolError(str(error)) from error
    for version in record.versions:
        if version.value is not None and (
            crc32(version.value) != version.checksum or len(version.value) > VALUE_BYTES_MAX
        ):
            raise ProtocolError(f"the value of key {key[:40]!r}, dot {version.dot}, is damaged")
    return record


def _checked(chunk: Chunk) -> dict[bytes, Record]:
    """A peer's records of a full-state round, by key.

    Raises:
        ProtocolError: the chunk is malformed.
    """
    if len(chunk.keys) != len(chunk.rows):
        raise ProtocolError("a chunk has not one row per key")
    values = iter(chunk.values)
    result = {}
    for key, row in zip(chunk.keys, chunk.rows, strict=True):
        if key >= RESERVED or len(key) > KEY_BYTES_MAX:
            raise _bad_key(key)
        result[key] = _decoded(key, row, chunk.origins, values)
    if len(result) != len(chunk.keys) or next(values, None) is not None:
        raise ProtocolError("a chunk names a key twice, or has values that no row explains")
    return result


def _with_values(merged: Record, loaded: Record) -> Record:
    """The merged record, the local versions in it with their values."""
    ours = {version.dot: version for version in loaded.versions}
    return Record(
        tuple(ours.get(version.dot, version) for version in merged.versions), merged.context
    )


def _dots(record: Record) -> list[tuple[int, int]]:
    return [version.dot for version in record.versions]


def _bad_key(key: bytes) -> ProtocolError:
    return ProtocolError(f"a record of the key {key[:40]!r}, which is reserved or too long")


def _forked(state: State) -> ForkError:
    return ForkError(
        f"a peer knows writes of origin {state.origin:016x} that this node never sent: "
        f"{state.level.path} was rolled back or cloned; this node takes a new origin"
    )
