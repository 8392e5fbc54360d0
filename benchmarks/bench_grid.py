"""A 3x3 grid of nine processes, the data injected at one corner.

    python -m benchmarks.bench_grid [FILE.tsv] [--batch 50]

    A - B - C      each node has its neighbours as peers, and nobody else
    |   |   |
    D - E - F
    |   |   |
    G - H - I

Prints how fast A takes the records (106,178 made-up ones, or those of a file with key TAB value
per line) in batches of 50, how long after A's last write all nine know the same, and the rate over
both. The digests of all nine are compared at the end. All run on this one machine: it does nine
times the work of a node.
"""

import argparse

from benchmarks.cluster import Cluster, print_load

SIDE = 3


def neighbours() -> list[tuple[int, int]]:
    """The edges of the grid."""
    across = [(n, n + 1) for n in range(SIDE * SIDE) if (n + 1) % SIDE]
    down = [(n, n + SIDE) for n in range(SIDE * (SIDE - 1))]
    return across + down


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", nargs="?", help="key TAB value per line")
    parser.add_argument("--batch", type=int, default=50, help="records in one commit at A")
    options = parser.parse_args()
    print_load()
    with Cluster() as cluster:
        cluster.add(SIDE * SIDE)
        cluster.link(neighbours())
        count, begin, written = cluster.nodes[0].ask("load", options.file, options.batch)
        agreed = cluster.agree()
        cluster.wait_quiet()
        received = sum(cluster.each("records_in"))
    print(f"records                              {count:>10,}   in batches of {options.batch}")
    print(f"injected at A, records/s             {count / (written - begin) * 1e9:>10,.0f}")
    print(f"all nine agree after A's last, s     {(agreed - written) / 1e9:>10.2f}")
    print(f"until all nine agree, records/s      {count / (agreed - begin) * 1e9:>10,.0f}")
    crossings = received / (count * (SIDE * SIDE - 1))
    print(f"crossings of a record to a node      {crossings:>10.2f}")


if __name__ == "__main__":
    main()
