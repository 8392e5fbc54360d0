"""Local writes (R1): read the record, supersede it, commit; all in the caller's thread.

`put` of a key that surely has no record yet, nearly all of a bulk load, is written out by hand:
three rows, no look-up, no objects. Everything else goes through `_stage`.
"""

import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any
from zlib import crc32

import plyvel
from plyvel._plyvel import PrefixedDB, WriteBatch

from replicator.config import KEY_BYTES_MAX, VALUE_BYTES_MAX, Settings
from replicator.core import rows
from replicator.core.clock import HybridClock
from replicator.core.dots import Dot
from replicator.core.known import KnownSet
from replicator.core.merge import next_clock
from replicator.core.merge import write as write_record
from replicator.core.record import ABSENT, Version
from replicator.core.resolve import Resolution, default_resolver
from replicator.errors import ClosedError, ReservedKeyError, StorageError
from replicator.store.gate import Gate
from replicator.store.keyspace import INDEX, RESERVED, SEQ
from replicator.store.level import Level
from replicator.store.resolving import Settler
from replicator.store.state import State

_pack_seq = SEQ.pack
_pack_single = rows.SINGLE_ROW.pack
_unpack_single = rows.SINGLE_ROW.unpack
_SINGLE, _DELETE = rows.SINGLE, rows.DELETE
_FILTER_MASK = (1 << 23) - 1

Operation = tuple[bytes, "bytes | None"]
"""A key and its new value; None deletes."""

NO_EXPIRIES: Mapping[bytes, int] = {}
"""Nothing in a batch expires."""

_HELD = nullcontext()
"""Instead of the lock, where the caller holds it."""


