"""What commands on strings leave as it is: the rest is compared with Redis itself."""

from typing import Any

import pytest

from replicator.config import KEY_BYTES_MAX, VALUE_BYTES_MAX
from replicator.faces.handle import Replica
from replicator.faces.redis.strings import STRINGS
from replicator.faces.redis.turn import Turn
from replicator.faces.resp import Status
from replicator.faces.stepwise import CommandError, Session
from tests.redis.beside import Ours

RESERVED = b"\xff\xff\xff\xffkey"


def run(turn: Turn, *request: bytes) -> Any:
    command = STRINGS[request[0]]
    assert command.run is not None
    return command.run(turn, Session(), list(request))


def test_set_and_its_options(ours: Ours) -> None:
    assert ours.ask(b"SET", b"k", b"1", b"NX", b"PX", b"100000") == b"OK"
    assert ours.ask(b"SET", b"k", b"2", b"NX") is None
    assert ours.ask(b"SET", b"k", b"2", b"XX", b"GET", b"KEEPTTL") == b"1"
    assert 90 < ours.ask(b"TTL", b"k") <= 100
    assert ours.ask(b"SET", b"k", b"3", b"GET") == b"2"
    assert ours.ask(b"TTL", b"k") == -1
    assert ours.ask(b"SET", b"none", b"3", b"XX", b"GET") is None
    assert ours.ask(b"EXISTS", b"none") == 0


def test_a_set_into_the_past_deletes(replica: Replica, ours: Ours) -> None:
    assert ours.ask(b"SET", b"k", b"v", b"PXAT", b"1") == b"OK"
    assert replica.versions(b"k") == []  # nothing was there: nothing is written
    ours.ask(b"SET", b"k", b"v")
    assert ours.ask(b"SET", b"k", b"w", b"EXAT", b"1") == b"OK"
    assert replica.versions(b"k")[0].is_delete


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ((b"SETRANGE", b"k", b"%d" % VALUE_BYTES_MAX, b"x"), "string exceeds maximum"),
        ((b"SETRANGE", b"k", b"-1", b"x"), "offset is out of range"),
        ((b"APPEND", b"k", bytes(VALUE_BYTES_MAX)), "string exceeds maximum"),
        ((b"SET", b"k", b"w", b"EX", b"0"), "invalid expire time in 'set' command"),
        ((b"SET", b"k", b"w", b"EX", b"9" * 15), "invalid expire time in 'set' command"),
        ((b"GETEX", b"k", b"PXAT", b"9" * 18), "invalid expire time in 'getex' command"),
        ((b"SETEX", b"k", b"x", b"w"), "not an integer"),
        ((b"SET", b"k", b"w", b"NX", b"XX"), "syntax error"),
    ],
)
def test_what_is_refused_leaves_the_turn_as_it_was(
    replica: Replica, request_: tuple[bytes, ...], words: str
) -> None:
    replica.put(b"k", b"v")
    turn = Turn(replica)
    try:
        with pytest.raises(CommandError, match=words):
            run(turn, *request_)
        assert not turn.writes
    finally:
        turn.abandon()


def test_what_changes_nothing_writes_nothing(replica: Replica) -> None:
    replica.put(b"k", b"v")
    turn = Turn(replica)
    try:
        assert run(turn, b"APPEND", b"k", b"") == 1
        assert run(turn, b"SETRANGE", b"k", b"7", b"") == 1
        assert run(turn, b"GETEX", b"k", b"PERSIST") == b"v"
        assert run(turn, b"GETEX", b"k") == b"v"
        assert run(turn, b"GETDEL", b"none") is None
        assert run(turn, b"SETNX", b"k", b"w") == 0
        assert run(turn, b"SET", b"k", b"w", b"NX", b"GET") == b"v"
        assert not turn.writes
    finally:
        turn.abandon()


def test_what_decides_by_what_it_reads_holds_the_store(replica: Replica) -> None:
    for request, holds in (
        ((b"SET", b"k", b"v"), False),
        ((b"SET", b"k", b"v", b"EX", b"9"), False),
        ((b"SET", b"k", b"v", b"NX"), True),
        ((b"SET", b"k", b"v", b"GET"), True),
        ((b"SET", b"k", b"v", b"KEEPTTL"), True),
        ((b"SETNX", b"k", b"v"), True),
        ((b"GETSET", b"k", b"v"), True),
        ((b"GETDEL", b"k"), True),
        ((b"GETEX", b"k"), False),
        ((b"GETEX", b"k", b"PERSIST"), True),
        ((b"APPEND", b"k", b"v"), True),
        ((b"SETRANGE", b"k", b"0", b"v"), True),
        ((b"GET", b"k"), False),
    ):
        turn = Turn(replica)
        try:
            run(turn, *request)
            assert turn.is_held == holds, request
        finally:
            turn.abandon()


def test_reserved_and_huge_keys(ours: Ours) -> None:
    for key in (RESERVED, bytes(KEY_BYTES_MAX + 1)):
        assert ours.ask(b"GET", key) is None
        assert (
            ours.ask(b"STRLEN", key) == ours.ask(b"DEL", key) == ours.ask(b"EXPIRE", key, b"5") == 0
        )
        for name in (b"SET", b"SETNX", b"APPEND", b"GETSET"):
            assert str(ours.ask(name, key, b"v")).startswith("ERR ")
        for name in (b"INCR", b"DECR"):
            assert str(ours.ask(name, key)).startswith("ERR ")
        assert str(ours.ask(b"SET", key, b"v", b"PXAT", b"1")).startswith("ERR ")
        assert str(ours.ask(b"MSET", b"a", b"1", key, b"v")).startswith("ERR ")
        assert ours.ask(b"EXISTS", b"a") == 0
        ours.ask(b"SET", b"b", b"1")
        assert str(ours.ask(b"RENAME", b"b", key)).startswith("ERR ")
        assert str(ours.ask(b"COPY", b"b", key)).startswith("ERR ")
        assert ours.ask(b"GET", b"b") == b"1"


def test_a_status_and_a_null(replica: Replica) -> None:
    turn = Turn(replica)
    try:
        assert run(turn, b"SET", b"k", b"v") == Status("OK")
        assert run(turn, b"GET", b"none") is None
    finally:
        turn.abandon()
