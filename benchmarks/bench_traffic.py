"""How often a value crosses to each node in full meshes.

    python -m benchmarks.bench_traffic [--nodes 2,4,5,8,16] [--one-writer] [--slow proxy|stop]

Every node is a process on loopback and has all others as its peers. Values of 100 bytes are
written at an even rate, 1,000/s over all writers. When all nodes agree and nothing moves any more,
each mesh gives a row:

- *crossings*: records received by all nodes in completed rounds, by the values written times the
  nodes other than the writer. 1.00 is the least, but for overwritten keys (``--overwrite``), where
  a node may skip a value that is gone already;
- *bytes*: what reached the nodes' sockets, by the same number;
- how fast the writers really were, and how long after the last write all agreed.

The last node can be made a slow one, which does not write: ``--slow proxy`` lets all its
connections share a line of ``--line`` bytes/s each way, in a process of its own; ``--slow stop``
stops its process (SIGSTOP) for half a second of every second while the others write.
"""

import argparse
import signal
import time
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

from benchmarks.cluster import Cluster, Node, print_load
from benchmarks.throttle import Throttle

STOP_SECONDS = 0.5
HOT_KEYS = 5

Slow = Literal["proxy", "stop"]


@dataclass(frozen=True, slots=True)
class Load:
    """What is written: values and values per second over all writers; whether one node writes all;
    whether a few keys are written again and again; what is slow about the last node, with its
    line's bytes per second."""

    values: int
    rate: float
    one_writer: bool
    overwrite: bool
    slow: Slow | None
    line: float


@dataclass(frozen=True, slots=True)
class Row:
    """What one mesh gave; see the head of this module."""

    nodes: int
    writers: int
    rate: float
    crossings: float
    size_bytes: float
    behind_seconds: float


def measure(count: int, load: Load) -> Row:
    """One mesh of `count` nodes."""
    with ExitStack() as stack:
        throttle = stack.enter_context(Throttle(load.line)) if load.slow == "proxy" else None
        cluster = stack.enter_context(Cluster())
        cluster.add(count)
        if throttle is None:
            cluster.mesh()
        else:
            cluster.dial(_peers_over(throttle, cluster))
        cluster.wait_quiet()
        records, size = sum(cluster.each("records_in")), sum(cluster.each("bytes_received"))
        writers = cluster.nodes[: 1 if load.one_writer else count - (load.slow is not None)]
        values = load.values // len(writers)
        begin, last = _write(writers, cluster.nodes[-1], values, load)
        agreed = cluster.agree()
        cluster.wait_quiet()
        crossed = values * len(writers) * (count - 1)
        return Row(
            nodes=count,
            writers=len(writers),
            rate=values * len(writers) / (last - begin) * 1e9,
            crossings=(sum(cluster.each("records_in")) - records) / crossed,
            size_bytes=(sum(cluster.each("bytes_received")) - size) / crossed,
            behind_seconds=(agreed - last) / 1e9,
        )


def _write(writers: list[Node], last_node: Node, values: int, load: Load) -> tuple[int, int]:
    """Let all write; when it began and when the last put returned, in nanoseconds."""
    begin = time.monotonic_ns()
    for node in writers:
        # Keys that are written again and again are the same on all nodes.
        prefix = b"hot" if load.overwrite else node.name.encode()
        keys = HOT_KEYS if load.overwrite else values
        node.start("put_at_rate", prefix, values, load.rate / len(writers), keys)
    if load.slow == "stop":
        _stop_in_turns(last_node, load.values / load.rate)
    return begin, max(node.answer()[-1] for node in writers)


def _stop_in_turns(node: Node, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        node.signal(signal.SIGSTOP)
        time.sleep(STOP_SECONDS)
        node.signal(signal.SIGCONT)
        time.sleep(STOP_SECONDS)


def _peers_over(throttle: Throttle, cluster: Cluster) -> dict[int, list[str]]:
    """Everyone's peers, the last node behind the slow line."""
    last = len(cluster.nodes) - 1
    addresses = [node.address for node in cluster.nodes]
    peers: dict[int, list[str]] = {number: [] for number in range(last + 1)}
    for one, other in combinations(range(last), 2):
        peers[one].append(addresses[other])
        peers[other].append(addresses[one])
    slow = throttle.before(addresses[last], towards=True)
    for number in range(last):
        peers[number].append(slow)
        peers[last].append(throttle.before(addresses[number], towards=False))
    return peers


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nodes", default="2,4,5,8,16", help="sizes of the meshes, with commas")
    parser.add_argument("--seconds", type=float, default=3.0, help="how long is written")
    parser.add_argument("--rate", type=float, default=1000.0, help="values/s over all writers")
    parser.add_argument("--one-writer", action="store_true", help="only the first node writes")
    parser.add_argument(
        "--overwrite", action="store_true", help=f"write {HOT_KEYS} keys again and again"
    )
    parser.add_argument("--slow", choices=["proxy", "stop"], help="make the last node a slow one")
    parser.add_argument("--line", type=float, default=50_000.0, help="bytes/s of the slow line")
    options = parser.parse_args()
    load = Load(
        values=int(options.seconds * options.rate),
        rate=options.rate,
        one_writer=options.one_writer,
        overwrite=options.overwrite,
        slow=options.slow,
        line=options.line,
    )
    print_load()
    print("nodes  writers  values/s  crossings  bytes/crossing due  agree after, s")
    for count in map(int, options.nodes.split(",")):
        row = measure(count, load)
        print(
            f"{row.nodes:>5}{row.writers:>9}{row.rate:>10,.0f}{row.crossings:>11.2f}"
            f"{row.size_bytes:>20,.0f}{row.behind_seconds:>16.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
