"""What no good client does, against a daemon process: it ends that client at most, and meanwhile
another one is answered all the time."""

import re
import resource
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from time import sleep

import pytest

from replicator.faces.redis.limits import (
    RESP_CLIENTS_MAX,
    RESP_DESCRIPTORS_LEFT,
    RESP_OUTPUT_BYTES_MAX,
)
from replicator.faces.resp import encode_request
from replicator.faces.unixsocket import connect
from tests.cli.daemons import Daemon, serving, until

pytestmark = pytest.mark.processes

PATIENCE_SECONDS = 30.0
MEGABYTE = 1 << 20


class Other:
    """A client that asks all the time, one request after the other, in a thread of its own.

    Attributes:
        answered: how often it was.
    """

    def __init__(self, data: Path) -> None:
        self._connection = joined(data)
        self._is_over = threading.Event()
        self.answered = 0
        self.failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            with self._connection as connection:
                while not self._is_over.is_set():
                    connection.sendall(encode_request(b"PING"))
                    assert received(connection, 7) == b"+PONG\r\n"
                    self.answered += 1
        except BaseException as error:
            self.failure = error

    def is_answered(self, times: int = 3) -> None:
        """Return when it was answered a few times more."""
        before = self.answered
        until(lambda: self.failure is not None or self.answered >= before + times)
        assert self.failure is None

    def end(self) -> None:
        self._is_over.set()
        self._thread.join()
        assert self.failure is None


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon that goes through all of it."""
    with serving(tmp_path_factory.mktemp("bad") / "store") as daemon:
        yield daemon
        assert daemon.end() == 0
        # What strangers send never moves the cursor of who looks at the log.
        assert "Traceback" not in daemon.log
        assert not re.search(r"[^\n -~]", daemon.log)


@pytest.fixture
def other(daemon: Daemon) -> Iterator[Other]:
    other = Other(daemon.data)
    other.is_answered()
    before = descriptors(daemon)
    yield other
    other.is_answered()
    # Nobody else is left, whatever became of them.
    until(lambda: descriptors(daemon) <= before)
    other.end()


def joined(data: Path) -> socket.socket:
    while True:
        with suppress(BlockingIOError):  # so many are waiting to be let in
            client = connect(data, PATIENCE_SECONDS)
            assert client is not None
            return client
        sleep(0.01)


def received(client: socket.socket, size: int) -> bytes:
    parts = []
    while size and (part := client.recv(min(size, MEGABYTE))):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def rest(client: socket.socket) -> bytes:
    """Everything until the daemon hangs up."""
    parts = []
    with suppress(ConnectionResetError):
        while part := client.recv(MEGABYTE):
            parts.append(part)
    return b"".join(parts)


def descriptors(daemon: Daemon) -> int:
    return len(list(Path(f"/proc/{daemon.process.pid}/fd").iterdir()))


@contextmanager
def growth(daemon: Daemon) -> Iterator[Callable[[], int]]:
    """Tells by how many bytes the daemon's memory was larger at most than in the beginning."""

    def memory(name: str) -> int:
        status = Path(f"/proc/{daemon.process.pid}/status").read_text()
        (kilobytes,) = re.findall(rf"^{name}:\s+(\d+) kB", status, re.MULTILINE)
        return int(kilobytes) << 10

    before = memory("VmRSS")
    with suppress(OSError):
        Path(f"/proc/{daemon.process.pid}/clear_refs").write_text("5")  # the peak begins anew
    yield lambda: memory("VmHWM") - before


@pytest.mark.parametrize(
    "malformed",
    [
        b"*1\r\n:1\r\n",
        b"*1\r\n*1\r\n$4\r\nPING\r\n",
        b"*1\r\n$-1\r\n",
        b"*-2\r\n",
        b"*01\r\n$4\r\nPING\r\n",
        b"*99999999999999999999\r\n",
        b"*2000000\r\n",
        b"*1\r\n$99999999999999999999\r\n",
        b"*1\r\n$4\r\nPINGPONG\r\n",
        b"*1\r\n$4" + b"0" * 100,
        b"*" + b"1" * 100,
        b'"\x1b[2J<script>\r\n',
        b"x" * 70_000,
    ],
    ids=lambda value: repr(value[:24]),
)
def test_malformed_requests_are_told_of_behind_good_ones(
    daemon: Daemon, other: Other, malformed: bytes
) -> None:
    with joined(daemon.data) as client:
        client.sendall(encode_request(b"PING") + malformed + encode_request(b"SET", b"k", b"v"))
        replies = rest(client)
    assert replies.startswith(b"+PONG\r\n-ERR Protocol error: ")
    assert replies.count(b"\r\n") == 2 and b"\x1b" not in replies


