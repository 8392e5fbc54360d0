"""A fork: this directory was rolled back or cloned while it ran (R13).

Peers know dots of this origin that this store never issued, so dots above `shown` (the highest
own seq ever sent) may name two writes. The store takes a new origin and issues those versions
again under it; nobody has seen them under the old one. The work is done in bounded batches behind
a marker row, and goes on at the next open if it is cut.
"""

from dataclasses import replace
from itertools import islice

from plyvel._plyvel import WriteBatch

from replicator.core import ranges
from replicator.core.dots import Dot
from replicator.core.record import Record
from replicator.errors import StorageError
from replicator.store.identity import Identity, look_around, new_origin
from replicator.store.keyspace import (
    SEQ,
    floor_key,
    known_key,
    log_key,
    meta_key,
    pack_known,
    pack_meta,
)
from replicator.store.resolving import Settler
from replicator.store.state import State

KEYS_PER_COMMIT = 500


class Fork:
    """Mends forks of one store.

    Attributes:
        count: how many were mended since opening.
    """

    def __init__(self, state: State, settler: Settler) -> None:
        self._state = state
        self._settler = settler
        self.count = 0

    def mend(self, was_forgotten: bool) -> None:
        """Take a new origin; issue again under it what no peer was shown.

        Args:
            was_forgotten: whether that is because the cluster has forgotten this node: then it has
                to begin with a full-state round (R10), durably.

        Local writes and applies wait meanwhile.

        Raises:
            ClosedError: the store is closed.
            CommitError: it has not begun; nothing has changed.
            StoreFailedError: a commit failed on the way: half of it is done, so nothing may come
                between, and the next open finishes it.
        """
        state = self._state
        with state.apply_mutex:
            state.refuse_closed()
            fresh = new_origin()
            state.origins.intern(state.origin, fresh)
            with state.level.lock:
                number, shown = state.origins.number(state.origin), state.shown
                self._begin(number, shown, fresh, was_forgotten)
                try:
                    state.level.sync()
                    self._resume(number, shown, fresh)
                except StorageError as error:
                    raise state.level.fail(f"taking a new origin failed ({error})") from error
            self.count += 1

    def resume(self, number: int, shown: int, fresh: int) -> None:
        """Finish at opening what the marker row says: origin `number` was shown up to `shown`."""
        state = self._state
        state.origins.intern(state.origin)  # a copy or a crash took yet another one in between
        with state.level.lock:
            if not state.number:
                state.set_origin(state.origin)
            self._resume(number, shown, fresh)

    def _begin(self, number: int, shown: int, fresh: int, was_forgotten: bool) -> None:
        batch = self._state.db.write_batch()
        batch.put(meta_key("fork"), pack_meta([number, shown, fresh]))
        if was_forgotten:
            batch.put(meta_key("want_full"), pack_meta(1))
        self._state.commit(batch)
        self._state.wants_full |= was_forgotten

    def _resume(self, number: int, shown: int, fresh: int) -> None:
        """All of it behind the marker row. The caller holds the lock."""
        state = self._state
        self._leave(number, shown, fresh)
        while keys := self._unshown(number, shown):
            self._reissue(state.origins.by_number[number], shown, keys)
        state.level.sync()  # before: a power cut may keep what comes now and lose the rest (R11)
        batch = state.db.write_batch()
        batch.delete(meta_key("fork"))
        state.commit(batch)
        state.level.sync()

    def _leave(self, number: int, shown: int, fresh: int) -> None:
        """Know the old origin up to `shown` only, in every row; be the new one if still the old."""
        state = self._state
        old = state.origins.by_number[number]
        known = state.known_now()
        known.discard_above(old, shown)
        durable = state.durable.copy()
        durable.discard_above(old, shown)
        floor = min(state.floor.get(old, 0), shown)
        batch = state.db.write_batch()
        self._known_rows(batch, number, known.bounds(old))
        if durable != state.durable:
            batch.put(meta_key("durable"), pack_known(durable))
        if floor:
            batch.put(floor_key(number), SEQ.pack(floor))
        else:
            batch.delete(floor_key(number))  # a floor of 0 is none, and no peer would take it
        if state.origin == old:
            identity = Identity(fresh, look_around(state.level.path), clean=False)
            batch.put(meta_key("identity"), pack_meta(identity.row()))
            batch.put(meta_key("shown"), pack_meta(0))
        state.commit(batch)
        state.learnt.replace(old, known.bounds(old))
        state.durable = durable
        state.floor.pop(old, None)
        if floor:
            state.floor[old] = floor
        if state.origin == old:
            state.seq = state.shown = 0
            state.set_origin(fresh)

    def _known_rows(self, batch: WriteBatch, number: int, bounds: ranges.Bounds) -> None:
        with self._state.db.iterator(
            start=known_key(number, 0), stop=known_key(number + 1, 0), include_value=False
        ) as rows:
            for row_key in rows:
                batch.delete(row_key)
        for start, stop in ranges.pairs(bounds):
            batch.put(known_key(number, start), SEQ.pack(stop))

    def _unshown(self, number: int, shown: int) -> list[bytes]:
        """Some keys that hold a live version of the old origin above `shown`."""
        with self._state.db.iterator(
            start=log_key(number, shown + 1), stop=log_key(number + 1, 0), include_key=False
        ) as log:
            return list(islice(log, KEYS_PER_COMMIT))

    def _reissue(self, old: int, shown: int, keys: list[bytes]) -> None:
        state = self._state
        batch = state.db.write_batch()
        seq = state.seq
        for key in dict.fromkeys(keys):  # one that holds several of them comes several times
            before = state.read(key)
            after, seq = _reissued(before, old, shown, state.origin, seq)
            resolution = self._settler.resolve(after.versions)
            state.install(batch, key, before, after, resolution)
        state.commit(batch)
        state.seq = seq


def _reissued(record: Record, old: int, shown: int, fresh: int, seq: int) -> tuple[Record, int]:
    """The record with the versions of `old` above `shown` issued again by `fresh`, and no trace of
    the old seqs left in its context.

    Args:
        seq: the last seq of `fresh` so far.

    Returns:
        The record, and the last seq from now on.
    """
    versions = []
    for version in record.versions:
        if version.dot.origin == old and version.dot.seq > shown:
            seq += 1
            versions.append(replace(version, dot=Dot(fresh, seq)))
        else:
            versions.append(version)
    context = {origin: seq for origin, seq in record.context.items() if origin != old}
    if shown and old in record.context:
        context[old] = min(record.context[old], shown)
    context[fresh] = seq
    return Record(tuple(sorted(versions, key=lambda version: version.dot)), context), seq
