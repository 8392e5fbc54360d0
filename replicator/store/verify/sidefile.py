"""The side file of a repair: every row that it is going to change, copied first, on disk.

JSON Lines: a header, then a document a fault with the rows that its mending touches, keys and
values in base64, null for a row that is not there. The repair itself works through this file, so
what is not in it is not touched. A person can put any of it back with a few lines of code.
"""

import base64
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any, Self

from replicator.core.dots import parse_dot
from replicator.errors import StorageError, UsageError
from replicator.store.verify.faults import Fault, Kind

VERSION = 1
ROWS_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class Copied:
    """A fault, and the rows that its mending touches.

    Attributes:
        rows: row key → value; None where there is none.
    """

    fault: Fault
    rows: Mapping[bytes, bytes | None]


class SideFile:
    """One side file, being written or read.

    Args:
        path: must not be there yet.

    Raises:
        UsageError: it is there.
        StorageError: it cannot be written.
    """

    def __init__(self, path: Path, header: Mapping[str, Any]) -> None:
        self.path = path
        if os.path.lexists(path):
            raise UsageError(f"{path} is there already: name another file")
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError as error:
            raise StorageError(f"{path} cannot be written: {error.strerror}") from error
        self._stream: IO[str] = os.fdopen(descriptor, "w", encoding="ascii")
        self._write({"replicator": "rows before a repair", "version": VERSION, **header})

    def add(self, fault: Fault, rows: Sequence[tuple[bytes, bytes | None]]) -> None:
        """Copy a fault with its rows."""
        self._write(
            {
                "kind": fault.kind,
                "key": _text(fault.key),
                "detail": fault.detail,
                "dot": None if fault.dot is None else str(fault.dot),
                "rows": [[_text(key), _text(value)] for key, value in rows],
            }
        )

    def add_rows(self, rows: Iterable[tuple[bytes, bytes | None]]) -> None:
        """Copy rows that belong to no fault: what is known, and who the store is."""
        found = iter(rows)
        while some := list(islice(found, ROWS_AT_ONCE)):
            self._write({"rows": [[_text(key), _text(value)] for key, value in some]})

    def seal(self) -> None:
        """Everything is on the disk when this returns.

        Raises:
            StorageError: it is not.
        """
        try:
            self._stream.flush()
            os.fsync(self._stream.fileno())
            self._stream.close()
            directory = os.open(self.path.parent, os.O_RDONLY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)
        except OSError as error:
            raise self._failed(error) from error

    def discard(self) -> None:
        """Nothing was changed: leave no file."""
        with suppress(OSError):  # a full disk: what is left in the buffer does not matter any more
            self._stream.close()
        self.path.unlink(missing_ok=True)

    def read(self) -> Iterator[Copied]:
        """All faults, once sealed."""
        with self.path.open(encoding="ascii") as stream:
            next(stream)
            for line in stream:
                document = json.loads(line)
                if "kind" in document:
                    yield _parsed(document)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and not self._stream.closed:
            self.discard()

    def _write(self, document: Mapping[str, Any]) -> None:
        try:
            self._stream.write(json.dumps(document) + "\n")
        except OSError as error:
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> StorageError:
        return StorageError(
            f"{self.path} cannot be written ({error.strerror}), so nothing was changed: make room, "
            "or name another place for it"
        )


def _parsed(document: Mapping[str, Any]) -> Copied:
    dot = document["dot"]
    fault = Fault(
        Kind(document["kind"]),
        base64.b64decode(document["key"]),
        document["detail"],
        None if dot is None else parse_dot(dot),
    )
    rows = {
        base64.b64decode(key): None if value is None else base64.b64decode(value)
        for key, value in document["rows"]
    }
    return Copied(fault, rows)


def _text(data: bytes | None) -> str | None:
    return None if data is None else base64.b64encode(data).decode()
