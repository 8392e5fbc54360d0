"""The store: one replicated namespace of an open LevelDB.

What it is made of: local writes (`local`, `careful`), conflicts (`conflicts`, `revisit`), merging
what peers send (`apply`), sources that peers are served from (`source`), and what happens at
opening (`opening`) and after a fork (`fork`).
"""

import os
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import plyvel
from plyvel._plyvel import PrefixedDB

from replicator.config import SWEEP_BATCHES_MAX, Settings
from replicator.core.chunk import Chunk
from replicator.core.compare import Piece
from replicator.core.known import KnownSet
from replicator.core.members import Member, Watermark
from replicator.core.resolve import Resolver, ResolverMode, default_resolver
from replicator.store import opening
from replicator.store.apply import Applied, Applier
from replicator.store.closing import Closing
from replicator.store.collect import Collector, Step
from replicator.store.conflicts import Conflicts
from replicator.store.digest import digest
from replicator.store.filling import Filling
from replicator.store.fork import Fork
from replicator.store.keyspace import meta_key, pack_known, pack_meta
from replicator.store.level import Level, split
from replicator.store.members import read_members, write_members
from replicator.store.pace import Pace
from replicator.store.revisit import Revisit
from replicator.store.source import Source
from replicator.store.sweep import Sweeper
from replicator.store.tally import ConflictCounts
from replicator.store.watching import Watching


@dataclass(frozen=True, slots=True)
class StoreCounters:
    """What a store did since it was opened."""

    writes: int
    applied: int
    conflicts: int
    resolver_faults: int
    commit_failures: int
    skewed: int
    forks: int
    sync_points: int
    swept: int
    closed_dots_reissued: int
    tombstones: int
    tombstones_collected: int
    contexts_shrunk: int
    collecting_passes: int


