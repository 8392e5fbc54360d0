"""A directory out of a backup: a full one, and the increments that follow it.

The store that is made knows exactly what the last file's store knew, and is nobody yet: at its
first open it takes an origin that never issued a dot (R13). What its peers have beyond that comes
as it does to any node that was away, by full-state rounds where purge floors ask for them (R9).

Each block is checked before anything of it is written, and until the last one is, the directory
holds a row with which no store is opened; so what a damaged file or a power cut leaves is no
store. A restore that fails removes what it made; one that was killed is simply repeated. Rows are
written in key order where the files have them so, which LevelDB takes fastest; what follows from
the index (the log, the expiry rows) is made in the end.
"""

import os
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import plyvel
from plyvel._plyvel import PrefixedDB, WriteBatch

from replicator.config import RESTORE_BUFFER_BYTES
from replicator.core import rows
from replicator.errors import CorruptionError, FormatError, StorageError, UsageError
from replicator.store.backup import STATE_META, STATE_TAGS
from replicator.store.backupchain import Checked, Meter, Progress, chain_of, opened
from replicator.store.backupfile import INDEX_ROWS, PRESENT, STATE, Piece, Reader, Row
from replicator.store.expiry import expiry_row_of
from replicator.store.keyspace import (
    FORMAT_VERSION,
    INDEX,
    KNOWN,
    LOG,
    ORIGIN,
    ROOT,
    after,
    log_key,
    meta_key,
    pack_meta,
    unpack_meta,
    value_key,
)
from replicator.store.level import Level, read_registry
from replicator.store.origins import origins_of

ROWS_PER_COMMIT = 2000

_GUARD = meta_key("restoring")
_FORMAT = meta_key("format")
_REVISIT = meta_key("revisit")
"""Conflicts are looked at again at the first open: another resolver than before may have changed
what keys show after the base was made, and no increment tells of that."""

_SPARE = frozenset({"lost+found"})
"""What an empty directory may hold: the root of a file system has it."""

_LEVELDB_NAME = re.compile(r"CURRENT|LOCK|LOG(\.old)?|MANIFEST-\d+|\d+\.(log|ldb|sst|dbtmp)")
"""What LevelDB calls its files: nothing else is ever removed."""

_Handle = plyvel.DB | PrefixedDB


def restore(files: Sequence[Path], directory: Path, progress: Progress | None = None) -> Checked:
    """Make a store's directory out of a backup.

    Args:
        files: see `chain_of`.
        directory: made; if it is there it must be empty, or hold half of a restore.

    Raises:
        UsageError: `directory` holds something, or the files do not follow each other.
        FormatError, CorruptionError: a file is no backup, of a newer format, damaged or cut short.
        StorageError: a file cannot be read, or the directory not be written.
        On every error, nothing is left that was not there.
    """
    chain = chain_of(files)
    paths = [path for path, _ in chain]
    is_new = _make_empty(directory)
    try:
        records = _fill(paths, directory, Meter(chain, progress))
        _sync(directory)
        _sync(directory.absolute().parent)
    except BaseException as error:
        _clear(directory, is_new)
        if isinstance(error, plyvel.Error) or type(error) is OSError:
            raise StorageError(
                f"{directory} cannot be written ({_words(error)}); nothing is left of the restore"
            ) from error
        raise
    return Checked(tuple(paths), chain[-1][1], records)


def _make_empty(directory: Path) -> bool:
    """Have an empty directory. Returns whether it was made here.

    Raises:
        UsageError: something is in it.
        StorageError: it cannot be made.
    """
    try:
        if not directory.exists():
            directory.mkdir(mode=0o700, parents=True)
            return True
        names = {entry.name for entry in directory.iterdir()} - _SPARE
        if names:
            is_ours = all(map(_LEVELDB_NAME.fullmatch, names)) and _is_half_a_restore(directory)
            if not is_ours:
                raise UsageError(
                    f"{directory} is not empty: restore into a new directory, or move this one "
                    "away first"
                )
            _clear(directory, is_new=False)
    except NotADirectoryError as error:
        raise UsageError(f"{directory} is a file: restore into a new directory") from error
    except StorageError:
        raise
    except OSError as error:
        raise StorageError(f"{directory} cannot be made: {error.strerror}") from error
    return False


