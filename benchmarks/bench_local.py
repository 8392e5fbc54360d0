"""What a wrapped handle costs beside plyvel's own, on one machine and without peers.

    python -m benchmarks.bench_local [--rounds 7] [--keys 100000] [--directory DIR]

Random 16-byte keys, 100-byte values. Each round runs every operation on either handle, in turn,
and gives ratios (1.00: as fast as plyvel); the table shows medians.

- *put*, *batch*: into an empty LevelDB, one key or 1,000 keys a commit;
- *get*, *iterate*: on what was put, its files settled, which is where a store spends its life. The
  wrapped handle's LevelDB also holds the log and the index. *same LevelDB* compares with the native
  handle below the wrapped one: the price of the handle alone;
- *synced put*: ``sync=True``, from one thread, and from eight that share sync points (R11). Needs
  `DIR` on a real disk to mean anything.
"""

import argparse
import random
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import plyvel

import replicator

Handle = Any
"""plyvel's or a wrapped one: both take the same calls."""

VALUE = bytes(range(100))
BATCH = 1000
THREADS = 8
READ_PASSES = 3
SYNCED_PUTS = 200
TARGETS = {"put": 0.25, "batch of 1,000": 0.2, "get": 0.9, "iterate": 0.8}


def put(db: Handle, keys: list[bytes]) -> None:
    put = db.put
    for key in keys:
        put(key, VALUE)


def put_in_batches(db: Handle, keys: list[bytes]) -> None:
    for start in range(0, len(keys), BATCH):
        with db.write_batch() as batch:
            for key in keys[start : start + BATCH]:
                batch.put(key, VALUE)


def get(db: Handle, keys: list[bytes]) -> None:
    get = db.get
    for key in keys:
        get(key)


def iterate(db: Handle, _: list[bytes]) -> None:
    for _item in db:
        pass


def put_synced(db: Handle, keys: list[bytes]) -> None:
    for key in keys:
        db.put(key, VALUE, sync=True)


def put_synced_from_threads(db: Handle, keys: list[bytes]) -> None:
    threads = [
        threading.Thread(target=put_synced, args=(db, keys[number::THREADS]))
        for number in range(THREADS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


WRITES = (put, put_in_batches)


class Below:
    """The native handle below a wrapped one, iterated as far as that shows."""

    def __init__(self, native: plyvel.DB) -> None:
        self.get = native.get
        self._native = native

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        return iter(self._native.iterator(stop=b"\xff\xff\xff\xff"))


class Table:
    """Rates and ratios by operation."""

    def __init__(self) -> None:
        self._rates: dict[str, list[tuple[float, float]]] = {}
        self._is_swapped = False

    def compare(
        self,
        name: str,
        work: Callable[[Handle, list[bytes]], None],
        handles: tuple[Handle, Handle],
        keys: list[bytes],
    ) -> None:
        """Time `work` on plyvel's handle and on the wrapped one, now this, now that first."""
        rates = [0.0, 0.0]
        self._is_swapped = not self._is_swapped
        for place in (1, 0) if self._is_swapped else (0, 1):
            begin = time.perf_counter()
            work(handles[place], keys)
            rates[place] = len(keys) / (time.perf_counter() - begin)
            if work in WRITES:
                settle(handles[place])  # or what it has yet to compact slows the other one down
        self._rates.setdefault(name, []).append((rates[0], rates[1]))

    def show(self) -> None:
        print(f"{'':<28}{'plyvel/s':>12}{'wrapped/s':>12}{'ratio':>8}{'target':>8}")
        for name, rates in self._rates.items():
            plain, wrapped = (statistics.median(column) for column in zip(*rates, strict=True))
            ratio = statistics.median(ours / theirs for theirs, ours in rates)
            target = f"{TARGETS[name]:.2f}" if name in TARGETS else ""
            print(f"{name:<28}{plain:>12,.0f}{wrapped:>12,.0f}{ratio:>8.2f}{target:>8}")


@contextmanager
def fresh(directory: Path) -> Iterator[tuple[plyvel.DB, replicator.Replica, plyvel.DB]]:
    """An empty plain handle, an empty wrapped one, and the native one below that."""
    with tempfile.TemporaryDirectory(dir=directory) as place:
        native = plyvel.DB(f"{place}/wrapped", create_if_missing=True)
        with (
            plyvel.DB(f"{place}/plain", create_if_missing=True) as plain,
            replicator.replicate(native, port=None, discovery=()) as wrapped,
        ):
            yield plain, wrapped, native


def settle(db: Handle) -> None:
    """Let LevelDB finish all compacting."""
    db.compact_range(start=b"", stop=b"\xff" * 8)


def run_round(table: Table, directory: Path, keys: list[bytes]) -> None:
    shuffled = random.sample(keys, len(keys))
    with fresh(directory) as (plain, wrapped, _):
        table.compare("batch of 1,000", put_in_batches, (plain, wrapped), keys)
    with fresh(directory) as (plain, wrapped, native):
        table.compare("put", put, (plain, wrapped), keys)
        for name, work in (("get", get), ("iterate", iterate)) * READ_PASSES:
            table.compare(name, work, (plain, wrapped), shuffled)
            table.compare(f"{name}, same LevelDB", work, (Below(native), wrapped), shuffled)
    with fresh(directory) as (plain, wrapped, _):
        synced = keys[:SYNCED_PUTS]
        table.compare("synced put", put_synced, (plain, wrapped), synced)
        synced = keys[SYNCED_PUTS : SYNCED_PUTS * (1 + THREADS)]
        table.compare(
            f"synced put, {THREADS} threads", put_synced_from_threads, (plain, wrapped), synced
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--directory", type=Path, help="where to put the LevelDBs")
    options = parser.parse_args()
    dice = random.Random(1)
    keys = [dice.randbytes(16) for _ in range(options.keys)]
    table = Table()
    for _ in range(options.rounds):
        run_round(table, options.directory, keys)
    table.show()


if __name__ == "__main__":
    main()
