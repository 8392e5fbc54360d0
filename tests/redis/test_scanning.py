"""Commands that go through keys: what they show while others write, and what they do not."""

import random
from collections import Counter
from typing import Any

import pytest

from replicator.faces.control import execute
from replicator.faces.handle import Replica
from replicator.faces.redis import scanning
from replicator.faces.redis.cursors import cursors_of
from replicator.faces.redis.table import Work
from replicator.faces.stepwise import Session
from replicator.store.store import Store
from tests.redis.beside import Ours

KEYS = [b"key:%04d" % number for number in range(2000)]


@pytest.fixture
def filled(replica: Replica, ours: Ours) -> Ours:
    ours.ask(b"MSET", *[word for key in KEYS for word in (key, b"v")])
    return ours


def scan(ours: Ours, cursor: bytes = b"0", *options: bytes) -> tuple[bytes, list[bytes]]:
    cursor, keys = ours.ask(b"SCAN", cursor, *options)
    return cursor, keys


def scan_all(ours: Ours, *options: bytes) -> list[bytes]:
    cursor, keys = scan(ours, b"0", *options)
    while cursor != b"0":
        cursor, more = scan(ours, cursor, *options)
        keys += more
    return keys


@pytest.mark.parametrize("count", [b"1", b"7", b"512", b"513", b"2000", b"100000"])
def test_a_scan_shows_every_key_once(filled: Ours, count: bytes) -> None:
    assert scan_all(filled, b"COUNT", count) == KEYS
    _, keys = scan(filled, b"0", b"COUNT", count)
    assert len(keys) == min(int(count), 2000)


def test_a_scan_without_count_looks_at_ten(filled: Ours) -> None:
    assert scan(filled)[1] == KEYS[:10]


def test_a_scan_survives_writes(filled: Ours) -> None:
    chance = random.Random(5)
    alive, seen, cursor = set(KEYS), Counter[bytes](), b"0"
    while True:
        cursor, keys = scan(filled, cursor, b"COUNT", b"20")
        seen.update(keys)
        if cursor == b"0":
            break
        gone = chance.sample(sorted(alive), 5)
        alive.difference_update(gone)
        filled.ask(b"DEL", *gone)
        filled.ask(b"SET", b"key:%04d:new" % chance.randint(0, 1999), b"v")
        filled.ask(b"SET", chance.choice(sorted(alive)), b"new")
    assert alive <= seen.keys()
    assert max(seen.values()) == 1


def test_a_cursor_may_be_used_again_and_by_another_client(replica: Replica, filled: Ours) -> None:
    cursor, _ = scan(filled)
    again = scan(filled, cursor)[1]
    assert scan(Ours(replica), cursor)[1] == again == KEYS[10:20]
    assert scan(filled, cursor, b"COUNT", b"3", b"MATCH", b"*5")[1] == []  # other options
    assert scan(filled, cursor, b"COUNT", b"5", b"MATCH", b"key:15*")[1] == KEYS[1500:1505]


def test_cursors_of_a_scan_that_went_on_are_forgotten(replica: Replica, filled: Ours) -> None:
    cursors = [scan(filled)[0]]
    for _ in range(50):
        cursors.append(scan(filled, cursors[-1])[0])
    assert len(cursors_of(replica._engine.store)._places) == 2
    error = filled.ask(b"SCAN", cursors[0])
    assert "unknown cursor" in str(error)
    assert "begin again with 0" in str(error)


