"""`restore` and `check_backup` for programs."""

import os
from collections.abc import Iterable
from pathlib import Path

from replicator.store import backupchain
from replicator.store import restore as store_restore
from replicator.store.backupchain import Checked, Progress

Files = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]


def restore(
    files: Files, directory: str | os.PathLike[str], progress: Progress | None = None
) -> Checked:
    """Make a directory out of a backup that `Replica.backup` or ``replicator backup`` wrote.

    Open it with plyvel and wrap it as ever: it is a new node that knows what the backup knew, and
    gets from its peers what it lacks. The old one stays a member until it is forgotten.

    Args:
        files: a backup; or a full one and increments, in order. Where the first is an increment,
            those before it are looked for beside it.
        directory: made; if it is there it must be empty, or hold half of a restore.
        progress: called with the octets read so far, and how many there are.

    Raises:
        UsageError: `directory` holds something, or the files do not follow each other.
        FormatError, CorruptionError: a file is no backup, of a newer format, damaged or cut short.
        StorageError: a file cannot be read, or the directory not be written.
        On every error, nothing is left that was not there.
    """
    return store_restore.restore(_paths(files), Path(directory), progress)


def check_backup(files: Files, progress: Progress | None = None) -> Checked:
    """Read a whole backup, checksums and all, and write nothing. See `restore`."""
    return backupchain.check_backup(_paths(files), progress)


def _paths(files: Files) -> list[Path]:
    if isinstance(files, str | os.PathLike):
        return [Path(files)]
    return [Path(file) for file in files]
