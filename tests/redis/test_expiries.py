"""Commands on times to live, with Redis's answers."""

from typing import Any

import pytest

from replicator.faces.control import execute
from replicator.faces.handle import Replica
from replicator.faces.resp import Failure, Status
from replicator.faces.stepwise import Session


def run(replica: Replica, *request: bytes) -> Any:
    return execute(replica, Session(), list(request))


@pytest.mark.parametrize(
    ("options", "least", "most"),
    [((b"EX", b"100"), 90, 100), ((b"px", b"100000"), 90, 100), ((), -1, -1)],
)
def test_set(replica: Replica, options: tuple[bytes, ...], least: int, most: int) -> None:
    assert run(replica, b"SET", b"k", b"v", *options) == Status("OK")
    assert run(replica, b"GET", b"k") == b"v"
    assert least <= run(replica, b"TTL", b"k") <= most


def test_time_to_live(replica: Replica) -> None:
    assert run(replica, b"TTL", b"k") == run(replica, b"PTTL", b"k") == -2
    run(replica, b"SET", b"k", b"v")
    assert run(replica, b"TTL", b"k") == run(replica, b"PTTL", b"k") == -1
    assert run(replica, b"EXPIRE", b"k", b"100") == 1
    assert 90_000 <= run(replica, b"PTTL", b"k") <= 100_000
    assert run(replica, b"PEXPIRE", b"k", b"900000") == 1
    assert 800 <= run(replica, b"TTL", b"k") <= 900
    assert run(replica, b"PERSIST", b"k") == 1
    assert run(replica, b"PERSIST", b"k") == 0
    assert run(replica, b"TTL", b"k") == -1
    for command in (b"EXPIRE", b"PEXPIRE"):
        assert run(replica, command, b"nothing there", b"5") == 0
        assert run(replica, command, b"nothing there", b"-5") == 0
    assert run(replica, b"PERSIST", b"nothing there") == 0


@pytest.mark.parametrize("command", [b"EXPIRE", b"PEXPIRE"])
@pytest.mark.parametrize("time", [b"0", b"-1"])
def test_a_time_that_is_over_deletes(replica: Replica, command: bytes, time: bytes) -> None:
    run(replica, b"SET", b"k", b"v")
    assert run(replica, command, b"k", time) == 1
    assert run(replica, b"GET", b"k") is None
    assert replica.versions(b"k")[0].is_delete


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        ((b"SET", b"k", b"v", b"EX"), "ERR syntax error"),
        ((b"SET", b"k", b"v", b"EX", b"5", b"PX", b"5"), "ERR syntax error"),
        ((b"SET", b"k", b"v", b"NO", b"5"), "ERR syntax error"),
        ((b"SET", b"k", b"v", b"EX", b"0"), "ERR invalid expire time in 'set' command"),
        ((b"SET", b"k", b"v", b"PX", b"-3"), "ERR invalid expire time in 'set' command"),
        ((b"SET", b"k", b"v", b"EX", b"1.5"), "ERR value is not an integer or out of range"),
        ((b"SET", b"k", b"v", b"EX", b"9" * 40), "ERR value is not an integer or out of range"),
        ((b"SET", b"k", b"v", b"EX", b"9" * 15), "ERR invalid expire time in 'set' command"),
        ((b"EXPIRE", b"k", b"soon"), "ERR value is not an integer or out of range"),
        ((b"EXPIRE", b"k", b"--1"), "ERR value is not an integer or out of range"),
        ((b"EXPIRE", b"k"), "wrong number of arguments"),
        ((b"TTL",), "wrong number of arguments"),
    ],
)
def test_refused(replica: Replica, request_: tuple[bytes, ...], text: str) -> None:
    reply = run(replica, *request_)
    assert isinstance(reply, Failure)
    assert text in f"{reply.code} {reply.text}"
    assert replica.versions(b"k") == []


def test_moments(replica: Replica) -> None:
    run(replica, b"SET", b"k", b"v")
    assert run(replica, b"EXPIRETIME", b"k") == run(replica, b"PEXPIRETIME", b"k") == -1
    assert run(replica, b"EXPIRETIME", b"none") == run(replica, b"PEXPIRETIME", b"none") == -2
    assert run(replica, b"PEXPIREAT", b"k", b"4000000000501") == 1
    assert run(replica, b"PEXPIRETIME", b"k") == 4_000_000_000_501
    assert run(replica, b"EXPIRETIME", b"k") == 4_000_000_001
    assert run(replica, b"EXPIREAT", b"k", b"4000000000") == 1
    assert run(replica, b"PEXPIRETIME", b"k") == 4_000_000_000_000
    assert run(replica, b"EXPIREAT", b"k", b"1") == 1
    assert run(replica, b"EXISTS", b"k") == 0


@pytest.mark.parametrize(
    ("conditions", "without", "earlier", "later"),
    [
        ((), 1, 1, 1),
        ((b"NX",), 1, 0, 0),
        ((b"xx",), 0, 1, 1),
        ((b"GT",), 0, 0, 1),
        ((b"lt",), 1, 1, 0),
        ((b"XX", b"LT"), 0, 1, 0),
    ],
)
def test_conditions(
    replica: Replica, conditions: tuple[bytes, ...], without: int, earlier: int, later: int
) -> None:
    """Without an expiry before, with a later one, with an earlier one than the new."""
    for before, expected in ((None, without), (b"5000000000", earlier), (b"3000000000", later)):
        run(replica, b"SET", b"k", b"v")
        if before is not None:
            run(replica, b"EXPIREAT", b"k", before)
        writes = replica._engine.store.writes
        assert run(replica, b"EXPIREAT", b"k", b"4000000000", *conditions) == expected
        assert run(replica, b"EXPIREAT", b"none", b"4000000000", *conditions) == 0
        assert replica._engine.store.writes == writes + expected


@pytest.mark.parametrize(
    ("conditions", "words"),
    [
        ((b"NX", b"XX"), "NX and XX, GT or LT options at the same time are not compatible"),
        ((b"GT", b"LT"), "GT and LT options at the same time are not compatible"),
        ((b"what",), "Unsupported option what"),
    ],
)
def test_conditions_that_are_none(
    replica: Replica, conditions: tuple[bytes, ...], words: str
) -> None:
    assert words in run(replica, b"EXPIRE", b"k", b"5", *conditions).text


def test_the_longest_life(replica: Replica) -> None:
    run(replica, b"SET", b"k", b"v")
    assert run(replica, b"EXPIRE", b"k", b"1" + b"0" * 11) == 1
    for time in (b"1" + b"0" * 11 + b"0", b"-9223372036854775808"):
        refused = run(replica, b"EXPIRE", b"k", time)
        assert refused == Failure("ERR", "invalid expire time in 'expire' command")
