"""Publishing and subscribing: who is told what, in which order, and who does not read."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from replicator.faces.redis import clients, hub, pubsub
from tests.redis.serving import Served, served
from tests.redis.talking import Connection, text


@pytest.fixture
def it(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path / "store") as it:
        yield it


@pytest.fixture
def writer(it: Served) -> Iterator[Connection]:
    with Connection(it.place) as connection:
        yield connection


def say(connection: Connection, request: str) -> Any:
    return text(connection.say(request))


def subscribed(it: Served, *requests: str, protocol: int = 2) -> Connection:
    connection = Connection(it.place, protocol)
    for request in requests:
        connection.send(request)
        for _ in request.split()[1:]:
            connection.get()
    return connection


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_names_patterns_and_counts(it: Served, writer: Connection) -> None:
    with (
        subscribed(it, "SUBSCRIBE news sport") as one,
        subscribed(it, "PSUBSCRIBE n* *s", "SUBSCRIBE news") as two,
    ):
        assert say(writer, "PUBSUB CHANNELS") == ["news", "sport"]
        assert say(writer, "PUBSUB CHANNELS s*") == ["sport"]
        assert say(writer, "PUBSUB NUMSUB news sport none") == ["news", 2, "sport", 1, "none", 0]
        assert say(writer, "PUBSUB NUMPAT") == 2
        assert say(writer, "PUBLISH news hello") == 4
        assert say(writer, "PUBLISH sport hello") == 1
        assert [text(one.get()), text(one.get())] == [
            ["message", "news", "hello"],
            ["message", "sport", "hello"],
        ]
        assert [text(two.get()) for _ in range(3)] == [
            ["message", "news", "hello"],
            ["pmessage", "n*", "news", "hello"],
            ["pmessage", "*s", "news", "hello"],
        ]
    until(lambda: say(writer, "PUBSUB NUMPAT") == 0)
    assert say(writer, "PUBLISH news hello") == 0
    assert say(writer, "PUBSUB CHANNELS") == []


def test_messages_come_between_replies_in_their_order(it: Served) -> None:
    with subscribed(it, "SUBSCRIBE a", protocol=3) as client:
        client.send("SET k 1", "PUBLISH a 1", "GET k", "UNSUBSCRIBE a", "PUBLISH a 2", "GET k")
        assert [text(client.get()) for _ in range(7)] == [
            "OK",
            [">", "message", "a", "1"],
            1,
            "1",
            [">", "unsubscribe", "a", 0],
            0,
            "1",
        ]
        assert client.is_quiet


def test_a_message_is_no_part_of_a_long_reply(it: Served, writer: Connection) -> None:
    with it.replica.write_batch() as batch:
        for number in range(10_000):
            batch.put(b"k%d" % number, b"v" * 100)
    keys = " ".join(f"k{number}" for number in range(10_000))
    with subscribed(it, "SUBSCRIBE a", protocol=3) as client:
        client.send(*[f"MGET {keys}"] * 5, "PING")
        for number in range(300):
            say(writer, f"PUBLISH a {number}")
        replies = [text(client.get()) for _ in range(306)]
        messages = [reply for reply in replies if reply[0] == ">"]
        assert [message[3] for message in messages] == [str(number) for number in range(300)]
        others = [reply for reply in replies if reply[0] != ">"]
        assert others == [["v" * 100] * 10_000] * 5 + ["PONG"]


def test_published_in_a_transaction_it_comes_with_the_commit(
    it: Served, writer: Connection
) -> None:
    with subscribed(it, "SUBSCRIBE a") as client:
        writer.send("MULTI", "SET k 1", "PUBLISH a x")
        for _ in range(3):
            writer.get()
        assert client.is_quiet
        assert say(writer, "EXEC") == ["OK", 1]
        assert text(client.get()) == ["message", "a", "x"]


def test_who_subscribes_after_a_message_does_not_get_it(it: Served) -> None:
    with subscribed(it, protocol=3) as client:
        client.send("PUBLISH a 1", "SUBSCRIBE a", "PING")
        assert [text(client.get()) for _ in range(3)] == [0, [">", "subscribe", "a", 1], "PONG"]
        assert client.is_quiet


def test_restricted_in_resp2_and_not_in_resp3(it: Served) -> None:
    with subscribed(it, "SUBSCRIBE a") as old, subscribed(it, "SUBSCRIBE a", protocol=3) as new:
        assert say(old, "GET k").startswith("-ERR Can't execute 'get': only (P|S)SUBSCRIBE")
        assert say(old, "PING") == ["pong", ""]
        assert say(new, "GET k") is None
        assert say(new, "PING") == "PONG"
        greeting = text(new.say("HELLO 2"))
        assert greeting[:2] == ["server", "replicator"]
        assert say(new, "GET k").startswith("-ERR Can't execute 'get'")
        assert say(old, "RESET") == "RESET"
        assert say(old, "GET k") is None


def test_subscriptions_have_an_end(it: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pubsub, "RESP_SUBSCRIPTIONS_MAX", 3)
    with subscribed(it, "SUBSCRIBE a b") as client:
        assert say(client, "PSUBSCRIBE c d").startswith("-ERR one client subscribes to 3 channels")
        assert say(client, "PSUBSCRIBE c") == ["psubscribe", "c", 3]


def test_who_does_not_read_is_disconnected_and_others_go_on(
    it: Served, writer: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients, "RESP_PUSHED_BYTES_MAX", 1 << 20)
    message = "x" * 100_000
    with subscribed(it, "SUBSCRIBE a") as deaf, subscribed(it, "SUBSCRIBE a") as hearing:
        receivers = []
        while 1 not in receivers[-1:]:
            receivers.append(say(writer, f"PUBLISH a {message}"))
            assert text(hearing.get()) == ["message", "a", message]
            assert len(receivers) < 1000
        assert deaf.is_closed()
        assert say(writer, "PUBLISH a last") == 1
        assert text(hearing.get()) == ["message", "a", "last"]
    assert it.server.status().waiting_bytes == 0


def test_all_together_have_so_much_room(
    it: Served, writer: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients, "RESP_OUTPUT_ALL_BYTES_MAX", 1 << 20)
    some = [subscribed(it, "SUBSCRIBE a") for _ in range(5)]
    for _ in range(200):
        say(writer, f"PUBLISH a {'x' * 100_000}")
    until(lambda: it.server.status().clients < 6)
    assert say(writer, "PING") == "PONG"
    for one in some:
        one.close()


def test_hundreds_of_subscribers(it: Served, writer: Connection) -> None:
    some = [subscribed(it, "PSUBSCRIBE a*") for _ in range(300)]
    writer.send(*[f"PUBLISH a{number} {number}" for number in range(100)])
    assert [writer.get() for _ in range(100)] == [300] * 100
    for one in some:
        for number in range(100):
            assert text(one.get()) == ["pmessage", "a*", f"a{number}", str(number)]
        one.close()


def test_thousands_of_channels_in_one_request(it: Served, writer: Connection) -> None:
    names = [f"c{number}" for number in range(3000)]
    with Connection(it.place) as client:
        client.send("SUBSCRIBE " + " ".join(names))
        assert [text(client.get())[1:] for _ in names] == [
            [name, count] for count, name in enumerate(names, 1)
        ]
        counted = say(writer, "PUBSUB NUMSUB " + " ".join(names))
        assert counted == [item for name in names for item in (name, 1)]
        assert sorted(say(writer, "PUBSUB CHANNELS c*")) == sorted(names)
        assert say(writer, "PUBLISH c2999 x") == 1
        assert text(client.get()) == ["message", "c2999", "x"]
        client.send("UNSUBSCRIBE")
        assert [text(client.get())[2] for _ in names] == list(range(2999, -1, -1))
        assert say(client, "PING") == "PONG"


def test_patterns_of_all_have_an_end(it: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "RESP_PATTERNS_MAX", 2)
    with subscribed(it, "PSUBSCRIBE a b") as one, subscribed(it, "PSUBSCRIBE b") as two:
        assert say(two, "PSUBSCRIBE c").startswith("-ERR all clients together subscribe to 2")
        say(one, "PUNSUBSCRIBE a")
        assert say(two, f"PSUBSCRIBE {'x' * 2000}").startswith("-ERR a pattern has at most")
        assert say(two, "PSUBSCRIBE c") == ["psubscribe", "c", 2]
