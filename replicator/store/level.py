"""One open LevelDB and what its namespaces share: the write lock, failed commits, the disk.

Stores that wrap disjoint prefixes of one LevelDB commit to one log, so a commit that failed in
one of them concerns all (R12), and so does a sync (R11).

A *sync* makes everything durable that was committed before it began. LevelDB's own synced write
does not: at a memtable switch the old ``*.log`` is never fsynced. So every ``*.log`` file, the one
in use included, is fsynced through a descriptor of our own (LevelDB hands each record to the
kernel before a commit returns), then the directory where files came or went. Only then may a row
that claims durability be written.
"""

import os
import re
import struct
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack
import plyvel
from plyvel._plyvel import PrefixedDB, WriteBatch

from replicator.errors import (
    CommitError,
    DoubleWrapError,
    FormatError,
    StorageError,
    StoreFailedError,
    UsageError,
)
from replicator.store.keyspace import RESERVED, ROOT

_LOG_NAME = re.compile(r"[0-9]+\.log")
_BYTEWISE = b"leveldb.BytewiseComparator"

_open_levels: dict[int, "Level"] = {}
_open_levels_lock = threading.Lock()


class Level:
    """One open ``plyvel.DB``, shared by the stores that wrap it. Thread-safe.

    Attributes:
        db: the root handle.
        path: its directory.
        lock: held for every read-modify-write of every namespace.
        failed: why commits are refused until the LevelDB is reopened, or None.
        commit_failures: how many commits raised.
        updating: the thread that runs a user's function under the lock, or None.
        stores: the open stores.
        on_commit: told, in the committing thread and under the lock, how many seconds LevelDB took
            for a commit that succeeded; must be quick and not raise. None, and then no clock is
            read.
    """

    def __init__(self, db: plyvel.DB) -> None:
        self.db = db
        self.path = Path(os.fsdecode(db.name)).absolute()
        self.lock = threading.Lock()
        self.failed: str | None = None
        self.commit_failures = 0
        self.updating: int | None = None
        self.stores: weakref.WeakSet[Any] = weakref.WeakSet()
        self.on_commit: Callable[[float], object] | None = None
        self._prefixes: set[bytes] = set()
        self._sync_turn = threading.Condition()
        self._sync_running = False
        self._syncs_started = 0
        self._syncs_done = 0
        self._synced_names: set[str] = set()

    @classmethod
    def acquire(cls, db: plyvel.DB | PrefixedDB) -> "Level":
        """The level of `db`, with its prefix claimed as wrapped by this process (R15).

        Raises:
            DoubleWrapError: this prefix, or one that contains it or lies in it, is wrapped.
            FormatError: the LevelDB has a custom comparator.
            UsageError: `db` is closed, or no plyvel handle, or its prefix meets the reserved range.
        """
        root, prefix = split(db)
        with _open_levels_lock:
            for place, other in list(_open_levels.items()):
                if other.db.closed:
                    del _open_levels[place]
            level = _open_levels.get(id(root))
            if level is None:
                level = cls(root)
                check_comparator(level.path)
            level._claim(prefix)
            _open_levels[id(root)] = level
        return level

    def release(self, prefix: bytes) -> None:
        """Forget an acquired prefix; the last one out forgets the level. Never closes `db`.

        A failed level is kept as long as its LevelDB is open: wrapped again, it refuses as before.
        """
        with _open_levels_lock:
            self._prefixes.discard(prefix)
            if not self._prefixes and self.failed is None:
                _open_levels.pop(id(self.db), None)

    def _claim(self, prefix: bytes) -> None:
        for other in self._prefixes:
            if prefix.startswith(other) or other.startswith(prefix):
                raise DoubleWrapError(
                    f"{_name(prefix)} of {self.path} is wrapped already (as {_name(other)}): "
                    "use that handle"
                )
        registered = read_registry(self.db)
        for other in registered:
            if other != prefix and (prefix.startswith(other) or other.startswith(prefix)):
                raise DoubleWrapError(
                    f"{_name(other)} of {self.path} holds a replicated store, which "
                    f"{_name(prefix)} would contain or lie in: wrap {_name(other)}, or take the "
                    f"replicator out of the directory with: replicator strip {self.path}"
                )
        self._prefixes.add(prefix)

    def enter_registry(self, prefix: bytes) -> None:
        """Write the prefix into the registry row: it holds a replicated store from now on.

        Raises:
            CommitError, StoreFailedError: see `commit`.
        """
        with self.lock:
            registered = read_registry(self.db)
            if prefix not in registered:
                batch = self.db.write_batch()
                batch.put(ROOT, msgpack.packb(sorted([*registered, prefix])))
                self.commit(batch)

    def refuse_in_update(self) -> None:
        """Refuse what would wait for ever for the lock that this very thread holds.

        Raises:
            UsageError: the caller is a function that `update` runs.
        """
        if self.updating is not None and self.updating == threading.get_ident():
            raise UsageError(
                "the store was used inside update(): return the new value instead, and do "
                "everything else before or after"
            )

    def commit(self, batch: WriteBatch) -> None:
        """Write a batch under the lock, which the caller holds.

        Raises:
            CommitError: it did not happen; the log was rotated and commits go on.
            StoreFailedError: commits are refused until the LevelDB is reopened.
        """
        if self.failed is not None:
            raise StoreFailedError(self.failed)
        tell = self.on_commit
        try:
            if tell is None:
                batch.write()
            else:
                started = time.perf_counter()
                batch.write()
                tell(time.perf_counter() - started)
        except (plyvel.Error, OSError) as error:
            raise self.commit_failed(error) from error

    def commit_failed(self, error: BaseException) -> StorageError:
        """What to raise after a commit raised `error` (R12). The caller holds the lock.

        LevelDB goes on appending behind the torn record, and would lose all that at the next
        open: the log is rotated before any further commit, or none is accepted.
        """
        self.commit_failures += 1
        what = _text(error)
        try:
            before = self._newest_log()
            self.db.compact_range(start=b"\0", stop=b"\0")
            rotated = self._newest_log() > before and self._accepts_writes()
        except (plyvel.Error, OSError):
            rotated = False
        if rotated:
            return CommitError(f"the commit failed and was not done: {what}")
        return self.fail(f"a commit failed ({what}; what was acknowledged is there)")

    def fail(self, what: str) -> StoreFailedError:
        """Refuse all commits from now on; what to raise for it."""
        self.failed = (
            f"{self.path} refuses writes since {what}: make room or mend the disk, then close the "
            "LevelDB and open it again"
        )
        return StoreFailedError(self.failed)

    def _newest_log(self) -> int:
        return max((int(name[:-4]) for name in self.log_names()), default=0)

    def _accepts_writes(self) -> bool:
        """Whether LevelDB left its error state: an empty batch is refused in it too."""
        self.db.write_batch().write()
        return True

    def sync(self) -> None:
        """Return once everything committed before this call survives a power cut (R11).

        Calls from several threads are grouped: one of them does the work for all that came
        before it began.

        Raises:
            StoreFailedError: the disk failed to sync; commits are refused from then on.
        """
        leading = done = False
        mine = 0
        try:
            with self._sync_turn:
                mine = self._syncs_started + 1
                while self._sync_running and self._syncs_done < mine:
                    self._sync_turn.wait()
                if self._syncs_done < mine:
                    self._sync_running = leading = True
                    self._syncs_started = mine
            if leading:
                self._sync_files()
            done = True
        except OSError as error:
            # After a failed fsync the kernel forgets what it could not write: nothing that was
            # committed since the last sync can be promised any more.
            self.fail(f"the disk failed to sync ({error})")
        finally:
            # An interrupt (Ctrl-C) in between hands over to the next in line, as not done.
            if leading:
                with self._sync_turn:
                    if done:
                        self._syncs_done = mine
                    self._sync_running = False
                    self._sync_turn.notify_all()
        self._raise_if_failed()

    def _raise_if_failed(self) -> None:
        if self.failed is not None:
            raise StoreFailedError(self.failed)

    def _sync_files(self) -> None:
        names = self.log_names()
        for name in sorted(names):
            try:
                descriptor = os.open(self.path / name, os.O_RDONLY)
            except FileNotFoundError:
                continue  # became a table meanwhile, which LevelDB syncs before it drops the log
            try:
                os.fdatasync(descriptor)
            finally:
                os.close(descriptor)
        if names - self._synced_names:
            descriptor = os.open(self.path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            self._synced_names = names

    def log_names(self) -> set[str]:
        """The names of LevelDB's log files: two or more while a full memtable is being flushed."""
        with os.scandir(self.path) as entries:
            return {entry.name for entry in entries if _LOG_NAME.fullmatch(entry.name)}


def split(db: plyvel.DB | PrefixedDB) -> tuple[plyvel.DB, bytes]:
    """The root handle and the prefix of a plyvel handle.

    Raises:
        UsageError: `db` is something else, or closed, or its prefix meets the reserved range.
    """
    if isinstance(db, PrefixedDB):
        root, prefix = db.db, db.prefix
    elif isinstance(db, plyvel.DB):
        root, prefix = db, b""
    else:
        raise UsageError(
            f"expected an open plyvel.DB or a PrefixedDB of one, got {type(db).__name__}"
        )
    if root.closed:
        raise UsageError("the LevelDB is closed: open it, then wrap it")
    if prefix and (prefix.startswith(RESERVED) or RESERVED.startswith(prefix)):
        raise UsageError(
            f"the prefix {prefix!r} meets the range that begins with ff ff ff ff, which is "
            "reserved for the replicator's own rows: choose another prefix"
        )
    return root, prefix


def read_registry(db: plyvel.DB) -> list[bytes]:
    """The prefixes of one LevelDB that hold a replicated store (R15).

    Raises:
        FormatError: the registry row is not ours.
    """
    row = db.get(ROOT)
    if row is None:
        return []
    try:
        prefixes = msgpack.unpackb(row)
    except (ValueError, msgpack.UnpackException):
        prefixes = None
    if not isinstance(prefixes, list) or not all(isinstance(item, bytes) for item in prefixes):
        raise FormatError(
            f"{db.name!r} holds foreign data at the key {ROOT!r}, which is reserved: move those "
            "keys out of the range that begins with ff ff ff ff"
        )
    return prefixes


def check_comparator(path: Path) -> None:
    """Refuse a LevelDB whose keys are not in byte order.

    plyvel does not tell a handle's comparator; the first record of the MANIFEST holds its name.

    Raises:
        FormatError: the comparator is a custom one, or this is no LevelDB that can be read.
    """
    try:
        manifest = path / (path / "CURRENT").read_text().strip()
        with manifest.open("rb") as stream:
            head = stream.read(7)
            record = stream.read(struct.unpack("<H", head[4:6])[0])
    except (OSError, UnicodeDecodeError, struct.error) as error:
        raise FormatError(f"{path} is no LevelDB that can be read: {error}") from error
    if record[:1] == b"\x01" and record[2 : 2 + record[1]] != _BYTEWISE:
        name = record[2 : 2 + record[1]].decode(errors="replace")
        raise FormatError(
            f"{path} was made with the custom comparator {name!r}: only LevelDB's own byte order "
            "can be replicated; copy the data into a LevelDB without a comparator"
        )


def _text(error: BaseException) -> str:
    """What an error says; LevelDB's come as bytes."""
    first = error.args[0] if error.args else ""
    return first.decode(errors="replace") if isinstance(first, bytes) else str(error)


def _name(prefix: bytes) -> str:
    return f"the prefix {prefix!r}" if prefix else "the whole LevelDB"
