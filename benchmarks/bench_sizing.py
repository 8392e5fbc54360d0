"""What a daemon needs: memory, disk, file descriptors, time to start. Prints the table of
docs/DEPLOY.md.

    python -m benchmarks.bench_sizing [--keys 1000000] [--clients 500] [--peers 8] [--directory DIR]

One daemon, a process of its own as ``replicator serve`` makes it, with Redis protocol and HTTP on
TCP. Random 16-byte keys, 100-byte values of random bytes, which no compression makes smaller.

- *memory* is what the process has for itself (RssAnon). Tables of LevelDB are mapped files beside
  that: they count as resident, and are given back when somebody else needs the room.
- *start* is until the daemon says that it is ready, the interpreter's own start included; *killed*
  with as much in LevelDB's log as fits.
- *a peer* is a node that holds a conversation open, *a client* a connection that has sent a
  command.
"""

import argparse
import json
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import hiredis
import plyvel

import replicator
from benchmarks.cluster import print_load
from replicator.faces.leveldb import open_leveldb
from replicator.faces.resp import encode_request
from replicator.store.keyspace import INDEX, LOG, RESERVED, after

KEY_BYTES = 16
VALUE_BYTES = 100
BATCH = 1000
PIPELINE = 100
SETTLE_SECONDS = 5.0
"""After a start, until the filter of absent keys is filled."""

IDLE_SECONDS = 20.0

CONFIG = """
[listen]
port = 0
[discovery]
multicast = false
[replication]
join_timeout = 0.1
linger = 600.0
dial_members = false
[resp]
listen = "127.0.0.1:0"
[http]
listen = "127.0.0.1:0"
"""


