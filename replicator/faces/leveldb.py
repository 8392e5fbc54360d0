"""Opening a LevelDB directory, for the daemon and the command line."""

import os
from pathlib import Path

import plyvel

from replicator.errors import StorageError, UsageError

LEVELDB_FILTER_BITS = 10
"""Bits of a key in the filter of each table that is written from now on: a read of what is not in
a table passes it by. Other programs read such tables, with or without a filter of their own."""

LEVELDB_CACHE_BYTES = 64 << 20
"""Blocks of tables that are kept in memory, unpacked. With both, a random read of a million keys
takes half of the time, and so does a write over another one, which reads what it supersedes."""

LEVELDB_BUFFER_BYTES = 16 << 20
"""The memtable; there may be two. With LevelDB's own 4 MiB random writes take half as much time
again, for compactions; a larger one makes a start after a kill, which reads the log, longer."""


def open_leveldb(directory: Path, *, create: bool) -> plyvel.DB:
    """Open a directory.

    Args:
        create: whether to make it, closed to others, where it is not there.

    Raises:
        UsageError: there is no LevelDB, and none is to be made.
        StorageError: it is in use, or cannot be read.
    """
    if not create and not (directory / "CURRENT").exists():
        raise UsageError(
            f"there is no LevelDB in {directory}; replicator serve and replicator load make one"
        )
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        return plyvel.DB(
            os.fsencode(directory),
            create_if_missing=create,
            bloom_filter_bits=LEVELDB_FILTER_BITS,
            lru_cache_size=LEVELDB_CACHE_BYTES,
            write_buffer_size=LEVELDB_BUFFER_BYTES,
        )
    except plyvel.IOError as error:
        text = words_of(error)
        if "/LOCK: " in text:
            raise StorageError(
                f"{directory} is in use by a program whose socket is not there: stop it, or use "
                f"the store through it ({text})"
            ) from error
        raise StorageError(f"{directory} cannot be opened: {text}") from error
    except plyvel.CorruptionError as error:
        raise StorageError(
            f"{directory} is damaged: {words_of(error)}; restore a backup, or empty it and let the "
            "peers fill it again"
        ) from error
    except OSError as error:
        raise StorageError(f"{directory} cannot be opened: {error.strerror}") from error


def words_of(error: plyvel.Error) -> str:
    """LevelDB's words, which plyvel gives as bytes."""
    (words,) = error.args or ("no reason given",)
    return words.decode(errors="replace") if isinstance(words, bytes) else str(words)
