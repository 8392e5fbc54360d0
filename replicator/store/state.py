"""What one open store holds in memory, and how records are read and written back.

The pieces of a store (local writes, applying, sources, recovery) share this state. What each
mutation owes, in one WriteBatch:

- the record's index row, and with it the user's row, all values aside, and the expiry row where
  what it shows expires (keyspace module);
- a log entry for each live version, none for a superseded one;
- the known-set row of this store's own origin, where an own log entry goes without an own write;
- the dots in the known set exactly when their effect is in the same batch (R3).

Lock order: apply mutex, then the level's lock. `learnt` changes under both.
"""

import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from zlib import crc32

import plyvel
from plyvel._plyvel import PrefixedDB, WriteBatch

from replicator.core import rows
from replicator.core.clock import AheadTable, HybridClock
from replicator.core.known import KnownSet
from replicator.core.record import ABSENT, Record, Version
from replicator.core.resolve import Resolution
from replicator.errors import ClosedError, ClusterChangedError, CorruptionError
from replicator.store.absent import AbsentFilter
from replicator.store.expiry import Due, expiry_of, keeps_aside
from replicator.store.keyspace import (
    INDEX,
    LOG,
    NUMBER,
    SEQ,
    after,
    expiry_key,
    known_key,
    log_key,
    meta_key,
    swept_key,
    value_key,
)
from replicator.store.level import Level
from replicator.store.origins import Origins
from replicator.store.tally import Conflict, Tally

logger = logging.getLogger("replicator")

Reader = Callable[[bytes], "bytes | None"]
"""``get`` of a handle or of a snapshot."""


