"""Running requests of many clients as one turn: one commit, and which replies stand on it."""

import socket
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic, sleep

import plyvel
import pytest

from replicator.errors import ClosedError, CommitError
from replicator.faces.access import Role
from replicator.faces.handle import Replica
from replicator.faces.library import replicate
from replicator.faces.redis.client import Client
from replicator.faces.redis.counting import COUNTING
from replicator.faces.redis.running import Running
from replicator.faces.redis.several import SEVERAL
from replicator.faces.redis.shared import Shared
from replicator.faces.redis.strings import STRINGS
from replicator.faces.redis.table import Command, Work, reading, waiting, writing
from replicator.faces.redis.turn import Turn
from replicator.faces.resp import Reply, Request
from replicator.faces.stepwise import Session

MINUTE = 60.0


@pytest.fixture
def replica(tmp_path: Path) -> Iterator[Replica]:
    db = replicate(plyvel.DB(str(tmp_path / "store"), create_if_missing=True), port=None)
    db.put(b"old", b"value")
    yield db
    db.close()


def fail(_turn: Turn, _session: Session, _request: Request) -> Reply:
    raise ZeroDivisionError("a mistake")


def nonsense(_turn: Turn, _session: Session, _request: Request) -> Reply:
    return ["fine", object()]  # type: ignore[list-item]


def work(turn: Turn, _session: Session, _request: Request) -> Work:
    turn.get(b"k")
    return Work(iter(()))  # type: ignore[arg-type]  # never begun


def idle(_turn: Turn, _session: Session, request: Request) -> Reply:
    sleep(0.01)
    return request[1]


def wait(_replica: Replica, _session: Session, _arguments: list[bytes]) -> Reply:
    raise AssertionError("not here")


TABLE: dict[bytes, Command] = {
    **STRINGS,
    **COUNTING,
    **SEVERAL,
    b"FAIL": reading(fail, 1),
    b"NONSENSE": reading(nonsense, 1),
    b"WORK": writing(work, 1),
    b"IDLE": reading(idle, 2),
    b"WAIT": waiting(wait, 1),
}


class Bench:
    """A `Running` with clients that have no server."""

    def __init__(self, replica: Replica) -> None:
        self.begun: list[tuple[Client, object]] = []
        self.waits_for_gate: list[Client] = []
        self.shared = Shared(replica, TABLE)
        self.running = Running(
            self.shared,
            lambda c, what, _: self.begun.append((c, what)),
            self.waits_for_gate.append,
        )
        self.ready: deque[Client] = deque()
        self._others: list[socket.socket] = []

    def client(self, *requests: bytes, role: Role | None = Role.ADMIN) -> Client:
        """A client that has sent some requests."""
        ours, other = socket.socketpair()
        self._others.append(other)
        client = Client(self.shared, len(self._others), ours, "test", role)
        client.requests.extend(request.split() for request in requests)
        self.ready.append(client)
        return client

    def turn(self, seconds: float = MINUTE) -> None:
        self.served = self.running.turn(self.ready, seconds)
        self.running.go_on()

    def close(self) -> None:
        for other in self._others:
            other.close()


@pytest.fixture
def bench(replica: Replica) -> Iterator[Bench]:
    bench = Bench(replica)
    clients = []
    make = bench.client

    def client(*requests: bytes, role: Role | None = Role.ADMIN) -> Client:
        clients.append(make(*requests, role=role))
        return clients[-1]

    bench.client = client  # type: ignore[method-assign]
    yield bench
    for one in clients:
        one.disconnect()
    bench.close()


@pytest.fixture
def full_disk(replica: Replica) -> Iterator[Callable[[], None]]:
    """Call it, and no commit happens any more."""

    def fail(_batch: object) -> None:
        raise CommitError("no room")

    with pytest.MonkeyPatch.context() as patched:
        yield lambda: patched.setattr(replica._engine.store.level, "commit", fail)


def replies(client: Client) -> bytes:
    return b"".join(client.parts)


