"""How fast tombstones are collected (R8), and what that costs others meanwhile.

    python -m benchmarks.bench_collect [--keys 200000] [--live 200000] [--directory DIR]

One store: `--keys` random 16-byte keys put and deleted, among `--live` more that stay. The
watermark covers everything, as in a cluster that is at rest. Printed: tombstones dropped per second
of a pass, the longest commit of it, and what a `put` takes meanwhile from another thread; then what
a pass costs that finds nothing.
"""

import argparse
import random
import statistics
import tempfile
import threading
import time
from pathlib import Path

import plyvel

from replicator.config import Settings
from replicator.core.members import Watermark
from replicator.store.store import Store

VALUE = bytes(range(100))
BATCH = 1000
TARGETS = {"tombstones/s": 50_000, "longest commit, ms": 50}


def fill(store: Store, keys: list[bytes], live: list[bytes]) -> None:
    both = [*keys, *live]
    random.shuffle(both)
    for start in range(0, len(both), BATCH):
        store.write([(key, VALUE) for key in both[start : start + BATCH]])
    for start in range(0, len(keys), BATCH):
        store.write([(key, None) for key in keys[start : start + BATCH]])
    store.sync_point()


class Commits:
    """Notes how long the commits of the collecting thread take, the lock included."""

    def __init__(self, store: Store) -> None:
        self.longest = 0.0
        self._commit = store.level.commit
        self._thread = threading.current_thread()
        store.level.commit = self._timed  # type: ignore[method-assign]

    def _timed(self, batch: object) -> None:
        started = time.perf_counter()
        self._commit(batch)  # type: ignore[arg-type]
        if threading.current_thread() is self._thread:
            self.longest = max(self.longest, time.perf_counter() - started)


class Puts:
    """Puts one key after the other, with a little rest, in a thread of its own."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._over = threading.Event()
        self.seconds: list[float] = []
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Puts":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        number = 0
        while not self._over.wait(0.001):
            number += 1
            started = time.perf_counter()
            self._store.put(b"\0%d" % number, VALUE)
            self.seconds.append(time.perf_counter() - started)


def one_pass(store: Store, watermark: Watermark) -> tuple[int, float]:
    """Tombstones dropped, and seconds."""
    started, before, last = time.perf_counter(), store.counters().tombstones_collected, None
    while True:
        last = store.collect(watermark, store.origin, last).last
        if last is None:
            return store.counters().tombstones_collected - before, time.perf_counter() - started


def measure(path: Path, count: int, live: int) -> None:
    keys = [random.randbytes(16) for _ in range(count)]
    db = plyvel.DB(str(path), create_if_missing=True)
    store = Store.open(db, settings=Settings(join_timeout=0))
    fill(store, keys, [random.randbytes(16) for _ in range(live)])
    watermark = Watermark.of([store.durable_known()])
    commits = Commits(store)
    with Puts(store) as puts:
        dropped, seconds = one_pass(store, watermark)
    assert dropped == count, (dropped, count)
    _, idle = one_pass(store, watermark)
    rate = dropped / seconds
    print(f"{dropped:,} tombstones among {live:,} live keys: {rate:,.0f} tombstones/s")
    print(f"longest commit: {commits.longest * 1000:.1f} ms")
    times = sorted(puts.seconds)
    print(
        f"a put meanwhile: {statistics.median(times) * 1000:.3f} ms, "
        f"99 of 100 within {times[len(times) * 99 // 100] * 1000:.1f} ms, "
        f"longest {times[-1] * 1000:.1f} ms ({len(times)} puts)"
    )
    print(f"a pass that finds nothing: {live / idle:,.0f} rows/s")
    print(f"targets: {', '.join(f'{name} {value:,}' for name, value in TARGETS.items())}")
    store.close()
    db.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keys", type=int, default=200_000)
    parser.add_argument("--live", type=int, default=200_000)
    parser.add_argument("--directory", type=Path, help="where to put the LevelDB")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.directory) as name:
        measure(Path(name) / "db", options.keys, options.live)


if __name__ == "__main__":
    main()
