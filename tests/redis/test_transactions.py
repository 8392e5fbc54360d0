"""MULTI, EXEC and WATCH: one commit, nothing in between, and what counts as a change."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from replicator.core import rows
from replicator.errors import CommitError
from replicator.faces.redis import limits, transactions
from replicator.store.keyspace import INDEX
from tests.cli.daemons import serving
from tests.redis.serving import Served, served
from tests.redis.talking import Connection, socket_of, text


@pytest.fixture
def it(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path / "store") as it:
        yield it


@pytest.fixture
def client(it: Served) -> Iterator[Connection]:
    with Connection(it.place) as connection:
        yield connection


@pytest.fixture
def other(it: Served) -> Iterator[Connection]:
    with Connection(it.place) as connection:
        yield connection


def say(connection: Connection, request: str) -> Any:
    return text(connection.say(request))


def all_at_once(connection: Connection, *requests: str) -> list[Any]:
    connection.send(*requests)
    return [text(connection.get()) for _ in requests]


def test_a_transaction_is_one_commit(it: Served, client: Connection, other: Connection) -> None:
    before = it.server.status().commits
    say(client, "MULTI")
    for number in range(200):  # more than are run between two looks at the clock
        assert say(client, f"SET k{number} v") == "QUEUED"
    assert say(other, "GET k0") is None
    assert say(client, "EXEC") == ["OK"] * 200
    assert it.server.status().commits == before + 1
    assert say(other, "GET k199") == "v"


def test_what_a_transaction_has_written_it_sees(client: Connection) -> None:
    replies = all_at_once(client, "MULTI", "SET a 1", "INCR a", "GET a", "DEL a", "GET a", "EXEC")
    assert replies[-1] == ["OK", 2, "2", 1, None]


def test_a_failed_commit_fails_it_all(
    it: Served, client: Connection, other: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    say(other, "SUBSCRIBE news")

    def fail(*_: object, **__: object) -> None:
        raise CommitError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(it.server.shared.store, "write", fail)
        replies = all_at_once(client, "MULTI", "SET a 1", "PUBLISH news x", "GET b", "EXEC")
        assert replies[-1] == "-STORAGE the disk is full"
        # What does not stand on the commit is not taken back.
        assert all_at_once(client, "SET a 1", "PUBLISH news y") == ["-STORAGE the disk is full", 1]
    assert text(other.get()) == ["message", "news", "y"]
    assert say(client, "GET a") is None


def test_a_watched_key_that_another_client_writes(client: Connection, other: Connection) -> None:
    say(client, "SET k 1")
    for change in ("SET k 1", "INCR k", "PEXPIRE k 100000", "PERSIST k", "DEL k"):
        say(client, "WATCH k")
        assert say(other, change) in ("OK", 1, 2)
        assert all_at_once(client, "MULTI", "PING", "EXEC")[-1] is None, change
        assert all_at_once(client, "MULTI", "PING", "EXEC")[-1] == ["PONG"], "watched once"


def test_what_changes_nothing_does_not_count(client: Connection, other: Connection) -> None:
    say(client, "WATCH k other")
    assert say(other, "DEL k") == 0
    assert say(other, "GET k") is None
    assert say(other, "SET another 1") == "OK"
    assert all_at_once(client, "MULTI", "PING", "EXEC")[-1] == ["PONG"]


def test_written_and_watched_in_one_go(client: Connection) -> None:
    """What the same turn has written before is no change behind WATCH; what it writes then is."""
    assert all_at_once(client, "SET k 1", "WATCH k", "GET k", "MULTI", "GET k", "EXEC")[-1] == ["1"]
    assert all_at_once(client, "WATCH k", "SET k 2", "MULTI", "GET k", "EXEC")[-1] is None
    assert all_at_once(client, "WATCH k", "WATCH k", "MULTI", "GET k", "EXEC")[-1] == ["2"]


def test_a_peers_write_and_a_local_one_of_the_library_count(it: Served, client: Connection) -> None:
    say(client, "SET k 1")
    say(client, "WATCH k")
    it.replica.put(b"k", b"from elsewhere")
    assert all_at_once(client, "MULTI", "SET k 2", "EXEC")[-1] is None
    assert say(client, "GET k") == "from elsewhere"


def test_a_watched_key_that_expires(client: Connection) -> None:
    say(client, "SET k v PX 60")
    say(client, "WATCH k")
    time.sleep(0.07)
    assert all_at_once(client, "MULTI", "PING", "EXEC")[-1] is None


def test_a_key_that_had_expired_before_is_watched_as_absent(
    it: Served, client: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(it.server.shared.store, "sweep", lambda: None)
    say(client, "SET k v PX 20")
    time.sleep(0.03)
    say(client, "WATCH k")
    assert all_at_once(client, "MULTI", "GET k", "EXEC")[-1] == [None]
    say(client, "WATCH k")
    say(client, "SET k v")
    assert all_at_once(client, "MULTI", "GET k", "EXEC")[-1] is None


def test_collected_deletes_are_no_change(it: Served, client: Connection) -> None:
    store = it.server.shared.store
    say(client, "SET k v")
    say(client, "DEL k")
    say(client, "WATCH k")
    assert store.row(b"k") is not None
    store.db.delete(INDEX + b"k")  # what collecting does to it (R8)
    assert all_at_once(client, "MULTI", "PING", "EXEC")[-1] == ["PONG"]


def test_a_context_that_shrinks_is_no_change(it: Served, client: Connection) -> None:
    store = it.server.shared.store
    say(client, "SET k v")
    say(client, "WATCH k")
    row = store.row(b"k")
    assert row is not None
    record, _ = rows.unpack(row, b"k", store.origins.by_number)
    longer = replace(record, context={**record.context, 77: 5})
    store.origins.intern(77)
    store.db.put(INDEX + b"k", rows.pack(longer, store.origins.number))
    assert store.row(b"k") != row
    assert all_at_once(client, "MULTI", "PING", "EXEC")[-1] == ["PONG"]


@pytest.mark.parametrize(
    "request_",
    [
        *("REPL.SYNC", "REPL.DIGEST", "REPL.TOKEN", "REPL.CHANGES", "WAIT 1 0", "SUBSCRIBE a"),
        *("CLIENT REPLY OFF", "INFO", "SHUTDOWN", "KEYS *", "SCAN 0", "DBSIZE", "FLUSHALL"),
    ],
)
def test_what_goes_on_for_a_while_is_refused(client: Connection, request_: str) -> None:
    say(client, "MULTI")
    assert say(client, request_).startswith("-ERR Command not allowed inside a transaction")
    assert say(client, "SET k 1") == "QUEUED"
    assert say(client, "EXEC").startswith("-EXECABORT Transaction discarded because of previous")
    assert say(client, "GET k") is None


def test_a_queue_has_an_end(client: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transactions, "RESP_TRANSACTION_WORDS_MAX", 3)
    replies = all_at_once(client, "MULTI", *["PING"] * 4, "EXEC")
    assert replies[:4] == ["OK"] + ["QUEUED"] * 3
    assert replies[4].startswith("-ERR a transaction has 3 words")
    assert replies[5].startswith("-EXECABORT")
    monkeypatch.setattr(transactions, "RESP_TRANSACTION_BYTES_MAX", 100)
    replies = all_at_once(client, "MULTI", f"SET k {'x' * 100}", "EXEC")
    assert replies[1].startswith("-ERR a transaction has")


def test_a_command_on_thousands_of_keys_is_part_of_it(it: Served, client: Connection) -> None:
    """Alone it would go on in slices, and be several commits."""
    keys = " ".join(f"k{number}" for number in range(3000))
    pairs = " ".join(f"k{number} v" for number in range(3000))
    commits = it.server.status().commits
    replies = all_at_once(
        client, "MULTI", f"MSET {pairs}", f"EXISTS {keys}", f"MGET {keys}", f"DEL {keys}", "EXEC"
    )
    assert replies[-1] == ["OK", 3000, ["v"] * 3000, 3000]
    assert it.server.status().commits == commits + 1
    assert all_at_once(client, f"DEL {keys}", "GET k0") == [0, None]


def test_watched_keys_have_an_end(client: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transactions, "RESP_WATCHED_MAX", 3)
    assert say(client, "WATCH a b") == "OK"
    assert say(client, "WATCH c d").startswith("-ERR one client watches 3 keys at most")


def test_the_limits_hold_what_clients_send() -> None:
    # redis-py's pipelines are transactions
    assert 10_000 * len(b"SET k v EX 10".split()) <= limits.RESP_TRANSACTION_WORDS_MAX


def test_who_leaves_within_a_transaction_leaves_nothing(it: Served, client: Connection) -> None:
    leaving = Connection(it.place)
    all_at_once(leaving, "WATCH k", "MULTI", "SET k 1")
    leaving.close()
    assert say(client, "GET k") is None


@pytest.mark.parametrize("protocol", [2, 3])
def test_many_clients_count_and_lose_nothing(it: Served, protocol: int) -> None:
    """Each reads, adds and writes, and begins anew where another was faster."""
    clients = [Connection(it.place, protocol) for _ in range(5)]

    def steps(client: Connection) -> Iterator[None]:
        done = 0
        while done < 20:
            yield client.send("WATCH n", "GET n")
            client.get()
            value = int(client.get() or 0)
            yield client.send("MULTI", f"SET n {value + 1}", "EXEC")
            client.get(), client.get()
            done += client.get() is not None

    going = [steps(client) for client in clients]
    for _ in range(10_000):
        going = [one for one in going if next(one, "over") is None]
        if not going:
            break
    assert clients[0].say("GET n") == b"100"
    for client in clients:
        client.close()


@pytest.mark.processes
def test_a_peers_write_is_a_change(tmp_path: Path) -> None:
    with (
        serving(tmp_path / "a") as a,
        serving(tmp_path / "b", "--peer", a.address) as b,
        Connection(socket_of(a)) as here,
        Connection(socket_of(b)) as there,
    ):
        here.say("SET k 1")
        assert here.say("WAIT 1 20000") == 1
        assert say(there, "WATCH k") == "OK"
        here.say("SET k 2")
        assert here.say("WAIT 1 20000") == 1
        assert all_at_once(there, "MULTI", "SET k 3", "EXEC")[-1] is None
        assert say(there, "GET k") == "2"