class Daemon:
    """A daemon on a directory.

    Attributes:
        seconds: how long it took until it was ready.
    """

    def __init__(self, data: Path) -> None:
        config = data.with_suffix(".toml")
        config.write_text(CONFIG)
        program = Path(sys.executable).parent / "replicator"
        begin = time.monotonic()
        self._process = subprocess.Popen(
            [program, "serve", "--data", data, "--config", config, "--json"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        self.seconds = time.monotonic() - begin
        self.address = str(json.loads(line)["address"])
        self._socket = data / "replicator" / "daemon.sock"

    def connect(self) -> socket.socket:
        """A client that has sent a command."""
        client = socket.socket(socket.AF_UNIX)
        client.connect(os.fspath(self._socket))
        ask(client, b"PING\r\n", 1)
        return client

    def memory(self, name: str = "RssAnon") -> int:
        """Bytes, by the kernel's word for them."""
        for line in self._proc("status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) << 10
        raise LookupError(name)

    def descriptors(self) -> int:
        return sum(1 for _ in self._proc("fd").iterdir())

    def cpu_seconds(self) -> float:
        fields = self._proc("stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def end(self, number: signal.Signals = signal.SIGTERM) -> float:
        """Seconds until it was gone."""
        begin = time.monotonic()
        self._process.send_signal(number)
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
        return time.monotonic() - begin

    def _proc(self, name: str) -> Path:
        return Path("/proc", str(self._process.pid), name)


@contextmanager
def daemon(data: Path) -> Iterator[Daemon]:
    running = Daemon(data)
    try:
        yield running
    finally:
        running.end()


def ask(client: socket.socket, requests: bytes, lines: int) -> None:
    """Send requests whose replies are `lines` lines together, and read those."""
    client.sendall(requests)
    while lines > 0:
        lines -= client.recv(1 << 16).count(b"\n")


def set_keys(running: Daemon, keys: list[bytes]) -> float:
    """Write keys by a pipeline of SETs; returns the seconds it took."""
    head, between = b"*3\r\n$3\r\nSET\r\n$%d\r\n" % KEY_BYTES, b"\r\n$%d\r\n" % VALUE_BYTES
    values = [random.randbytes(VALUE_BYTES) for _ in range(PIPELINE)]
    begin = time.monotonic()
    with running.connect() as client:
        for start in range(0, len(keys), PIPELINE):
            some = keys[start : start + PIPELINE]
            pairs = zip(some, values, strict=False)
            requests = [b"".join((head, key, between, value, b"\r\n")) for key, value in pairs]
            ask(client, b"".join(requests), len(some))
    return time.monotonic() - begin


def scan(running: Daemon) -> None:
    """Read all keys and values, a thousand at a time."""
    with running.connect() as client:
        request, reader = b"REPL.SCAN\r\n", hiredis.Reader()
        while True:
            client.sendall(request)
            while (reply := reader.gets()) is False:
                reader.feed(client.recv(1 << 16))
            last = reply[0]
            if last is None:
                return
            request = encode_request(b"REPL.SCAN", b"AFTER", last)


def load(data: Path, keys: list[bytes]) -> None:
    """Write keys into a directory without a daemon, and compact it."""
    raw = open_leveldb(data, create=True)
    with replicator.replicate(raw, port=None, discovery=()) as db:
        for start in range(0, len(keys), BATCH):
            with db.write_batch() as batch:
                for key in keys[start : start + BATCH]:
                    batch.put(key, random.randbytes(VALUE_BYTES))
        raw.compact_range()


def disk(data: Path, keys: int) -> dict[str, float]:
    """Bytes on the disk for each key: all files, and roughly what they are for."""
    files = sum(path.stat().st_size for path in data.rglob("*") if path.is_file())
    with plyvel.DB(os.fspath(data)) as raw:
        parts = {
            "values": raw.approximate_size(b"", RESERVED),
            "log index": raw.approximate_size(INDEX, after(INDEX)),
            "log": raw.approximate_size(LOG, after(LOG)),
        }
    return {"all": files / keys, **{name: size / keys for name, size in parts.items()}}


def starts(data: Path, count: int, before: Callable[[], None] = lambda: None) -> str:
    """How long a start takes: the median, the quickest, and the processor's part of that."""
    seconds = []
    for _ in range(count):
        before()
        running = Daemon(data)
        seconds.append((running.seconds, running.cpu_seconds()))
        running.end()
    middle = statistics.median(whole for whole, _ in seconds)
    quickest, cpu = min(seconds)
    return f"{middle:.2f} s; the quickest {quickest:.2f} s, {cpu:.2f} s of a core"


def leave_a_full_log(data: Path) -> None:
    """Kill a daemon with nearly as much in LevelDB's log as fits before it is written out."""
    running = Daemon(data)
    time.sleep(1.0)
    keys = [random.randbytes(KEY_BYTES) for _ in range(3_000_000 // 300)]
    set_keys(running, keys)
    running.end(signal.SIGKILL)


def of_clients(running: Daemon, count: int) -> tuple[float, float]:
    """Bytes of memory, and descriptors, for each of so many clients."""
    memory, descriptors = running.memory(), running.descriptors()
    with ExitStack() as clients:
        for _ in range(count):
            clients.enter_context(running.connect())
        more = running.memory() - memory
        return more / count, (running.descriptors() - descriptors) / count


def of_peers(running: Daemon, count: int, directory: Path) -> tuple[float, float, float]:
    """Bytes of memory, and descriptors, for each of so many peers; and percent of a core when all
    are idle."""
    memory, descriptors = running.memory(), running.descriptors()
    with ExitStack() as peers:
        for number in range(count):
            raw = peers.enter_context(
                plyvel.DB(os.fspath(directory / f"peer {number}"), create_if_missing=True)
            )
            peer = replicator.replicate(
                raw, port=None, peers=[running.address], discovery=(), name=f"peer {number}",
                linger=600.0, dial_members=False,
            )  # fmt: skip
            peers.callback(peer.close)
            peer.sync(timeout=120)
        more, files = running.memory() - memory, running.descriptors() - descriptors
        time.sleep(SETTLE_SECONDS)
        cpu, begin = running.cpu_seconds(), time.monotonic()
        time.sleep(IDLE_SECONDS)
        share = (running.cpu_seconds() - cpu) / (time.monotonic() - begin) * 100
        return more / count, files / count, share


def mega(size: float) -> str:
    return f"{size / 1e6:.1f} MB"


def kilo(size: float) -> str:
    return f"{size / 1e3:.1f} kB"


def row(what: str, value: str) -> None:
    print(f"| {what} | {value} |", flush=True)


def measure(directory: Path, count: int, clients: int, peers: int, repeats: int) -> None:
    keys = [random.randbytes(KEY_BYTES) for _ in range(count)]
    empty, full, written = (directory / name for name in ("empty", "full", "written"))
    millions = count / 1e6
    row("what", "measured")
    row("---", "---")

    row("start of an empty node", starts(empty, repeats))
    with daemon(empty) as running:
        time.sleep(1.0)
        base, files = running.memory(), running.descriptors()
        row("memory of an empty node", mega(base))
        row("its mapped code, shared", mega(running.memory("RssFile")))
        row("file descriptors of an empty node", str(files))
        size, more, idle = of_peers(running, peers, directory)
        row(f"each peer, of {peers}: memory", kilo(size))
        row("each peer: file descriptors", f"{more:.0f}")
        row(f"processor, {peers} peers, all idle", f"{idle:.1f} % of a core")
    with daemon(empty) as running:
        time.sleep(1.0)
        size, more = of_clients(running, clients)
        row(f"each client, of {clients:,}: memory", kilo(size))
        row("each client: file descriptors", f"{more:.0f}")

    load(full, keys)
    for name, size in disk(full, count).items():
        row(f"disk for each key: {name}", f"{size:.0f} bytes")
    row(f"start with {count:,} keys", starts(full, repeats))
    with daemon(full) as running:
        time.sleep(SETTLE_SECONDS)
        row("memory after that, for a million keys", mega((running.memory() - base) / millions))
        row("its mapped tables", mega(running.memory("RssFile")))
        row("file descriptors", str(running.descriptors()))
    with daemon(full) as running:
        scan(running)
        row("memory after all of it was read", mega(running.memory()))
    killed = starts(full, repeats, lambda: leave_a_full_log(full))
    row(f"start with {count:,} keys, killed before", killed)

    with daemon(written) as running:
        seconds = set_keys(running, keys)
        time.sleep(SETTLE_SECONDS)
        row(f"SET of {count:,} keys, {PIPELINE} a pipeline", f"{count / seconds:,.0f} a second")
        row("processor for a million SET", f"{running.cpu_seconds() / millions:.1f} s of a core")
        row("memory after that", mega(running.memory()))
        row("most memory, mapped files included", mega(running.memory("VmHWM")))
        row("time to close", f"{running.end():.2f} s")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--clients", type=int, default=500)
    parser.add_argument("--peers", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=5, help="starts, of which the median counts")
    parser.add_argument("--directory", type=Path, help="where the stores lie  [default: /tmp]")
    options = parser.parse_args()
    print_load()
    with tempfile.TemporaryDirectory(dir=options.directory) as directory:
        measure(Path(directory), options.keys, options.clients, options.peers, options.repeats)


if __name__ == "__main__":
    main()
