"""One turn: what it reads, what it gathers, and its one commit."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import plyvel
import pytest

from replicator.config import KEY_BYTES_MAX, VALUE_BYTES_MAX
from replicator.errors import ClosedError, CommitError, ReservedKeyError
from replicator.faces.handle import Replica
from replicator.faces.library import replicate
from replicator.faces.redis.turn import Turn
from replicator.store.keyspace import RESERVED
from tests.faces.waiting import until


@pytest.fixture
def replica(tmp_path: Path) -> Iterator[Replica]:
    db = replicate(plyvel.DB(str(tmp_path / "store"), create_if_missing=True), port=None)
    db.put(b"old", b"value")
    yield db
    db.close()


def is_free(replica: Replica) -> bool:
    """Whether another thread could write now."""
    lock = replica._engine.store._lock
    if free := lock.acquire(blocking=False):
        lock.release()
    return free


def test_reads_see_what_the_turn_has_written_and_nobody_else_does(replica: Replica) -> None:
    turn = Turn(replica)
    turn.put(b"new", b"1")
    turn.delete(b"old")
    assert (turn.get(b"new"), turn.get(b"old"), turn.get(b"none")) == (b"1", None, None)
    assert (replica.get(b"new"), replica.get(b"old")) == (None, b"value")
    turn.commit()
    assert (replica.get(b"new"), replica.get(b"old")) == (b"1", None)
    assert turn.reads == 3


def test_a_turn_is_one_commit_with_one_dot_for_each_key(replica: Replica) -> None:
    before = replica.status().counters.writes
    turn = Turn(replica)
    for number in range(10):
        turn.put(b"k", b"%d" % number)
        turn.put(b"l", b"%d" % number)
    turn.delete(b"l")
    assert turn.commit().count() == 2
    assert replica.status().counters.writes == before + 2
    assert (replica.get(b"k"), replica.get(b"l")) == (b"9", None)


def test_without_writes_there_is_no_commit(replica: Replica) -> None:
    turn = Turn(replica)
    assert turn.get(b"old") == b"value"
    assert not turn.commit()
    assert replica.status().counters.writes == 1


def test_a_reply_stands_on_the_commit_where_it_wrote_or_saw_what_was_written(
    replica: Replica,
) -> None:
    turn = Turn(replica)
    turn.get(b"old")
    assert not turn.is_touched
    turn.put(b"k", b"v")
    assert turn.is_touched
    turn.is_touched = False
    turn.get(b"old")
    assert not turn.is_touched
    turn.get(b"k")
    assert turn.is_touched
    turn.is_touched = False
    turn.expiry_ms(b"k")
    assert turn.is_touched
    turn.abandon()


def test_who_holds_keeps_others_from_writing_until_the_end(replica: Replica) -> None:
    for end in (Turn.commit, Turn.abandon):
        turn = Turn(replica)
        assert not turn.is_held
        turn.hold()
        turn.hold()
        assert turn.is_held and not is_free(replica)
        turn.put(b"k", b"v")
        end(turn)
        assert not turn.is_held and is_free(replica)


def test_a_write_of_another_thread_comes_before_or_after_what_is_held(replica: Replica) -> None:
    replica.put(b"n", b"1")
    turn = Turn(replica)
    turn.hold()
    value = turn.get(b"n")
    other = threading.Thread(target=replica.put, args=(b"n", b"100"))
    other.start()
    other.join(0.05)
    assert other.is_alive() and turn.get(b"n") == value
    turn.put(b"n", b"2")
    turn.commit()
    other.join()
    assert replica.get(b"n") == b"100"
    assert [version.clock for version in replica.versions(b"n")] == [2], "each saw the one before"


def test_a_commit_that_fails_lets_go(replica: Replica, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_batch: object) -> None:
        raise CommitError("no room")

    turn = Turn(replica)
    turn.hold()
    turn.put(b"k", b"v")
    with monkeypatch.context() as patched:
        patched.setattr(replica._engine.store.level, "commit", fail)
        with pytest.raises(CommitError):
            turn.commit()
    assert is_free(replica)
    assert replica.get(b"k") is None
    replica.put(b"k", b"w")


def test_what_expires(replica: Replica) -> None:
    now = time.time_ns() // 1_000_000
    turn = Turn(replica)
    turn.put(b"k", b"v", now + 60_000)
    turn.put(b"over", b"v", now - 1)
    assert turn.expiry_ms(b"k") == now + 60_000
    assert (turn.get(b"k"), turn.get(b"over")) == (b"v", None)
    turn.put(b"stays", b"v", now + 60_000)
    turn.put(b"stays", b"w")
    turn.put(b"gone", b"v", now + 60_000)
    turn.delete(b"gone")
    turn.commit()
    turn = Turn(replica)
    assert turn.expiry_ms(b"k") == now + 60_000
    assert turn.expiry_ms(b"stays") is None
    assert (turn.get(b"gone"), turn.get(b"over")) == (None, None)
    turn.abandon()


def test_what_has_expired_is_not_there_before_it_is_swept(replica: Replica) -> None:
    store = replica._engine.store
    turn = Turn(replica)
    turn.put(b"k", b"v", store.wall_ms() + 50)
    turn.commit()
    while not store.has_expired(b"k"):
        time.sleep(0.005)
    turn = Turn(replica)
    assert turn.get(b"k") is None
    turn.abandon()


def test_reserved_keys_are_not_there_and_not_written(replica: Replica) -> None:
    turn = Turn(replica)
    assert turn.get(RESERVED + b"x") is None
    for key, value in (
        (RESERVED, b""),
        (bytes(KEY_BYTES_MAX + 1), b""),
        (b"k", bytes(VALUE_BYTES_MAX + 1)),
    ):
        with pytest.raises(ReservedKeyError):
            turn.put(key, value)
    with pytest.raises(ReservedKeyError):
        turn.delete(RESERVED)
    assert not turn.writes and not turn.is_touched
    turn.abandon()


def test_a_row_changes_with_every_write(replica: Replica) -> None:
    turn = Turn(replica)
    rows = {turn.row(b"old"), turn.row(b"none")}
    replica.put(b"old", b"value")
    replica.put(b"none", b"")
    rows |= {turn.row(b"old"), turn.row(b"none")}
    turn.abandon()
    assert len(rows) == 4


def test_closing_waits_for_a_turn_and_a_closed_handle_gives_none(replica: Replica) -> None:
    turn = Turn(replica)
    closing = threading.Thread(target=replica.close)
    closing.start()
    closing.join(0.05)
    assert closing.is_alive()
    turn.abandon()
    turn.abandon()
    closing.join()
    with pytest.raises(ClosedError):
        Turn(replica)


def test_a_turn_over_what_peers_wrote(tmp_path: Path) -> None:
    """Such a row looks like an own one, but the log entry to be removed is another's."""
    first, second = [plyvel.DB(str(tmp_path / name), create_if_missing=True) for name in ("a", "b")]
    with (
        replicate(first, port=0, discovery=[]) as a,
        replicate(second, port=None, discovery=[], peers=[str(a.address)]) as b,
    ):
        b.put(b"own", b"1")
        for number in range(20):
            a.put(b"k%d" % number, b"from a")
        until(lambda: b.get(b"k19"))
        turn = Turn(b)
        for number in range(20):
            turn.put(b"k%d" % number, b"from b")
        turn.put(b"own", b"2")
        turn.commit()
        assert [version.clock for version in b.versions(b"k0")] == [1]
        until(lambda: a.get(b"own") == b"2" and a.get(b"k19") == b"from b")
        assert a.digest() == b.digest()
        for one in (a, b):
            assert not list(one.verify())
