"""The store: local writes and reads of one replicated LevelDB namespace (R1, R6, R13).

Local writes run in the caller's thread under the level's lock. `put` of a key that surely has no
record yet, nearly all of a bulk load, is written out by hand: three rows, no look-up, no objects.
"""

import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any
from zlib import crc32

import plyvel
from plyvel._plyvel import Iterator as PlyvelIterator
from plyvel._plyvel import PrefixedDB, WriteBatch

from replicator.config import KEY_BYTES_MAX, VALUE_BYTES_MAX, Settings
from replicator.core import rows
from replicator.core.chunk import Chunk
from replicator.core.clock import HybridClock
from replicator.core.dots import Dot
from replicator.core.known import KnownSet
from replicator.core.merge import next_clock
from replicator.core.merge import write as write_record
from replicator.core.record import Record, Version
from replicator.core.resolve import Resolution, Resolver, ResolverMode, default_resolver
from replicator.errors import ClosedError, ReservedKeyError, UsageError
from replicator.store import opening
from replicator.store.apply import Applied, Applier
from replicator.store.digest import digest
from replicator.store.fork import Fork
from replicator.store.gate import Gate
from replicator.store.keyspace import (
    INDEX,
    RESERVED,
    SEQ,
    after,
    meta_key,
    pack_known,
    pack_meta,
)
from replicator.store.level import Level, split
from replicator.store.resolving import Settler
from replicator.store.source import Source
from replicator.store.state import State

_pack_seq = SEQ.pack
_pack_single = rows.SINGLE_ROW.pack
_SINGLE, _DELETE = rows.SINGLE, rows.DELETE
_FILTER_MASK = (1 << 23) - 1

Operation = tuple[bytes, "bytes | None"]
"""A key and its new value; None deletes."""


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


