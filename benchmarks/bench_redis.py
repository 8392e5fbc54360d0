"""The daemon beside redis-server, on one machine and in one run, with ``redis-benchmark``.

    python -m benchmarks.bench_redis [--requests 1000000] [--clients 50] [--keys 1000000]
                                     [--transports unix,tcp] [--rows plain,peer,writers,memory]

Random keys out of a million, 100-byte values. Servers take turns, row by row, Redis first and
without persistence; each row is run against either on the same kind of socket. *CPU* is what the
server's process took for each request, all its threads counted: it tells more than requests/s
where clients and servers share few cores.

- *plain*: SET and GET of 50 clients, one request at a time and pipelined by 32;
- *peer*: SET pipelined by 32 at a daemon that replicates to another one, from the first request
  until the other one has all of it, too; then the digests of both agree;
- *writers*: four processes of ``redis-benchmark`` at once;
- *memory*: of the server's process with so many keys, and how long it takes from its start until
  it answers with one of them.

Needs ``redis-server`` and ``redis-benchmark`` (Debian: redis).
"""

import argparse
import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import hiredis

from benchmarks.cluster import PATIENCE_SECONDS, print_load
from replicator.faces.resp import encode_request
from replicator.faces.unixsocket import connect_to

REPLICATOR = str(Path(sys.executable).parent / "replicator")
PIPELINE = 32
WRITERS = 4
VALUE_BYTES = 100
LOADED_AT_ONCE = 1000
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Server:
    """A running server.

    Attributes:
        name: whose it is.
        pid: its process.
        path: its Unix socket.
        port: the TCP port of the same.
        peering: where a replicator's peers reach it.
    """

    name: str
    pid: int
    path: Path
    port: int
    peering: str = ""

    def where(self, transport: str) -> list[str]:
        """The flags by which ``redis-benchmark`` finds it."""
        return ["-s", str(self.path)] if transport == "unix" else ["-p", str(self.port)]

    def cpu_seconds(self) -> float:
        """What its process has taken so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND

    def resident_mb(self) -> float:
        """Its memory now."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    def asked(self, *requests: tuple[bytes, ...]) -> list[object]:
        """The replies to some requests of a client of its own."""
        with connect_to(self.path, PATIENCE_SECONDS) as connection:
            connection.sendall(b"".join(encode_request(*request) for request in requests))
            reader, replies = hiredis.Reader(), []
            while len(replies) < len(requests):
                reader.feed(connection.recv(1 << 16))
                while (reply := reader.gets()) is not False:
                    replies.append(reply)
        return replies


@contextmanager
def process(*command: str, log: Path) -> Iterator["subprocess.Popen[str]"]:
    """A process for as long as the context is open."""
    with log.open("w") as stream:
        running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stream, text=True)
    try:
        yield running
    finally:
        running.terminate()
        running.wait()
        assert running.stdout is not None
        running.stdout.close()