def _is_half_a_restore(directory: Path) -> bool:
    """Whether nothing is there but what an earlier restore had written when it was killed."""
    if not (directory / "CURRENT").exists():
        return False
    try:
        root = plyvel.DB(os.fsencode(directory))
    except plyvel.Error:
        return False
    try:
        with root.iterator(include_value=False) as keys:
            if next(keys, None) is None:
                return True
        return any(root.get(prefix + _GUARD) is not None for prefix in read_registry(root))
    except FormatError:
        return False
    finally:
        root.close()


def _clear(directory: Path, is_new: bool) -> None:
    """Remove what was made; the directory itself if it is new."""
    if is_new:
        shutil.rmtree(directory, ignore_errors=True)
        return
    for entry in list(directory.iterdir()):
        if _LEVELDB_NAME.fullmatch(entry.name):
            entry.unlink(missing_ok=True)


def _fill(files: Sequence[Path], directory: Path, meter: Meter) -> int:
    """Write everything, the row that makes it a store last. Returns the number of records."""
    root = plyvel.DB(
        os.fsencode(directory),
        create_if_missing=True,
        error_if_exists=True,
        write_buffer_size=RESTORE_BUFFER_BYTES,
    )
    try:
        db: _Handle = root
        format_row = b""
        for place, path in enumerate(files):
            with opened(path) as reader:
                prefix = reader.head.prefix
                if place == 0:
                    db = root.prefixed_db(prefix) if prefix else root
                    root.put(ROOT, pack_meta([prefix]))
                    db.put(_GUARD, b"", sync=True)
                format_row = _Overlay(db, reader, meter).write()
        records = _derive(db)
        level = Level(root)
        level.sync()  # before: a power cut may keep the last batch and lose older ones (R11)
        with db.write_batch() as batch:
            batch.delete(_GUARD)
            batch.put(_FORMAT, format_row)
            batch.put(_REVISIT, pack_meta(None))
        level.sync()
        return records
    finally:
        root.close()


class _Overlay:
    """Writes one file over what those before it left.

    Args:
        db: the store in the making; nobody else has it.
    """

    def __init__(self, db: _Handle, reader: Reader, meter: Meter) -> None:
        self._db = db
        self._reader = reader
        self._meter = meter
        self._is_increment = reader.head.base is not None
        self._format = b""
        self._origins: _Origins | None = None

    def write(self) -> bytes:
        """Write it. Returns the format row of the store."""
        if self._is_increment:
            for tag in (*STATE_TAGS, KNOWN, *map(meta_key, STATE_META)):
                _remove(self._db, tag)
        pruner = None
        try:
            for kind, pieces in self._reader.blocks():
                if kind == PRESENT:
                    pruner = pruner or _Pruner(self._db, self._reader.path)
                    pruner.keep(key for piece in pieces for key in piece)
                else:
                    self._write(kind, pieces)
                self._meter.at(self._reader)
            if self._reader.head.absence_counts:
                (pruner or _Pruner(self._db, self._reader.path)).end()
        except (TypeError, ValueError) as error:
            raise CorruptionError(f"{self._reader.path} holds what is no row: {error}") from error
        if not self._format:
            raise CorruptionError(f"{self._reader.path} lacks the state of the store")
        return self._format

    def _write(self, kind: int, pieces: Iterator[Piece]) -> None:
        with self._db.write_batch() as batch:
            put = batch.put
            for piece in pieces:
                if kind == STATE:
                    piece = list(self._state(piece))
                elif kind == INDEX_ROWS and self._is_increment:
                    self._supersede(batch, piece)
                for row_key, row in piece:
                    put(row_key, row)

    def _supersede(self, batch: WriteBatch, piece: Piece) -> None:
        """Remove what the base has of keys whose index rows are about to be written."""
        self._origins = self._origins or _Origins(self._db)
        for row_key, _ in piece:
            batch.delete(row_key[len(INDEX) :])
            self._origins.remove_aside(batch, row_key, self._db.get(row_key))

    def _state(self, piece: Piece) -> Iterator[Row]:
        """All rows but the one that makes it a store, which waits for the others."""
        for row_key, row in piece:
            if row_key != _FORMAT:
                yield row_key, row
                continue
            version = unpack_meta("format", row)
            if not isinstance(version, int) or version > FORMAT_VERSION:
                raise FormatError(
                    f"{self._reader.path} is of a store of a newer replicator (format "
                    f"{version!r}, this one knows {FORMAT_VERSION}): restore it with that version"
                )
            self._format = row