def test_requests_of_many_clients_are_one_commit(replica: Replica, bench: Bench) -> None:
    clients = [bench.client(b"SET k%d v" % n, b"GET k%d" % n, b"INCR n") for n in range(20)]
    bench.turn()
    assert bench.served == clients
    assert [replies(client) for client in clients] == [
        b"+OK\r\n$1\r\nv\r\n:%d\r\n" % (n + 1) for n in range(20)
    ]
    counts = bench.running.counts
    assert (counts.commits, counts.writes, counts.reads) == (1, 21, 40)
    assert counts.commands == {b"SET": 20, b"GET": 20, b"INCR": 20}
    assert replica.get(b"n") == b"20"


def test_names_are_found_in_any_case(bench: Bench) -> None:
    client = bench.client(b"set k v", b"gEt k")
    bench.turn()
    assert replies(client) == b"+OK\r\n$1\r\nv\r\n"
    assert bench.running.counts.commands == {b"SET": 1, b"GET": 1}


def test_a_turn_ends_where_it_has_written_much(replica: Replica, bench: Bench) -> None:
    names = [[b"%d-%d" % (part, number) for number in range(600)] for part in range(3)]
    requests = [b" ".join([b"MSET", *(b"%b v" % name for name in some)]) for some in names]
    clients = [bench.client(*requests), bench.client(*requests)]
    bench.turn()
    assert [len(client.requests) for client in clients] == [1, 3]
    assert bench.ready == deque([clients[1], clients[0]])


def test_a_failed_commit_fails_what_stands_on_it_and_nothing_else(
    replica: Replica, bench: Bench, full_disk: Callable[[], None]
) -> None:
    writer = bench.client(b"GET old", b"SET k v", b"GET k", b"GET old", b"FAIL")
    reader = bench.client(b"GET old", b"MGET old k", b"GET none")
    stranger = bench.client(b"GET old", role=None)
    full_disk()
    bench.turn()
    failed = b"-STORAGE no room\r\n"
    value = b"$5\r\nvalue\r\n"
    begin, _, internal = replies(writer).partition(b"-INTERNAL ")
    assert begin == value + failed + failed + value
    assert internal.startswith(b"ZeroDivisionError: a mistake; ")
    assert replies(reader) == value + failed + b"$-1\r\n"
    assert replies(stranger).startswith(b"-NOAUTH ")
    counts = bench.running.counts
    assert (counts.commits, counts.failures, counts.writes) == (0, 1, 0)
    assert replica.get(b"k") is None


def test_work_that_saw_what_was_not_committed_is_not_begun(
    bench: Bench, full_disk: Callable[[], None]
) -> None:
    writer = bench.client(b"SET k v", b"WORK", b"GET old")
    other = bench.client(b"WAIT")
    full_disk()
    bench.turn()
    assert replies(writer) == b"-STORAGE no room\r\n" * 2
    assert [client for client, _ in bench.begun] == [other]
    assert not writer.is_busy and other.is_busy
    assert [list(request) for request in writer.requests] == [[b"GET", b"old"]]


def test_what_a_failed_commit_does_not_concern_begins(
    bench: Bench, full_disk: Callable[[], None]
) -> None:
    reader = bench.client(b"WORK")
    bench.client(b"SET k v")
    full_disk()
    bench.turn()
    assert [client for client, _ in bench.begun] == [reader]


def test_a_command_that_fails_or_returns_nonsense_ends_nothing(bench: Bench) -> None:
    client = bench.client(b"FAIL", b"NONSENSE", b"SET k v", b"GET k")
    other = bench.client(b"GET old")
    bench.turn()
    lines = replies(client).split(b"\r\n")
    assert [line[:9] for line in lines[:3]] == [b"-INTERNAL", b"-INTERNAL", b"+OK"]
    assert lines[3:] == [b"$1", b"v", b""]
    assert replies(other) == b"$5\r\nvalue\r\n"


