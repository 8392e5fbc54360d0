"""What a time to live costs: puts, and sweeping while others write.

    python -m benchmarks.bench_ttl [--keys 100000] [--directory DIR]

Random 16-byte keys, 100-byte values, on one handle without peers.

- *put*, *batch*: plain, and with a time to live that does not end during the run;
- *sweep*: all keys expire at one moment, long after they were written, so that a sync point has
  covered them; keys a second from the first to the last one gone;
- *put meanwhile*: latency of single puts from a thread of the same process during the sweep, and
  the longest commit of the sweep: how long any writer has to wait for it.
"""

import argparse
import random
import tempfile
import time
from pathlib import Path
from typing import Any

import plyvel

import replicator

VALUE = bytes(range(100))
BATCH = 1000
FAR = 3600.0


def rate(count: int, started: float) -> float:
    return count / (time.perf_counter() - started)


def open_handle(directory: Path) -> replicator.Replica:
    return replicator.replicate(
        plyvel.DB(str(directory), create_if_missing=True), port=None, discovery=[]
    )


def puts(directory: Path, keys: list[bytes]) -> None:
    for what, options in (("plain", {}), ("ttl", {"ttl": FAR})):
        with open_handle(directory / f"put {what}") as db:
            db.put(b"first", b"v")
            started = time.perf_counter()
            for key in keys:
                db.put(key, VALUE, **options)  # type: ignore[arg-type]
            print(f"put, {what:5}                 {rate(len(keys), started):10,.0f} /s")
            started = time.perf_counter()
            for key in keys:
                db.put(key, VALUE, **options)  # type: ignore[arg-type]
            print(f"put again, {what:5}           {rate(len(keys), started):10,.0f} /s")
        with open_handle(directory / f"batch {what}") as db:
            db.put(b"first", b"v")
            started = time.perf_counter()
            fill(db, keys, **options)
            print(f"batch of 1,000, {what:5}      {rate(len(keys), started):10,.0f} /s")


def fill(db: replicator.Replica, keys: list[bytes], **options: Any) -> None:
    for start in range(0, len(keys), BATCH):
        with db.write_batch() as batch:
            for key in keys[start : start + BATCH]:
                batch.put(key, VALUE, **options)


def sweep(directory: Path, keys: list[bytes]) -> None:
    """Fill with expiries an hour ahead, then put the clock forward."""
    with open_handle(directory / "sweep") as db:
        fill(db, keys, ttl=FAR)
        store = db._engine.store
        store.sync_point()
        commits = watch_commits(store)
        wall_ms = store.wall_ms
        store.wall_ms = lambda: wall_ms() + int(2 * FAR * 1000)
        started = time.perf_counter()
        latencies: list[float] = []
        while store.counters().swept < len(keys):
            before = time.perf_counter()
            db.put(b"meanwhile", VALUE)
            latencies.append(time.perf_counter() - before)
            time.sleep(0.001)
        print(f"sweep                      {rate(len(keys), started):10,.0f} /s")
        latencies.sort()
        middle, late = latencies[len(latencies) // 2], latencies[int(len(latencies) * 0.99)]
        print(
            f"put meanwhile              median {middle * 1e3:.2f} ms, 99% {late * 1e3:.2f} ms, "
            f"worst {latencies[-1] * 1e3:.2f} ms of {len(latencies):,}"
        )
        print(f"longest commit of a sweep  {max(commits) * 1e3:.2f} ms of {len(commits):,}")


def watch_commits(store: Any) -> list[float]:
    """Collects how long each commit of a sweep holds the write lock."""
    times: list[float] = []
    settle_all = store._sweeper._settle_locked

    def timed(*arguments: Any) -> int:
        before = time.perf_counter()
        done: int = settle_all(*arguments)
        times.append(time.perf_counter() - before)
        return done

    store._sweeper._settle_locked = timed
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description="What a time to live costs.")
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--directory", type=Path)
    options = parser.parse_args()
    chance = random.Random(7)
    keys = [chance.randbytes(16) for _ in range(options.keys)]
    with tempfile.TemporaryDirectory(dir=options.directory) as name:
        puts(Path(name), keys)
        sweep(Path(name), keys)


if __name__ == "__main__":
    main()