def test_a_match_is_a_range(
    replica: Replica, filled: Ours, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[Any] = []
    native = scanning.View.keys
    monkeypatch.setattr(
        scanning.View,
        "keys",
        lambda view, *range_, **more: looked.append(range_) or native(view, *range_, **more),
    )
    assert scan_all(filled, b"MATCH", b"key:15*", b"COUNT", b"30") == KEYS[1500:1600]
    assert scan(filled, b"0", b"MATCH", b"key:1999") == (b"0", [b"key:1999"])
    assert scan(filled, b"0", b"MATCH", b"nothing*") == (b"0", [])
    assert filled.ask(b"KEYS", b"key:15*") == KEYS[1500:1600]
    assert looked[0] == (b"key:15", b"key:16")
    assert looked[-1] == (b"key:15", b"key:16")


def test_a_type_that_no_key_has(filled: Ours) -> None:
    assert scan(filled, b"0", b"TYPE", b"hash") == (b"0", [])
    assert scan(filled, b"0", b"type", b"STRING")[1] == KEYS[:10]


def test_keys_are_read_twice_where_they_are_many(
    filled: Ours, monkeypatch: pytest.MonkeyPatch
) -> None:
    once = filled.ask(b"KEYS", b"*[37]")
    monkeypatch.setattr(scanning, "RESP_SCAN_HELD_BYTES", 100)
    assert (
        filled.ask(b"KEYS", b"*[37]") == once == [key for key in KEYS if key[-1:] in (b"3", b"7")]
    )
    assert filled.ask(b"KEYS", b"*") == KEYS


def test_keys_show_one_moment(
    replica: Replica, filled: Ours, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scanning, "RESP_SCAN_HELD_BYTES", 100)
    work = execute(replica, Session(), [b"KEYS", b"*"])
    assert isinstance(work, Work)
    pieces = [next(work.slices)]
    filled.ask(b"DEL", *KEYS[:900])
    filled.ask(b"SET", b"another", b"v")
    pieces += work.slices
    reply = b"".join(pieces)
    assert reply.startswith(b"*2000\r\n")
    assert reply.count(b"$8\r\n") == 2000


def test_keys_of_the_replicator_and_the_empty_key(ours: Ours) -> None:
    ours.ask(b"MSET", b"", b"v", b"\xff\xff\xff\xfe", b"v", b"\xff", b"v")
    everything = [b"", b"\xff", b"\xff\xff\xff\xfe"]
    assert ours.ask(b"KEYS", b"*") == scan_all(ours, b"COUNT", b"1") == everything
    assert ours.ask(b"KEYS", b"\xff*") == everything[1:]
    assert ours.ask(b"KEYS", b"\xff\xff\xff\xff*") == []
    assert ours.ask(b"DBSIZE") == 3


def test_what_has_expired_and_is_not_swept(
    replica: Replica, ours: Ours, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Store, "sweep", lambda _: None)
    ours.ask(b"MSET", *[word for key in KEYS[:600] for word in (key, b"v")])
    for key in KEYS[:600:2]:
        ours.ask(b"EXPIRE", key, b"1000")
    ours.ask(b"EXPIRE", KEYS[1], b"2000")
    assert ours.ask(b"DBSIZE") == 600
    now_ms = replica._engine.store.wall_ms()
    monkeypatch.setattr(Store, "wall_ms", lambda _: now_ms + 1_500_000)
    assert replica._engine.store.db.get(KEYS[0]) == b"v"
    assert ours.ask(b"DBSIZE") == 300
    assert ours.ask(b"KEYS", b"*") == scan_all(ours) == KEYS[1:600:2]
    assert ours.ask(b"MGET", *KEYS[:3]) == [None, b"v", None]
    assert ours.ask(b"MGET", *KEYS[:3], *[b"none"] * 1000)[:3] == [None, b"v", None]
    assert {ours.ask(b"RANDOMKEY") for _ in range(50)} <= set(KEYS[1:600:2])
    ours.ask(b"DEL", *KEYS[1:600:2])
    assert ours.ask(b"RANDOMKEY") is None


def test_a_random_key(filled: Ours) -> None:
    drawn = Counter(filled.ask(b"RANDOMKEY") for _ in range(3000))
    assert drawn.keys() <= set(KEYS)
    assert len(drawn) > 1300  # of 2000, drawn evenly, 1554 in the mean
    assert max(drawn.values()) < 15


@pytest.mark.parametrize(
    "keys",
    [[b""], [b"", b"\0"], [b"a", b"aa", b"aaa"], [b"a", b"b" * 5000, b"b" * 5001], [b"\xff"]],
)
def test_each_key_is_drawn_at_some_time(ours: Ours, keys: list[bytes]) -> None:
    ours.ask(b"MSET", *[word for key in keys for word in (key, b"v")])
    assert {ours.ask(b"RANDOMKEY") for _ in range(200)} == set(keys)


def test_a_random_key_of_none(ours: Ours) -> None:
    assert ours.ask(b"RANDOMKEY") is None


def test_a_scan_that_is_given_up_lets_go_of_its_snapshot(replica: Replica, filled: Ours) -> None:
    work = execute(replica, Session(), [b"KEYS", b"*"])
    assert isinstance(work, Work)
    next(work.slices)
    assert len(replica._engine.held) == 1
    work.slices.close()
    assert not replica._engine.held
    filled.ask(b"KEYS", b"*")
    assert not replica._engine.held
