"""Taking a backup: one LevelDB snapshot, as one file (`replicator.store.backupfile`).

Nobody waits for it: the snapshot is taken under the write lock, everything else happens beside
local writes and applies. The file gets its name when it is complete and on the disk.

An *increment* holds what changed since its base. It is a round (R4) from this snapshot to a
node as the base left it: the records with live dots that the base does not know, and then the
whole known set. Where the base lies below the snapshot's purge floor, a record that it holds may
have been deleted and the delete collected since, without a trace; then, as in a full-state round
(R9), absence counts, and the increment tells of every key that is still there.

Own writes in a backup count as shown (R13): whoever restores it tells others of them.
"""

import secrets
import time
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from plyvel._plyvel import Iterator as PlyvelIterator
from plyvel._plyvel import Snapshot

from replicator.config import (
    BACKUP_STEP_BYTES,
    BACKUP_WALK_DOTS_MAX,
    BACKUP_WALK_KEYS_BYTES,
    CHUNK_RECORDS_MAX,
)
from replicator.core import ranges, rows
from replicator.core.known import KnownSet, below_floor
from replicator.errors import CorruptionError, UsageError
from replicator.store.backupchain import opened
from replicator.store.backupfile import (
    ASIDE,
    FORMAT,
    INDEX_ROWS,
    PRESENT,
    STATE,
    USER,
    Head,
    Row,
    Writer,
)
from replicator.store.expiry import keeps_aside
from replicator.store.keyspace import (
    CLOSED,
    FLOOR,
    FORMAT_VERSION,
    INDEX,
    KNOWN,
    MEMBER,
    ORIGIN,
    RESERVED,
    SEQ,
    VALUE,
    after,
    known_key,
    log_key,
    meta_key,
    number_seq,
    pack_meta,
    value_key,
)
from replicator.store.newfile import new_file, refuse_taken
from replicator.store.origins import origins_of
from replicator.store.store import Store

STATE_TAGS = (CLOSED, FLOOR, MEMBER, ORIGIN)
STATE_META = ("cluster", "full", "resolver", "want_full")
"""Rows that a backup holds as they are, in increments too, beside the known set; the other meta
rows belong to the life that the store had."""


@dataclass(frozen=True, slots=True)
class BackupProgress:
    """How far a backup is.

    Attributes:
        records: how many were written so far.
        size_bytes: what was written so far, before compression.
        is_done: whether the file is complete and has its name.
    """

    records: int
    size_bytes: int
    is_done: bool


@dataclass(frozen=True, slots=True)
class Basis:
    """What an increment has to know of its base.

    Attributes:
        id, name: of the file.
        known: the known set there.
        origins: number → origin there.
    """

    id: bytes
    name: str
    known: KnownSet
    origins: dict[int, int]


@dataclass(frozen=True, slots=True)
class _Moment:
    """One snapshot, and what was in memory at that moment.

    Attributes:
        snapshot: closed by whoever took it.
        origins, numbers: number → origin, and back.
    """

    snapshot: Snapshot
    known: KnownSet
    floor: dict[int, int]
    origins: dict[int, int]
    numbers: dict[int, int]

    def rows(self, tag: bytes) -> "PlyvelIterator[Row]":
        """All rows whose keys begin with a tag, every table checked, no cache filled with them."""
        return self.snapshot.iterator(
            start=tag, stop=after(tag), verify_checksums=True, fill_cache=False
        )


