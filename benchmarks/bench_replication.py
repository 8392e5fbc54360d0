"""Replication between two processes over loopback TCP.

    python -m benchmarks.bench_replication [FILE.tsv] [--rounds 3]

Measures, in medians over the rounds:

- *bootstrap*: all records from one node to an empty one, from the start of the empty node's peer
  process until it knows all; records/s, peak memory of both processes;
- *bare pipeline*: the same LevelDB operations (index look-ups and three puts a record) and the same
  msgpack packing over a pipe between two processes, without any replication logic: what the
  hardware gives, for the ratio;
- *local puts meanwhile*: latency of single puts on the receiving node while it receives.
"""

import argparse
import json
import resource
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time

import msgpack
import plyvel

import replicator
from benchmarks.cluster import read_records

CHUNK = 500


def say(**facts: object) -> None:
    print(json.dumps(facts), flush=True)


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def send(directory: str, path: str | None) -> None:
    """The process that has the records."""
    with replicator.replicate(
        plyvel.DB(directory, create_if_missing=True), port=0, name="sender", discovery=()
    ) as db:
        records = list(read_records(path))
        for place in range(0, len(records), 1000):
            with db.write_batch() as batch:
                for key, value in records[place : place + 1000]:
                    batch.put(key, value)
        count = db.known().count()
        del records
        say(port=db.address[1], count=count)
        sys.stdin.readline()
        say(peak_mb=peak_mb())


def receive(directory: str, port: int, count: int, local_puts: bool) -> None:
    """The process that begins empty. Its own puts use keys of their own."""
    db = plyvel.DB(directory, create_if_missing=True)
    latencies: list[float] = []
    done = threading.Event()
    start = time.perf_counter()
    with replicator.replicate(
        db,
        port=None,
        peers=[f"127.0.0.1:{port}"],
        discovery=(),
        name="receiver",
        join_timeout=0.0,
    ) as node:

        def put_now_and_then() -> None:
            number = 0
            while not done.is_set():
                number += 1
                begin = time.perf_counter()
                node.put(b"local:%08d" % number, b"x" * 100)
                latencies.append(time.perf_counter() - begin)
                time.sleep(0.001)

        writer = threading.Thread(target=put_now_and_then)
        if local_puts:
            writer.start()
        own = int(node.status().origin, 16)
        while True:
            known = node.known()
            if (
                sum(known.contiguous(origin) for origin in known.origins() if origin != own)
                >= count
            ):
                break
            time.sleep(0.01)
        elapsed = time.perf_counter() - start
        done.set()
        if local_puts:
            writer.join()
    say(elapsed=elapsed, peak_mb=peak_mb(), latencies=latencies)


def pipeline_send(path: str | None) -> None:
    """The bare pipeline's first half: read index and value of each log entry, pack, write."""
    directory = tempfile.mkdtemp()
    db = plyvel.DB(directory, create_if_missing=True)
    row = struct.Struct(">BBIQQQI")
    for number, (key, value) in enumerate(read_records(path)):
        with db.write_batch() as batch:
            batch.put(key, value)
            batch.put(b"\xff\xff\xff\xffl" + struct.pack(">IQ", 1, number), key)
            batch.put(b"\xff\xff\xff\xffi" + key, row.pack(1, 0, 1, number, 0, 0, 0))
    sys.stdin.readline()
    out = sys.stdout.buffer
    chunk: list[tuple[bytes, bytes | None, bytes | None]] = []

    def flush() -> None:
        payload = msgpack.packb(chunk)
        out.write(struct.pack(">I", len(payload)) + payload)
        chunk.clear()

    with db.iterator(prefix=b"\xff\xff\xff\xffl", include_key=False) as log:
        for key in log:
            chunk.append((key, db.get(b"\xff\xff\xff\xffi" + key), db.get(key)))
            if len(chunk) == CHUNK:
                flush()
    flush()
    out.flush()
    db.close()
    shutil.rmtree(directory)