def answering(path: Path) -> None:
    """Return when a server answers at a socket."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        with suppress(OSError), connect_to(path, PATIENCE_SECONDS) as connection:
            connection.sendall(b"PING\r\n")
            if connection.recv(64).startswith(b"+PONG"):
                return
        time.sleep(0.002)
    raise TimeoutError(f"nobody answers at {path}")


@contextmanager
def redis_server(directory: Path, port: int) -> Iterator[Server]:
    directory.mkdir(exist_ok=True)
    path = directory / "redis.sock"
    command = ["redis-server", "--port", str(port), "--unixsocket", str(path), "--save", ""]
    command += ["--appendonly", "no", "--dir", str(directory), "--bind", "127.0.0.1"]
    with process(*command, log=directory / "log") as running:
        answering(path)
        yield Server("redis", running.pid, path, port)


@contextmanager
def replicator_server(directory: Path, port: int, *more: str) -> Iterator[Server]:
    command = [REPLICATOR, "serve", "--json", "--data", str(directory), "--no-multicast"]
    command += ["--listen", "127.0.0.1:0", "--resp", str(port), *more]
    log = directory.parent / f"{directory.name}.log"
    with process(*command, log=log) as running:
        assert running.stdout is not None
        line = running.stdout.readline()
        if not line:
            raise RuntimeError(log.read_text())
        path = directory / "replicator" / "daemon.sock"
        yield Server("replicator", running.pid, path, port, json.loads(line)["address"])


def measured(
    server: Server, options: argparse.Namespace, transport: str, test: str, pipeline: int
) -> float:
    """Requests/s, as ``redis-benchmark`` tells."""
    command = ["redis-benchmark", *server.where(transport), "--csv", "-t", test]
    command += ["-c", str(options.clients), "-P", str(pipeline), "-n", str(options.requests)]
    command += ["-r", str(options.keys), "-d", str(VALUE_BYTES)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    (row,) = [row for row in csv.reader(done.stdout.splitlines()) if row[0].lower() == test]
    return float(row[1])


def load(server: Server, keys: int) -> None:
    """Write so many keys, each once."""
    with connect_to(server.path, PATIENCE_SECONDS) as connection:
        for first in range(0, keys, LOADED_AT_ONCE):
            numbers = range(first, min(keys, first + LOADED_AT_ONCE))
            connection.sendall(
                b"".join(
                    encode_request(b"SET", b"key:%012d" % number, b"x" * VALUE_BYTES)
                    for number in numbers
                )
            )
            left = len(numbers) * len(b"+OK\r\n")
            while left:
                left -= len(connection.recv(left))


class Table:
    """What was measured, a line at a time."""

    def __init__(self) -> None:
        print(f"{'':34} {'redis':>12} {'replicator':>12} {'ratio':>7}  CPU per request")

    def row(self, name: str, redis: float, ours: float, unit: str = "", cpu: str = "") -> None:
        ratio = f"{ours / redis:7.2f}" if redis else f"{'':7}"
        shown = f"{redis:12,.0f}" if redis else f"{'':12}"
        print(f"{name:34} {shown} {ours:12,.0f} {ratio}  {cpu}{unit}", flush=True)


def plain(options: argparse.Namespace, directory: Path, table: Table) -> None:
    with (
        redis_server(directory / "redis", options.port) as redis,
        replicator_server(directory / "plain", options.port + 1) as ours,
    ):
        for transport in options.transports:
            for pipeline in (1, PIPELINE):
                for test in ("set", "get"):
                    rates, cpu = [], []
                    for server in (redis, ours):
                        before = server.cpu_seconds()
                        rates.append(measured(server, options, transport, test, pipeline))
                        cpu.append((server.cpu_seconds() - before) / options.requests * 1e6)
                    name = f"{test.upper()}, {transport}, -P {pipeline}"
                    table.row(name, *rates, cpu=f"{cpu[0]:.1f} µs, {cpu[1]:.1f} µs")


def peer(options: argparse.Namespace, directory: Path, table: Table) -> None:
    for transport in options.transports:
        with (
            replicator_server(directory / f"first-{transport}", options.port + 2) as first,
            replicator_server(
                directory / f"second-{transport}", options.port + 3, "--peer", first.peering
            ) as second,
        ):
            began = time.monotonic()
            before = first.cpu_seconds()
            rate = measured(first, options, transport, "set", PIPELINE)
            written = time.monotonic()
            (token,) = first.asked((b"REPL.TOKEN",))
            assert isinstance(token, bytes)
            patience = b"%d" % (PATIENCE_SECONDS * 1000)
            assert second.asked((b"REPL.WAITFOR", token, patience)) == [1], "it never came"
            now = time.monotonic()
            digests = [one.asked((b"REPL.DIGEST",)) for one in (first, second)]
            assert digests[0] == digests[1], digests
            cpu = (first.cpu_seconds() - before) / options.requests * 1e6
            name = f"SET, {transport}, -P {PIPELINE}, one peer"
            table.row(name, 0, rate, cpu=f"{cpu:.1f} µs")
            drained = f"; they agree {now - written:.1f} s after the last"
            table.row("  until both agree", 0, options.requests / (now - began), drained)


def writers(options: argparse.Namespace, directory: Path, table: Table) -> None:
    with (
        redis_server(directory / "redis", options.port) as redis,
        replicator_server(directory / "writers", options.port + 1) as ours,
        ThreadPoolExecutor(WRITERS) as pool,
    ):
        for transport in options.transports:
            for pipeline in (1, PIPELINE):
                rates = []
                for server in (redis, ours):
                    began = time.monotonic()
                    jobs = [
                        pool.submit(measured, server, options, transport, "set", pipeline)
                        for _ in range(WRITERS)
                    ]
                    for job in jobs:
                        job.result()
                    rates.append(WRITERS * options.requests / (time.monotonic() - began))
                table.row(f"SET, {transport}, -P {pipeline}, {WRITERS} processes", *rates)


def memory(options: argparse.Namespace, directory: Path, table: Table) -> None:
    with redis_server(directory / "redis", options.port) as redis:
        load(redis, options.keys)
        theirs = redis.resident_mb()
    with replicator_server(directory / "memory", options.port + 1) as ours:
        empty = ours.resident_mb()
        load(ours, options.keys)
        table.row(
            f"MB with {options.keys:,} keys", theirs, ours.resident_mb(), f"{empty:,.0f} MB without"
        )
    began = time.monotonic()
    with replicator_server(directory / "memory", options.port + 1) as ours:
        assert ours.asked((b"GET", b"key:%012d" % (options.keys - 1)))[0] == b"x" * VALUE_BYTES
        taken = time.monotonic() - began
        table.row("ms from start to a first reply", 0, taken * 1e3)
        time.sleep(1)
        table.row("MB a second later", 0, ours.resident_mb())


ROWS = {"plain": plain, "peer": peer, "writers": writers, "memory": memory}


def main() -> None:
    parser = argparse.ArgumentParser(description="The daemon beside redis-server.")
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--port", type=int, default=17_379, help="the first of four TCP ports")
    parser.add_argument("--transports", type=lambda text: text.split(","), default=["unix", "tcp"])
    parser.add_argument("--rows", type=lambda text: text.split(","), default=list(ROWS))
    options = parser.parse_args()
    print_load()
    for tool in ("redis-server", "redis-benchmark"):
        if shutil.which(tool) is None:
            raise SystemExit(f"{tool} is not there (Debian: apt-get install redis)")
    table = Table()
    for name in options.rows:
        with tempfile.TemporaryDirectory() as directory:
            ROWS[name](options, Path(directory), table)


if __name__ == "__main__":
    main()
