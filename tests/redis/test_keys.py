"""Commands on one or two keys, whatever they hold."""

import pytest

from replicator.faces.handle import Replica
from replicator.faces.redis.keys import KEYS
from replicator.faces.redis.turn import Turn
from replicator.faces.stepwise import CommandError, Session
from tests.redis.beside import Ours


def test_types(ours: Ours) -> None:
    ours.ask(b"SET", b"k", b"v")
    assert ours.ask(b"TYPE", b"k") == b"string"
    assert ours.ask(b"TYPE", b"none") == b"none"


def test_a_new_name_takes_value_and_expiry_along(replica: Replica, ours: Ours) -> None:
    ours.ask(b"SET", b"k", b"v", b"EX", b"1000")
    ours.ask(b"SET", b"new", b"old")
    assert ours.ask(b"RENAME", b"k", b"new") == b"OK"
    assert ours.ask(b"MGET", b"k", b"new") == [None, b"v"]
    assert 990 < ours.ask(b"TTL", b"new") <= 1000
    assert replica.versions(b"k")[0].is_delete
    assert ours.ask(b"RENAME", b"new", b"new") == b"OK"
    ours.ask(b"SET", b"other", b"v")
    assert ours.ask(b"RENAMENX", b"new", b"other") == ours.ask(b"RENAMENX", b"new", b"new") == 0
    assert ours.ask(b"RENAMENX", b"new", b"free") == 1
    assert ours.ask(b"KEYS", b"*") == [b"free", b"other"]
    assert 990 < ours.ask(b"TTL", b"free") <= 1000


def test_a_copy(ours: Ours) -> None:
    ours.ask(b"SET", b"k", b"v", b"EX", b"1000")
    ours.ask(b"SET", b"taken", b"w")
    assert ours.ask(b"COPY", b"k", b"new") == 1
    assert ours.ask(b"COPY", b"k", b"taken") == ours.ask(b"COPY", b"none", b"free") == 0
    assert ours.ask(b"GET", b"taken") == b"w"
    assert ours.ask(b"COPY", b"k", b"taken", b"replace", b"DB", b"0") == 1
    assert ours.ask(b"MGET", b"k", b"new", b"taken") == [b"v", b"v", b"v"]
    assert 990 < ours.ask(b"TTL", b"taken") <= 1000


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ((b"RENAME", b"none", b"k"), "no such key"),
        ((b"RENAMENX", b"none", b"k"), "no such key"),
        ((b"RENAME", b"k", b"\xff\xff\xff\xff"), "reserved"),
        ((b"COPY", b"k", b"k"), "source and destination objects are the same"),
        ((b"COPY", b"k", b"new", b"DB", b"1"), "DB index is out of range"),
        ((b"COPY", b"k", b"new", b"DB", b"-2147483649"), "value is out of range"),
        ((b"COPY", b"k", b"new", b"DB"), "syntax error"),
        ((b"COPY", b"k", b"new", b"WHAT"), "syntax error"),
    ],
)
def test_what_is_refused_leaves_the_turn_as_it_was(
    replica: Replica, request_: tuple[bytes, ...], words: str
) -> None:
    replica.put(b"k", b"v")
    command = KEYS[request_[0]]
    assert command.run is not None
    turn = Turn(replica)
    try:
        with pytest.raises((CommandError, ValueError), match=words):
            command.run(turn, Session(), list(request_))
        assert not turn.writes
    finally:
        turn.abandon()