def pipeline_receive() -> None:
    """The bare pipeline's second half: unpack, look up, three puts a record."""
    directory = tempfile.mkdtemp()
    db = plyvel.DB(directory, create_if_missing=True)
    source = sys.stdin.buffer
    start, count = time.perf_counter(), 0
    while head := source.read(4):
        if not count:
            start = time.perf_counter()
        records = msgpack.unpackb(source.read(struct.unpack(">I", head)[0]))
        batch = db.write_batch()
        for key, row, value in records:
            db.get(b"\xff\xff\xff\xffi" + key)
            count += 1
            batch.put(key, value)
            batch.put(b"\xff\xff\xff\xffl" + struct.pack(">IQ", 1, count), key)
            batch.put(b"\xff\xff\xff\xffi" + key, row)
        batch.write()
    elapsed = time.perf_counter() - start
    db.close()
    shutil.rmtree(directory)
    say(rate=count / elapsed)


def role(*arguments: object, **options: object) -> subprocess.Popen[bytes]:
    """Start this program in another role."""
    command = [sys.executable, "-m", "benchmarks.bench_replication", *map(str, arguments)]
    return subprocess.Popen(
        command, **{"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, **options}
    )


def answer(process: subprocess.Popen[bytes]) -> dict[str, float]:
    assert process.stdout is not None
    return dict(json.loads(process.stdout.readline()))


def tell(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    process.stdin.write(b"\n")
    process.stdin.flush()


def bootstrap(path: str | None, local_puts: bool) -> dict[str, float]:
    """One run: a loaded sender, an empty receiver."""
    directory = tempfile.mkdtemp(prefix="bench-replication-")
    sender = role("--role", "send", "--directory", f"{directory}/a", *([path] if path else []))
    try:
        ready = answer(sender)
        receiver = role(
            *("--role", "receive", "--directory", f"{directory}/b"),
            *("--port", int(ready["port"]), "--count", int(ready["count"])),
            *(["--local-puts"] if local_puts else []),
        )
        result = answer(receiver)
        receiver.wait()
        tell(sender)
        result["sender_peak_mb"] = answer(sender)["peak_mb"]
        result["rate"] = ready["count"] / result["elapsed"]
        result["count"] = ready["count"]
    finally:
        sender.kill()
        sender.wait()
        shutil.rmtree(directory)
    return result


def bare(path: str | None) -> float:
    """One run of the bare pipeline, in records/s."""
    first = role("--role", "pipeline-send", *([path] if path else []))
    second = role("--role", "pipeline-receive", stdin=first.stdout)
    tell(first)
    rate = answer(second)["rate"]
    first.wait()
    second.wait()
    return rate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", nargs="?")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--role", help=argparse.SUPPRESS)
    parser.add_argument("--directory", help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--count", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--local-puts", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    match options.role:
        case "send":
            return send(options.directory, options.file)
        case "receive":
            return receive(options.directory, options.port, options.count, options.local_puts)
        case "pipeline-send":
            return pipeline_send(options.file)
        case "pipeline-receive":
            return pipeline_receive()
    return report(options.file, options.rounds)


def report(path: str | None, rounds: int) -> None:
    """Run everything, interleaved, and print the table."""
    quiet, busy, bares = [], [], []
    for _ in range(rounds):
        bares.append(bare(path))
        quiet.append(bootstrap(path, local_puts=False))
        busy.append(bootstrap(path, local_puts=True))
    rate = statistics.median(run["rate"] for run in quiet)
    pipeline = statistics.median(bares)
    print(f"records                        {quiet[0]['count']:>12,.0f}")
    print(f"bootstrap, records/s           {rate:>12,.0f}")
    print(f"bare pipeline, records/s       {pipeline:>12,.0f}   ratio {rate / pipeline:.2f}")
    print(f"peak memory, sender, MB        {max(run['sender_peak_mb'] for run in quiet):>12.0f}")
    print(f"peak memory, receiver, MB      {max(run['peak_mb'] for run in quiet):>12.0f}")
    print(
        f"with local puts, records/s     {statistics.median(run['rate'] for run in busy):>12,.0f}"
    )
    latencies = sorted(one * 1000 for run in busy for one in run["latencies"])  # type: ignore[attr-defined]
    for name, share in (("p50", 0.5), ("p99", 0.99), ("max", 1.0)):
        value = latencies[min(len(latencies) - 1, int(len(latencies) * share))]
        print(f"local put meanwhile, {name}, ms   {value:>12.2f}   of {len(latencies)} puts")


if __name__ == "__main__":
    main()
