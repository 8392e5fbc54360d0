"""Full-state rounds between two processes over loopback TCP (R9).

    python -m benchmarks.bench_fullstate [--keys 1000000] [--differences 0 10 1000] [--rounds 3]

Two nodes hold the same million records of 100 bytes, and their known sets are incomparable: one of
them, or each, has collected a delete of its own that the other never saw, so the other one, or
both, pull a full-state round at their first contact. Measured from when the second node, open for a
while, is told the address of the first: when the rounds were complete, the processor time of the
busier node, and the bytes over both sockets, everything included.

Then the bootstrap of an empty node: by the log, and, where the other one has collected something,
by a full-state round; records/s.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import product
from pathlib import Path

import plyvel
import trio

import replicator
from replicator.config import Settings
from replicator.status import Round
from replicator.store.keyspace import SEQ, floor_key
from replicator.store.store import Store

VALUE = b"v" * 92
BATCH = 1000

SETTLE_SECONDS = 5.0
"""What a node does after opening a large store is over by then."""


def say(**facts: object) -> None:
    print(json.dumps(facts), flush=True)


def fill(directory: str, keys: int) -> None:
    """A store of so many records."""
    db = plyvel.DB(directory, create_if_missing=True)
    store = Store.open(db, settings=Settings(join_timeout=0))
    for start in range(0, keys, BATCH):
        numbers = range(start, min(start + BATCH, keys))
        store.write([(b"key:%010d" % n, VALUE + b"%08d" % n) for n in numbers])
    store.close()
    db.close()


def prepare(
    directory: str, *, differences: int, keys: int, name: bytes, collects: bool = True
) -> None:
    """Make a copy one that has changed some keys and, perhaps, collected a delete since."""
    db = plyvel.DB(directory)
    store = Store.open(db, settings=Settings(join_timeout=0))
    for number in range(differences):
        place = number * (keys // differences) + (name == b"b")
        store.put(b"key:%010d" % place, b"changed by " + name)
    if collects:
        gone = b"gone " + name
        store.put(gone, b"")
        store.delete(gone)
        record = store.record(gone)
        batch = store.db.write_batch()
        store.remove(batch, gone, record)
        store.own_known_row(batch)
        batch.put(floor_key(store.number), SEQ.pack(store.seq))
        batch.write()
    store.close()
    db.close()


def count_bytes() -> dict[str, int]:
    """Count what goes through the sockets of this process from now on."""
    counts = {"sent": 0}
    send_all = trio.SocketStream.send_all

    async def counted(self: trio.SocketStream, data: bytes) -> None:
        counts["sent"] += len(data)
        await send_all(self, data)

    trio.SocketStream.send_all = counted  # type: ignore[method-assign,assignment]
    return counts


def cpu_seconds() -> float:
    """What this process has used of the processors."""
    return sum(os.times()[:2])


def serve(directory: str, port: int | None) -> None:
    """A node that tells of each round from its peer, until its input ends."""
    counts = count_bytes()

    def completed(done: Round) -> None:
        say(
            at=time.time(),
            records=done.records,
            changed=done.changed,
            full=done.full,
            sent=counts["sent"],
        )

    db = plyvel.DB(directory, create_if_missing=True)
    with replicator.replicate(
        db, port=0 if port is None else None, peers=[], discovery=(), join_timeout=0.0
    ) as node:
        node.on("round", completed)
        time.sleep(SETTLE_SECONDS)
        before = cpu_seconds()
        say(port=node.address[1] if node.address else 0, begun=time.time())
        if port is not None:
            node.add_peer(f"127.0.0.1:{port}")
        sys.stdin.readline()
        say(cpu=cpu_seconds() - before)
        say(sent=counts["sent"], digest=node.digest())


def node(directory: str, port: int | None = None) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "benchmarks.bench_fullstate", "--serve", directory]
    if port is not None:
        command += ["--port", str(port)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def answer(process: subprocess.Popen[bytes]) -> dict[str, float]:
    assert process.stdout is not None
    return dict(json.loads(process.stdout.readline()))


def finish(process: subprocess.Popen[bytes]) -> dict[str, float]:
    """Ask a node for its last words; what it says before is left out."""
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(b"\n")
    process.stdin.close()
    found: dict[str, float] = {}
    for line in process.stdout:
        found |= json.loads(line)
    process.wait()
    return found


def full_round(process: subprocess.Popen[bytes]) -> dict[str, float]:
    """Wait for the first full-state round of a node."""
    while not (told := answer(process))["full"]:
        pass
    return told


def meet(first: str, second: str, *, both: bool = False, full: bool = True) -> dict[str, float]:
    """One run: two nodes meet.

    Args:
        both: whether both have a full-state round to wait for, else the second.
        full: whether that is one; else any round of the second is waited for.
    """
    a = node(first)
    try:
        b = node(second, int(answer(a)["port"]))
        try:
            begin = answer(b)["begun"]
            at_b = full_round(b) if full else answer(b)
            at_a = full_round(a) if both else at_b
            time.sleep(0.5)
            last_b, last_a = finish(b), finish(a)
            assert last_a["digest"] == last_b["digest"], "they do not hold the same"
        finally:
            b.kill()
    finally:
        a.kill()
    return {
        "cpu": max(last_a["cpu"], last_b["cpu"]),
        "seconds": max(at_a["at"], at_b["at"]) - begin,
        "bytes": last_a["sent"] + last_b["sent"],
        "records": at_a["records"] + at_b["records"],
    }


def copy(source: str, target: str) -> str:
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)
    return target


def compare(base: str, directory: str, keys: int, differences: int, both: bool) -> dict[str, float]:
    for name in (b"a", b"b"):
        at = copy(base, f"{directory}/{name.decode()}")
        collects = both or name == b"a"
        prepare(at, differences=differences, keys=keys, name=name, collects=collects)
    return meet(f"{directory}/a", f"{directory}/b", both=both)


def bootstrap(base: str, directory: str, keys: int, full: bool) -> dict[str, float]:
    at = copy(base, f"{directory}/a")
    if full:
        prepare(at, differences=0, keys=keys, name=b"a")
    shutil.rmtree(f"{directory}/b", ignore_errors=True)
    Path(f"{directory}/b").mkdir()
    return meet(at, f"{directory}/b", full=full)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--differences", type=int, nargs="*", default=[0, 10, 1000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-bootstrap", action="store_true")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        return serve(options.serve, options.port)
    directory = tempfile.mkdtemp(prefix="bench-fullstate-")
    try:
        base = f"{directory}/base"
        fill(base, options.keys)
        for differences, both in product(options.differences, (False, True)):
            runs = [
                compare(base, directory, options.keys, differences, both)
                for _ in range(options.rounds)
            ]
            name = f"{options.keys:,} keys, {differences:,} differ at each, "
            name += "two rounds" if both else "one round"
            print(
                f"{name:<48} {median(runs, 'seconds'):>6.2f} s (CPU {median(runs, 'cpu'):.2f} s), "
                f"{median(runs, 'bytes') / 1000:>8,.1f} kB, {median(runs, 'records'):,.0f} records"
            )
        for full in () if options.no_bootstrap else (False, True):
            runs = [bootstrap(base, directory, options.keys, full) for _ in range(options.rounds)]
            name = "bootstrap by a full-state round" if full else "bootstrap by the log"
            print(f"{name:<40} {options.keys / median(runs, 'seconds'):>10,.0f} records/s")
    finally:
        shutil.rmtree(directory)


def median(runs: list[dict[str, float]], name: str) -> float:
    return statistics.median(run[name] for run in runs)


if __name__ == "__main__":
    main()
