"""Commands that add to a number."""

import threading

import pytest

from replicator.faces.handle import Replica
from tests.redis.beside import Ours


def test_whole_numbers(ours: Ours) -> None:
    assert ours.ask(b"INCR", b"n") == 1
    assert ours.ask(b"INCRBY", b"n", b"-11") == -10
    assert ours.ask(b"DECRBY", b"n", b"-15") == 5
    assert ours.ask(b"DECR", b"n") == 4
    assert ours.ask(b"GET", b"n") == b"4"


def test_the_expiry_stays(ours: Ours) -> None:
    for name in (b"INCR", b"INCRBYFLOAT"):
        ours.ask(b"SET", b"n", b"1", b"EX", b"1000")
        ours.ask(name, b"n", *([b"1"] if name == b"INCRBYFLOAT" else []))
        assert 990 < ours.ask(b"TTL", b"n") <= 1000


def test_real_numbers(ours: Ours) -> None:
    assert ours.ask(b"INCRBYFLOAT", b"f", b"10.5") == b"10.5"
    assert ours.ask(b"INCRBYFLOAT", b"f", b"0.1") == b"10.6"
    assert ours.ask(b"INCRBYFLOAT", b"f", b"-5.6e0") == b"5"
    assert ours.ask(b"INCR", b"f") == 6


@pytest.mark.parametrize(
    ("before", "request_", "words"),
    [
        (b"9223372036854775807", (b"INCR", b"k"), "increment or decrement would overflow"),
        (b"-9223372036854775808", (b"DECR", b"k"), "increment or decrement would overflow"),
        (b"0", (b"DECRBY", b"k", b"-9223372036854775808"), "decrement would overflow"),
        (b"text", (b"INCR", b"k"), "value is not an integer or out of range"),
        (b"", (b"INCR", b"k"), "value is not an integer or out of range"),
        (b"1", (b"INCRBY", b"k", b"1.0"), "value is not an integer or out of range"),
        (b"text", (b"INCRBYFLOAT", b"k", b"1"), "value is not a valid float"),
        (b"", (b"INCRBYFLOAT", b"k", b"1"), "value is not a valid float"),
        (b"1", (b"INCRBYFLOAT", b"k", b"x"), "value is not a valid float"),
        (b"1", (b"INCRBYFLOAT", b"k", b"inf"), "increment would produce NaN or Infinity"),
    ],
)
def test_what_is_refused_changes_nothing(
    replica: Replica, ours: Ours, before: bytes, request_: tuple[bytes, ...], words: str
) -> None:
    replica.put(b"k", before)
    writes = replica._engine.store.writes
    assert words in str(ours.ask(*request_))
    assert replica.get(b"k") == before
    assert replica._engine.store.writes == writes


def test_nothing_is_counted_twice_or_lost_beside_other_writers(replica: Replica) -> None:
    def count() -> None:
        for _ in range(200):
            replica.update(b"n", lambda live: b"%d" % (int(live[0].value or 0) + 1 if live else 1))

    threads = [threading.Thread(target=count) for _ in range(3)]
    for thread in threads:
        thread.start()
    ours = Ours(replica)
    for _ in range(200):
        ours.ask(b"INCR", b"n")
    for thread in threads:
        thread.join()
    assert replica.get(b"n") == b"800"