class State:
    """The memory of an open store; fields are changed under the level's lock.

    Attributes:
        db: the wrapped handle: a LevelDB, or one prefix of it.
        prefix: what the wrapped handle puts before every key.
        origin, number: who issues this store's writes, and its interned number (0: none yet).
        log_prefix: what the keys of own log entries begin with.
        seq, shown: the last own seq; the highest own seq ever sent to a peer.
        learnt: the known set of all other origins.
        floor: the purge floor.
        former: the origin that this directory had before and that nobody has any more; 0 for none.
        cluster_id: which cluster the store belongs to, once it does (R15).
        is_bound: whether it took that id from a peer with data.
        ahead: origins whose clocks are too far ahead of this node's.
        durable: the known set as of the last sync point.
        unexplained: what peers knew whose full-state rounds have changed something here and were
            not completed since: until it is known, the keys may be ahead of the known set, and
            digests say nothing (R16).
        becoming: what the sync point that was begun last makes durable.
        mends, mends_durable: how many commits wrote rows of dots that were known before (R16), and
            how many of them the last sync point has covered: what is behind it may be lost by a
            power cut although its dots are `durable`.
        closed_dots: the closed set (R10), as it is on the disk; replaced, never changed.
        wants_full: whether this node was forgotten and has had no full-state round since (R10).
        closed: why nothing is accepted any more, or None.
        armed: whether somebody is to be told of the next commit.
        on_change: how the node is told, where it `is_node_armed`.
        on_conflict: told of conflicts that own writes bring about, in the writing thread.
        tally: who won the conflicts that arose, and why.
        due: whether expiry rows ask for a look.
        is_littered: whether a delete, or a record that is not of the short kind, was written since
            collecting last began to look (R8); before it ever has, there may be any.
        dirty: keys written locally while an apply is being planned, or None.
    """

    def __init__(self, db: plyvel.DB | PrefixedDB, level: Level, prefix: bytes) -> None:
        self.db = db
        self.level = level
        self.prefix = prefix
        self.origins = Origins(level, db)
        self.origin = 0
        self.number = 0
        self.former = 0
        self.log_prefix = b""
        self.seq = 0
        self.shown = 0
        self.learnt = KnownSet()
        self.floor: dict[int, int] = {}
        self.absent = AbsentFilter()
        self.due = Due()
        self.is_littered = True
        self.dirty: set[bytes] | None = None
        self.apply_mutex = threading.Lock()
        self.clock = HybridClock(0)
        self.ahead = AheadTable()
        self.cluster_id: bytes | None = None
        self.is_bound = False
        self.durable = self.becoming = KnownSet()
        self.mends = self.mends_durable = 0
        self.unexplained = KnownSet()
        self.closed_dots = KnownSet()
        self.wants_full = False
        self.closed: str | None = None
        self.armed = self.is_node_armed = False
        self.on_change: Callable[[], None] | None = None
        self.on_conflict: Callable[[Conflict], object] | None = None
        self.tally = Tally()
        self._bells: dict[Callable[[], object], None] = {}
        self._bells_lock = threading.Lock()

    def set_origin(self, origin: int) -> None:
        """Issue writes under `origin` from now on; it is interned already."""
        self.origin = origin
        self.number = self.origins.number(origin)
        self.log_prefix = LOG + NUMBER.pack(self.number)

    def known_now(self) -> KnownSet:
        """A copy of the known set with the own seqs. The caller holds the lock."""
        known = self.learnt.copy()
        known.add_range(self.origin, 1, self.seq + 1)
        return known

    def written(self) -> KnownSet:
        """What was written here, under the present origin."""
        self.level.refuse_in_update()
        with self.level.lock:
            return KnownSet({self.origin: [1, self.seq + 1]} if self.seq else {})

    def unexplained_after(self, dropped_for: KnownSet | None, claim: KnownSet | None) -> KnownSet:
        """`unexplained` as it is after a commit.

        Args:
            dropped_for: what the peer knows whose full-state round changes something by it.
            claim: what becomes known by it.
        """
        unexplained = self.unexplained
        if dropped_for is not None:
            unexplained = unexplained.union(dropped_for)
        if claim is None or not unexplained:
            return unexplained
        is_known = self.known_now().union(claim).issuperset(unexplained)
        return KnownSet() if is_known else unexplained

    def commit(self, batch: WriteBatch) -> None:
        """Commit a batch under the lock, which the caller holds, and tell the node.

        Raises:
            ClosedError: the store is closed.
            CommitError, StoreFailedError: see `Level.commit`.
        """
        if self.closed is not None:
            raise ClosedError(self.closed)
        self.level.commit(batch)
        if self.armed:
            self.armed = False
            self._tell()

    def commit_quietly(self, batch: WriteBatch) -> None:
        """Like `commit`, for what no peer would ask for. The caller holds the lock."""
        self.refuse_closed()
        self.level.commit(batch)

    def refuse_closed(self) -> None:
        """Raise ClosedError where the store is closed: its LevelDB may be, too."""
        if self.closed is not None:
            raise ClosedError(self.closed)

    def rearm(self) -> None:
        """Call `on_change` again after the next commit."""
        self.is_node_armed = self.armed = True

    def when_changed(self, bell: Callable[[], object]) -> None:
        """Call `bell` once after the next commit, in the committing thread, under the lock; it must
        be quick. Look at the store after this, not before."""
        with self._bells_lock:
            self._bells[bell] = None
        self.armed = True

    def forget_bell(self, bell: Callable[[], object]) -> None:
        """Take `when_changed` back."""
        with self._bells_lock:
            self._bells.pop(bell, None)

    def _tell(self) -> None:
        """Call `on_change` and ring; the commit has happened, whatever that raises."""
        with self._bells_lock:
            told, self._bells = list(self._bells), {}
        if self.is_node_armed and self.on_change is not None:
            self.is_node_armed = False
            told.append(self.on_change)
        for tell in told:
            try:
                tell()
            except Exception:
                logger.exception("the callback for changes of %s failed", self.level.path)

    def has_data(self) -> bool:
        """Whether the store holds any record, or is about to get those of its cluster (R15)."""
        if self.is_bound:
            return True
        with self.db.iterator(start=INDEX, stop=after(INDEX), include_value=False) as index:
            return next(index, None) is not None

    def adopt_cluster(
        self,
        cluster_id: bytes,
        *,
        expected: bytes | None = None,
        is_forced: bool = True,
        is_binding: bool = False,
    ) -> None:
        """Belong to this cluster from now on (R15), durably: data that survives a power cut
        without it would belong to another one.

        Args:
            expected: the id that the store is thought to have.
            is_forced: whether the id is taken although the store has another one by now.
            is_binding: whether the store counts as one with data from now on.

        Raises:
            ClusterChangedError: it has another one; a first write and several first greetings may
                come at the same moment.
        """
        with self.level.lock:
            self.refuse_closed()
            if not is_forced and self.cluster_id not in (expected, cluster_id):
                raise ClusterChangedError(
                    "this node has taken another cluster during the greeting: greet again"
                )
            self._put_cluster(cluster_id)
            self.is_bound |= is_binding
        self.level.sync()

    def found_cluster(self) -> None:
        """Give the store a cluster of its own, unless a first greeting did so meanwhile."""
        fresh = os.urandom(16)
        with self.level.lock:
            self.refuse_closed()
            if self.cluster_id is not None:
                return
            self._put_cluster(fresh)
        self.level.sync()

    def _put_cluster(self, cluster_id: bytes) -> None:
        batch = self.db.write_batch()
        batch.put(meta_key("cluster"), cluster_id)
        self.commit_quietly(batch)
        self.cluster_id = cluster_id

    def wall_ms(self) -> int:
        """The wall clock, in milliseconds since the epoch: what expiries are compared with."""
        return time.time_ns() // 1_000_000

    def own_known_row(self, batch: WriteBatch) -> None:
        """Make the own seqs last although an own log entry goes."""
        if self.seq:
            batch.put(known_key(self.number, 1), SEQ.pack(self.seq + 1))

    def read(self, key: bytes, get: Reader | None = None) -> Record:
        """The record of a key with its values, from the handle or a snapshot's ``get``."""
        return self.read_shown(key, get)[0]

    def read_shown(self, key: bytes, get: Reader | None = None) -> tuple[Record, int]:
        """The same, and the place of the version that the key shows, or `rows.MERGED`."""
        get = get or self.db.get
        row = get(INDEX + key)
        if row is None:
            return ABSENT, 0
        record, visible = rows.unpack(row, key, self.origins.by_number)
        return self.load(record, get), visible

    def load(self, record: Record, get: Reader) -> Record:
        """The record with its values.

        Raises:
            CorruptionError: a value is missing, or differs from its checksum.
        """
        aside = keeps_aside(record)
        return Record(
            tuple(self._load(version, aside, get) for version in record.versions), record.context
        )

    def _load(self, version: Version, aside: bool, get: Reader) -> Version:
        if version.is_delete:
            return version
        origin, seq = version.dot
        value = get(value_key(self.origins.number(origin), seq) if aside else version.key)
        if value is None or crc32(value) != version.checksum:
            raise CorruptionError(
                f"the value of key {version.key!r}, dot {version.dot}, is "
                + ("missing" if value is None else "not the one written")
                + f" in {self.level.path}: something else wrote to this LevelDB; stop it and "
                f"run: replicator verify {self.level.path} --repair, or put the key again"
            )
        return replace(version, value=value)

    def install(
        self, batch: WriteBatch, key: bytes, old: Record, new: Record, shown: Resolution
    ) -> bool:
        """Put into `batch` all that turns `old` into `new`.

        Args:
            old: as the index has it; values need not be loaded.
            new: at least one version, values loaded.
            shown: what `new` resolves to. A value that has expired by now is not shown (R17).

        Returns:
            Whether an own log entry went.
        """
        number = self.origins.number
        if new is not old:  # a sweep writes a record as it is
            self.is_littered = True
        own_went = self._clear(batch, key, old, new)
        aside = keeps_aside(new)
        for version in new.versions:
            place = number(version.dot.origin), version.dot.seq
            batch.put(log_key(*place), key)
            if aside and version.value is not None:
                batch.put(value_key(*place), version.value)
        visible = rows.MERGED if shown.merged else new.versions.index(shown.visible)
        batch.put(INDEX + key, rows.pack(new, number, visible))
        if shown.visible.value is None or self._expires(batch, key, shown.visible):
            batch.delete(key)
        else:
            batch.put(key, shown.visible.value)
        return own_went

    def _expires(self, batch: WriteBatch, key: bytes, shown: Version) -> bool:
        """Put the expiry row of a key into `batch`. Returns whether its value has expired."""
        expiry_ms = expiry_of(shown)
        if expiry_ms is None:
            return False
        is_over = expiry_ms <= self.wall_ms()
        batch.put((swept_key if is_over else expiry_key)(expiry_ms, key), b"")
        self.due.note(expiry_ms, key, is_swept=is_over)
        return is_over

    def remove(self, batch: WriteBatch, key: bytes, old: Record) -> bool:
        """Put into `batch` the removal of a whole record. Returns whether an own log entry went."""
        batch.delete(INDEX + key)
        batch.delete(key)
        return self._clear(batch, key, old, ABSENT)

    def _clear(self, batch: WriteBatch, key: bytes, old: Record, new: Record) -> bool:
        """Remove the expiry row, and log entries and values aside that are not needed any more."""
        stays = {version.dot for version in new.versions}
        had_aside, has_aside = keeps_aside(old), keeps_aside(new)
        own_went = False
        for version in old.versions:
            place = self.origins.number(version.dot.origin), version.dot.seq
            gone = version.dot not in stays
            if gone:
                batch.delete(log_key(*place))
                own_went |= version.dot.origin == self.origin
            if had_aside and (gone or not has_aside):
                batch.delete(value_key(*place))
            expiry_ms = expiry_of(version)
            if expiry_ms is not None:  # of whichever of them it was, and swept or not
                batch.delete(expiry_key(expiry_ms, key))
                batch.delete(swept_key(expiry_ms, key))
        return own_went


def winner_first(record: Record, visible: int) -> tuple[Version, ...]:
    """The versions of a record, the one that the key shows first; in dot order where it shows what
    the resolver merged.

    Args:
        visible: as `State.read_shown` gives it.
    """
    versions = record.versions
    if visible == rows.MERGED:
        return versions
    return versions[visible : visible + 1] + versions[:visible] + versions[visible + 1 :]
