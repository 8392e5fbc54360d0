"""How fast a store is verified.

    python -m benchmarks.bench_verify [--keys 1000000] [--rounds 5] [--directory DIR]

Random keys of 13 bytes, values of 100, half of which compresses; every row, every value's checksum
and LevelDB's block checksums are looked at, on files that are settled. Beside the wall clock stands
the CPU time of the thread, which other programs of the machine change less.
"""

import argparse
import random
import statistics
import tempfile
import time
from pathlib import Path

import plyvel

from replicator.store.store import Store
from replicator.store.verify.directory import stopped

TARGET = 300_000
BATCH = 1000


def fill(path: Path, keys: int) -> None:
    """A store of so many keys, give or take some that come twice."""
    dice = random.Random(1)
    db = plyvel.DB(str(path), create_if_missing=True)
    store = Store.open(db)
    for _ in range(0, keys, BATCH):
        store.write(
            [(b"key%010d" % dice.randrange(10**10), dice.randbytes(50) * 2) for _ in range(BATCH)]
        )
    store.close()
    db.compact_range(start=b"", stop=b"\xff" * 8)
    db.close()


def measure(path: Path) -> tuple[float, float]:
    """Keys a second, by the wall clock and by CPU time."""
    with stopped(path) as directory, directory.scan(b"") as scan:
        wall, cpu = time.perf_counter(), time.thread_time()
        faults = list(scan.faults())
        wall, cpu = time.perf_counter() - wall, time.thread_time() - cpu
        assert not faults, faults[:3]
        return scan.keys / wall, scan.keys / cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--directory", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.directory) as name:
        path = Path(name) / "store"
        fill(path, arguments.keys)
        rates = [measure(path) for _ in range(arguments.rounds)]
    wall, cpu = (statistics.median(column) for column in zip(*rates, strict=True))
    verdict = "" if wall >= TARGET else f"  (target {TARGET:,})"
    print(f"{wall:,.0f} keys/s, {cpu:,.0f} per second of CPU{verdict}")


if __name__ == "__main__":
    main()