def back_up(
    store: Store,
    path: Path,
    *,
    node: str = "",
    version: str = "",
    compress: bool = False,
    since: Path | None = None,
) -> Iterator[BackupProgress]:
    """Write a backup, step by step; every step tells how far it is.

    Abandoned (closed) before the last step, it leaves nothing behind. For one thread at a time.

    Args:
        path: of the file; nothing may be there.
        node, version: the node's name and the software's version, for people.
        compress: whether to deflate it.
        since: an earlier backup of this store, full or an increment; then it is an increment.

    Raises:
        UsageError: `path` is taken or lies in the store's own directory; `since` does not fit.
        StorageError: the file cannot be written, or `since` not read; or LevelDB failed.
        ClosedError: the store is closed.
    """
    store.level.refuse_in_update()
    path = path.absolute()
    _refuse_place(store, path)
    basis = None if since is None else read_basis(since)
    with _moment(store) as moment:
        if basis is not None:
            _refuse_other(basis, moment, store)
        store.show(moment.known.highest(store.origin))  # R13, before anybody can read the file
        head = Head(
            format=FORMAT,
            id=secrets.token_bytes(16),
            base=None if basis is None else basis.id,
            base_name="" if basis is None else basis.name,
            absence_counts=basis is not None and below_floor(basis.known, moment.floor),
            made_ms=time.time_ns() // 1_000_000,
            node=node,
            origin=store.origin,
            prefix=store.prefix,
            version=version,
        )
        with new_file(path, "backup") as file:
            writer = Writer(file, head, compress=compress)
            done = 0
            for size in _write(writer, moment, basis, head.absence_counts):
                done += size
                if done >= BACKUP_STEP_BYTES:
                    yield BackupProgress(writer.records, writer.size_bytes, is_done=False)
                    done = 0
            writer.end()
    yield BackupProgress(writer.records, writer.size_bytes, is_done=True)


def read_basis(path: Path) -> Basis:
    """Read from a backup what an increment to it has to know. Does not read all of it.

    Raises:
        StorageError: it cannot be read, or is no backup, or damaged.
    """
    known, origins = KnownSet(), {}
    with opened(path) as reader:
        reader.check_tail()
        for kind, pieces in reader.blocks():
            if kind != STATE:
                break
            for row_key, row in (pair for piece in pieces for pair in piece):
                if row_key.startswith(ORIGIN):
                    origins.update(origins_of([(row_key, row)]))
                elif row_key.startswith(KNOWN):
                    number, start = number_seq(row_key)
                    known.add_range(origins[number], start, SEQ.unpack(row)[0])
        return Basis(reader.head.id, path.name, known, origins)


def _refuse_place(store: Store, path: Path) -> None:
    refuse_taken(path)
    if path.parent.resolve().is_relative_to(store.level.path.resolve()):
        raise UsageError(
            f"{path} lies in the directory of the store, and would be lost with it: choose a place "
            "on another disk"
        )


def _refuse_other(basis: Basis, moment: _Moment, store: Store) -> None:
    fits = all(moment.origins.get(number) == origin for number, origin in basis.origins.items())
    # What is in a backup counts as shown: else this machine was rolled back, and may have issued
    # other writes under dots of the base (R13).
    was_shown = basis.known.highest(store.origin) <= store.shown
    if not fits or not was_shown or not moment.known.issuperset(basis.known):
        raise UsageError(
            f"{basis.name} holds writes that this store does not know: it is of another store, or "
            "this one was rolled back or lost its last writes since; make a full backup"
        )


@contextmanager
def _moment(store: Store) -> Iterator[_Moment]:
    with store.level.lock:
        store.refuse_closed()
        snapshot = store.db.snapshot()
        known, floor = store.known_now(), dict(store.floor)
    try:
        with snapshot.iterator(start=ORIGIN, stop=after(ORIGIN)) as found:
            origins = origins_of(found)
        numbers = {origin: number for number, origin in origins.items()}
        yield _Moment(snapshot, known, floor, origins, numbers)
    finally:
        snapshot.close()


def _write(
    writer: Writer, moment: _Moment, basis: Basis | None, absence_counts: bool
) -> Iterator[int]:
    """All blocks between head and end."""
    yield from writer.add(STATE, _state_rows(moment))
    if basis is not None:
        yield from _write_changed(writer, moment, basis)
        if absence_counts:
            yield from _write_present(writer, moment)
        return
    users = moment.snapshot.iterator(stop=RESERVED, verify_checksums=True, fill_cache=False)
    with users as found:
        yield from writer.add(USER, found)
    for kind, tag in ((INDEX_ROWS, INDEX), (ASIDE, VALUE)):
        with moment.rows(tag) as found:
            yield from writer.add(kind, found)