def test_what_is_no_request_at_all_is_an_unknown_command(daemon: Daemon, other: Other) -> None:
    with joined(daemon.data) as client:
        client.sendall(
            b">1000000000\r\n\x1b[2J\x07\r\n\0\xff\xfe\r\nGET / HTTP/1.1\r\n\r\nPING\r\n"
        )
        replies = b""
        while not replies.endswith(b"+PONG\r\n"):
            replies += client.recv(MEGABYTE)
    assert [line[:4] for line in replies.splitlines()] == [b"-ERR"] * 4 + [b"+PON"]


def test_inline_commands(daemon: Daemon, other: Other) -> None:
    with joined(daemon.data) as client:
        client.sendall(b'\r\n\r\n  PING  \r\nset \'in line\' "a\\x00b"\nget "in line"\r\nQUIT\n')
        assert rest(client) == b"+PONG\r\n+OK\r\n$3\r\na\0b\r\n+OK\r\n"


def test_a_large_length_is_refused_before_anything_comes(daemon: Daemon, other: Other) -> None:
    with growth(daemon) as grown:
        for header in (
            b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$536870912\r\n",
            b"*2\r\n$536870912\r\n",
            b"*1048577\r\n",
        ):
            with joined(daemon.data) as client:
                client.sendall(header)
                assert rest(client).startswith(b"-ERR Protocol error: ")
        assert grown() < 16 * MEGABYTE


def test_announced_and_never_sent(daemon: Daemon, other: Other) -> None:
    with growth(daemon) as grown, ExitStack() as stack:
        for _ in range(100):
            client = stack.enter_context(joined(daemon.data))
            client.sendall(b"*1048576\r\n$67108864\r\n")
        other.is_answered()
        assert grown() < 32 * MEGABYTE


def test_connections_that_are_half_open(daemon: Daemon, other: Other) -> None:
    with ExitStack() as stack:
        clients = [stack.enter_context(joined(daemon.data)) for _ in range(40)]
        for number, client in enumerate(clients):
            client.sendall(encode_request(b"SET", b"half", b"v" * 1000)[: number * 10])
            if number % 2:
                client.shutdown(socket.SHUT_WR)
        for client in clients[1::2]:
            assert rest(client) == b"", "half a request is none"
        other.is_answered()
        clients[0].sendall(encode_request(b"GET", b"half"))
        assert received(clients[0], 5) == b"$-1\r\n"


def test_clients_that_are_gone_before_their_replies(daemon: Daemon, other: Other) -> None:
    with joined(daemon.data) as client:
        client.sendall(encode_request(b"SET", b"large", bytes(MEGABYTE)))
        assert received(client, 5) == b"+OK\r\n"
    for number in range(60):
        client = joined(daemon.data)
        client.sendall(encode_request(b"GET", b"large") * 20)
        client.sendall(encode_request(b"REPL.CHANGES", b"WAIT", b"600000") + b"*3\r\n$3\r\nSE")
        if number % 3 == 0:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif number % 3 == 1:
            client.shutdown(socket.SHUT_RDWR)
        client.close()


def test_as_many_connections_as_are_allowed_and_one_more(daemon: Daemon, other: Other) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    daemons, _ = resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE)
    room = min(RESP_CLIENTS_MAX, daemons - RESP_DESCRIPTORS_LEFT, hard - 1000) - 1
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        with growth(daemon) as grown, ExitStack() as stack:
            clients = [stack.enter_context(joined(daemon.data)) for _ in range(room)]
            for client in clients:
                client.sendall(encode_request(b"PING"))
            for client in clients:
                assert received(client, 7) == b"+PONG\r\n"
            if room == RESP_CLIENTS_MAX - 1:
                for _ in range(100):
                    with joined(daemon.data) as refused:
                        assert rest(refused) == b"-ERR max number of clients reached\r\n"
            other.is_answered()
            assert grown() < room * 16_000
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_daemon_takes_the_descriptors_that_it_may_have(tmp_path: Path) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    shell = ("sh", "-c", 'ulimit -Sn 600 && exec "$@"', "sh")
    where = ("--listen", "127.0.0.1:0", "--no-multicast", "--name", "a")
    daemon = Daemon(tmp_path / "store", *where, within=shell)
    try:
        assert resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE) == (hard, hard)
    finally:
        daemon.clean_up()


