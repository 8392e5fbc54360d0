"""What an idle mesh costs: processor time and traffic of each node when nobody writes.

    python -m benchmarks.bench_idle [--nodes 9] [--seconds 30]

A full mesh of processes on loopback; every node writes a few values, all agree, and after a pause
in which conversations may end the mesh is left alone. Processor time is that of the whole process
of a node, in percent of one core; bytes are what reached its sockets.
"""

import argparse
import time

from benchmarks.cluster import Cluster, print_load

WRITES = 10


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nodes", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=30.0, help="how long it is watched")
    parser.add_argument(
        "--settle", type=float, default=8.0, help="seconds between agreement and watching"
    )
    options = parser.parse_args()
    print_load()
    with Cluster() as cluster:
        cluster.add(options.nodes)
        cluster.mesh()
        for node in cluster.nodes:
            for number in range(WRITES):
                node.ask("put", b"%s:%d" % (node.name.encode(), number), b"value")
        cluster.agree()
        time.sleep(options.settle)
        cpu, received = cluster.each("cpu_seconds"), cluster.each("bytes_received")
        begin = time.monotonic()
        time.sleep(options.seconds)
        seconds = time.monotonic() - begin
        shares = [
            (after - before) / seconds * 100
            for before, after in zip(cpu, cluster.each("cpu_seconds"), strict=True)
        ]
        rates = [
            (after - before) / seconds
            for before, after in zip(received, cluster.each("bytes_received"), strict=True)
        ]
    nodes = len(shares)
    print(f"nodes, watched for {seconds:.0f} s               {nodes:>8}")
    print(f"of a core per node, %, mean and most {sum(shares) / nodes:>8.2f} {max(shares):>8.2f}")
    print(f"bytes/s received per node, mean      {sum(rates) / nodes:>8.0f}")


if __name__ == "__main__":
    main()
