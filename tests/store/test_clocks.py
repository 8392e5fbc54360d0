"""Clocks that are wrong: the own one, and others' (R1)."""

import logging
import time
from collections.abc import Callable

import pytest

from replicator.config import Settings
from replicator.core.clock import TIMESTAMP_MAX, from_ms, to_ms
from replicator.core.known import KnownSet
from replicator.core.record import Record
from replicator.core.resolvers import latest_timestamp
from replicator.store.store import Store

from .checker import check_store
from .chunks import chunk_of, version
from .places import Place, contents
from .rounds import Round, exchange

A, B = 0xA, 0xB
NOW_MS = 1_700_000_000_000
YEAR_MS = 31_557_600_000
SKEW_MAX_MS = int(Settings().clock_skew_max * 1000)

SetClock = Callable[[int], None]


@pytest.fixture
def set_clock(monkeypatch: pytest.MonkeyPatch) -> SetClock:
    """Sets the wall clock of everything in this process; it stands still."""

    def set_to(wall_ms: int) -> None:
        monkeypatch.setattr(time, "time_ns", lambda: wall_ms * 1_000_000)

    set_to(NOW_MS)
    return set_to


def stamp(store: Store, key: bytes) -> int:
    """The wall clock of a key's only version."""
    (one,) = store.versions(key)
    return to_ms(one.timestamp)


def from_peer(store: Store, key: bytes, wall_ms: int, seq: int = 1, origin: int = A) -> None:
    record = Record(
        (version(b"v", origin, seq, timestamp=from_ms(wall_ms), key=key),), {origin: seq}
    )
    store.apply(chunk_of((key, record)), KnownSet({origin: [1, seq + 1]}))


def test_a_peer_years_ahead_is_kept_counted_and_not_followed(
    store: Store, set_clock: SetClock
) -> None:
    from_peer(store, b"far", NOW_MS + 10 * YEAR_MS)
    from_peer(store, b"farther", NOW_MS + 12 * YEAR_MS, seq=2)
    from_peer(store, b"near", NOW_MS + 1000, origin=B)
    assert set(contents(store)) == {b"far", b"farther", b"near"}
    ((origin, ahead),) = store.ahead
    assert (origin, ahead.writes, ahead.seconds) == (A, 2, 12 * YEAR_MS / 1000)
    assert store.counters().skewed == 2
    store.put(b"own", b"v")
    assert stamp(store, b"own") == NOW_MS + 1000
    check_store(store)


def test_what_is_known_already_is_not_counted_again(
    store: Store, peer: Store, set_clock: SetClock
) -> None:
    set_clock(NOW_MS + YEAR_MS)
    peer.put(b"k", b"v")
    set_clock(NOW_MS)
    for _ in range(3):
        assert Round(store, peer).whole().skewed in ((peer.origin,), ())
    assert [ahead.writes for _, ahead in store.ahead] == [1]


def test_a_version_that_comes_again_beside_a_new_one_counts_once(
    store: Store, set_clock: SetClock
) -> None:
    far = version(b"far", A, 1, timestamp=from_ms(NOW_MS + YEAR_MS), key=b"k")
    near = version(b"near", B, 1, timestamp=from_ms(NOW_MS), key=b"k")
    store.apply(chunk_of((b"k", Record((far,), {A: 1}))), KnownSet({A: [1, 2]}))
    both = Record((far, near), {A: 1, B: 1})
    store.apply(chunk_of((b"k", both)), KnownSet({A: [1, 2], B: [1, 2]}))
    assert [(origin, ahead.writes) for origin, ahead in store.ahead] == [(A, 1)]


def test_relayed_by_a_third_node_the_origin_is_named(
    store: Store, peer: Store, third: Store, set_clock: SetClock
) -> None:
    set_clock(NOW_MS + YEAR_MS)
    third.put(b"k", b"v")
    set_clock(NOW_MS)
    Round(peer, third).whole()
    assert Round(store, peer).whole().skewed == (third.origin,)
    assert [origin for origin, _ in store.ahead] == [third.origin]


