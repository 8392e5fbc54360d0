"""Files that are there whole, on the disk, or not at all."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import plyvel

from replicator.errors import StorageError, UsageError


def refuse_taken(path: Path) -> None:
    """Raise UsageError where something is there."""
    if os.path.lexists(path):
        raise UsageError(f"{path} is there already, and is not replaced: choose another name")


@contextmanager
def new_file(path: Path, what: str) -> Iterator[BinaryIO]:
    """A file under a temporary name, which gets its own, durably, when the context ends well.

    Args:
        path: absolute; nothing may be there.
        what: it is, for messages.

    Raises:
        UsageError: something is there.
        StorageError: it cannot be written; then, and whenever the context raises, nothing is left.
    """
    refuse_taken(path)
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with open(descriptor, "wb") as file:  # noqa: PTH123 — a descriptor
                yield file
                file.flush()
                os.fsync(file.fileno())
            _name(partial, path)
        finally:
            with suppress(OSError):
                partial.unlink()
    except (UsageError, StorageError, plyvel.Error):
        raise
    except OSError as error:
        raise StorageError(
            f"the {what} {path} cannot be written: {error.strerror}; nothing is left of it"
        ) from error


def _name(partial: Path, path: Path) -> None:
    """Give the file its name, unless something has that by now."""
    try:
        path.hardlink_to(partial)
    except FileExistsError as error:
        raise UsageError(f"{path} has appeared meanwhile and stays: choose another name") from error
    except OSError:  # a file system without links
        if os.path.lexists(path):
            raise
        partial.rename(path)
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
