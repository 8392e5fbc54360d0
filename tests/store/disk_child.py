"""A process whose files may not grow beyond a limit, or whose disk is full: run by the tests of
full disks as ``python -m tests.store.disk_child KIND DIRECTORY [BALLAST]``.

It writes, fails, goes on, and says on its standard output as JSON what was acknowledged. It ends
without closing anything.
"""

import json
import os
import random
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import plyvel

from replicator.errors import CommitError, StoreFailedError
from replicator.store.store import Store

from .places import Place, contents, patient
from .rounds import Round, join

LIMIT_BYTES = 80_000


class Limit:
    """The longest that a file may get; or, where a ballast file is given, the disk it fills."""

    def __init__(self, ballast: Path | None) -> None:
        self._ballast = ballast

    def set(self, size: int) -> None:
        if self._ballast is None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
            return
        with self._ballast.open("ab") as stream:
            while True:
                free = os.statvfs(self._ballast.parent)
                left = free.f_bavail * free.f_frsize - size
                if left <= 0:
                    return
                stream.write(bytes(left))
                stream.flush()

    def lift(self) -> None:
        if self._ballast is None:
            infinity = resource.RLIM_INFINITY
            resource.setrlimit(resource.RLIMIT_FSIZE, (infinity, infinity))
        else:
            self._ballast.unlink()


class Book:
    """What the store has acknowledged."""

    def __init__(self) -> None:
        self.data: dict[str, dict[str, str | None]] = {}
        self.failures: list[str] = []

    def attempt(
        self, name: str, operation: Callable[[], object], changes: dict[bytes, bytes | None]
    ) -> bool:
        """Do it; note its changes if it was acknowledged, the error's class if not."""
        try:
            operation()
        except (CommitError, StoreFailedError) as error:
            self.failures.append(type(error).__name__)
            return False
        for key, value in changes.items():
            self.data.setdefault(name, {})[key.hex()] = None if value is None else value.hex()
        return True


def _value(chance: random.Random, size: int, *, dense: bool) -> bytes:
    return chance.randbytes(size) if dense else bytes([chance.randrange(256)]) * size


def puts(store: Store, book: Book, chance: random.Random, count: int, *, dense: bool) -> None:
    for _ in range(count):
        key = b"%d" % chance.randrange(40)
        value = _value(chance, chance.choice([10, 1000, 30_000]), dense=dense)
        sync = chance.random() < 0.3
        name = store.prefix.hex()

        def put(key: bytes = key, value: bytes = value, sync: bool = sync) -> None:
            store.put(key, value, sync=sync)

        book.attempt(name, put, {key: value})


def batches(store: Store, book: Book, chance: random.Random, count: int, *, dense: bool) -> None:
    for _ in range(count):
        changes: dict[bytes, bytes | None] = {
            b"%d" % chance.randrange(40): None
            if chance.random() < 0.2
            else _value(chance, chance.choice([10, 1000, 30_000]), dense=dense)
            for _ in range(3)
        }

        def write(changes: dict[bytes, bytes | None] = changes) -> None:
            store.write(list(changes.items()))

        book.attempt(store.prefix.hex(), write, changes)


def applies(store: Store, book: Book, chance: random.Random, count: int, *, dense: bool) -> None:
    """What a peer sends; the peer's LevelDB is elsewhere, but under the same limit: so short."""
    with Place(store.level.path.parent / "peer", settings=patient()) as peer:
        for _ in range(count):
            changes: dict[bytes, bytes | None] = {
                b"%d" % chance.randrange(40): _value(chance, 2000, dense=False) for _ in range(3)
            }
            try:
                peer.write(list(changes.items()))
            except (CommitError, StoreFailedError):
                return
            one = Round(store, peer)
            chunk = join(one.chunks)

            def finish(one: Round = one, chunk: object = chunk) -> None:
                store.finish(chunk, one.known, one.known, one.floor)  # type: ignore[arg-type]

            everything = contents(peer)
            if book.attempt(store.prefix.hex(), finish, {}):
                for key, value in everything.items():
                    book.data.setdefault(store.prefix.hex(), {})[key.hex()] = value.hex()


KINDS = {"puts": puts, "batches": batches, "applies": applies}


def main(kind: str, path: Path, ballast: Path | None) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    chance = random.Random(7)
    stays_failed = kind == "stays failed"
    limit, book = Limit(ballast), Book()
    db = plyvel.DB(str(path), create_if_missing=True)
    if kind == "two":
        stores = [Store.open(db.prefixed_db(name), settings=patient()) for name in (b"a", b"b")]
    else:
        stores = [Store.open(db, settings=patient())]
    work = KINDS.get(kind, puts)
    for store in stores:
        work(store, book, chance, 5, dense=False)
    acknowledged = len(book.failures) == 0
    limit.set(0 if stays_failed else LIMIT_BYTES)
    for _ in range(4):
        for store in stores:
            work(store, book, chance, 15, dense=stays_failed)
    limit.lift()
    for store in stores:
        work(store, book, chance, 5, dense=False)
    print(
        json.dumps(
            {
                "data": book.data,
                "failures": book.failures,
                "before": acknowledged,
                "failed": stores[0].level.failed,
            }
        ),
        flush=True,
    )
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]) if len(sys.argv) > 3 else None)