def test_a_peer_years_behind_is_kept(store: Store, peer: Store, set_clock: SetClock) -> None:
    """Its writes are old by their dates; the clock of a key decides before any date."""
    store.put(b"k", b"v")
    exchange(store, peer)
    set_clock(NOW_MS - 10 * YEAR_MS)
    peer.put(b"k", b"later")
    set_clock(NOW_MS)
    exchange(store, peer)
    assert contents(store) == {b"k": b"later"}
    assert store.counters().skewed == 0


@pytest.mark.parametrize("how", ["put", "delete", "batch", "overwrite", "careful"])
def test_the_own_clock_years_ahead_for_a_moment(
    store: Store, set_clock: SetClock, how: str
) -> None:
    set_clock(NOW_MS + 70 * YEAR_MS)
    store.put(b"k", b"2093")
    set_clock(NOW_MS)
    if how == "put":
        store.put(b"new", b"v")
    elif how == "delete":
        store.delete(b"new")
    elif how == "batch":
        store.write([(b"new", b"v"), (b"new too", b"v")])
    elif how == "overwrite":
        store.put(b"k", b"now")
    else:
        store.put_with(b"new", b"v")
    assert stamp(store, b"k" if how == "overwrite" else b"new") == NOW_MS
    assert store.clock.set_backs == 1
    store.put(b"more", b"v")
    assert store.clock.set_backs == 1 and stamp(store, b"more") == NOW_MS
    check_store(store)


def test_a_small_step_back_is_smoothed_over(store: Store, set_clock: SetClock) -> None:
    store.put(b"1", b"v")
    set_clock(NOW_MS - SKEW_MAX_MS)
    store.put(b"2", b"v")
    store.write([(b"3", b"v")])
    assert [stamp(store, key) for key in (b"1", b"2", b"3")] == [NOW_MS] * 3
    assert store.clock.set_backs == 0


def test_reopened_after_years_ahead(place: Place, set_clock: SetClock) -> None:
    set_clock(NOW_MS + YEAR_MS)
    place.open().put(b"k", b"v")
    set_clock(NOW_MS)
    store = place.reopen()
    store.put(b"l", b"v")
    assert stamp(store, b"l") == NOW_MS and store.clock.set_backs == 1


def test_reopened_a_little_behind(place: Place, set_clock: SetClock) -> None:
    store = place.open()
    store.put(b"k", b"v")
    before = store.versions(b"k")[0].timestamp
    set_clock(NOW_MS - 1000)
    store = place.reopen()
    store.put(b"l", b"v")
    assert store.versions(b"l")[0].timestamp == before + 1


@pytest.mark.parametrize("ahead_ms", [10 * YEAR_MS, to_ms(TIMESTAMP_MAX) - NOW_MS])
def test_reopened_beside_a_peer_that_is_ahead(
    place: Place, set_clock: SetClock, ahead_ms: int
) -> None:
    """A version of a peer beside the newest own one says nothing of this node's clock; the greatest
    timestamp there is would leave no room for another one."""
    store = place.open()
    store.put(b"k", b"ours")
    from_peer(store, b"k", NOW_MS + ahead_ms)
    assert len(store.versions(b"k")) == 2
    store = place.reopen()
    store.put(b"l", b"v")
    assert stamp(store, b"l") == NOW_MS and store.clock.set_backs == 0
    check_store(store)


def test_after_a_jump_and_back_the_latest_timestamp_is_the_latest_again(
    place: Place, peer: Store, set_clock: SetClock
) -> None:
    place.options["resolver"] = latest_timestamp
    store = place.open()
    set_clock(NOW_MS + YEAR_MS)
    store.put(b"other", b"v")
    set_clock(NOW_MS)
    store.put(b"k", b"first")
    set_clock(NOW_MS + 5)
    peer.put(b"k", b"second")
    Round(store, peer).whole()
    assert contents(store)[b"k"] == b"second"


def test_nothing_is_logged_under_the_write_lock(
    store: Store, set_clock: SetClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A handler of the program may write to the store itself; the node tells of it later."""
    set_clock(NOW_MS + YEAR_MS)
    store.put(b"k", b"v")
    set_clock(NOW_MS)
    with caplog.at_level(logging.DEBUG):
        store.put(b"l", b"v")
    assert caplog.records == []
