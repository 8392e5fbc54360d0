"""How soon another process reads a value: from `put`'s return on A to the first read on B.

    python -m benchmarks.bench_latency [--seconds 10] [--rate 1000]

Two nodes on loopback, each its own process. A makes single puts of new keys at an even rate and
notes when each returned; B reads the keys in the order of the puts and notes when each was found.
Both clocks are the machine's monotonic one.

B waits for the next key by a `get` and a short sleep in turns, not in a tight loop: that would
take half of a machine with two cores, and B's interpreter lock, from the nodes it measures. The
sleep (0.2 ms unless told otherwise) is in the figures; so is the order: a key that became visible
before an earlier one counts from when the earlier one was there.
"""

import argparse

from benchmarks.cluster import Cluster, print_load, quantile

SLEEP_SECONDS = 0.0002


def measure(count: int, rate: float, pause: float) -> tuple[list[float], float]:
    """One run: latencies in milliseconds, in order of size, and the rate that A reached."""
    with Cluster() as cluster:
        cluster.add(2)
        cluster.mesh()
        a, b = cluster.nodes
        b.start("first_reads", b"key", count, pause)
        a.start("put_at_rate", b"key", count, rate, count)
        put, found = a.answer(), b.answer()
    seconds = (put[-1] - put[0]) / 1e9
    # B may find a key before `put` has returned in A: then nobody had to wait.
    latencies = sorted(max(0, there - here) / 1e6 for here, there in zip(put, found, strict=True))
    return latencies, (count - 1) / seconds


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=10.0, help="how long A writes")
    parser.add_argument("--rate", type=float, default=1000.0, help="puts per second")
    parser.add_argument(
        "--sleep", type=float, default=SLEEP_SECONDS, help="seconds between B's reads"
    )
    options = parser.parse_args()
    print_load()
    latencies, rate = measure(int(options.seconds * options.rate), options.rate, options.sleep)
    print(f"puts                {len(latencies):>10,}   at {rate:,.0f}/s")
    for name, share in (("p50", 0.5), ("p99", 0.99), ("max", 1.0)):
        print(f"put to read, {name}, ms {quantile(latencies, share):>9.2f}")


if __name__ == "__main__":
    main()