def test_a_slow_reader_of_large_replies(daemon: Daemon, other: Other) -> None:
    value = bytes(8 * MEGABYTE)
    with growth(daemon) as grown, joined(daemon.data) as slow:
        slow.sendall(encode_request(b"SET", b"larger", value))
        assert received(slow, 5) == b"+OK\r\n"
        # All in one read of the daemon's: ten times of what may wait for a client.
        slow.sendall(encode_request(b"GET", b"larger") * (10 * RESP_OUTPUT_BYTES_MAX // len(value)))
        reply = b"$%d\r\n%b\r\n" % (len(value), value)
        for _ in range(5):
            other.is_answered(20)
            assert received(slow, len(reply)) == reply
        other.is_answered()
        assert grown() < 2.5 * RESP_OUTPUT_BYTES_MAX


def test_a_long_pipeline_before_anything_is_read(daemon: Daemon, other: Other) -> None:
    count = 100_000
    with joined(daemon.data) as client:
        for first in range(0, count, 10_000):
            client.sendall(
                b"".join(
                    encode_request(b"SET", b"pipe:%d" % number, b"%0100d" % number)
                    if number % 2 == 0
                    else encode_request(b"GET", b"pipe:%d" % (number - 1))
                    for number in range(first, first + 10_000)
                )
            )
        expected = b"".join(
            b"+OK\r\n" if number % 2 == 0 else b"$100\r\n%0100d\r\n" % (number - 1)
            for number in range(count)
        )
        assert received(client, len(expected)) == expected


def test_a_sender_of_one_byte_at_a_time(daemon: Daemon, other: Other) -> None:
    with joined(daemon.data) as client:
        for byte in encode_request(b"SET", b"slow", b"v" * 500) + b"GET slow\r\n":
            client.sendall(bytes([byte]))
        assert received(client, 5 + 508) == b"+OK\r\n$500\r\n" + b"v" * 500 + b"\r\n"


def test_keys_of_markup_and_escape_codes_are_only_bytes(daemon: Daemon, other: Other) -> None:
    keys = [b"\x1b]0;owned\x07", b"<img src=x onerror=alert(1)>", b"\r\n+OK\r\n", bytes(range(256))]
    with joined(daemon.data) as client:
        for key in keys:
            client.sendall(
                encode_request(b"SET", key, key)
                + encode_request(b"GET", key)
                + encode_request(key, key)
                + encode_request(b"INCR", key)
                + encode_request(b"REPL.VERSIONS", key, key)
                + encode_request(b"REPL.JOIN", key)
                + encode_request(b"ECHO", b"done")
            )
            parts = b""
            while not parts.endswith(b"$4\r\ndone\r\n"):
                parts += client.recv(MEGABYTE)
            assert parts.startswith(b"+OK\r\n$%d\r\n%b\r\n-ERR unknown " % (len(key), key))
            refusals = parts.partition(b"\r\n-ERR unknown ")[2]
            assert refusals.count(b"\r\n-ERR ") == 3
            assert b"\x1b" not in refusals and b"\0" not in refusals


def test_a_full_disk_refuses_writes_and_nothing_else(tmp_path: Path) -> None:
    with serving(tmp_path / "store") as daemon, joined(daemon.data) as client:
        client.sendall(encode_request(b"SET", b"old", b"value"))
        assert received(client, 5) == b"+OK\r\n"
        pid, infinity = daemon.process.pid, resource.RLIM_INFINITY
        before = resource.prlimit(pid, resource.RLIMIT_FSIZE, (20_000, infinity))
        client.sendall(
            encode_request(b"GET", b"old")
            + encode_request(b"SET", b"k", bytes(100_000))
            + encode_request(b"GET", b"old")
            + encode_request(b"INCR", b"n")
        )
        replies = b""
        while replies.count(b"\r\n") < 6:
            replies += client.recv(MEGABYTE)
        size, value, refused, *again, counted, end = replies.split(b"\r\n")
        assert [size, value] == again == [b"$5", b"value"]
        assert refused.startswith(b"-STORAGE the commit failed and was not done: ")
        assert (counted, end) == (refused, b""), "they would have been one commit"
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)
        client.sendall(encode_request(b"INCR", b"n") + encode_request(b"GET", b"k"))
        assert received(client, 9) == b":1\r\n$-1\r\n"
        assert daemon.end() == 0
    with serving(tmp_path / "store") as daemon, joined(daemon.data) as client:
        client.sendall(encode_request(b"MGET", b"old", b"k", b"n"))
        expected = b"*3\r\n$5\r\nvalue\r\n$-1\r\n$1\r\n1\r\n"
        assert received(client, len(expected)) == expected
