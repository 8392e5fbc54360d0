"""Daemon processes: what takes long holds nobody up; what nodes decide alone, they settle."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import hiredis
import pytest

from replicator.faces.resp import encode_request
from replicator.faces.unixsocket import connect
from tests.cli.daemons import serving, until

pytestmark = pytest.mark.processes

KEYS = [b"key:%06d" % number for number in range(30_000)]


class Connection:
    """A client of a daemon."""

    def __init__(self, data: Path) -> None:
        client = connect(data, 60)
        assert client is not None
        self.socket: socket.socket = client
        self._reader = hiredis.Reader()

    def ask(self, *request: bytes) -> Any:
        self.socket.sendall(encode_request(*request))
        while (reply := self._reader.gets()) is False:
            data = self.socket.recv(1 << 16)
            assert data, "the daemon hung up"
            self._reader.feed(data)
        return reply


Joins = Callable[[Path], Connection]


@pytest.fixture
def join() -> Iterator[Joins]:
    """Connects to daemons; all connections are closed in the end."""
    with ExitStack() as stack:

        def join(data: Path) -> Connection:
            connection = Connection(data)
            stack.callback(connection.socket.close)
            return connection

        yield join


def pairs(keys: list[bytes]) -> list[bytes]:
    return [word for key in keys for word in (key, b"v")]


def test_others_are_served_while_one_asks_for_much(tmp_path: Path, join: Joins) -> None:
    data = tmp_path / "store"
    with serving(data):
        one, other = join(data), join(data)
        for request, expected in (
            ((b"MSET", *pairs(KEYS)), b"OK"),
            ((b"DBSIZE",), len(KEYS)),
            ((b"KEYS", b"*"), KEYS),
            ((b"KEYS", b"*7*5"), [key for key in KEYS if key[-1:] == b"5" and b"7" in key]),
            ((b"MGET", *KEYS), [b"v"] * len(KEYS)),
            ((b"EXISTS", *KEYS), len(KEYS)),
            ((b"DEL", *KEYS[::2]), len(KEYS) // 2),
            ((b"FLUSHALL",), b"OK"),
        ):
            replies: list[Any] = []
            asking = threading.Thread(target=lambda: replies.append(one.ask(*request)))  # noqa: B023
            asking.start()
            served = 0
            while asking.is_alive():
                assert other.ask(b"PING") == b"PONG"
                assert other.ask(b"SET", b"other", b"%d" % served) == b"OK"
                assert other.ask(b"DEL", b"other") == 1
                served += 1
            assert replies == [expected] or request[0] in (b"DBSIZE", b"KEYS"), request[0]
            assert served >= 3, request[0]
            if request[0] in (b"DBSIZE", b"KEYS"):  # with or without the key of the other one
                found = replies[0] if isinstance(replies[0], int) else set(replies[0])
                ours = expected if isinstance(expected, int) else set(expected)
                assert found in (ours, ours | {b"other"} if isinstance(ours, set) else ours + 1)
        assert other.ask(b"DBSIZE") == 0
        counted = dict(
            line.split(b":") for line in one.ask(b"INFO", b"stats").split() if b":" in line
        )
        assert int(counted[b"keys_written"]) > 2 * len(KEYS)


def test_what_was_written_in_slices_is_waited_for(tmp_path: Path, join: Joins) -> None:
    with serving(tmp_path / "a") as a, serving(tmp_path / "b", "--peer", a.address):
        one, other = join(tmp_path / "a"), join(tmp_path / "b")
        assert one.ask(b"MSET", *pairs(KEYS[:3000])) == b"OK"
        assert one.ask(b"WAIT", b"1", b"20000") == 1
        assert other.ask(b"DBSIZE") == 3000


def test_who_leaves_in_the_middle_leaves_nothing(tmp_path: Path, join: Joins) -> None:
    data = tmp_path / "store"
    with serving(data) as daemon:
        one, other = join(data), join(data)
        one.ask(b"MSET", *pairs(KEYS))
        for request in ((b"KEYS", b"*"), (b"MGET", *KEYS), (b"FLUSHALL",)):
            gone = join(data)
            gone.socket.sendall(encode_request(*request))
            gone.socket.recv(10 if request[0] != b"FLUSHALL" else 0)
            gone.socket.close()
            assert other.ask(b"PING") == b"PONG"
        assert one.ask(b"FLUSHALL") == b"OK"
        assert one.ask(b"DBSIZE") == 0
        assert daemon.end() == 0
        assert "Traceback" not in daemon.log


def test_what_two_nodes_decide_at_the_same_moment(tmp_path: Path, join: Joins) -> None:
    """As docs/REDIS.md tells it; then a FLUSHALL of one is one of both."""
    with serving(tmp_path / "a") as a, serving(tmp_path / "b"):
        one, other = join(tmp_path / "a"), join(tmp_path / "b")
        for node in (one, other):
            assert node.ask(b"MSET", b"n", b"10", b"moved", b"v", b"text", b"t") == b"OK"
        assert (one.ask(b"INCR", b"n"), other.ask(b"INCRBY", b"n", b"5")) == (11, 15)
        assert one.ask(b"SETNX", b"lock", b"a") == other.ask(b"SETNX", b"lock", b"b") == 1
        assert one.ask(b"RENAME", b"moved", b"x") == other.ask(b"RENAME", b"moved", b"y") == b"OK"
        assert one.ask(b"APPEND", b"text", b"1") == other.ask(b"APPEND", b"text", b"2") == 2
        assert one.ask(b"GETDEL", b"x") == b"v"
        assert other.ask(b"REPL.JOIN", a.address.encode(), b"20000") == b"OK"
        keys = [b"lock", b"n", b"text", b"y"]
        until(lambda: one.ask(b"KEYS", b"*") == other.ask(b"KEYS", b"*") == keys)
        until(lambda: one.ask(b"MGET", *keys) == other.ask(b"MGET", *keys))
        lock, number, text, moved = one.ask(b"MGET", *keys)
        assert lock in (b"a", b"b")
        assert number in (b"11", b"15")
        assert text in (b"t1", b"t2")
        assert moved == b"v"
        _, conflicts = one.ask(b"REPL.CONFLICTS")
        assert [key for key, _ in conflicts] == [b"lock", b"n", b"text"]
        assert one.ask(b"INCR", b"n") == int(number) + 1
        until(lambda: other.ask(b"GET", b"n") == b"%d" % (int(number) + 1))
        assert one.ask(b"FLUSHALL") == b"OK"
        until(lambda: other.ask(b"DBSIZE") == 0)
        assert one.ask(b"REPL.CONFLICTS")[1] == []
