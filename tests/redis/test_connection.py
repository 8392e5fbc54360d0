"""Logging in, greeting, the modes of a connection, and what wrong passwords cost."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from replicator.faces.access import Access, Role
from replicator.faces.redis import logins
from replicator.faces.redis.limits import (
    RESP_LOGIN_FREE,
    RESP_LOGIN_WAIT_SECONDS,
    RESP_LOGIN_WAIT_SECONDS_MAX,
    RESP_LOGINS_WRONG_MAX,
)
from tests.redis.serving import Served, served
from tests.redis.talking import Connection, text

WRONG = "-WRONGPASS invalid username-password pair or user is disabled."
PASSWORDS = {Role.READONLY: b"look", Role.APPLICATION: b"work", Role.ADMIN: b"rule"}


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path / "store", Access(PASSWORDS)) as it:
        yield it


@pytest.fixture
def client(guarded: Served) -> Iterator[Connection]:
    with Connection(guarded.place) as connection:
        yield connection


def say(connection: Connection, request: str) -> Any:
    return text(connection.say(request))


@pytest.mark.parametrize(
    "request_", ["GET a", "SET a b", "PING", "MULTI", "INFO", "SUBSCRIBE a", "CLIENT ID", "DBSIZE"]
)
def test_a_stranger_may_do_nothing(client: Connection, request_: str) -> None:
    reply = say(client, request_)
    assert reply.startswith(("-NOAUTH Authentication required.", "-ERR unknown command"))


def test_greeting_a_stranger(client: Connection) -> None:
    assert say(client, "HELLO 3").startswith("-NOAUTH HELLO must be called with the client already")
    assert say(client, "HELLO 3 AUTH admin work") == WRONG
    assert say(client, "PING") == "-NOAUTH Authentication required."
    greeting = client.say("HELLO 3 AUTH default work SETNAME me")
    assert greeting[b"proto"] == 3
    assert greeting[b"id"] == 1
    assert say(client, "CLIENT GETNAME") == "me"


@pytest.mark.parametrize(
    ("login", "may_read", "may_write", "may_rule"),
    [
        ("AUTH look", True, False, False),
        ("AUTH readonly look", True, False, False),
        ("AUTH application work", True, True, False),
        ("AUTH default work", True, True, False),
        ("AUTH admin rule", True, True, True),
        ("AUTH admin work", False, False, False),
        ("AUTH nobody rule", False, False, False),
    ],
)
def test_roles(
    client: Connection, login: str, may_read: bool, may_write: bool, may_rule: bool
) -> None:
    assert say(client, login) == ("OK" if may_read else WRONG)
    denied = ("-NOAUTH", "-NOPERM")
    for request, may in (
        ("GET k", may_read),
        ("SET k v", may_write),
        ("PUBLISH k v", may_write),
        ("CONFIG SET timeout 0", may_rule),
        ("CLIENT KILL ID 77", may_rule),
        ("CONFIG GET timeout", may_read),
        ("REPL.FORGET nobody", may_rule),
    ):
        reply = client.say(request)
        is_denied = isinstance(reply, Exception) and str(reply).startswith(
            tuple(word[1:] for word in denied)
        )
        assert is_denied != may, (request, reply)


def test_a_transaction_holds_only_what_one_may_do(client: Connection) -> None:
    say(client, "AUTH look")
    say(client, "MULTI")
    assert say(client, "SET k v").startswith("-NOPERM")
    assert say(client, "GET k") == "QUEUED"
    assert say(client, "EXEC").startswith("-EXECABORT")


def test_one_role_after_the_other_and_back(client: Connection) -> None:
    say(client, "AUTH rule")
    assert say(client, "CONFIG SET timeout 0") == "OK"
    say(client, "AUTH look")
    assert say(client, "CONFIG SET timeout 0").startswith("-NOPERM")
    assert say(client, "AUTH wrong") == WRONG
    assert say(client, "GET k") is None, "a wrong password changes nothing"
    assert say(client, "RESET") == "RESET"
    assert say(client, "GET k") == "-NOAUTH Authentication required."


def test_login_is_not_put_off_into_a_transaction(client: Connection) -> None:
    say(client, "AUTH work")
    say(client, "MULTI")
    assert say(client, "AUTH rule").startswith("-ERR Command not allowed inside a transaction")
    assert say(client, "HELLO 3").startswith("-ERR Command not allowed inside a transaction")


def test_who_is_wrong_again_and_again_is_disconnected(
    guarded: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logins, "RESP_LOGIN_WAIT_SECONDS_MAX", 0.01)
    with Connection(guarded.place) as client:
        client.send(*["AUTH wrong"] * (RESP_LOGINS_WRONG_MAX + 5))
        for _ in range(RESP_LOGINS_WRONG_MAX):
            assert text(client.get()) == WRONG
        assert client.is_closed()
    assert guarded.server.status().auth_failures == RESP_LOGINS_WRONG_MAX


def test_logins_wait_longer_and_longer_for_one_address(guarded: Served) -> None:
    those = guarded.server.shared.logins
    with Connection(guarded.place) as client:
        assert text(client.say("AUTH wrong")) == WRONG
        (one,) = guarded.server.shared.clients
        waits = []
        for _ in range(12):
            waits.append(those.wait_seconds(one))
            those.failed(one)
    free = RESP_LOGIN_FREE - 1
    assert waits[:free] == [0.0] * free
    assert waits[free] == RESP_LOGIN_WAIT_SECONDS
    assert waits[free + 1] == 2 * RESP_LOGIN_WAIT_SECONDS
    assert waits[-1] == RESP_LOGIN_WAIT_SECONDS_MAX
    assert waits == sorted(waits)


def test_a_right_password_waits_as_well_and_others_do_not(guarded: Served) -> None:
    with Connection(guarded.place) as before:
        assert say(before, "AUTH work") == "OK"
        (one,) = guarded.server.shared.clients
        for _ in range(RESP_LOGIN_FREE + 3):
            guarded.server.shared.logins.failed(one)
        with Connection(guarded.place) as late:
            began = time.monotonic()
            late.send("AUTH work")
            for _ in range(50):
                assert say(before, "PING") == "PONG"
            assert late.is_quiet, "fifty replies came before this one"
            assert text(late.get()) == "OK"
            assert time.monotonic() - began >= 8 * RESP_LOGIN_WAIT_SECONDS


def test_who_leaves_while_a_login_waits_is_forgotten(guarded: Served) -> None:
    with Connection(guarded.place) as first:
        say(first, "AUTH wrong")
        (one,) = guarded.server.shared.clients
        for _ in range(30):
            guarded.server.shared.logins.failed(one)
        leaving = Connection(guarded.place)
        leaving.send("AUTH work")
        leaving.close()
        with Connection(guarded.place):
            deadline = time.monotonic() + 20
            while guarded.server.status().clients > 2:
                assert time.monotonic() < deadline
                time.sleep(0.02)


def test_without_passwords_redis_words_for_a_login(tmp_path: Path) -> None:
    with served(tmp_path / "store") as it, Connection(it.place) as client:
        assert say(client, "AUTH x").startswith("-ERR AUTH <password> called without any password")
        assert say(client, "AUTH default x") == "OK"
        assert say(client, "AUTH nobody x") == WRONG
        assert say(client, "CONFIG SET timeout 0") == "OK"


# Replies that are not wanted


def test_no_replies(guarded: Served, client: Connection) -> None:
    say(client, "AUTH work")
    client.send("CLIENT REPLY OFF", "SET k 1", "NOSUCH", "INFO", "REPL.DIGEST", "CLIENT LIST")
    client.send("CLIENT REPLY ON", "GET k")
    assert text(client.get()) == "OK"
    assert text(client.get()) == "1"
    client.send("CLIENT REPLY SKIP", "SET k 2", "GET k")
    assert text(client.get()) == "2"
    client.send("CLIENT REPLY SKIP", "REPL.DIGEST", "GET k")
    assert text(client.get()) == "2"
    assert client.is_quiet