def _state_rows(moment: _Moment) -> Iterator[Row]:
    """What a store knows beside its records; origins first, for what follows names them."""
    for tag in (ORIGIN, *(tag for tag in STATE_TAGS if tag != ORIGIN)):
        with moment.rows(tag) as found:
            yield from found
    for origin, bounds in moment.known.items():
        for start, stop in ranges.pairs(bounds):
            yield known_key(moment.numbers[origin], start), SEQ.pack(stop)
    yield from _there(moment.snapshot, map(meta_key, STATE_META))
    yield meta_key("format"), pack_meta(FORMAT_VERSION)


# Increments


def _write_changed(writer: Writer, moment: _Moment, basis: Basis) -> Iterator[int]:
    snapshot = moment.snapshot
    lack = moment.known.difference(basis.known)
    for keys in _changed(moment, lack):
        found = [(INDEX + key, _row(snapshot, key)) for key in keys]
        yield from writer.add(INDEX_ROWS, found)
        yield from writer.add(USER, _there(snapshot, keys))
        aside = [place for key, row in found for place in _places_aside(key, row, moment)]
        yield from writer.add(ASIDE, _there(snapshot, aside))


def _write_present(writer: Writer, moment: _Moment) -> Iterator[int]:
    skip = len(INDEX)
    with moment.snapshot.iterator(
        start=INDEX, stop=after(INDEX), include_value=False, fill_cache=False
    ) as index:
        yield from writer.add(PRESENT, (row_key[skip:] for row_key in index))


def _row(snapshot: Snapshot, key: bytes) -> bytes:
    row = snapshot.get(INDEX + key)
    if row is None:
        raise CorruptionError(f"the log names key {key!r}, which has no index row")
    return row


def _there(snapshot: Snapshot, row_keys: Iterable[bytes]) -> Iterator[Row]:
    """Those of some rows that are there, in pairs."""
    for row_key in row_keys:
        row = snapshot.get(row_key)
        if row is not None:
            yield row_key, row


def _places_aside(row_key: bytes, row: bytes, moment: _Moment) -> list[bytes]:
    """Where the values of a record lie that it keeps aside."""
    if row[0] == rows.SINGLE:
        return []
    record, _ = rows.unpack(row, row_key[len(INDEX) :], moment.origins)
    if not keeps_aside(record):
        return []
    numbers = moment.numbers
    return [value_key(numbers[one.dot.origin], one.dot.seq) for one in record.versions]


def _changed(moment: _Moment, lack: KnownSet) -> Iterator[list[bytes]]:
    """The keys of all records with a live dot in `lack`, ascending, some at a time."""
    walked = _walked(moment, lack)
    found = _scanned(moment, lack) if walked is None else iter(walked)
    while keys := list(islice(found, CHUNK_RECORDS_MAX)):
        yield keys


def _walked(moment: _Moment, lack: KnownSet) -> list[bytes] | None:
    """By the log: the cost follows the number of dots lacked. None where those are too many."""
    if lack.count() > BACKUP_WALK_DOTS_MAX:
        return None
    numbers = moment.numbers
    keys: set[bytes] = set()
    size = 0
    for origin, bounds in lack.items():
        for start, stop in ranges.pairs(bounds):
            with moment.snapshot.iterator(
                start=log_key(numbers[origin], start),
                stop=log_key(numbers[origin], stop),
                include_key=False,
            ) as log:
                for key in log:
                    keys.add(key)
                    size += len(key)
                    if size > BACKUP_WALK_KEYS_BYTES:
                        return None
    return sorted(keys)


def _scanned(moment: _Moment, lack: KnownSet) -> Iterator[bytes]:
    """By the index: the cost follows the number of keys."""
    is_wanted = _wanted(moment, lack)
    with moment.rows(INDEX) as index:
        for row_key, row in index:
            if is_wanted(row):
                yield row_key[len(INDEX) :]


def _wanted(moment: _Moment, lack: KnownSet) -> Callable[[bytes], bool]:
    bounds_of = {number: lack.bounds(origin) for number, origin in moment.origins.items()}
    unpack = rows.SINGLE_ROW.unpack

    def is_wanted(row: bytes) -> bool:
        if row[0] == rows.SINGLE:
            _, _, number, seq, _, _, _ = unpack(row)
            return bisect_right(bounds_of[number], seq) & 1 == 1
        record, _ = rows.unpack(row, b"", moment.origins)
        return any(version.dot in lack for version in record.versions)

    return is_wanted
