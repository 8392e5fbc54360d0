"""Catching up 100 records: the cost must follow what is lacking, not what there is.

    python -m benchmarks.bench_catchup [--rounds 5] [--large 1000000]

Two stores in one process, no network: the time of one whole round (known sets compared, the log
read in reverse, records merged, the claim committed) over 100 new records, with 10,000 keys, with
a million keys, and after a million overwrites of ten keys. Medians, interleaved.
"""

import argparse
import shutil
import statistics
import tempfile
import time

import plyvel

from replicator.core.chunk import Chunk
from replicator.core.known import KnownSet
from replicator.store.store import Store

LACKING = 100


class Pair:
    """Two stores, one behind the other by what `write_some` wrote."""

    def __init__(self, directory: str) -> None:
        self.source = Store.open(plyvel.DB(f"{directory}-a", create_if_missing=True))
        self.target = Store.open(plyvel.DB(f"{directory}-b", create_if_missing=True))
        self._written = 0

    def fill(self, keys: int, writes: int) -> None:
        """`writes` writes to `keys` keys, in batches, and the other store in step."""
        step = min(1000, keys)  # a batch is folded to the last write per key
        for start in range(0, writes, step):
            numbers = range(start, min(start + step, writes))
            self.source.write([(b"key:%010d" % (n % keys), b"v%099d" % n) for n in numbers])
        self.catch_up()

    def write_some(self) -> None:
        for _ in range(LACKING):
            self._written += 1
            self.source.put(b"new:%010d" % self._written, b"x" * 100)

    def catch_up(self) -> float:
        """One whole round; its seconds."""
        begin = time.perf_counter()
        self.source.show(self.source.seq)
        source = self.source.open_source()
        known = source.known
        lack: KnownSet = known.difference(self.target.known())
        for chunk in source.read(lack):
            self.target.apply(chunk, known)
        self.target.finish(Chunk(), known, known, source.floor)
        source.close()
        return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--large", type=int, default=1_000_000)
    options = parser.parse_args()
    cases = {
        "10,000 keys": (10_000, 10_000),
        f"{options.large:,} keys": (options.large, options.large),
        f"10 keys overwritten {options.large:,} times": (10, options.large),
    }
    directory = tempfile.mkdtemp(prefix="bench-catchup-")
    try:
        pairs = {}
        for number, (name, (keys, writes)) in enumerate(cases.items()):
            pairs[name] = Pair(f"{directory}/{number}")
            pairs[name].fill(keys, writes)
        times: dict[str, list[float]] = {name: [] for name in cases}
        for _ in range(options.rounds):
            for name, pair in pairs.items():
                pair.write_some()
                times[name].append(pair.catch_up())
    finally:
        shutil.rmtree(directory)
    base = statistics.median(times["10,000 keys"])
    for name, seconds in times.items():
        median = statistics.median(seconds)
        print(f"{name:<40} {median * 1000:>8.2f} ms   ratio {median / base:.2f}")


if __name__ == "__main__":
    main()
