"""Nodes for benchmarks: each its own process, told over a pipe what to do.

A `Cluster` starts the processes and ends them whatever happens. What a node can be asked for is a
method of `Worker`; `Node.start` asks without waiting, so that several nodes work at once.

Times that are compared between processes are `time.monotonic_ns()`: on Linux one clock for the
whole machine. Bytes are counted in each process where they leave and reach the sockets.
"""

import multiprocessing
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterable, Iterator
from itertools import combinations, islice
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import plyvel
import trio

import replicator
from replicator.core.known import KnownSet
from replicator.faces.keywords import Keywords

PATIENCE_SECONDS = 120.0
"""After which a benchmark gives up waiting for the nodes to agree."""

POLL_SECONDS = 0.01
QUIET_SECONDS = 1.0
"""How long nothing may have been received for traffic to count as over."""

RECORDS_DEFAULT = 106_178
VALUE_BYTES = 100
LATE_SECONDS_MAX = 0.5
"""How far a writer that fell behind its rate catches up at once; beyond that it goes on from
where it is."""


def keeping_to_peers() -> dict[str, object]:
    """Keywords of `replicate` with which a node finds and dials nobody but its given peers."""
    wanted: dict[str, object] = {"discovery": (), "dial_members": False}
    return {name: value for name, value in wanted.items() if name in Keywords.__annotations__}


def read_records(path: str | None) -> Iterator[tuple[bytes, bytes]]:
    """The records of a TSV file (key TAB value per line), or made-up ones of that shape."""
    if path is None:
        for number in range(RECORDS_DEFAULT):
            yield b"key:%012d" % (number * 7919 % 1_000_003), os.urandom(50).hex().encode()
        return
    with Path(path).open("rb") as stream:
        for line in stream:
            key, _, value = line.rstrip(b"\n").partition(b"\t")
            yield key, value


def batches(
    records: Iterable[tuple[bytes, bytes]], size: int
) -> Iterator[list[tuple[bytes, bytes]]]:
    iterator = iter(records)
    while batch := list(islice(iterator, size)):
        yield batch


