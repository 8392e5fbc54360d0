"""The wrapped iterator does what plyvel's own does, whatever is read ahead."""

from pathlib import Path

import plyvel
import pytest
from hypothesis import given
from hypothesis import strategies as st

from replicator.faces import iterators
from replicator.faces.handle import Replica
from replicator.faces.library import replicate
from replicator.store.keyspace import RESERVED

KEYS = [b"%03d" % number for number in range(0, 600, 2)]

bound = st.none() | st.integers(0, 620).map(lambda number: b"%03d" % number)
ranges = st.fixed_dictionaries(
    {
        "reverse": st.booleans(),
        "start": bound,
        "stop": bound,
        "include_start": st.booleans(),
        "include_stop": st.booleans(),
        "include_key": st.booleans(),
        "include_value": st.booleans(),
    }
)
steps = st.lists(
    st.tuples(st.just("next"), st.integers(1, 300))
    | st.tuples(st.just("prev"), st.integers(1, 5))
    | st.tuples(st.just("seek"), st.integers(0, 620))
    | st.tuples(st.sampled_from(["seek_to_start", "seek_to_stop"]), st.just(1)),
    max_size=12,
)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory):
    """A wrapped handle, and the native one below it."""
    native = plyvel.DB(str(tmp_path_factory.mktemp("db")), create_if_missing=True)
    with replicate(native, port=None) as replica:
        with replica.write_batch() as batch:
            for key in KEYS:
                batch.put(key, b"value of " + key)
        yield replica, native


def walk(iterator, steps: list[tuple[str, int]]) -> list[object]:
    """What an iterator answers to steps, the end of its range included."""
    seen: list[object] = []
    for step, number in steps:
        if step == "seek":
            iterator.seek(b"%03d" % number)
        elif step in ("next", "prev"):
            take = iterator.__next__ if step == "next" else iterator.prev
            for _ in range(number):
                try:
                    seen.append(take())
                except StopIteration:
                    seen.append(StopIteration)
                    break
        else:
            getattr(iterator, step)()
    return seen


@given(ranges, steps)
def test_every_walk_is_the_native_one(both: tuple[Replica, plyvel.DB], range_, steps) -> None:
    replica, native = both
    cut = range_ if range_["stop"] else range_ | {"stop": RESERVED, "include_stop": False}
    assert walk(replica.iterator(**range_), steps) == walk(native.iterator(**cut), steps)


@given(st.integers(0, 320), st.integers(0, 320))
def test_turning_round_in_a_for_loop(
    both: tuple[Replica, plyvel.DB], there: int, back: int
) -> None:
    keys = both[0].iterator(include_value=False)
    seen = [key for _, key in zip(range(there), keys, strict=False)]
    returned = []
    for _ in range(min(back, len(seen))):
        returned.append(keys.prev())
    assert returned == seen[::-1][: len(returned)]
    assert list(keys) == KEYS[len(seen) - len(returned) :]


def test_a_loop_may_seek_in_its_body(both: tuple[Replica, plyvel.DB]) -> None:
    keys = both[0].iterator(include_value=False)
    seen = []
    for key in keys:
        seen.append(key)
        keys.seek(b"%03d" % (int(key) + 100))
    assert seen == [b"000", b"100", b"200", b"300", b"400", b"500"]


def test_it_goes_on_after_its_end(both: tuple[Replica, plyvel.DB]) -> None:
    keys = both[0].iterator(include_value=False)
    assert list(keys) == KEYS
    assert list(keys) == []
    assert keys.prev() == KEYS[-1]
    assert list(keys) == KEYS[-1:]


def test_it_shows_the_state_in_which_it_was_made(replica: Replica) -> None:
    for number in range(10):
        replica.put(b"%d" % number, b"old")
    items = replica.iterator()
    assert next(items) == (b"0", b"old")
    for number in range(20):
        replica.put(b"%d" % number, b"new")
    assert list(items) == [(b"%d" % number, b"old") for number in range(1, 10)]


