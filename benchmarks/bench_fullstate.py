"""Full-state rounds between two processes over loopback TCP (R9).

    python -m benchmarks.bench_fullstate [--keys 1000000] [--differences 0 10 1000] [--rounds 3]

Two nodes hold the same million records of 100 bytes, and their known sets are incomparable: each
has collected a delete of its own that the other never saw, so both pull a full-state round at their
first contact. Measured from when the second node is opened: when each round was
complete, and the bytes over both sockets, everything included.

Then the bootstrap of an empty node: by the log, and, where the other one has collected something,
by a full-state round; records/s.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
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


def prepare(directory: str, *, differences: int, keys: int, name: bytes) -> None:
    """Make a copy one that has changed some keys and collected a delete since."""
    db = plyvel.DB(directory)
    store = Store.open(db, settings=Settings(join_timeout=0))
    for number in range(differences):
        place = number * (keys // differences) + (name == b"b")
        store.put(b"key:%010d" % place, b"changed by " + name)
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
    begun = time.time()
    with replicator.replicate(
        db,
        port=0 if port is None else None,
        peers=[] if port is None else [f"127.0.0.1:{port}"],
        discovery=(),
        join_timeout=0.0,
    ) as node:
        node.on("round", completed)
        say(port=node.address[1] if node.address else 0, begun=begun)
        sys.stdin.readline()
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
    found = {}
    for line in process.stdout:
        found = json.loads(line)
    process.wait()
    return found


def meet(first: str, second: str, both: bool) -> dict[str, float]:
    """One run: two nodes meet. Times of the first round at each of them."""
    a = node(first)
    try:
        b = node(second, int(answer(a)["port"]))
        try:
            begin = answer(b)["begun"]
            at_b = answer(b)
            at_a = answer(a) if both else at_b
            time.sleep(0.5)
            last_b, last_a = finish(b), finish(a)
            assert last_a["digest"] == last_b["digest"], "they do not hold the same"
        finally:
            b.kill()
    finally:
        a.kill()
    return {
        "full": float(at_b["full"]),
        "first": min(at_a["at"], at_b["at"]) - begin,
        "seconds": max(at_a["at"], at_b["at"]) - begin,
        "bytes": last_a["sent"] + last_b["sent"],
        "records": at_a["records"] + at_b["records"],
    }


def copy(source: str, target: str) -> str:
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)
    return target


def compare(base: str, directory: str, keys: int, differences: int) -> dict[str, float]:
    for name in ("a", "b"):
        at = copy(base, f"{directory}/{name}")
        prepare(at, differences=differences, keys=keys, name=name.encode())
    return meet(f"{directory}/a", f"{directory}/b", both=True)


def bootstrap(base: str, directory: str, keys: int, full: bool) -> dict[str, float]:
    at = copy(base, f"{directory}/a")
    if full:
        prepare(at, differences=0, keys=keys, name=b"a")
    shutil.rmtree(f"{directory}/b", ignore_errors=True)
    Path(f"{directory}/b").mkdir()
    result = meet(at, f"{directory}/b", both=False)
    assert bool(result["full"]) == full
    return result


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
        for differences in options.differences:
            runs = [
                compare(base, directory, options.keys, differences) for _ in range(options.rounds)
            ]
            name = f"{options.keys:,} keys, {differences:,} differ at each"
            print(
                f"{name:<40} first round {median(runs, 'first'):>6.2f} s, both "
                f"{median(runs, 'seconds'):>6.2f} s, {median(runs, 'bytes') / 1000:>8,.1f} kB, "
                f"{median(runs, 'records'):,.0f} records"
            )
        for full in () if options.no_bootstrap else (False, True):
            runs = [bootstrap(base, directory, options.keys, full) for _ in range(options.rounds)]
            name = "bootstrap by a full-state round" if full else "bootstrap by the log"
            print(f"{name:<40} {options.keys / median(runs, 'first'):>10,.0f} records/s")
    finally:
        shutil.rmtree(directory)


def median(runs: list[dict[str, float]], name: str) -> float:
    return statistics.median(run[name] for run in runs)


if __name__ == "__main__":
    main()
