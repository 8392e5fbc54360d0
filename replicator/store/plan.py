"""One apply in the making: what a chunk of a peer's records does to the store (R1, R2, R3, R13).

The record of one version, whose context is just its dot, is nearly all there is: it is merged by
hand. Everything else goes through `replicator.core.merge`.
"""

from bisect import bisect_right
from collections.abc import Container, Iterator, Mapping
from zlib import crc32

from replicator.config import KEY_BYTES_MAX, VALUE_BYTES_MAX
from replicator.core import rows
from replicator.core.chunk import Chunk
from replicator.core.clock import TIMESTAMP_MAX
from replicator.core.dots import SEQ_MAX, Dot
from replicator.core.known import KnownSet
from replicator.core.merge import merge, raise_context
from replicator.core.record import ABSENT, Record, Version, merge_contexts
from replicator.errors import ForkedContentsError, ForkError, ProtocolError
from replicator.store.expiry import expiry_of
from replicator.store.keyspace import (
    INDEX,
    RESERVED,
    SEQ,
    floor_key,
    log_key,
    meta_key,
    pack_known,
)
from replicator.store.learning import Learning, LearntOrigin
from replicator.store.received import bad_key, decoded
from replicator.store.resolving import Settler
from replicator.store.state import State
from replicator.store.tally import Conflict, conflict_of

_SINGLE = rows.SINGLE
_SINGLE_SIZE = rows.SINGLE_ROW.size
_unpack_single = rows.SINGLE_ROW.unpack
_pack_single = rows.SINGLE_ROW.pack


class Knows:
    """This store's known set as R2 asks for it, without copying it."""

    def __init__(self, state: State) -> None:
        self._state = state

    def __contains__(self, dot: object) -> bool:
        state = self._state
        assert isinstance(dot, tuple)
        return dot[1] <= state.seq if dot[0] == state.origin else dot in state.learnt