class _Pruner:
    """Removes the records that are not among those that are still there (R9).

    Args:
        db: with all other rows of the increment in it.
        path: of the increment, for messages.
    """

    def __init__(self, db: _Handle, path: Path) -> None:
        self._db = db
        self._path = path
        self._index = db.iterator(start=INDEX, stop=after(INDEX))
        self._gone: list[Row] = []
        self._origins = _Origins(db)

    def keep(self, keys: Iterable[bytes]) -> None:
        """The next keys that stay, ascending."""
        for key in keys:
            row_key = INDEX + key
            for found, row in self._index:
                if found == row_key:
                    break
                if found > row_key:
                    raise self._misfit(key)
                self._remove(found, row)
            else:
                raise self._misfit(key)

    def end(self) -> None:
        """Nothing else stays."""
        for found, row in self._index:
            self._remove(found, row)
        self._flush()
        self._index.close()

    def _remove(self, row_key: bytes, row: bytes) -> None:
        self._gone.append((row_key, row))
        if len(self._gone) >= ROWS_PER_COMMIT:
            self._flush()

    def _flush(self) -> None:
        with self._db.write_batch() as batch:
            for row_key, row in self._gone:
                batch.delete(row_key)
                batch.delete(row_key[len(INDEX) :])
                self._origins.remove_aside(batch, row_key, row)
        self._gone.clear()

    def _misfit(self, key: bytes) -> CorruptionError:
        return CorruptionError(
            f"{self._path} tells of key {key[:40]!r}, which neither it nor its base holds: take "
            "another copy of the files, or an earlier backup"
        )


class _Origins:
    """The origins of the store in the making, which are in place already."""

    def __init__(self, db: _Handle) -> None:
        with db.iterator(start=ORIGIN, stop=after(ORIGIN)) as found:
            self.origins = origins_of(found)
        self.numbers = {origin: number for number, origin in self.origins.items()}

    def remove_aside(self, batch: WriteBatch, row_key: bytes, row: bytes | None) -> None:
        """Remove the values aside of an index row."""
        if row is not None and row[0] != rows.SINGLE:
            record, _ = rows.unpack(row, row_key[len(INDEX) :], self.origins)
            for version in record.versions:
                batch.delete(value_key(self.numbers[version.dot.origin], version.dot.seq))


def _remove(db: _Handle, tag: bytes) -> None:
    """Remove all rows of a tag."""
    with db.iterator(start=tag, stop=after(tag), include_value=False) as found:
        while row_keys := list(islice(found, ROWS_PER_COMMIT)):
            with db.write_batch() as batch:
                for row_key in row_keys:
                    batch.delete(row_key)


def _derive(db: _Handle) -> int:
    """Make the rows that follow from the index. Returns the number of records.

    Raises:
        FormatError: an index row does not decode.
    """
    table = _Origins(db)
    origins, numbers = table.origins, table.numbers
    count, skip = 0, len(INDEX)
    with db.iterator(start=INDEX, stop=after(INDEX)) as index:
        while found := list(islice(index, ROWS_PER_COMMIT)):
            count += len(found)
            with db.write_batch() as batch:
                put = batch.put
                for row_key, row in found:
                    key = row_key[skip:]
                    if row[0] == rows.SINGLE:
                        put(LOG + row[2:14], key)  # number and seq lie there as the log has them
                        continue
                    record, visible = rows.unpack(row, key, origins)
                    for version in record.versions:
                        put(log_key(numbers[version.dot.origin], version.dot.seq), key)
                    expiry_row = expiry_row_of(key, record, visible, db.get(key) is not None)
                    if expiry_row is not None:
                        put(expiry_row, b"")
    return count


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _words(error: BaseException) -> str:
    first = error.args[0] if error.args else ""
    return first.decode(errors="replace") if isinstance(first, bytes) else str(error)