def test_a_mistake_in_running_itself_ends_one_client(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, other = bench.client(b"NOSUCH"), bench.client(b"GET old")
    monkeypatch.setattr("replicator.faces.redis.running.unknown", fail)
    bench.turn()
    assert replies(client).startswith(b"-INTERNAL ")
    assert replies(other) == b"$5\r\nvalue\r\n"


def test_requests_behind_one_that_goes_on_wait_for_it(bench: Bench) -> None:
    client = bench.client(b"SET k v", b"WAIT", b"GET k")
    bench.turn()
    assert replies(client) == b"+OK\r\n"
    assert client.is_busy and len(client.requests) == 1
    assert not bench.ready, "it has no turn meanwhile"
    assert bench.begun == [(client, TABLE[b"WAIT"])]


def test_what_goes_on_begins_behind_the_commit(replica: Replica, bench: Bench) -> None:
    seen = []
    bench.running._goes_on = lambda *_: seen.append(replica.get(b"k"))
    bench.client(b"SET k v", b"WORK")
    bench.turn()
    assert seen == [b"v"]


def test_a_turn_ends_in_time_and_goes_on_with_whose_turn_it_is(bench: Bench) -> None:
    first, second = (bench.client(*[b"IDLE %d" % n for n in range(100)]) for _ in range(2))
    began = monotonic()
    bench.turn(0.02)
    taken = monotonic() - began
    done = [100 - len(client.requests) for client in (first, second)]
    assert 1 <= sum(done) <= 3 and taken < 0.5
    assert bench.ready == deque([second, first])
    for _ in range(10):
        bench.turn(0.02)
    more = [100 - len(client.requests) for client in (first, second)]
    assert min(more) >= 5, "both have their turns"
    assert replies(first).startswith(b"$1\r\n0\r\n$1\r\n1\r\n$1\r\n2\r\n"), "in order"


def test_a_client_may_not_run_what_it_is_not_allowed_to(replica: Replica, bench: Bench) -> None:
    reader = bench.client(b"SET k v", b"GET old", role=Role.READONLY)
    bench.turn()
    assert replies(reader) == (
        b"-NOPERM this user has no permissions to run 'set'\r\n$5\r\nvalue\r\n"
    )
    assert replica.get(b"k") is None
    assert bench.running.counts.commits == 0


def test_unknown_commands_and_wrong_counts_are_answered_in_redis_words(bench: Bench) -> None:
    client = bench.client(b"NOSUCH a b", b"GET", b"GET a b")
    bench.turn()
    wrong = b"-ERR wrong number of arguments for 'get' command\r\n"
    assert replies(client) == (
        b"-ERR unknown command 'NOSUCH', with args beginning with: 'a' 'b' \r\n" + 2 * wrong
    )


def test_writes_wait_for_the_gate_with_all_behind_them(replica: Replica, bench: Bench) -> None:
    store = replica._engine.store
    client = bench.client(b"GET old", b"SET k v", b"GET k")
    store._slow = True
    bench.turn()
    assert replies(client) == b"$5\r\nvalue\r\n"
    assert bench.waits_for_gate == [client] and client.is_busy
    store.admit()
    client.is_busy = False
    bench.ready.append(client)
    bench.turn()
    assert replies(client) == b"$5\r\nvalue\r\n+OK\r\n$1\r\nv\r\n"
    assert bench.running.counts.commands == {b"GET": 2, b"SET": 1}


def test_replies_can_be_withheld_until_the_disk_has_what_they_stand_on(bench: Bench) -> None:
    writer, reader = bench.client(b"GET old", b"SET k v", b"WAIT"), bench.client(b"GET old")
    bench.running.turn(bench.ready, MINUTE)
    assert bench.running.has_written
    (promise,) = bench.running.withhold()
    bench.running.go_on()
    assert (replies(writer), replies(reader)) == (b"", b"$5\r\nvalue\r\n")
    assert writer.is_busy and not bench.begun
    writer.parts.append(b">pushed meanwhile\r\n")
    promise.keep()
    assert replies(writer) == b"$5\r\nvalue\r\n+OK\r\n>pushed meanwhile\r\n"
    assert bench.begun == [(writer, TABLE[b"WAIT"])] and writer.is_busy


def test_what_was_withheld_can_fail(bench: Bench) -> None:
    writer = bench.client(b"GET old", b"SET k v")
    bench.running.turn(bench.ready, MINUTE)
    (promise,) = bench.running.withhold()
    promise.fail(CommitError("the disk failed to sync"))
    promise.keep()
    assert replies(writer) == b"$5\r\nvalue\r\n-STORAGE the disk failed to sync\r\n"
    assert not writer.is_busy


def test_a_closed_handle_ends_it(replica: Replica, bench: Bench) -> None:
    bench.client(b"GET old")
    replica.close()
    with pytest.raises(ClosedError):
        bench.turn()
