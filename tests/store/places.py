"""A directory with a LevelDB and a store in it, opened and left in every way that occurs."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import plyvel
import pytest

from replicator.config import Settings
from replicator.core.known import KnownSet
from replicator.core.record import Version
from replicator.errors import CommitError
from replicator.store.level import Level
from replicator.store.store import Store

BOOT_ID = "/proc/sys/kernel/random/boot_id"


class Place:
    """One directory. `open` and `close` its store as often as you like.

    Args:
        path: where it lies; made at the first open.
        prefix: of the wrapped `PrefixedDB`; None wraps the whole LevelDB.
        leveldb: further arguments of `plyvel.DB`.
        options: arguments of `Store.open`.
    """

    def __init__(
        self,
        path: Path,
        *,
        prefix: bytes | None = None,
        leveldb: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        self.path = path
        self.prefix = prefix
        self.leveldb = leveldb or {}
        self.options = options
        self.db: plyvel.DB | None = None
        self._store: Store | None = None

    @property
    def store(self) -> Store:
        assert self._store is not None
        return self._store

    def open_leveldb(self) -> plyvel.DB:
        """The plain LevelDB, for whoever writes to it behind the store's back."""
        self.db = plyvel.DB(str(self.path), create_if_missing=True, **self.leveldb)
        return self.db

    def open(self) -> Store:
        """Open LevelDB and store."""
        db = self.open_leveldb()
        wrapped = db if self.prefix is None else db.prefixed_db(self.prefix)
        try:
            self._store = Store.open(wrapped, **self.options)
        except BaseException:
            db.close()
            raise
        return self._store

    def close(self) -> None:
        """Close both, in good order. Idempotent."""
        if self._store is not None and self._store.closed is None:
            self._store.close()
        if self.db is not None:
            self.db.close()

    def __enter__(self) -> Store:
        return self.open()

    def __exit__(self, *_: object) -> None:
        self.close()

    def kill(self) -> None:
        """What SIGKILL leaves: nothing more is written, the kernel has every commit."""
        if self.db is None or self.db.closed:
            return
        if self._store is not None and self._store.closed is None:
            self._store.revisit.stop()  # a thread of a killed process does not outlive it either
            self._store.abandon("killed by a test")
            self._store.revisit.stop()  # here the thread lives on, and LevelDB is about to go
            self._store.level.release(self._store.prefix)
        self.db.close()

    def reopen(self) -> Store:
        self.close()
        return self.open()

    def copy(self, path: Path) -> "Place":
        """The directory as it is now, copied: open or closed."""
        shutil.copytree(self.path, path)
        return Place(path, prefix=self.prefix, leveldb=self.leveldb, **self.options)

    def rows(self) -> dict[bytes, bytes]:
        """All that the closed LevelDB holds."""
        db = plyvel.DB(str(self.path))
        try:
            return dict(db)
        finally:
            db.close()


def patient(**changes: Any) -> Settings:
    """Settings without waiting."""
    return Settings(**{"join_timeout": 0.0, **changes})


def contents(store: Store) -> dict[bytes, bytes]:
    """What a plain reader of the LevelDB sees."""
    return dict(store.db.iterator(stop=b"\xff\xff\xff\xff"))


def live(store: Store, key: bytes) -> set[tuple[int, int]]:
    """The live dots of a key."""
    return {version.dot for version in store.record(key).versions}


def memory(store: Store) -> dict[str, object]:
    """What a store holds in memory and must find again at the next open."""
    return {
        "origin": store.origin,
        "number": store.number,
        "seq": store.seq,
        "shown": store.shown,
        "known": store.known(),
        "floor": dict(store.floor),
        "cluster": store.cluster_id,
        "durable": store.durable_known(),
        "origins": dict(store.origins.by_number),
    }


def records(store: Store) -> dict[bytes, tuple[tuple[Version, ...], dict[int, int]]]:
    """Every record, values and context."""
    from replicator.store.keyspace import INDEX, after

    keys = [key[len(INDEX) :] for key, _ in store.db.iterator(start=INDEX, stop=after(INDEX))]
    found = {}
    for key in keys:
        record = store.record(key)
        found[key] = (record.versions, dict(record.context))
    return found


class Failing:
    """Makes commits of a level raise, as a full disk does, without touching LevelDB.

    Args:
        error: what to raise.
        nth: the first commit that fails, counted from 1; all later ones fail too.
    """

    def __init__(self, store: Store, error: Callable[[], Exception], nth: int = 1) -> None:
        self._level = store.level
        self._error = error
        self._left = nth

    def __enter__(self) -> "Failing":
        self._commit = self._level.commit
        self._level.commit = self._fail  # type: ignore[method-assign]
        return self

    def __exit__(self, *_: object) -> None:
        self._level.commit = self._commit  # type: ignore[method-assign]

    def _fail(self, batch: Any) -> None:
        self._left -= 1
        if self._left <= 0:
            raise self._error()
        self._commit(batch)


@contextmanager
def failing(nth: int, what: str = "commit") -> Iterator[None]:
    """The nth commit, or sync, fails, and all that come after it, whichever store makes them: a cut
    while one is being opened."""
    method, left = getattr(Level, what), [nth]

    def run_or_fail(*arguments: Any) -> None:
        left[0] -= 1
        if left[0] <= 0:
            raise CommitError("cut")
        method(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Level, what, run_or_fail)
        yield


def own_known(store: Store) -> KnownSet:
    """The own dots issued so far."""
    known = KnownSet()
    known.add_range(store.origin, 1, store.seq + 1)
    return known
