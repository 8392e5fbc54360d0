"""What guarantees cost: writes that a peer holds on disk, tokens, feeds.

    python -m benchmarks.bench_guarantees [--seconds 3] [--items 100000] [--directory DIR]

Two nodes on loopback, in one process. Printed: writes per second with ``replicas=1`` from 1 and
from 16 threads, with the sync points of the peer per write; how long one such write takes; how long
after a write its token is reached at the peer; and the items per second of a feed, without and with
the token of every item.
"""

import argparse
import tempfile
import threading
import time
from pathlib import Path
from statistics import median, quantiles

import plyvel

from replicator import Replica, replicate

THREADS = 16


def opened(directory: Path, name: str, *peers: str) -> Replica:
    db = plyvel.DB(str(directory / name), create_if_missing=True)
    return replicate(db, port=0, peers=peers, discovery=[], name=name)


def write_for(here: Replica, name: str, seconds: float, took: list[float]) -> None:
    end = time.perf_counter() + seconds
    count = 0
    while (start := time.perf_counter()) < end:
        here.put(b"%s %d" % (name.encode(), count), b"v" * 100, replicas=1, timeout=60)
        took.append(time.perf_counter() - start)
        count += 1


def writes(here: Replica, there: Replica, threads: int, seconds: float) -> None:
    """Writes that the peer holds on disk."""
    before = there.status().counters.sync_points
    took: list[float] = []
    started = time.perf_counter()
    writers = [
        threading.Thread(target=write_for, args=(here, f"{threads} {number}", seconds, took))
        for number in range(threads)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    elapsed = time.perf_counter() - started
    syncs = there.status().counters.sync_points - before
    print(
        f"replicas=1, {threads} threads: {len(took) / elapsed:,.0f} writes/s, "
        f"{syncs / len(took):.2f} sync points a write, "
        f"median {median(took) * 1000:.1f} ms, "
        f"99 of 100 within {quantiles(took, n=100)[-1] * 1000:.1f} ms"
    )


def tokens(here: Replica, there: Replica) -> None:
    """From a write here to its token there."""
    took = []
    for number in range(300):
        start = time.perf_counter()
        here.put(b"token %d" % number, b"v")
        assert there.wait_for(here.token(), 30)
        took.append(time.perf_counter() - start)
    print(f"a token is reached at the peer after {median(took) * 1000:.1f} ms (median)")


def feeds(here: Replica, items: int) -> None:
    """All of a store, item by item."""
    since = here.token()
    for first in range(0, items, 1000):
        with here.write_batch() as batch:
            for number in range(first, first + 1000):
                batch.put(b"feed %09d" % number, b"v" * 100)
    for what, use in (("", False), (", each with its token", True)):
        start = time.perf_counter()
        count = sum(1 for change in here.changes(since, follow=False) if not use or change.token)
        print(f"feed: {count / (time.perf_counter() - start):,.0f} items/s{what}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--directory", type=Path, help="where to put the LevelDBs")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(dir=options.directory) as name,
        opened(Path(name), "here") as here,
        opened(Path(name), "there", str(here.address)) as there,
    ):
        here.put(b"first", b"v", replicas=1, timeout=60)
        writes(here, there, 1, options.seconds)
        writes(here, there, THREADS, options.seconds)
        tokens(here, there)
        feeds(here, options.items)


if __name__ == "__main__":
    main()
