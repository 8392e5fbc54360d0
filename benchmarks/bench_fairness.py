"""How long other clients of a daemon wait while one of them asks for very much.

    python -m benchmarks.bench_fairness [--keys N] [--bytes N]

A daemon of its own gets so many keys. One client then sends KEYS *, DBSIZE, a SCAN to the end, an
MGET of all keys, an MSET and a DEL of all keys, and FLUSHALL; another one, in a process of its own,
sends PING and GET in turn all the time. Printed is how long each command took, and how long the
other client waited: the median, 99 of 100, and the longest. "nobody" is the same without a first
client: what the machine itself does.
"""

import argparse
import multiprocessing
import multiprocessing.connection
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from replicator.faces.resp import encode_request
from replicator.faces.unixsocket import connect
from tests.cli.daemons import serving

MGET_KEYS = 1_000_000
LOAD_KEYS = 1000
LIMIT_MS = 10
QUIET_SECONDS = 2.0


def joined(data: Path) -> socket.socket:
    client = connect(data, 600)
    assert client is not None
    return client


def key(number: int) -> bytes:
    return b"key:%012d" % number


class Reader:
    """Reads replies and counts their lines: enough to know where one ends."""

    def __init__(self, client: socket.socket) -> None:
        self.client = client
        self._file = client.makefile("rb")

    def ask(self, *request: bytes) -> int:
        """Send a request, read the reply; how many bytes it has."""
        self.client.sendall(encode_request(*request))
        return self._reply()

    def _reply(self) -> int:
        line = self._file.readline()
        if line[:1] == b"-":
            raise SystemExit(line.decode())
        size = len(line)
        if line[:1] == b"$" and line[1:2] != b"-":
            size += len(self._file.read(int(line[1:]) + 2))
        elif line[:1] == b"*":
            for _ in range(int(line[1:])):
                size += self._reply()
        return size


def watch(data: Path, ready: multiprocessing.connection.Connection) -> None:
    """The other client: sends how long it waited, each time it is asked for that."""
    client = joined(data)
    requests = encode_request(b"PING"), encode_request(b"GET", key(77))
    ready.send([])
    while True:
        waited: list[float] = []
        while not ready.poll():
            for request in requests:
                started = time.perf_counter()
                client.sendall(request)
                client.recv(4096)
                waited.append(time.perf_counter() - started)
            time.sleep(0.0005)  # as a client that does something in between
        ready.recv()
        ready.send(waited)


def scan_all(reader: Reader) -> None:
    cursor = b"0"
    while True:
        reader.client.sendall(encode_request(b"SCAN", cursor, b"COUNT", b"1000"))
        file = reader._file
        file.readline()
        file.readline()
        cursor = file.readline().strip()
        for _ in range(2 * int(file.readline()[1:])):
            file.readline()
        if cursor == b"0":
            return


def load(reader: Reader, keys: int, value: bytes) -> None:
    for start in range(0, keys, LOAD_KEYS):
        numbers = range(start, min(keys, start + LOAD_KEYS))
        reader.ask(b"MSET", *(word for number in numbers for word in (key(number), value)))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--bytes", type=int, default=100)
    arguments = parser.parse_args()
    keys, value = arguments.keys, b"x" * arguments.bytes
    every = [key(number) for number in range(keys)]
    many = every[: min(len(every), MGET_KEYS)]
    pairs = [word for one in many[: len(many) // 2] for word in (one, value)]
    with tempfile.TemporaryDirectory() as directory:
        data = Path(directory) / "store"
        with serving(data):
            reader = Reader(joined(data))
            started = time.perf_counter()
            load(reader, keys, value)
            print(
                f"{keys:,} keys of {arguments.bytes} bytes in {time.perf_counter() - started:.1f} s"
            )
            ours, theirs = multiprocessing.Pipe()
            watcher = multiprocessing.Process(target=watch, args=(data, theirs), daemon=True)
            watcher.start()
            ours.recv()
            commands: list[tuple[str, Callable[[], object]]] = [
                ("nobody", lambda: time.sleep(QUIET_SECONDS)),
                ("KEYS *", lambda: reader.ask(b"KEYS", b"*")),
                ("KEYS *7*3", lambda: reader.ask(b"KEYS", b"*7*3")),
                ("DBSIZE", lambda: reader.ask(b"DBSIZE")),
                ("SCAN … COUNT 1000", lambda: scan_all(reader)),
                (f"MGET of {len(many):,}", lambda: reader.ask(b"MGET", *many)),
                (f"EXISTS of {len(many):,}", lambda: reader.ask(b"EXISTS", *many)),
                (f"MSET of {len(pairs) // 2:,}", lambda: reader.ask(b"MSET", *pairs)),
                (
                    f"DEL of {len(pairs) // 2:,}",
                    lambda: reader.ask(b"DEL", *many[: len(pairs) // 2]),
                ),
                ("DBSIZE behind it", lambda: reader.ask(b"DBSIZE")),
                ("FLUSHALL", lambda: reader.ask(b"FLUSHALL")),
                ("DBSIZE behind it", lambda: reader.ask(b"DBSIZE")),
                ("RANDOMKEY behind it", lambda: reader.ask(b"RANDOMKEY")),
            ]
            print(
                f"{'':20}  {'took':>8}   another client waits ({'median':>8} {'99 %':>8} longest)"
            )
            worst = 0.0
            for name, run in commands:
                ours.send(None)
                ours.recv()
                started = time.perf_counter()
                run()
                took = time.perf_counter() - started
                ours.send(None)
                waited = sorted(ours.recv()) or [0.0]
                if name != "nobody":
                    worst = max(worst, waited[-1])
                print(
                    f"{name:20}  {took:6.2f} s   {len(waited):7,} times:        "
                    f"{_ms(waited[len(waited) // 2])} {_ms(waited[len(waited) * 99 // 100])} "
                    f"{_ms(waited[-1])}"
                )
            watcher.kill()
    print(f"longest: {worst * 1000:.1f} ms (the aim: {LIMIT_MS})")
    return 0


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:5.2f} ms"


if __name__ == "__main__":
    sys.exit(main())
