"""Taking everything of the replicator out of a directory: what remains is the plain LevelDB."""

import os
import shutil
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import plyvel

from replicator.errors import FormatError, StorageError
from replicator.store.directory import open_stopped
from replicator.store.keyspace import RESERVED, ROOT, meta_key
from replicator.store.level import read_registry

ROWS_PER_COMMIT = 5000


def strip(path: str | os.PathLike[str], progress: Callable[[int], None] | None = None) -> int:
    """Remove all rows of the replicator from a LevelDB that no one has open.

    The visible values stay; the losing versions of conflicts and the history of deletes go. Cut
    anywhere, a second call finishes it; in between the directory is refused as a store.

    Args:
        path: the directory.
        progress: called with the number of rows removed so far.

    Returns:
        How many rows were removed.

    Raises:
        UsageError: the directory is no LevelDB, or in use.
        FormatError: nothing of ours is in it, or half of a restore.
        StorageError: LevelDB failed.
    """
    path = Path(path)
    db = open_stopped(path)
    try:
        prefixes = read_registry(db)
        if not prefixes:
            raise FormatError(f"{path} holds nothing of the replicator")
        if any(db.get(prefix + meta_key("restoring")) is not None for prefix in prefixes):
            raise FormatError(
                f"{path} is half of a restore that was cut: run replicator restore again"
            )
        for prefix in prefixes:
            # First: without its format row the rest is foreign data, which no store opens.
            db.delete(prefix + meta_key("format"), sync=True)
        removed = sum(_remove(db, prefix, progress) for prefix in prefixes)
        # Compacting makes the removals durable (a synced write alone would not, R11); only then
        # goes the row that tells a second call what there is to remove.
        for prefix in prefixes:
            db.compact_range(start=prefix + RESERVED, stop=prefix + RESERVED + b"\xff")
        db.delete(ROOT, sync=True)
    except plyvel.Error as error:
        raise StorageError(f"{path}: {error}") from error
    finally:
        db.close()
    shutil.rmtree(path / "replicator", ignore_errors=True)
    return removed


def _remove(db: plyvel.DB, prefix: bytes, progress: Callable[[int], None] | None) -> int:
    """Remove the reserved range of one wrap; the registry row goes last, by the caller."""
    removed = 0
    with db.iterator(prefix=prefix + RESERVED, include_value=False) as found:
        while keys := list(islice(found, ROWS_PER_COMMIT)):
            with db.write_batch(transaction=True) as batch:
                for key in keys:
                    if key != ROOT:
                        batch.delete(key)
            removed += len(keys)
            if progress is not None:
                progress(removed)
    return removed