def quantile(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def print_load() -> None:
    """What the machine does beside: the figures below are to be read with it."""
    one, five, _ = os.getloadavg()
    print(f"{os.cpu_count()} cores, load {one:.2f} (1 min), {five:.2f} (5 min) before the run")


class Wire:
    """Counts, in this process, what goes through trio's socket streams.

    Attributes:
        received_bytes, sent_bytes: since the process began.
    """

    def __init__(self) -> None:
        self.received_bytes = 0
        self.sent_bytes = 0
        receive, send = trio.SocketStream.receive_some, trio.SocketStream.send_all

        async def receive_some(stream: trio.SocketStream, max_bytes: int | None = None) -> bytes:
            data = await receive(stream, max_bytes)
            self.received_bytes += len(data)
            return data

        async def send_all(stream: trio.SocketStream, data: bytes) -> None:
            self.sent_bytes += len(data)
            await send(stream, data)

        trio.SocketStream.receive_some = receive_some
        trio.SocketStream.send_all = send_all


class Worker:
    """What a node's process can be asked for. Runs in that process."""

    def __init__(self, directory: str, name: str, keywords: dict[str, object]) -> None:
        self._wire = Wire()
        options = {"port": 0, "join_timeout": 0.0, **keeping_to_peers(), **keywords}
        self._db = replicator.replicate(
            plyvel.DB(directory, create_if_missing=True), name=name, **options
        )

    def close(self) -> None:
        self._db.close()

    def facts(self) -> tuple[str, int]:
        """Address and origin."""
        return str(self._db.address), int(self._db.origin, 16)

    def add_peers(self, addresses: list[str]) -> None:
        for address in addresses:
            self._db.add_peer(address)

    def put(self, key: bytes, value: bytes) -> None:
        self._db.put(key, value)

    def put_at_rate(self, prefix: bytes, count: int, rate: float, keys: int) -> list[int]:
        """Single puts, evenly spread: ``prefix:00000000`` and so on.

        Args:
            rate: puts per second.
            keys: after so many keys it begins with the first again.

        Returns:
            For each put the time at which it returned, in nanoseconds.
        """
        value = os.urandom(VALUE_BYTES // 2).hex().encode()
        returned = []
        begin = time.monotonic()
        for number in range(count):
            ahead = begin + number / rate - time.monotonic()
            if ahead > 0:
                time.sleep(ahead)
            elif ahead < -LATE_SECONDS_MAX:
                begin -= ahead
            self._db.put(b"%s:%08d" % (prefix, number % keys), value)
            returned.append(time.monotonic_ns())
        return returned

    def load(self, path: str | None, size: int) -> tuple[int, int, int]:
        """Write the records in batches; how many, and when it began and ended in nanoseconds."""
        records = list(read_records(path))
        begin = time.monotonic_ns()
        for part in batches(records, size):
            with self._db.write_batch() as batch:
                for key, value in part:
                    batch.put(key, value)
        return len(records), begin, time.monotonic_ns()

    def first_reads(self, prefix: bytes, count: int, pause: float) -> list[int]:
        """Read the keys of a `put_at_rate` in their order, each until it is there.

        Args:
            pause: seconds between two reads of a key that is not there.

        Returns:
            For each key the time of the first read that found it, in nanoseconds.
        """
        found: list[int] = []
        deadline = time.monotonic() + PATIENCE_SECONDS
        while len(found) < count:
            if self._db.get(b"%s:%08d" % (prefix, len(found))) is not None:
                found.append(time.monotonic_ns())
                continue
            if time.monotonic() > deadline:
                raise TimeoutError(f"key {len(found)} of {count} has not arrived")
            time.sleep(pause)
        return found

    def known(self) -> KnownSet:
        return self._db.known()

    def wait_for(self, goal: KnownSet) -> int:
        """When all of `goal` was known here, in nanoseconds."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not self._db.known().issuperset(goal):
            if time.monotonic() > deadline:
                raise TimeoutError("the nodes do not agree")
            time.sleep(POLL_SECONDS)
        return time.monotonic_ns()

    def digest(self) -> str:
        return self._db.digest()

    def records_in(self) -> int:
        """Records received from all peers, repeated ones counted again."""
        peers = {peer.origin: peer.records_in for peer in self._db.status().peers}
        return sum(peers.values())

    def bytes_received(self) -> int:
        return self._wire.received_bytes

    def cpu_seconds(self) -> float:
        """Of all threads of this process."""
        return time.process_time()


def _work(pipe: Connection, directory: str, name: str, keywords: dict[str, object]) -> None:
    worker = Worker(directory, name, keywords)
    try:
        pipe.send((None, worker.facts()))
        while True:
            method, arguments = pipe.recv()
            try:
                answer = None, getattr(worker, method)(*arguments)
            except Exception as error:  # it is the parent's to raise
                answer = error, None
            pipe.send(answer)
    except EOFError:
        pass  # the parent is gone
    finally:
        worker.close()


class Node:
    """A node's process, seen from the benchmark.

    Attributes:
        address: ``host:port`` where it listens.
        origin: who issues its writes.
        process: the process.
    """

    def __init__(self, directory: Path, name: str, **keywords: object) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self.name = name
        self.process = context.Process(
            target=_work, args=(theirs, str(directory), name, keywords), daemon=True
        )
        self.process.start()
        theirs.close()
        self.address, self.origin = self.answer()

    def start(self, method: str, *arguments: object) -> None:
        """Ask for something, and let it work."""
        self._pipe.send((method, arguments))

    def answer(self) -> Any:
        """What came of the `start` before; raises what it raised."""
        error, result = self._pipe.recv()
        if error is not None:
            raise error
        return result

    def ask(self, method: str, *arguments: object) -> Any:
        self.start(method, *arguments)
        return self.answer()

    def signal(self, number: signal.Signals) -> None:
        if self.process.is_alive():
            assert self.process.pid is not None
            os.kill(self.process.pid, number)

    def clean_up(self) -> None:
        """Reap the process, which was killed."""
        self.process.join()
        self._pipe.close()


class Cluster:
    """Nodes in one temporary directory; a context that leaves nothing behind.

    The nodes are killed together at its end, stopped first: otherwise those that are left for a
    moment would each say that the others are gone.
    """

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self._home = Path(tempfile.mkdtemp(prefix="bench-cluster-"))

    def __enter__(self) -> "Cluster":
        return self

    def __exit__(self, *exception: object) -> None:
        for node in self.nodes:
            node.signal(signal.SIGSTOP)
        for node in self.nodes:
            node.signal(signal.SIGKILL)
        for node in self.nodes:
            node.clean_up()
        shutil.rmtree(self._home)

    def add(self, count: int, **keywords: object) -> None:
        """Start nodes that know of nobody yet; `keywords` go to `replicate`."""
        for _ in range(count):
            name = f"n{len(self.nodes)}"
            self.nodes.append(Node(self._home / name, name, **keywords))

    def mesh(self) -> None:
        """Make everyone everyone's peer."""
        self.link(combinations(range(len(self.nodes)), 2))

    def link(self, pairs: Iterable[tuple[int, int]]) -> None:
        """Make each other's peers of pairs of nodes, and wait until all talk."""
        peers: dict[int, list[str]] = {number: [] for number in range(len(self.nodes))}
        for one, other in pairs:
            peers[one].append(self.nodes[other].address)
            peers[other].append(self.nodes[one].address)
        self.dial(peers)

    def dial(self, peers: dict[int, list[str]]) -> None:
        """Give each node its peers' addresses, and wait until one first value is everywhere."""
        for number, addresses in peers.items():
            self.nodes[number].ask("add_peers", addresses)
        self.nodes[0].ask("put", b"first", b"value")
        self.agree()

    def each(self, method: str, *arguments: object) -> list[Any]:
        """Ask all nodes at once."""
        for node in self.nodes:
            node.start(method, *arguments)
        return [node.answer() for node in self.nodes]

    def agree(self) -> int:
        """Wait until every node knows what any one knows now, and check that their data is equal.

        Returns:
            When the last one did, in nanoseconds.
        """
        goal = KnownSet()
        for known in self.each("known"):
            goal = goal.union(known)
        last = max(self.each("wait_for", goal))
        digests = set(self.each("digest"))
        if len(digests) != 1:
            raise AssertionError(f"{len(digests)} different digests among nodes that know the same")
        return int(last)

    def wait_quiet(self) -> None:
        """Wait until no node has received a record for a while."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        before, now = None, self.each("records_in")
        while before != now:
            if time.monotonic() > deadline:
                raise TimeoutError("the nodes do not come to rest")
            time.sleep(QUIET_SECONDS)
            before, now = now, self.each("records_in")