class Store(Conflicts):
    """One replicated namespace of an open LevelDB. Made by `Store.open`; thread-safe.

    Attributes:
        on_change: called after a commit, in the committing thread, once until `rearm`.
        sync_points: how many sync points were noted since opening.
        watching: fingerprints and digests, to compare with other stores.
        closing: closes dots that nobody holds (R10).
    """

    def __init__(
        self, db: plyvel.DB | PrefixedDB, level: Level, prefix: bytes, settings: Settings
    ) -> None:
        super().__init__(db, level, prefix, settings)
        self.sync_points = 0
        self._filling = Filling(self)
        self._sync_point_turn = threading.Lock()
        self.revisit = Revisit(self, self.settler)
        pace = Pace(level)
        self._applier = Applier(self, self.settler, pace)
        self._collector = Collector(self, pace)
        self._fork = Fork(self, self.settler)
        self.watching = Watching(self)
        self._sweeper = Sweeper(self, self.settler)
        self._sweep_turn = threading.Lock()
        self.closing = Closing(self, self.settler)

    @classmethod
    def open(
        cls,
        db: plyvel.DB | PrefixedDB,
        *,
        settings: Settings | None = None,
        resolver: Resolver | None = None,
        resolver_mode: ResolverMode = "concurrent",
        adoption_progress: Callable[[int], None] | None = None,
        visiting: bool = False,
    ) -> "Store":
        """Open the store in `db`, or make one of what is there.

        Args:
            db: an open handle; it stays the caller's, `close` does not close it.
            settings: see `Settings`.
            resolver, resolver_mode: see `replicator.core.resolve`.
            adoption_progress: called now and then with the number of existing keys adopted.
            visiting: whether it is opened for a command, which must not change what keys show: the
                resolver that the store remembers counts, and conflicts are not looked at again.

        Raises:
            UsageError, DoubleWrapError: `db` is no open handle, or wrapped already.
            FormatError: a newer format, foreign data in the reserved range, a custom comparator.
            StorageError: LevelDB failed.
        """
        settings = settings or Settings()
        level = Level.acquire(db)
        _, prefix = split(db)
        try:
            opening.check_format(db, level, prefix)
            store = cls(db, level, prefix, settings)
            store.settler.resolver = resolver or default_resolver
            store.settler.mode = resolver_mode
            opening.load(store, store.settler, adoption_progress, store.revisit, visiting)
            store._sweeper.at_opening(is_foreign=store.revisit.is_foreign)
        except BaseException:
            level.release(prefix)
            raise
        _stores.add(store)
        store._filling.begin()
        if not visiting:
            store.revisit.begin()
        return store

    # Reads

    def digest(self, moment_ms: int | None = None) -> str:
        """A hash that is equal on nodes that hold the same (R16), as hex.

        Args:
            moment_ms: what expired before this wall clock does not count; None is now.
        """
        self.refuse_closed()
        with self.db.snapshot() as snapshot:
            moment_ms = time.time_ns() // 1_000_000 if moment_ms is None else moment_ms
            return digest(snapshot, self.origins.by_number, moment_ms)

    def conflict_counts(self) -> ConflictCounts:
        """Who won the conflicts that arose since opening, and why."""
        return self.tally.counts()

    def known(self) -> KnownSet:
        """The known set, own seqs included, as of now."""
        self.level.refuse_in_update()
        with self._lock:
            return self.known_now()

    def known_gaps(self) -> int:
        """How many ranges the known set has beyond one for each origin."""
        with self._lock:
            return self.learnt.gaps()

    def counters(self) -> StoreCounters:
        """What happened since opening."""
        applier, settler, collector = self._applier, self.settler, self._collector
        return StoreCounters(
            writes=self.writes,
            applied=applier.applied,
            conflicts=self.tally.total,
            resolver_faults=settler.faults,
            commit_failures=self.level.commit_failures,
            skewed=self.clock.skewed,
            forks=self._fork.count,
            closed_dots_reissued=self.closing.reissued,
            sync_points=self.sync_points,
            swept=self._sweeper.swept,
            tombstones=collector.tombstones,
            tombstones_collected=collector.dropped,
            contexts_shrunk=collector.shrunk,
            collecting_passes=collector.passes,
        )

    # Replication

    def show(self, seq: int) -> None:
        """Remember that peers may know own seqs up to `seq` (R13), before they are told.

        Args:
            seq: counts as at most the last own seq: a fork may have come in between.
        """
        if seq <= self.shown:
            return
        with self._lock:
            self.refuse_closed()
            seq = min(seq, self.seq)
            if seq > self.shown:
                batch = self.db.write_batch()
                batch.put(meta_key("shown"), pack_meta(seq))
                self.commit_quietly(batch)
                self.shown = seq

    def open_source(self) -> Source:
        """One snapshot to serve a round from; the caller closes it."""
        self.level.refuse_in_update()
        with self._lock:
            self.refuse_closed()
            return Source(self.db.snapshot(), self.known_now(), dict(self.floor), self.origins)

    def apply(self, chunk: Chunk, remote_known: KnownSet) -> Applied:
        """Merge a piece of a larger round in one commit (R2, R3); its dots become known.

        Args:
            chunk: records of one snapshot of the peer.
            remote_known: the known set of that snapshot.

        Raises:
            ForkError, ForkedContentsError, ProtocolError: see `replicator.errors`.
        """
        return self._applier.apply(chunk, remote_known)

    def finish(
        self,
        chunk: Chunk,
        remote_known: KnownSet,
        claim: KnownSet | None,
        floor: Mapping[int, int],
        full: bool = False,
    ) -> Applied:
        """Merge the last or only piece of a round and, in the same commit, know what it claims.

        Args:
            chunk, remote_known: as for `apply`; the chunk may be empty.
            claim: the whole known set of the snapshot, or None where it may not be claimed (R5).
            floor: the peer's purge floor; ours rises to the maximum of both with the claim.
            full: whether a full-state round is complete with that.
        """
        return self._applier.finish(chunk, remote_known, claim, floor, full)

    def apply_full(
        self,
        chunk: Chunk,
        remote_known: KnownSet,
        floor: Mapping[int, int],
        after_key: bytes | None,
        upto: bytes | None,
    ) -> Applied:
        """Merge a stretch of a full-state round (R9): all keys in it, absence counting.

        Args:
            chunk: the peer's records of the stretch, in key order.
            after_key, upto: the stretch is what lies behind the one up to and with the other;
                None is before the first, behind the last key.
        """
        return self._applier.apply_full(chunk, remote_known, floor, after_key, upto)

    def apply_ranges(
        self,
        pieces: Iterable[Piece],
        remote_known: KnownSet,
        floor: Mapping[int, int],
        *,
        mends_ms: int | None = None,
    ) -> Applied:
        """Merge ranges of keys, absence counting.

        Args:
            pieces: disjoint, each with all of the peer's records that lie there.
            remote_known, floor: as for `apply_full`; not asked in a mend.
            mends_ms: where a difference is mended (R16), as of which wall clock in milliseconds: a
                version goes only where the context of the other side covers it, whatever either
                side knows.
        """
        return self._applier.apply_ranges(pieces, remote_known, floor, mends_ms)

    def fork(self, was_forgotten: bool = False) -> None:
        """Take a new origin and issue what no peer was shown again under it (R13).

        Args:
            was_forgotten: whether the cluster has forgotten the old one (R10).
        """
        self._fork.mend(was_forgotten)

    def collect(self, watermark: Watermark, origin: int, after_key: bytes | None) -> Step:
        """One step of collecting (R8): look at the next rows behind a key, drop what is deleted
        everywhere, shrink contexts.

        Args:
            watermark: taken earlier, under `origin`.
            after_key: where the last step ended; None begins a pass.
        """
        return self._collector.step(watermark, origin, after_key)

    def members(self) -> list[tuple[Member, int]]:
        """What was stored of the members (R7), each with the wall clock, in milliseconds, at which
        it was heard."""
        return read_members(self)

    def save_members(self, accounts: Iterable[tuple[Member, int]]) -> None:
        """Store what is known of some members; see `members`."""
        write_members(self, accounts)

    def when_expired(self, call: Callable[[list[bytes]], object] | None) -> None:
        """Have `call` called with swept keys, see `Sweeper.on_expired`. None ends that."""
        self._sweeper.on_expired = call

    def sweep(self) -> None:
        """Take values that have expired out of the user's keys, and put back what went too early by
        a clock that was ahead (R17); at most `SWEEP_BATCHES_MAX` commits.

        `due.is_now` tells whether there is anything to do, and whether that was all.
        """
        with self._sweep_turn:
            self._sweeper.sweep(SWEEP_BATCHES_MAX)

    # Durability

    def sync_point(self) -> None:
        """Make all commits so far survive a power cut, and note the known set as durable (R11).

        Raises:
            CommitError: the row could not be written; nothing is called durable.
            StoreFailedError: the disk failed to sync.
        """
        self.level.refuse_in_update()
        with self._sync_point_turn:
            with self._lock:
                self.refuse_closed()
                known, origin, mends = self.known_now(), self.origin, self.mends
                self.becoming = known
            self.level.sync()
            self.mends_durable = mends
            if known == self.durable:
                return
            row = pack_known(known)
            with self._lock:
                self.refuse_closed()
                if self.origin != origin:
                    return  # a fork meanwhile: what it gave up must not be called durable
                batch = self.db.write_batch()
                batch.put(meta_key("durable"), row)
                self.commit_quietly(batch)
            self.level.sync()
            with self._lock:
                if self.origin == origin:
                    self.durable = known
                    self.sync_points += 1

    def durable_known(self) -> KnownSet:
        """The known set as of the last sync point."""
        return self.durable.copy()

    def close(self) -> None:
        """Leave everything synced and marked as cleanly closed. Never closes the LevelDB.

        Calls in flight finish first; later ones raise ClosedError. Idempotent.

        Raises:
            UsageError: it is called in a function that `update` runs.
            StorageError: the mark could not be written; the next open takes the store for killed.
        """
        self.level.refuse_in_update()
        with self.apply_mutex, self._lock:
            if self.closed is not None:
                return
            self.closed = "the store is closed: open it again"
            self._slow = True
        self.gate.shut()
        self.revisit.stop()
        self._filling.end()
        self._tell()
        try:
            if self.level.failed is None:
                opening.mark_clean(self)
        finally:
            self.level.release(self.prefix)
            _stores.discard(self)

    def abandon(self, why: str) -> None:
        """Refuse everything from now on, without touching the LevelDB (a forked child)."""
        self.closed = why
        self._slow = True
        # Threads that held these are not there any more.
        self.apply_mutex = threading.Lock()
        self._sweep_turn = threading.Lock()
        self._lock = self.level.lock = threading.Lock()
        self._bells_lock = threading.Lock()


_stores: "weakref.WeakSet[Store]" = weakref.WeakSet()


def _after_fork() -> None:
    for store in _stores:
        store.abandon(
            "this process was forked from the one that opened the store, and LevelDB cannot be "
            "used in both: open another directory here, or fork before opening"
        )


os.register_at_fork(after_in_child=_after_fork)
