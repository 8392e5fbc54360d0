"""`Store.resolve`: a person settles a conflict (R1, R6)."""

from typing import Any

import pytest

from replicator.core.dots import Dot
from replicator.core.record import Version
from replicator.errors import NotLiveError, ReservedKeyError, UsageError
from replicator.store.store import Store

from .checker import check_shown, check_store
from .places import Place, contents
from .rounds import Round, exchange


def conflict(store: Store, peer: Store, key: bytes = b"k") -> dict[bytes | None, Version]:
    """`ours` against `theirs`, which wins by its clock, at both; the versions by value."""
    store.put(key, b"ours")
    peer.put(key, b"x")
    peer.put(key, b"theirs")
    exchange(store, peer)
    assert contents(store)[key] == b"theirs"
    return {version.value: version for version in store.versions(key)}


def text(dot: Dot) -> str:
    return str(dot)


@pytest.mark.parametrize("form", [tuple, text, Dot._make])
def test_by_a_dot_the_version_is_written_anew(store: Store, peer: Store, form: Any) -> None:
    found = conflict(store, peer)
    dot = store.resolve(b"k", form(found[b"ours"].dot))
    (version,) = store.versions(b"k")
    assert (version.value, version.dot) == (b"ours", dot)
    assert dot.origin == store.origin and version.clock == 1 + found[b"theirs"].clock
    exchange(store, peer)
    for one in (store, peer):
        assert contents(one) == {b"k": b"ours"} and not list(one.conflicts())
        check_store(one)


def test_the_dot_of_a_tombstone_deletes(store: Store, peer: Store) -> None:
    store.put(b"k", b"both")
    exchange(store, peer)
    store.delete(b"k")
    for _ in range(2):
        peer.put(b"k", b"v")
    exchange(store, peer)
    (tombstone,) = (one for one in store.versions(b"k") if one.is_delete)
    assert contents(store) == {b"k": b"v"}
    store.resolve(b"k", tombstone.dot)
    exchange(store, peer)
    for one in (store, peer):
        assert contents(one) == {} and [v.is_delete for v in one.versions(b"k")] == [True]
        check_store(one)


@pytest.mark.parametrize(
    ("choice", "shown"), [(b"new", b"new"), (None, None), (bytearray(b"n"), b"n")]
)
def test_by_a_value_or_a_delete(
    store: Store, peer: Store, choice: Any, shown: bytes | None
) -> None:
    conflict(store, peer)
    store.resolve(b"k", choice)
    assert len(store.versions(b"k")) == 1
    assert store.db.get(b"k") == shown
    check_store(store)


def test_the_expiry_of_the_chosen_one_stays(store: Store, peer: Store) -> None:
    far = 4_000_000_000_000
    store.put_with(b"k", b"ours", expiry_ms=far)
    peer.put(b"k", b"x")
    peer.put(b"k", b"theirs")
    exchange(store, peer)
    (ours,) = (one for one in store.versions(b"k") if one.value == b"ours")
    peer.resolve(b"k", ours.dot)
    (version,) = peer.versions(b"k")
    assert (version.value, version.expiry_ms) == (b"ours", far)


def test_what_was_not_seen_stays(store: Store, peer: Store, third: Store) -> None:
    """Looked at two versions, a third one came: it is not settled away."""
    found = conflict(store, peer)
    seen = [version.dot for version in store.versions(b"k")]
    for _ in range(3):
        third.put(b"k", b"late")
    Round(store, third).whole()
    store.resolve(b"k", found[b"ours"].dot, seen=seen)
    assert {one.value for one in store.versions(b"k")} == {b"ours", b"late"}
    check_store(store)
    check_shown(store)
    exchange(store, peer, third)
    for one in (store, peer, third):
        assert {one.value for one in one.versions(b"k")} == {b"ours", b"late"}
        check_store(one)


def test_the_chosen_one_counts_as_seen(store: Store, peer: Store) -> None:
    found = conflict(store, peer)
    store.resolve(b"k", found[b"theirs"].dot, seen=[found[b"ours"].dot])
    assert [one.value for one in store.versions(b"k")] == [b"theirs"]
    found = conflict(store, peer, b"l")
    store.resolve(b"l", b"new", seen=[found[b"ours"].dot])
    assert {one.value for one in store.versions(b"l")} == {b"new", b"theirs"}
    check_store(store)


def test_what_comes_between_the_look_and_the_write_stays(
    store: Store, peer: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    conflict(store, peer)
    put_with = store.put_with

    def late(*args: Any, **options: Any) -> Dot:
        store.put(b"k", b"in between")
        return put_with(*args, **options)

    monkeypatch.setattr(store, "put_with", late)
    store.resolve(b"k", b"settled")
    assert {one.value for one in store.versions(b"k")} == {b"in between", b"settled"}


def test_a_dot_that_is_not_live_names_those_that_are(store: Store, peer: Store) -> None:
    found = conflict(store, peer)
    gone = found[b"ours"].dot
    newer = store.resolve(b"k", found[b"theirs"].dot)
    with pytest.raises(NotLiveError) as caught:
        store.resolve(b"k", gone)
    assert str(gone) in str(caught.value) and str(newer) in str(caught.value)
    with pytest.raises(NotLiveError, match="no versions at all"):
        store.resolve(b"absent", gone)
    assert len(store.versions(b"k")) == 1 and store.versions(b"absent") == []


def test_the_only_version_is_settled_already(store: Store) -> None:
    store.put(b"k", b"v")
    (version,) = store.versions(b"k")
    writes = store.counters().writes
    assert store.resolve(b"k", version.dot) == version.dot
    assert store.counters().writes == writes


def test_mistakes(store: Store) -> None:
    store.put(b"k", b"v")
    for choice in ("v", "0:1", ""):
        with pytest.raises(UsageError, match="is no dot"):
            store.resolve(b"k", choice)
    with pytest.raises(ReservedKeyError):
        store.resolve(b"\xff\xff\xff\xff", b"v")
    with pytest.raises(TypeError):
        store.resolve(b"k", 5)  # type: ignore[arg-type]
    assert [one.value for one in store.versions(b"k")] == [b"v"]


def test_a_merged_value_has_no_winner(place: Place, peer: Store) -> None:
    """The key shows what nobody wrote; accepting that is a put of it."""
    place.options["resolver"] = lambda a, b: b"merged"
    store = place.open()
    conflict_of = store.put(b"k", b"ours"), peer.put(b"k", b"theirs")
    assert conflict_of == (None, None)
    Round(store, peer).whole()
    standing = store.standing(b"k")
    assert standing.is_merged and contents(store) == {b"k": b"merged"}
    assert [one.dot for one in standing.versions] == sorted(one.dot for one in standing.versions)
    store.resolve(b"k", store.db.get(b"k"))
    assert not store.standing(b"k").is_merged
    assert [one.value for one in store.versions(b"k")] == [b"merged"]
    check_store(store)
