"""The stores in the directory of a stopped program, to be verified and repaired."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgpack
import plyvel
from plyvel._plyvel import PrefixedDB

from replicator.errors import FormatError
from replicator.store.directory import open_stopped
from replicator.store.identity import look_around
from replicator.store.keyspace import RESERVED, ROOT, meta_key
from replicator.store.level import read_registry
from replicator.store.verify.faults import Fault, Kind
from replicator.store.verify.scan import Scan


@dataclass(frozen=True, slots=True)
class Directory:
    """An open LevelDB directory.

    Attributes:
        db: the plain LevelDB.
        path: its directory.
        prefixes: the prefixes under which there are stores, b"" for the whole.
        faults: what is wrong with the registry of them.
    """

    db: plyvel.DB
    path: Path
    prefixes: tuple[bytes, ...]
    faults: tuple[Fault, ...]

    def namespace(self, prefix: bytes) -> plyvel.DB | PrefixedDB:
        """The handle of one store's rows."""
        return self.db.prefixed_db(prefix) if prefix else self.db

    @contextmanager
    def scan(self, prefix: bytes) -> Iterator[Scan]:
        """A verification of one store, for as long as the context is open.

        Raises:
            FormatError: it is of a newer format, or cut by replicator strip.
        """
        with self.namespace(prefix).snapshot() as snapshot:
            yield Scan(snapshot, prefix, look_around(self.path))

    def with_registry_mended(self) -> "Directory":
        """The same, the registry written as it must be, where that can be told."""
        if self.faults:
            self.db.put(ROOT, msgpack.packb(sorted(self.prefixes)), sync=True)
        return _look(self.db, self.path)


@contextmanager
def stopped(path: Path) -> Iterator[Directory]:
    """The directory, open for as long as the context is. Nothing is written to it but what LevelDB
    itself does at every open.

    Raises:
        UsageError: it is no LevelDB, or in use.
        FormatError: nothing of the replicator's is in it, or it has a custom comparator.
        StorageError: LevelDB cannot read it.
    """
    db = open_stopped(path)
    try:
        yield _look(db, path.absolute())
    finally:
        db.close()


def _look(db: plyvel.DB, path: Path) -> Directory:
    faults = []
    try:
        registered = read_registry(db)
    except FormatError:
        registered = []
        faults.append(Fault(Kind.REGISTRY, ROOT, "it does not decode"))
    is_whole = db.get(meta_key("format")) is not None
    if is_whole and b"" not in registered:
        if not faults:
            faults.append(Fault(Kind.REGISTRY, ROOT, "it lacks the store that is there"))
        registered.append(b"")
    for place, prefix in enumerate(sorted(registered)):
        for other in sorted(registered)[place + 1 :]:
            if other.startswith(prefix) and prefix:
                detail = f"{prefix!r} contains {other!r}"
                faults.append(Fault(Kind.REGISTRY, ROOT, detail))
    prefixes = tuple(prefix for prefix in sorted(registered) if _holds_rows(db, prefix))
    if not prefixes:
        raise FormatError(f"{path} holds nothing of the replicator")
    return Directory(db, path, prefixes, tuple(faults))


def _holds_rows(db: plyvel.DB, prefix: bytes) -> bool:
    """Whether there is a store: the prefix is registered before its first row is written."""
    with db.iterator(prefix=prefix + RESERVED, include_value=False) as found:
        return any(key != ROOT for key in found)
