"""Backups of stores in tests, and what becomes of them."""

from pathlib import Path
from typing import Any

from replicator.store.backup import BackupProgress, back_up
from replicator.store.restore import restore
from replicator.store.store import Store
from replicator.store.verify.directory import stopped

from .places import Place, patient


def backed_up(store: Store, path: Path, **options: Any) -> BackupProgress:
    """Write a backup to its end."""
    *_, last = back_up(store, path, **options)
    assert last.is_done
    return last


def restored(directory: Path, *files: Path, prefix: bytes | None = None) -> Place:
    """A directory made of a backup, verified and not opened yet."""
    restore(files, directory)
    with stopped(directory) as found, found.scan(prefix or b"") as scan:
        assert list(scan.faults()) == []
    return Place(directory, prefix=prefix, settings=patient())
