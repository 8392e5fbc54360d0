"""The closed set on disk, and versions whose dots are in it (R10).

The rows are like those of the known set: one a range. They are on the disk before the set is used,
for a purge floor may rely on it, and a power cut must not take the one and leave the other.

A live version with a closed dot may turn up: this directory was away or is an older copy, or the
writer of it is one that was forgotten. It is issued again under the own origin, in bounded batches;
what it superseded stays superseded, and so does its old dot.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

from replicator.core import ranges
from replicator.core.dots import Dot
from replicator.core.known import KnownSet
from replicator.core.record import Record
from replicator.errors import ClosedError, StorageError
from replicator.store.keyspace import SEQ, closed_key, log_key
from replicator.store.resolving import Settler
from replicator.store.state import State

KEYS_PER_COMMIT = 500


class Closing:
    """Closes dots in one store. Thread-safe.

    Attributes:
        reissued: versions issued again since opening.
    """

    def __init__(self, state: State, settler: Settler) -> None:
        self._state = state
        self._settler = settler
        self._looked_at = KnownSet()
        self.reissued = 0

    def close(self, dots: KnownSet) -> None:
        """Close these, durably.

        Raises:
            ClosedError: the store is closed.
            CommitError, StoreFailedError: nothing is closed; see `Level.commit`, `Level.sync`.
        """
        state = self._state
        if state.closed_dots.issuperset(dots):
            return
        with state.apply_mutex:
            state.refuse_closed()
            state.origins.intern(*dots.origins())
            closed = state.closed_dots.union(dots)
            batch = state.db.write_batch()
            for origin, bounds in closed.items():
                number = state.origins.number(origin)
                for start, _ in ranges.pairs(state.closed_dots.bounds(origin)):
                    batch.delete(closed_key(number, start))
                for start, stop in ranges.pairs(bounds):
                    batch.put(closed_key(number, start), SEQ.pack(stop))
            with state.level.lock:
                state.commit_quietly(batch)
            state.level.sync()
            state.closed_dots = closed

    def reissue(self) -> int:
        """Issue the live versions of closed dots again. Costs next to nothing while no closed dot
        has become known.

        Returns:
            How many there were.

        Raises:
            ClosedError: the store is closed.
            CommitError, StoreFailedError: see `Level.commit`; it begins again the next time.
        """
        state = self._state
        with state.level.lock:
            known = state.known_now()
        suspects = state.closed_dots.intersection(known)
        if suspects == self._looked_at:
            return 0
        count = 0
        for origin, bounds in suspects.items():
            if origin != state.origin:
                count += self._reissue_of(origin, bounds)
        self._looked_at = suspects
        self.reissued += count
        return count

    def _reissue_of(self, origin: int, bounds: ranges.Bounds) -> int:
        state = self._state
        count = 0
        keys = self._keys(state.origins.number(origin), bounds)
        while some := list(dict.fromkeys(islice(keys, KEYS_PER_COMMIT))):
            with state.apply_mutex:
                state.refuse_closed()
                if not state.number:
                    state.origins.intern(state.origin)
                    state.set_origin(state.origin)
                with state.level.lock:
                    count += self._reissue_keys(some)
        return count

    def _keys(self, number: int, bounds: ranges.Bounds) -> Iterator[bytes]:
        """The keys with live versions of these dots."""
        for start, stop in ranges.pairs(bounds):
            with self._state.db.iterator(
                start=log_key(number, start), stop=log_key(number, stop), include_key=False
            ) as log:
                yield from log

    def _reissue_keys(self, keys: list[bytes]) -> int:
        """One commit. The caller holds the lock."""
        state = self._state
        batch = state.db.write_batch()
        seq = state.seq
        for key in keys:
            before = state.read(key)
            after_it, seq = self._reissued(before, seq)
            if after_it != before:
                shown = self._settler.resolve(after_it.versions)
                state.install(batch, key, before, after_it, shown)
        count, before_it = seq - state.seq, state.seq
        if count:
            state.seq = seq
            try:
                state.commit(batch)
            except (StorageError, ClosedError):  # surely not done; see `LocalWrites._issue`
                state.seq = before_it
                raise
        return count

    def _reissued(self, record: Record, seq: int) -> tuple[Record, int]:
        """The record with its versions of closed dots under own dots, and the last own seq."""
        state = self._state
        versions = list(record.versions)
        context = dict(record.context)
        for place, version in enumerate(versions):
            if version.dot in state.closed_dots and version.dot.origin != state.origin:
                seq += 1
                versions[place] = replace(version, dot=Dot(state.origin, seq))
                context[state.origin] = seq
        return Record(tuple(sorted(versions, key=lambda one: one.dot)), context), seq