def test_large_values_are_not_hoarded(replica: Replica, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[int] = []
    cut = iterators.islice

    def counting(native, count):
        taken.append(count)
        return cut(native, count)

    monkeypatch.setattr(iterators, "islice", counting)
    for number in range(40):
        replica.put(b"%02d" % number, bytes(40_000))
    assert len(list(replica)) == 40
    assert max(taken) <= 2
    taken.clear()
    assert len(list(replica.iterator(include_value=False))) == 40
    assert max(taken) > 2, "keys alone are small"


class Alarm(Exception):
    """What a signal handler might raise anywhere."""


@pytest.mark.parametrize("turn", [False, True])
@pytest.mark.parametrize("read_before", [0, 1, 5])
def test_an_exception_in_the_middle_skips_nothing(
    both: tuple[Replica, plyvel.DB], monkeypatch: pytest.MonkeyPatch, read_before: int, turn: bool
) -> None:
    cut = iterators.islice

    def interrupted(native, count):
        yield from cut(native, min(count, read_before))
        monkeypatch.setattr(iterators, "islice", cut)
        raise Alarm

    keys = both[0].iterator(include_value=False)
    seen = [next(keys) for _ in range(40)]
    monkeypatch.setattr(iterators, "islice", interrupted)
    with pytest.raises(Alarm):
        seen += keys
    if turn:
        assert [keys.prev(), keys.prev()] == KEYS[len(seen) - 1 : len(seen) - 3 : -1]
        del seen[-2:]
    seen += keys
    assert seen == KEYS


def test_one_iterator_in_two_threads(
    both: tuple[Replica, plyvel.DB], monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = both[0].iterator(include_value=False)
    cut = iterators.islice

    def meanwhile(native, count):
        monkeypatch.setattr(iterators, "islice", cut)
        with pytest.raises(RuntimeError, match="one thread at a time"):
            next(keys)
        return cut(native, count)

    monkeypatch.setattr(iterators, "islice", meanwhile)
    assert list(keys) == KEYS


def test_entries_of_all_kinds(both: tuple[Replica, plyvel.DB]) -> None:
    replica, _ = both
    assert list(replica)[1] == (b"002", b"value of 002")
    assert list(replica.iterator(include_value=False))[1] == b"002"
    assert list(replica.iterator(include_key=False))[1] == b"value of 002"
    assert list(replica.iterator(include_key=False, include_value=False)) == [None] * len(KEYS)


@pytest.mark.parametrize("turn", ["close", "with"])
def test_a_closed_iterator(replica: Replica, turn: str) -> None:
    for number in range(10):
        replica.put(b"%d" % number, b"")
    keys = replica.iterator()
    next(keys), next(keys)
    if turn == "close":
        keys.close()
        keys.close()
    else:
        with keys:
            next(keys)
    for call in (keys.__next__, keys.prev, keys.seek_to_start, keys.seek_to_stop):
        with pytest.raises(RuntimeError, match="closed"):
            call()
    with pytest.raises(RuntimeError, match="closed"):
        keys.seek(b"1")
    with pytest.raises(RuntimeError, match="closed"):
        next(keys)


def test_closing_the_handle_ends_a_loop_at_once(tmp_path: Path) -> None:
    replica = replicate(plyvel.DB(str(tmp_path), create_if_missing=True), port=None)
    for number in range(100):
        replica.put(b"%02d" % number, b"")
    seen = []
    with pytest.raises(RuntimeError, match="iterator is closed"):
        for key, _ in replica:
            seen.append(key)
            if len(seen) == 10:
                replica.close()
    assert len(seen) == 10


def test_an_iterator_keeps_its_handle_alive(tmp_path: Path) -> None:
    def made_in_passing():
        replica = replicate(plyvel.DB(str(tmp_path), create_if_missing=True), port=None)
        replica.put(b"k", b"v")
        return replica.iterator()

    items = made_in_passing()
    assert list(items) == [(b"k", b"v")]
    del items
    plyvel.DB(str(tmp_path)).close()  # the directory is free: nothing was left behind


def test_raw_iterator_walks_as_the_native_one(both: tuple[Replica, plyvel.DB]) -> None:
    replica, native = both
    ours, theirs = replica.raw_iterator(), native.raw_iterator()
    for target in (b"", b"000", b"001", b"300", b"598"):
        ours.seek(target), theirs.seek(target)
        assert ours.valid() and ours.item() == theirs.item()
    ours.seek(b"300")
    ours.prev()
    assert ours.key() == b"298"
    ours.next(), ours.next()
    assert ours.item() == (b"302", b"value of 302")
    ours.seek_to_first()
    assert ours.key() == KEYS[0]
    ours.prev()
    assert not ours.valid()
    ours.seek_to_last()
    assert ours.value() == b"value of 598"
    ours.next()
    for call in (ours.key, ours.value, ours.item, ours.next, ours.prev):
        with pytest.raises(plyvel.IteratorInvalidError):
            call()
    ours.close()
    with pytest.raises(RuntimeError):
        ours.valid()