class LocalWrites(State):
    """A store's own writes. Thread-safe.

    Every commit raises CommitError where it did not happen, StoreFailedError where the LevelDB
    refuses commits until it is reopened (R12), and ClosedError after `close` or in a forked child.

    Attributes:
        gate: what the first own write waits for.
        settler: runs the resolver.
        writes: how many keys were written since opening.
    """

    def __init__(
        self, db: plyvel.DB | PrefixedDB, level: Level, prefix: bytes, settings: Settings
    ) -> None:
        super().__init__(db, level, prefix)
        self.settings = settings
        self.clock = HybridClock(int(settings.clock_skew_max * 1000))
        self.gate = Gate(settings.join_timeout)
        self.settler = Settler(default_resolver, "concurrent", settings.resolver_timeout)
        self.writes = 0
        self._slow = True
        self._lock = level.lock
        with level.lock:
            level.stores.add(self)
        self._batch = db.write_batch()
        self._sync_default = settings.sync

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
            if self.closed is not None:
                raise ClosedError(self.closed)
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
                    if now <= (last := clock.last):
                        now = last + 1 if last - now <= clock.lead_max else clock.set_back(now)
                    clock.last = now
                    seq = _pack_seq(self.seq + 1)
                    batch.put(key, value)
                    batch.put(self.log_prefix + seq, key)
                    batch.put(
                        INDEX + key,
                        _pack_single(_SINGLE, 0, self.number, self.seq + 1, 0, now, crc32(value)),
                    )
                if self.dirty is not None:
                    self.dirty.add(key)
                self._issue(batch, 1)
            finally:
                batch.clear()
        if sync or (sync is None and self._sync_default):
            self.level.sync()

    def delete(self, key: bytes, *, sync: bool | None = None) -> None:
        """Delete one key (R1); deleting an absent one issues a tombstone too. See `put`."""
        self.write(((key, None),), sync=sync)

    def write(
        self,
        operations: Sequence[Operation] | Mapping[bytes, bytes | None],
        *,
        sync: bool | None = None,
        expiries: Mapping[bytes, int] = NO_EXPIRIES,
        is_held: bool = False,
        is_checked: bool = False,
    ) -> KnownSet:
        """Write several keys in one commit: all of it or nothing, here and at every reader.

        Folded to the last operation per key; each key takes one dot. See `put`.

        Args:
            operations: or a mapping of the same.
            expiries: of keys whose last operation is a put, when its value expires: wall clock in
                milliseconds since the epoch, within `check_expiry`.
            is_held: whether the caller has called `hold`.
            is_checked: whether `operations` is a mapping whose keys and values were checked.

        Returns:
            The dots.
        """
        if is_checked and isinstance(operations, Mapping):
            folded = operations
        else:
            folded = checked(dict(operations))
        if not folded:
            return KnownSet()
        if not is_held:
            self.admit()
        # `with` alone lets no interrupt (Ctrl-C) come between the lock and its release.
        with _HELD if is_held else self._lock:
            self.refuse_closed()
            batch = self._batch
            try:
                self._stage_many(batch, folded, expiries)
                if self.dirty is not None:
                    self.dirty.update(folded)
                self._issue(batch, len(folded))
            finally:
                batch.clear()
            stop = self.seq + 1
            dots = KnownSet({self.origin: [stop - len(folded), stop]})
        if sync or (sync is None and self._sync_default):
            self.level.sync()
        return dots

    @property
    def is_admitted(self) -> bool:
        """Whether a write has not to wait for the gate, or to found a cluster, first."""
        return not self._slow

    def admit(self) -> None:
        """Return when `is_admitted`: once, after opening. Raises as a write."""
        if self._slow:
            self._admit()

    def hold(self) -> None:
        """Let nobody else write, peers included, until `let_go` in the same thread.

        What the thread reads in between stays so; it writes by `write` alone, and must not call
        what takes the lock. Keep it short.
        """
        self.admit()
        self._lock.acquire()

    def let_go(self) -> None:
        """The end of `hold`."""
        self._lock.release()

    def _issue(self, batch: WriteBatch, count: int) -> None:
        """Commit a batch with the next `count` own seqs. The caller holds the lock.

        They are taken before the commit, and given back only where it surely did not happen: an
        interrupt (Ctrl-C) right behind the commit would make two writes of one dot (R13).
        """
        self.seq += count
        self.writes += count  # before the node is told of the commit, and looks
        try:
            self.commit(batch)
        except (StorageError, ClosedError):
            self.seq -= count
            self.writes -= count
            raise

    def _stage_many(
        self,
        batch: WriteBatch,
        folded: Mapping[bytes, bytes | None],
        expiries: Mapping[bytes, int],
    ) -> None:
        """Put the writes of several keys into `batch`; the seqs follow `self.seq` in order.

        What `_stage` does for a record that only this store wrote is written out here once more.
        """
        absent = self.absent
        bits, ready = absent.bits, absent.ready
        clock = self.clock
        get, put = self.db.get, batch.put
        log_prefix, number, seq = self.log_prefix, self.number, self.seq
        now = time.time_ns() // 1_000_000 << 16
        if now <= clock.last:
            now = clock.tick(time.time_ns() // 1_000_000)
        for key, value in folded.items():
            seq += 1
            place = hash(key)
            octet = place >> 3 & _FILTER_MASK
            bit = 1 << (place & 7)
            key_clock = 0
            if value is None or key in expiries:
                self._stage(batch, key, value, seq, now, expiries.get(key))
                now += 1
                continue
            if bits[octet] & bit or not ready:
                row = get(INDEX + key)
                if row is not None:
                    if row[0] == _SINGLE:
                        _, _, writer, old_seq, key_clock, _, _ = _unpack_single(row)
                        key_clock += 1
                    if row[0] != _SINGLE or writer != number:
                        self._stage(batch, key, value, seq, now)
                        now += 1
                        continue
                    batch.delete(log_prefix + _pack_seq(old_seq))
            bits[octet] |= bit
            put(key, value)
            put(log_prefix + _pack_seq(seq), key)
            put(INDEX + key, _pack_single(_SINGLE, 0, number, seq, key_clock, now, crc32(value)))
            now += 1
        clock.last = now - 1

    def _stage(
        self,
        batch: WriteBatch,
        key: bytes,
        value: bytes | None,
        seq: int | None = None,
        timestamp: int | None = None,
        expiry_ms: int | None = None,
    ) -> None:
        """Put one write into `batch`, after a look at the record there is."""
        if seq is None:
            seq = self.seq + 1
        if timestamp is None:
            timestamp = self.clock.tick(time.time_ns() // 1_000_000)
        row = self.db.get(INDEX + key) if self.absent.may_contain(key) else None
        if expiry_ms is not None:
            self.absent.add(key)
        elif row is not None and row[0] == _SINGLE:
            _, _, old_number, old_seq, old_clock, _, _ = rows.SINGLE_ROW.unpack(row)
            if old_number == self.number:
                batch.delete(self.log_prefix + _pack_seq(old_seq))
                return self._stage_alone(batch, key, value, seq, old_clock + 1, timestamp)
        elif row is None:
            self.absent.add(key)
            return self._stage_alone(batch, key, value, seq, 0, timestamp)
        old = ABSENT if row is None else rows.unpack(row, key, self.origins.by_number)[0]
        version = self._version(key, value, seq, next_clock(old), timestamp, expiry_ms)
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
            self.is_littered = True
            batch.delete(key)
        else:
            batch.put(key, value)
        batch.put(self.log_prefix + _pack_seq(seq), key)
        batch.put(
            INDEX + key,
            _pack_single(_SINGLE, flags, self.number, seq, clock, timestamp, checksum),
        )

    def _version(
        self,
        key: bytes,
        value: bytes | None,
        seq: int,
        clock: int,
        timestamp: int,
        expiry_ms: int | None,
    ) -> Version:
        checksum = 0 if value is None else crc32(value)
        return Version(
            key, Dot(self.origin, seq), clock, timestamp, value is None, value, expiry_ms, checksum
        )

    def _admit(self) -> None:
        """What the first own write waits for, and why one may be refused."""
        self.refuse_closed()
        self.level.refuse_in_update()
        self.gate.wait()
        if not self.number or self.cluster_id is None:
            self._introduce()
        with self._lock:
            self._slow = self.closed is not None

    def _introduce(self) -> None:
        """Give the own origin a number, and the store a cluster, before the first own write."""
        with self.apply_mutex:
            self.refuse_closed()
            if not self.number:
                self.origins.intern(self.origin)
                self.set_origin(self.origin)
            if self.cluster_id is None:
                self.found_cluster()


def checked(operations: dict[bytes, bytes | None]) -> dict[bytes, bytes | None]:
    """The same, where all of it can be written. Raises as `check_key` and `check_value`."""
    for key, value in operations.items():
        if type(key) is not bytes or key >= RESERVED or len(key) > KEY_BYTES_MAX:
            check_key(key)
        if value is not None and len(value) > VALUE_BYTES_MAX:
            check_value(key, value)
    return operations


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