class Store(State):
    """One replicated namespace of an open LevelDB. Made by `Store.open`; thread-safe.

    Every commit raises CommitError where it did not happen, StoreFailedError where the LevelDB
    refuses commits until it is reopened (R12), and ClosedError after `close` or in a forked child.

    Attributes:
        on_change: called after a commit, in the committing thread, once until `rearm`.
    """

    def __init__(
        self, db: plyvel.DB | PrefixedDB, level: Level, prefix: bytes, settings: Settings
    ) -> None:
        super().__init__(db, level, prefix)
        self.settings = settings
        self.clock = HybridClock(int(settings.clock_skew_max * 1000))
        self.gate = Gate(settings.join_timeout)
        self.writes = 0
        self.sync_points = 0
        self._slow = True
        self._filler: threading.Thread | None = None
        self._updating: int | None = None
        self._lock = level.lock
        self._batch = db.write_batch()
        self._sync_default = settings.sync
        self.settler = Settler(default_resolver, "concurrent", settings.resolver_timeout)
        self._applier = Applier(self, self.settler)
        self._fork = Fork(self, self.settler)

    @classmethod
    def open(
        cls,
        db: plyvel.DB | PrefixedDB,
        *,
        settings: Settings | None = None,
        resolver: Resolver | None = None,
        resolver_mode: ResolverMode = "concurrent",
        adoption_progress: Callable[[int], None] | None = None,
    ) -> "Store":
        """Open the store in `db`, or make one of what is there.

        Args:
            db: an open handle; it stays the caller's, `close` does not close it.
            settings: see `Settings`.
            resolver, resolver_mode: see `replicator.core.resolve`.
            adoption_progress: called now and then with the number of existing keys adopted.

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
            opening.load(store, store.settler, adoption_progress)
        except BaseException:
            level.release(prefix)
            raise
        _stores.add(store)
        store._fill_filter_in_background()
        return store

    # Local writes

    def put(self, key: bytes, value: Any, *, sync: bool | None = None) -> None:
        """Write one key (R1).

        Args:
            key: bytes outside of the reserved range, at most `KEY_BYTES_MAX`.
            value: anything with a buffer, at most `VALUE_BYTES_MAX`.
            sync: return only when it survives a power cut; None follows the settings.

        Raises:
            TypeError: key or value is of another type.
            ReservedKeyError: the key is reserved, or key or value are too large.
        """
        if type(key) is not bytes or key >= RESERVED or len(key) > KEY_BYTES_MAX:
            check_key(key)
        if type(value) is not bytes:
            value = bytes(memoryview(value))
        if len(value) > VALUE_BYTES_MAX:
            check_value(key, value)
        if self._slow:
            self._admit()
        with self._lock:
            batch = self._batch
            absent = self.absent
            place = hash(key)
            bits = absent.bits
            octet = place >> 3 & _FILTER_MASK
            bit = 1 << (place & 7)
            try:
                if bits[octet] & bit or not absent.ready:
                    self._stage(batch, key, value)
                else:
                    bits[octet] |= bit
                    clock = self.clock
                    now = time.time_ns() // 1_000_000 << 16
                    if now <= clock.last:
                        now = clock.last + 1
                    clock.last = now
                    seq = _pack_seq(self.seq + 1)
                    batch.put(key, value)
                    batch.put(self.log_prefix + seq, key)
                    batch.put(
                        INDEX + key,
                        _pack_single(_SINGLE, 0, self.number, self.seq + 1, 0, now, crc32(value)),
                    )
                self.commit(batch)
                self.seq += 1
                self.writes += 1
            finally:
                batch.clear()
            if self.dirty is not None:
                self.dirty.add(key)
        if sync or (sync is None and self._sync_default):
            self.level.sync()

    def delete(self, key: bytes, *, sync: bool | None = None) -> None:
        """Delete one key (R1); deleting an absent one issues a tombstone too. See `put`."""
        self.write(((key, None),), sync=sync)

    def write(self, operations: Sequence[Operation], *, sync: bool | None = None) -> None:
        """Write several keys in one commit: all of it or nothing, here and at every reader.

        Folded to the last operation per key; each key takes one dot. See `put`.
        """
        folded = dict(operations)
        for key, value in folded.items():
            if type(key) is not bytes or key >= RESERVED or len(key) > KEY_BYTES_MAX:
                check_key(key)
            if value is not None and len(value) > VALUE_BYTES_MAX:
                check_value(key, value)
        if not folded:
            return
        if self._slow:
            self._admit()
        with self._lock:
            batch = self._batch
            try:
                self._stage_many(batch, folded)
                self.commit(batch)
                self.seq += len(folded)
                self.writes += len(folded)
            finally:
                batch.clear()
            if self.dirty is not None:
                self.dirty.update(folded)
        if sync or (sync is None and self._sync_default):
            self.level.sync()

    def update(
        self,
        key: bytes,
        fn: Callable[[list[Version]], bytes | None],
        *,
        sync: bool | None = None,
    ) -> bytes | None:
        """Read, change and write one key, with no other write of this node in between.

        Args:
            fn: gets the live versions, winner first (none for an absent key), returns the new
                value or None to delete. It runs under the write lock: keep it short; writing to
                this store in it raises UsageError. What it raises is passed on, nothing written.

        Returns:
            What `fn` returned.
        """
        check_key(key)
        if self._slow:
            self._admit()
        with self._lock:
            self._updating = threading.get_ident()
            self._slow = True  # so that a write in `fn` is noticed instead of waiting for ever
            try:
                value = fn(self._ordered(self.read(key)))
            finally:
                self._updating = None
                self._slow = self.closed is not None
            if value is not None:
                value = bytes(memoryview(value))
                check_value(key, value)
            try:
                self._stage(self._batch, key, value)
                self.commit(self._batch)
                self.seq += 1
                self.writes += 1
            finally:
                self._batch.clear()
            if self.dirty is not None:
                self.dirty.add(key)
        if sync or (sync is None and self._sync_default):
            self.level.sync()
        return value

    def _stage_many(self, batch: WriteBatch, folded: Mapping[bytes, bytes | None]) -> None:
        """Put the writes of several keys into `batch`; the seqs follow `self.seq` in order."""
        absent = self.absent
        bits, ready = absent.bits, absent.ready
        clock = self.clock
        put = batch.put
        log_prefix, number, seq = self.log_prefix, self.number, self.seq
        now = time.time_ns() // 1_000_000 << 16
        if now <= clock.last:
            now = clock.last + 1
        for key, value in folded.items():
            seq += 1
            place = hash(key)
            octet = place >> 3 & _FILTER_MASK
            bit = 1 << (place & 7)
            if value is None or bits[octet] & bit or not ready:
                self._stage(batch, key, value, seq, now)
            else:
                bits[octet] |= bit
                put(key, value)
                put(log_prefix + _pack_seq(seq), key)
                put(INDEX + key, _pack_single(_SINGLE, 0, number, seq, 0, now, crc32(value)))
            now += 1
        clock.last = now - 1

    def _stage(
        self,
        batch: WriteBatch,
        key: bytes,
        value: bytes | None,
        seq: int | None = None,
        timestamp: int | None = None,
    ) -> None:
        """Put one write into `batch`, after a look at the record there is."""
        if seq is None:
            seq = self.seq + 1
        if timestamp is None:
            timestamp = self.clock.tick(time.time_ns() // 1_000_000)
        row = self.db.get(INDEX + key) if self.absent.may_contain(key) else None
        if row is not None and row[0] == _SINGLE:
            _, _, old_number, old_seq, old_clock, _, _ = rows.SINGLE_ROW.unpack(row)
            if old_number == self.number:
                batch.delete(self.log_prefix + _pack_seq(old_seq))
                return self._stage_alone(batch, key, value, seq, old_clock + 1, timestamp)
        elif row is None:
            self.absent.add(key)
            return self._stage_alone(batch, key, value, seq, 0, timestamp)
        old, _ = rows.unpack(row, key, self.origins.by_number)
        version = self._version(key, value, seq, next_clock(old), timestamp)
        new = write_record(old, version)
        self.install(batch, key, old, new, Resolution(version, merged=False, conflict=False))
        return None

    def _stage_alone(
        self,
        batch: WriteBatch,
        key: bytes,
        value: bytes | None,
        seq: int,
        clock: int,
        timestamp: int,
    ) -> None:
        """The rows of a record that no other origin ever wrote."""
        flags, checksum = (_DELETE, 0) if value is None else (0, crc32(value))
        if value is None:
            batch.delete(key)
        else:
            batch.put(key, value)
        batch.put(self.log_prefix + _pack_seq(seq), key)
        batch.put(
            INDEX + key,
            _pack_single(_SINGLE, flags, self.number, seq, clock, timestamp, checksum),
        )

    def _version(
        self, key: bytes, value: bytes | None, seq: int, clock: int, timestamp: int
    ) -> Version:
        checksum = 0 if value is None else crc32(value)
        return Version(
            key, Dot(self.origin, seq), clock, timestamp, value is None, value, None, checksum
        )

    def _admit(self) -> None:
        """What the first own write waits for, and why one may be refused."""
        if self.closed is not None:
            raise ClosedError(self.closed)
        if self._updating == threading.get_ident():
            raise UsageError(
                "a write to the store inside update(): return the new value instead, and write "
                "other keys before or after"
            )
        self.gate.wait()
        with self.apply_mutex:
            if not self.number:
                self.origins.intern(self.origin)
                self.set_origin(self.origin)
            if self.cluster_id is None:
                self._store_cluster(os.urandom(16))
            self._slow = self.closed is not None or self._updating is not None

    # Reads

    def record(self, key: bytes) -> Record:
        """All of one key, values loaded; without versions where there is none."""
        with self.db.snapshot() as snapshot:
            return self.read(key, snapshot.get)

    def versions(self, key: bytes) -> list[Version]:
        """The live versions of a key, tombstones included, winner first."""
        return self._ordered(self.record(key))

    def conflicts(self) -> Iterator[tuple[bytes, list[Version]]]:
        """Every key in conflict, in key order, with its versions, winner first.

        As of the moment of the first step; closes its snapshot at the end or when dropped.
        """
        with (
            self.db.snapshot() as snapshot,
            snapshot.iterator(start=INDEX, stop=after(INDEX)) as index,
        ):
            for row_key, row in index:
                if row[0] == _SINGLE:
                    continue
                key = row_key[len(INDEX) :]
                record, _ = rows.unpack(row, key, self.origins.by_number)
                if len(record.versions) > 1:
                    record = self.load(record, snapshot.get)
                    if self.settler.resolve(record.versions).conflict:
                        yield key, self._ordered(record)

    def digest(self, moment_ms: int | None = None) -> str:
        """A hash that is equal on nodes that hold the same (R16), as hex.

        Args:
            moment_ms: what expired before this wall clock does not count; None is now.
        """
        with self.db.snapshot() as snapshot:
            moment_ms = time.time_ns() // 1_000_000 if moment_ms is None else moment_ms
            return digest(snapshot, self.origins.by_number, moment_ms)

    def known(self) -> KnownSet:
        """The known set, own seqs included, as of now."""
        with self._lock:
            return self.known_now()

    def has_data(self) -> bool:
        """Whether the store holds any record."""
        with self.db.iterator(start=INDEX, stop=after(INDEX), include_value=False) as index:
            return next(index, None) is not None

    def counters(self) -> StoreCounters:
        """What happened since opening."""
        applier, settler = self._applier, self.settler
        return StoreCounters(
            writes=self.writes,
            applied=applier.applied,
            conflicts=applier.conflicts,
            resolver_faults=settler.faults,
            commit_failures=self.level.commit_failures,
            skewed=self.clock.skewed,
            forks=self._fork.count,
            sync_points=self.sync_points,
        )

    def _ordered(self, record: Record) -> list[Version]:
        if not record.versions:
            return []
        visible = self.settler.resolve(record.versions).visible
        return sorted(record.versions, key=lambda version: (version is not visible, version.dot))

    # Replication

    def show(self, seq: int) -> None:
        """Remember that peers may know own seqs up to `seq` (R13), before they are told."""
        if seq <= self.shown:
            return
        batch = self.db.write_batch()
        batch.put(meta_key("shown"), pack_meta(seq))
        with self._lock:
            self.level.commit(batch)
            self.shown = max(self.shown, seq)

    def open_source(self) -> Source:
        """One snapshot to serve a round from; the caller closes it."""
        with self._lock:
            if self.closed is not None:
                raise ClosedError(self.closed)
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
    ) -> Applied:
        """Merge the last or only piece of a round and, in the same commit, know what it claims.

        Args:
            chunk, remote_known: as for `apply`; the chunk may be empty.
            claim: the whole known set of the snapshot, or None where it may not be claimed (R5).
            floor: the peer's purge floor; ours rises to the maximum of both with the claim.
        """
        return self._applier.finish(chunk, remote_known, claim, floor)

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

    def adopt_cluster(self, cluster_id: bytes) -> None:
        """Belong to this cluster from now on (R15)."""
        self._store_cluster(cluster_id)

    def _store_cluster(self, cluster_id: bytes) -> None:
        batch = self.db.write_batch()
        batch.put(meta_key("cluster"), cluster_id)
        with self._lock:
            self.level.commit(batch)
            self.cluster_id = cluster_id

    def fork(self) -> None:
        """Take a new origin and issue what no peer was shown again under it (R13)."""
        self._fork.mend()

    def rearm(self) -> None:
        """Call `on_change` again after the next commit."""
        self.armed = True

    # Durability

    def sync_point(self) -> None:
        """Make all commits so far survive a power cut, and note the known set as durable (R11).

        Raises:
            StoreFailedError: the disk failed to sync.
        """
        with self._lock:
            known = self.known_now()
        self.level.sync()
        if known == self.durable:
            return
        batch = self.db.write_batch()
        batch.put(meta_key("durable"), pack_known(known))
        with self._lock:
            self.level.commit(batch)
        self.level.sync()
        self.durable = known
        self.sync_points += 1

    def durable_known(self) -> KnownSet:
        """The known set as of the last sync point."""
        return self.durable.copy()

    def close(self) -> None:
        """Leave everything synced and marked as cleanly closed. Never closes the LevelDB.

        Calls in flight finish first; later ones raise ClosedError. Idempotent.
        """
        with self.apply_mutex, self._lock:
            if self.closed is not None:
                return
            self.closed = "the store is closed: open it again"
            self._slow = True
        self.gate.shut()
        if self._filler is not None:
            self._filler.join()
        try:
            if self.level.failed is None:
                opening.mark_clean(self)
        finally:
            self.level.release(self.prefix)
            _stores.discard(self)

    def _fill_filter_in_background(self) -> None:
        """Tell the filter all keys there are; a small index is read at once."""
        index = self.db.iterator(start=INDEX, stop=after(INDEX), include_value=False)
        if self._fill_filter(index, 20_000):
            index.close()
            return
        self._filler = threading.Thread(
            target=self._fill_filter_slowly, args=(index,), name="replicator filter", daemon=True
        )
        self._filler.start()

    def _fill_filter_slowly(self, index: "PlyvelIterator[bytes]") -> None:
        while self.closed is None and not self._fill_filter(index, 1000):
            pass
        index.close()

    def _fill_filter(self, index: "PlyvelIterator[bytes]", most: int) -> bool:
        add = self.absent.add
        skip = len(INDEX)
        for row_key in islice(index, most):
            add(row_key[skip:])
            most -= 1
        self.absent.ready = most > 0
        return self.absent.ready

    def abandon(self, why: str) -> None:
        """Refuse everything from now on, without touching the LevelDB (a forked child)."""
        self.closed = why
        self._slow = True


_stores: "weakref.WeakSet[Store]" = weakref.WeakSet()


def _after_fork() -> None:
    for store in _stores:
        store.abandon(
            "this process was forked from the one that opened the store, and LevelDB cannot be "
            "used in both: open another directory here, or fork before opening"
        )


os.register_at_fork(after_in_child=_after_fork)


def check_key(key: object) -> None:
    """Refuse what is no key for a user.

    Raises:
        TypeError: it is not bytes.
        ReservedKeyError: it is reserved, or larger than `KEY_BYTES_MAX`.
    """
    if not isinstance(key, bytes):
        raise TypeError(f"a key must be bytes, not {type(key).__name__}")
    if key >= RESERVED:
        raise ReservedKeyError(
            f"the key {key[:40]!r} begins with ff ff ff ff, which is reserved for the "
            "replicator's own rows: choose another key"
        )
    if len(key) > KEY_BYTES_MAX:
        raise ReservedKeyError(
            f"a key of {len(key)} bytes: at most {KEY_BYTES_MAX} can be replicated"
        )


def check_value(key: bytes, value: bytes) -> None:
    """Refuse a value that fits no frame.

    Raises:
        ReservedKeyError: it is larger than `VALUE_BYTES_MAX`.
    """
    if len(value) > VALUE_BYTES_MAX:
        raise ReservedKeyError(
            f"the value of key {key[:40]!r} has {len(value)} bytes: at most {VALUE_BYTES_MAX} can "
            "be replicated; split it over several keys"
        )
