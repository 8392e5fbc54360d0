"""A fork: this directory was rolled back or cloned while it ran (R13).

Peers know dots of this origin that this store never issued, so dots above `shown` (the highest
own seq ever sent) may name two writes. The store takes a new origin and issues those versions
again under it; nobody has seen them under the old one. The work is done in bounded batches behind
a marker row, and goes on at the next open if it is cut.
"""

from dataclasses import replace
from itertools import islice

from replicator.core import ranges
from replicator.core.dots import Dot
from replicator.core.record import Record
from replicator.store.identity import Identity, look_around, new_origin
from replicator.store.keyspace import (
    SEQ,
    floor_key,
    known_key,
    log_key,
    meta_key,
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

    def mend(self) -> None:
        """Take a new origin; issue again under it what no peer was shown.

        Local writes and applies wait meanwhile. Raises CommitError or StoreFailedError where a
        commit failed; then it is finished by the next call or open.
        """
        state = self._state
        with state.apply_mutex:
            fresh = new_origin()
            state.origins.intern(state.origin, fresh)
            self._begin(state.origins.number(state.origin), state.shown, fresh)
            state.level.sync()
            self.resume(state.origins.number(state.origin), state.shown, fresh)
            self.count += 1

    def _begin(self, number: int, shown: int, fresh: int) -> None:
        batch = self._state.db.write_batch()
        batch.put(meta_key("fork"), pack_meta([number, shown, fresh]))
        with self._state.level.lock:
            self._state.commit(batch)

    def resume(self, number: int, shown: int, fresh: int) -> None:
        """Finish what the marker row says: origin `number` was shown up to `shown`."""
        state = self._state
        with state.level.lock:
            old = state.origins.by_number[number]
            if state.origin == old:
                self._switch(number, shown, fresh)
            while keys := self._unshown(number, shown):
                self._reissue(old, shown, keys)
            batch = state.db.write_batch()
            batch.delete(meta_key("fork"))
            state.commit(batch)
        state.level.sync()

    def _switch(self, number: int, shown: int, fresh: int) -> None:
        """Write and be the new origin; the old one is known up to `shown`."""
        state = self._state
        old = state.origin
        batch = state.db.write_batch()
        batch.put(known_key(number, 1), SEQ.pack(shown + 1))
        if state.floor.get(old, 0) > shown:
            batch.put(floor_key(number), SEQ.pack(shown))
        batch.put(meta_key("shown"), pack_meta(0))
        identity = Identity(fresh, look_around(state.level.path), clean=False)
        batch.put(meta_key("identity"), pack_meta(identity.row()))
        state.commit(batch)
        if state.floor.get(old, 0) > shown:
            state.floor[old] = shown
        known: ranges.Bounds = []
        ranges.add(known, 1, shown + 1)
        state.learnt.replace(old, known)
        state.seq = state.shown = 0
        state.set_origin(fresh)

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
        for key in keys:
            seq += 1
            before = state.read(key)
            after = _reissued(before, old, shown, Dot(state.origin, seq))
            resolution = self._settler.resolve(after.versions)
            state.install(batch, key, before, after, resolution)
        state.commit(batch)
        state.seq = seq


def _reissued(record: Record, old: int, shown: int, dot: Dot) -> Record:
    """The record with the version of `old` above `shown` issued again as `dot`, and no trace of
    the old seqs left in its context."""
    versions = [
        replace(version, dot=dot)
        if version.dot.origin == old and version.dot.seq > shown
        else version
        for version in record.versions
    ]
    context = {origin: seq for origin, seq in record.context.items() if origin != old}
    if shown and old in record.context:
        context[old] = min(record.context[old], shown)
    context[dot.origin] = dot.seq
    return Record(tuple(sorted(versions, key=lambda version: version.dot)), context)
