"""Opening the LevelDB directory of a stopped store without becoming that store."""

import os
from pathlib import Path

import plyvel

from replicator.errors import StorageError, UsageError
from replicator.store.level import check_comparator


def open_stopped(path: str | os.PathLike[str]) -> plyvel.DB:
    """Open a directory that is there and that no one has open; nothing is made.

    LevelDB itself takes its own log up into a table, as at every open.

    Raises:
        UsageError: the directory is no LevelDB, or in use.
        FormatError: it has a custom comparator.
        StorageError: LevelDB cannot read it.
    """
    path = Path(path)
    if not (path / "CURRENT").exists():
        raise UsageError(f"{path} is no LevelDB directory")
    check_comparator(path)
    try:
        return plyvel.DB(os.fsencode(path))
    except plyvel.IOError as error:
        raise UsageError(
            f"{path} cannot be opened ({error}): stop the program that uses it"
        ) from error
    except plyvel.Error as error:
        raise StorageError(
            f"{path} cannot be opened: {error}; restore a backup, or empty it and let the peers "
            "fill it again"
        ) from error