class Plan:
    """One commit in the making. Made without the write lock or with it; see `Applier`.

    Attributes:
        records: how many records it was made of.
        changed: how many of them change something.
        conflicts: what comes into conflict by it.
        full_known: in a stretch of a full-state round, what the peer knows.
        skewed: origins whose timestamps were too far ahead to be adopted, once it is committed.
    """

    def __init__(self, state: State, settler: Settler, knows: Knows) -> None:
        self._state = state
        self._settler = settler
        self._knows = knows
        self._batch = state.db.write_batch()
        self._learning = Learning(state)
        self._floor: dict[int, int] = {}
        self._fresh: list[bytes] = []
        self._expiries: list[tuple[int, bytes]] = []
        self._own_went = False
        self._is_mend = False
        self.full_known: KnownSet | None = None
        self.records = 0
        self.changed = 0
        self.conflicts: list[Conflict] = []
        self.skewed: list[int] = []

    def add_chunk(
        self, chunk: Chunk, remote_known: KnownSet, floor: Mapping[int, int] | None = None
    ) -> None:
        """Merge every record of a chunk.

        Args:
            floor: to which contexts are raised in a full-state round (R9).

        Raises:
            ProtocolError: the chunk is malformed.
            ForkError, ForkedContentsError: see `replicator.errors`.
        """
        state = self._state
        table = {number: self._learning.origin(origin) for number, origin in chunk.origins.items()}
        if len(set(chunk.keys)) != len(chunk.keys) or len(chunk.rows) != len(chunk.keys):
            raise ProtocolError("a chunk names a key twice, or has not one row per key")
        values = iter(chunk.values)
        get, absent = state.db.get, state.absent
        batch = self._batch
        raised = rows.RaisedRows(floor, state.origins.number) if floor else None
        for key, row in zip(chunk.keys, chunk.rows, strict=True):
            if key >= RESERVED or len(key) > KEY_BYTES_MAX:
                raise bad_key(key)
            if len(row) != _SINGLE_SIZE or row[0] != _SINGLE:
                self._add_row(key, row, chunk.origins, values, remote_known, floor)
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
            elif local == row and origin.number == number and raised is None:
                continue
            else:
                place = _overwritten(local, origin, seq) if unknown else None
                if place is None:
                    single = iter(() if value is None else (value,))
                    self._add_row(key, row, chunk.origins, single, remote_known, floor)
                    continue
                batch.delete(log_key(origin.number, place))
            if origin.origin == state.origin:
                raise forked(state)
            if value is None:
                state.is_littered = True
                batch.delete(key)
            else:
                batch.put(key, value)
            batch.put(log_key(origin.number, seq), key)
            fields = flags, origin.number, seq, clock, timestamp, checksum
            if raised is None:
                batch.put(INDEX + key, _pack_single(_SINGLE, *fields))
            else:
                state.is_littered = True
                batch.put(INDEX + key, raised.row(*fields))
            origin.seqs.append(seq)
            origin.stamps.append(timestamp)
            self.changed += 1
        if next(values, None) is not None:
            raise ProtocolError("a chunk has more values than its rows have puts")
        self.records += len(chunk.keys)
        self.refuse_repeated_dots()

    def refuse_repeated_dots(self) -> None:
        """Raise ProtocolError where the records added share a dot: it names one write."""
        if self._learning.has_repeated_dots():
            raise ProtocolError("a chunk names a dot twice")

    def _add_row(
        self,
        key: bytes,
        row: bytes,
        origins: Mapping[int, int],
        values: Iterator[bytes],
        remote_known: KnownSet,
        floor: Mapping[int, int] | None,
    ) -> None:
        record = raise_context(decoded(key, row, origins, values), floor or {})
        self.add_record(key, record, remote_known, may_vanish=floor is not None)

    def add_record(
        self, key: bytes, remote: Record, remote_known: KnownSet, *, may_vanish: bool = False
    ) -> None:
        """Merge one record, values loaded (R2).

        Args:
            may_vanish: whether the key may be gone afterwards: only in a full-state round, where
                absence counts. Elsewhere that shows a peer that contradicts itself.
        """
        self._add_record(key, remote, self._knows, remote_known, may_vanish)

    def mend_record(self, key: bytes, remote: Record, moment_ms: int) -> None:
        """Merge one record without asking the known sets (R16): a version goes only where the
        context of the other side covers it. What has no put on either side, but for those that
        have expired at the moment, is left alone, and so is a key of which nothing would stay: that
        is for a person to look at."""
        local = self._local(key)
        both = (*local.versions, *remote.versions)
        nothing = KnownSet()
        if not any(version.is_live_put(moment_ms) for version in both):
            return
        if merge(local, nothing, remote, nothing).versions:
            self._is_mend = True
            self._add_record(key, remote, nothing, nothing, False)

    def _local(self, key: bytes) -> Record:
        """The record here, values not loaded."""
        state = self._state
        row = state.db.get(INDEX + key) if state.absent.may_contain(key) else None
        return ABSENT if row is None else rows.unpack(row, key, state.origins.by_number)[0]

    def _add_record(
        self,
        key: bytes,
        remote: Record,
        local_known: Container[tuple[int, int]],
        remote_known: KnownSet,
        may_vanish: bool,
    ) -> None:
        state = self._state
        if remote.context.get(state.origin, 0) > state.shown:
            raise forked(state)
        local = self._local(key)
        merged = merge(local, local_known, remote, remote_known)
        here = _dots(local)
        for version in remote.versions:
            if version.dot not in here and version.dot in self._knows:
                self._refuse_elsewhere(key, version.dot)
            if version.dot.origin != state.origin:
                origin = self._learning.origin(version.dot.origin)
                origin.seqs.append(version.dot.seq)
                if version.dot not in here:
                    origin.stamps.append(version.timestamp)
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
        self._note_expiry(key, resolution.visible)
        if _dots(merged) != ours:
            conflict = conflict_of(key, merged.versions, resolution)
            self.conflicts += [conflict] if conflict else []

    def _note_expiry(self, key: bytes, shown: Version) -> None:
        expiry_ms = expiry_of(shown)
        if expiry_ms is not None:
            self._expiries.append((expiry_ms, key))

    def commit(
        self, claim: KnownSet | None, floor: Mapping[int, int], full: bool = False
    ) -> list[bytes]:
        """Commit under the lock, which the caller holds.

        Args:
            full: whether a full-state round is complete with that.

        Returns:
            Keys of known-set rows to remove afterwards.
        """
        state, batch = self._state, self._batch
        changes = self._learning.changes(claim)
        stale = [row_key for change in changes.values() for row_key in change.write(batch)]
        floor = merge_contexts(self._floor, floor)
        risen = {origin: seq for origin, seq in floor.items() if seq > state.floor.get(origin, 0)}
        for origin, seq in risen.items():
            batch.put(floor_key(state.origins.number(origin)), SEQ.pack(seq))
        if self._own_went:
            state.own_known_row(batch)
        dropped_for = self.full_known if self.changed else None
        unexplained = state.unexplained_after(dropped_for, claim)
        if state.unexplained and not unexplained:
            batch.delete(meta_key("full"))
        elif unexplained != state.unexplained:
            batch.put(meta_key("full"), pack_known(unexplained))
        if full:
            batch.delete(meta_key("want_full"))
        for key in self._fresh:
            state.absent.add(key)
        for expiry_ms, key in self._expiries:  # again: a sweep may have looked since the plan
            state.due.note(expiry_ms, key, is_swept=False)
            state.due.note(expiry_ms, key, is_swept=True)
        state.mends += self._is_mend
        state.commit(batch)
        for origin, change in changes.items():
            state.learnt.replace(origin, change.bounds)
        state.floor.update(risen)
        state.unexplained = unexplained
        state.wants_full &= not full
        self.skewed += self._learning.observe()
        return stale


def _overwritten(local: bytes, origin: LearntOrigin, seq: int) -> int | None:
    """The seq of the local version, if it is the only one and an earlier write of `origin`."""
    if local[0] != _SINGLE:
        return None
    _, _, number, local_seq, _, _, _ = _unpack_single(local)
    return int(local_seq) if number == origin.number and local_seq < seq else None


def _with_values(merged: Record, loaded: Record) -> Record:
    """The merged record, the local versions in it with their values."""
    ours = {version.dot: version for version in loaded.versions}
    return Record(
        tuple(ours.get(version.dot, version) for version in merged.versions), merged.context
    )


def _dots(record: Record) -> list[tuple[int, int]]:
    return [version.dot for version in record.versions]


def forked(state: State) -> ForkError:
    """What to raise where a peer knows what this store never showed."""
    return ForkError(
        f"a peer knows writes of origin {state.origin:016x} that this node never sent: "
        f"{state.level.path} was rolled back or cloned; this node takes a new origin"
    )
