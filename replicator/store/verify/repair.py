"""Mending what a verification finds, so that no peer loses anything by it.

The index is the truth (R11): log, values aside and known set are made to fit it. Three things are
not in the index:

- *What was changed behind the replicator's back* (a raw LevelDB writer) becomes a write of this
  node, like any other (R1); or, if a person says so, is undone.
- *What can still be read of a damaged record* is issued again under a new origin, with the clock
  and timestamp that it had, or as existing data (R14) where those are lost.
- *What is lost here* has to come back from peers. They send only what this node does not know,
  and to lack a record whose dots one knows means that it was superseded: in a full-state round
they would drop their good copies (R2, R9). So the dots have to leave the known set, those that
  the lost versions superseded too, which nothing names. Therefore of every origin that may have
  written the key only the dots that are live in other records stay known, and what lies under the
  purge floor (`mending.Doubts`). That is about what a newcomer knows that got those records in a
  round that was cut (R3).

Own dots cannot be lacked under the origin that goes on after them: the node takes a new one. All
of it is what opening does after a machine crash (R11): known is what the durable row says and what
is live, and the origin is new. So a repair first makes the durable row say less, marks the store as
crashed, durably, and then mends key by key, each whole in one batch. It may be cut anywhere:
opened by whomever, the store claims nothing that it lacks.

What the lost version of a key had superseded below the floor stays known. Should everybody have
lost that version, and somebody still hold what it superseded, the nodes differ until they compare
digests, and mending gives it back (R16).
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from zlib import crc32

import plyvel
from plyvel._plyvel import PrefixedDB

from replicator.config import Settings
from replicator.core import rows
from replicator.core.resolve import Resolver, ResolverMode, default_resolver
from replicator.core.resolvers import by_name
from replicator.errors import ConfigError, FormatError, ReservedKeyError, StorageError
from replicator.store.expiry import expiry_of, has_expired
from replicator.store.identity import look_around, new_origin
from replicator.store.keyspace import (
    FLOOR,
    INDEX,
    KNOWN,
    LOG,
    NUMBER,
    after,
    expiry_key,
    log_key,
    meta_key,
    pack_meta,
    swept_key,
    unpack_meta,
    value_key,
)
from replicator.store.level import Level, split
from replicator.store.local import Operation, check_key, check_value
from replicator.store.members import read_members, write_members
from replicator.store.resolving import Settler
from replicator.store.state import State
from replicator.store.store import Store
from replicator.store.verify.faults import Fault, Kind
from replicator.store.verify.mending import (
    ROW_GOES,
    Doubts,
    Mender,
    Outcome,
    mark,
)
from replicator.store.verify.reading import Reading
from replicator.store.verify.remains import Reader, remains_of
from replicator.store.verify.scan import Scan
from replicator.store.verify.sidefile import SideFile
from replicator.store.verify.tables import MALFORMED, Ground

ADOPTED_AT_ONCE = 500

BEHIND_OUR_BACK = frozenset({Kind.CHANGED, Kind.REMOVED, Kind.ADDED})

HARMLESS = (ROW_GOES - {Kind.FLOOR}) | BEHIND_OUR_BACK | {Kind.INDEX_FORM, Kind.EXPIRY_MISSING}
"""Kinds that are mended under the same origin, where no version is lost by them."""

LOSING = frozenset({Kind.INDEX, Kind.LOG_LOST, Kind.DOT_TWICE, Kind.ASIDE_LOST})
"""Kinds by which a version may be lost here."""

BOOKKEEPING = ("identity", "shown", "durable", "cluster", "adopt", "fork")
"""Meta rows that the mark, or the recovery after it, may change."""

_ABOUT_ROWS = ROW_GOES | {
    Kind.META,
    Kind.ORIGIN,
    Kind.KNOWN,
    Kind.DURABLE,
    Kind.LOG_ROW,
    Kind.ASIDE_STALE,
}
"""Kinds whose key is a whole row key."""


@dataclass(slots=True)
class Repair:
    """The repair of one stopped store.

    Args:
        db: its LevelDB, or the prefix of it; nobody else uses it. Stays the caller's.
        path: its directory.
        resolver, resolver_mode: what keys of several versions show; see `replicator.core.resolve`.
        undo: whether what was changed behind the replicator's back is undone.

    Attributes:
        counts: how many faults of each kind there were.
    """

    db: plyvel.DB | PrefixedDB
    path: Path
    resolver: Resolver | None = None
    resolver_mode: ResolverMode = "concurrent"
    undo: bool = False
    counts: Counter[Kind] = field(default_factory=Counter)
    _doubts: Doubts = field(default_factory=Doubts)
    _has_to_mark: bool = False
    _ground: Ground = field(default_factory=Ground)

    def copy(self, side_file: SideFile, progress: Callable[[int], object] | None = None) -> None:
        """Verify, and copy all rows that `mend` is going to touch. Seals the file.

        Args:
            progress: told now and then how many records were looked at.

        Raises:
            StorageError: LevelDB's own files are damaged, which is not mended here; or the file
                cannot be written. Nothing was changed.
            FormatError: there is no store, or one of a newer format.
        """
        with self.db.snapshot() as snapshot:
            scan = Scan(snapshot, split(self.db)[1], look_around(self.path))
            self._ground = scan.ground
            for fault in scan.steps():
                if progress is not None:
                    progress(scan.keys)
                if fault is None:
                    continue
                if fault.kind is Kind.UNREADABLE:
                    raise StorageError(
                        f"LevelDB's own files are damaged behind the row {fault.key!r}, "
                        f"{fault.detail}, and what stood there cannot be known: restore a backup, "
                        "or start with an empty directory and let the peers fill it. Nothing was "
                        "changed"
                    )
                self._note(fault, scan.get)
                row_keys = _touched(fault, self._ground, scan.get)
                side_file.add(fault, [(row_key, scan.get(row_key)) for row_key in row_keys])
            self.counts = scan.counts
            if self._has_to_mark:
                for tag in (KNOWN, FLOOR):
                    with snapshot.iterator(start=tag, stop=after(tag)) as found:
                        side_file.add_rows(found)
                metas = [meta_key(name) for name in BOOKKEEPING]
                side_file.add_rows((row_key, snapshot.get(row_key)) for row_key in metas)
        side_file.seal()

    def _note(self, fault: Fault, get: Reader) -> None:
        """What a fault makes doubtful, and whether the node needs a new origin for it."""
        self._has_to_mark |= fault.kind not in HARMLESS
        if fault.kind in LOSING or (self.undo and fault.kind in (Kind.CHANGED, Kind.REMOVED)):
            decodes = fault.kind is not Kind.INDEX
            remains = remains_of(fault.key, get, self._ground.origins, decodes=decodes)
            self._doubts.add(fault, remains, self._ground)
            self._has_to_mark |= bool(self._doubts)

    def mend(self, side_file: SideFile) -> Iterator[tuple[Fault, Outcome]]:
        """Mend everything in the side file, which is sealed. The last step opens the store.

        Raises:
            CommitError, StoreFailedError: the disk is full or failed: repair again.
            StorageError: LevelDB failed.
        """
        fresh = self._unused_number(), new_origin()
        self._remove_bad_origins(side_file)
        level = Level.acquire(self.db)
        prefix = split(self.db)[1]
        try:
            if self._has_to_mark:
                self._mark(level, fresh)
            mender = Mender(State(self.db, level, prefix), self._settler(), fresh[1])
            for copied in side_file.read():
                if self.undo or copied.fault.kind not in BEHIND_OUR_BACK:
                    outcome = mender.mend(copied.fault)
                    yield copied.fault, outcome or Outcome("mended")
            level.sync()
        finally:
            level.release(prefix)
        self._remove_second_numbers(side_file)
        yield from self._opened(side_file)

    def _settler(self) -> Settler:
        """Runs the resolver given, or else the one that the shown values stand for; where that is
        not at hand the default one, and the node looks at all conflicts again."""
        resolver, mode = self.resolver, self.resolver_mode
        row = self.db.get(meta_key("resolver"))
        if resolver is None and row is not None:
            try:
                name, mode = unpack_meta("resolver", row)
                resolver = by_name(name)
            except (ConfigError, FormatError, TypeError, ValueError):
                mode = "concurrent"
                self.db.put(meta_key("revisit"), pack_meta(None))
        return Settler(resolver or default_resolver, mode, Settings().resolver_timeout)

    def _unused_number(self) -> int:
        """For a new origin: above every number in use, whether an origin row explains it or not."""
        used = [0, *self._ground.origins]
        with self.db.snapshot() as snapshot:
            for tag in (LOG, KNOWN, FLOOR):
                row_key = Reading(snapshot, b"").last_key(tag, after(tag))
                if row_key is not None and len(row_key) >= len(tag) + NUMBER.size:
                    used += NUMBER.unpack_from(row_key, len(tag))
        return max(used) + 1

    def _mark(self, level: Level, fresh: tuple[int, int]) -> None:
        batch = self.db.write_batch()
        durable = self._doubts.still_known(self._ground)
        mark(batch, self._ground, look_around(self.path), fresh, durable)
        with level.lock:
            level.commit(batch)
        level.sync()  # before: nothing may go while the store still claims to know it

    def _remove_bad_origins(self, side_file: SideFile) -> None:
        """Origin rows that no store could be opened with."""
        for copied in side_file.read():
            fault = copied.fault
            if fault.kind is Kind.ORIGIN and fault.detail == MALFORMED:
                self.db.delete(fault.key, sync=True)

    def _remove_second_numbers(self, side_file: SideFile) -> None:
        """Rows by which an origin has a second number: nothing names that any more but what the
        recovery makes anew."""
        for copied in side_file.read():
            fault = copied.fault
            if fault.kind is Kind.ORIGIN and fault.detail != MALFORMED:
                self.db.delete(fault.key, sync=True)

    def _opened(self, side_file: SideFile) -> Iterator[tuple[Fault, Outcome]]:
        """Open the store, which recovers what the mark says, and write what was changed behind its
        back."""
        store = Store.open(
            self.db,
            settings=Settings(),
            resolver=self.resolver,
            resolver_mode=self.resolver_mode,
            visiting=True,
        )
        try:
            if self._has_to_mark:
                _forget(store, self._ground.own)
            if not self.undo:
                yield from _adopt(store, side_file)
        finally:
            store.close()


def _adopt(store: Store, side_file: SideFile) -> Iterator[tuple[Fault, Outcome]]:
    """Write what the keys show, where that is still not what their records say."""
    behind = (one.fault for one in side_file.read() if one.fault.kind in BEHIND_OUR_BACK)
    while some := list(islice(behind, ADOPTED_AT_ONCE)):
        operations: list[Operation] = []
        done = [(fault, _adoption(store, fault, operations)) for fault in some]
        store.write(operations, sync=True)
        yield from done


def _adoption(store: Store, fault: Fault, operations: list[Operation]) -> Outcome:
    key = fault.key
    value = store.db.get(key)
    if _shows(store, key, value):
        return Outcome("mended with another fault of the key")
    try:
        check_key(key)
        check_value(key, value or b"")
    except ReservedKeyError as error:
        return Outcome(f"left as it is: {error}")
    operations.append((key, value))
    return Outcome("deleted by this node" if value is None else "written by this node")


def _shows(store: Store, key: bytes, value: bytes | None) -> bool:
    """Whether a value is what the record of its key says."""
    row = store.db.get(INDEX + key)
    if row is None:
        return value is None
    record, visible = rows.unpack(row, key, store.origins.by_number)
    if visible == rows.MERGED:
        return value is not None
    version = record.versions[visible]
    if value is None:
        return version.is_delete or has_expired(version, store.wall_ms())
    return not version.is_delete and crc32(value) == version.checksum


def _forget(store: Store, former: int) -> None:
    """Take the origin that nobody has any more off the members: it would hold the watermark down
    for good (R7)."""
    for member, _ in read_members(store):
        if member.origin == former and not member.is_forgotten:
            write_members(store, [(member.forgotten(), time.time_ns() // 1_000_000)])


def _touched(fault: Fault, ground: Ground, get: Reader) -> list[bytes]:
    """The keys of all rows that the mending of a fault may touch."""
    if fault.kind in _ABOUT_ROWS:
        return [fault.key]
    key = fault.key
    touched = [INDEX + key, key]
    dots = [] if fault.dot is None else [fault.dot]
    row = get(INDEX + key)
    if row is not None:
        try:
            record, _ = rows.unpack(row, key, ground.origins)
            dots += [version.dot for version in record.versions if version.dot != fault.dot]
            for expiry_ms in map(expiry_of, record.versions):
                if expiry_ms is not None:
                    touched += [expiry_key(expiry_ms, key), swept_key(expiry_ms, key)]
        except FormatError:
            pass  # the row itself is copied
    for dot in dots:
        number = ground.numbers.get(dot.origin)
        if number is not None:
            touched += [log_key(number, dot.seq), value_key(number, dot.seq)]
    return touched
