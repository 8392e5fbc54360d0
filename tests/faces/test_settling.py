"""Conflicts through the handle: looked at, settled, looked at again (R6)."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import plyvel
import pytest

import replicator
from replicator import NotLiveError, Replica, UsageError

Wrap = Callable[..., Replica]


@pytest.fixture
def pair(tmp_path: Path, wrap: Wrap) -> Iterator[tuple[Replica, Replica]]:
    """Two handles with `k` in conflict; `theirs` wins by its clock."""

    def opened(name: str, **keywords: Any) -> Replica:
        db = plyvel.DB(str(tmp_path / name), create_if_missing=True)
        return wrap(db, name=name, discovery=[], cluster="pair", **keywords)

    first = opened("first", port=0)
    first.put(b"k", b"ours")
    second = opened("second", join_timeout=0.0)
    second.put(b"k", b"x")
    second.put(b"k", b"theirs")
    second.add_peer(str(first.address))
    assert second.sync(60)
    yield first, second


def test_resolve(pair: tuple[Replica, Replica]) -> None:
    first, second = pair
    winner, loser = first.versions(b"k")
    assert (winner.value, loser.value, first.get(b"k")) == (b"theirs", b"ours", b"theirs")
    assert [key for key, _ in first.conflicts()] == [b"k"]
    dot = first.resolve(b"k", loser.dot, seen=first.versions(b"k"), sync=True)
    assert [one.dot for one in first.versions(b"k")] == [dot]
    assert second.sync(60)
    for one in pair:
        assert one.get(b"k") == b"ours" and list(one.conflicts()) == []
    with pytest.raises(NotLiveError, match=str(dot)):
        second.resolve(b"k", str(winner.dot))


def test_what_was_not_seen_stays(pair: tuple[Replica, Replica]) -> None:
    first, _ = pair
    winner, loser = first.versions(b"k")
    first.resolve(b"k", b"merged", seen=[loser])
    assert {one.value for one in first.versions(b"k")} == {b"merged", winner.value}
    first.resolve(b"k", None)
    assert first.get(b"k") is None and list(first.conflicts()) == []


def test_what_makes_no_sense_is_refused(replica: Replica) -> None:
    replica.put(b"k", b"v")
    replica.put(b"other", b"v")
    for choice, keywords, error in (
        ("no dot", {}, UsageError),
        (b"v", {"seen": replica.versions(b"other")}, UsageError),
        (b"v", {"seen": ["text"]}, UsageError),
        (b"v", {"sync": "yes"}, TypeError),
        (7, {}, TypeError),
    ):
        with pytest.raises(error):
            replica.resolve(b"k", choice, **keywords)
    assert replica.get(b"k") == b"v"
    replica.close()
    with pytest.raises(RuntimeError):
        replica.resolve(b"k", b"v")
    with pytest.raises(RuntimeError):
        replica.reevaluate()


def test_status_tells_who_won_and_why(pair: tuple[Replica, Replica]) -> None:
    first, second = pair
    counts = first.status().conflicts
    assert counts.by_reason == {"clock": 1} and counts.by_origin == {second.origin: 1}
    status = first.status()
    assert status.revisiting is None
    assert status.clock.ahead == {} and status.clock.set_backs == 0
    (peer,) = status.peers
    assert peer.clock_ahead_seconds is not None and abs(peer.clock_ahead_seconds) < 600


def test_reevaluate(tmp_path: Path, wrap: Wrap) -> None:
    """The code behind the name has changed."""
    answers = {"accept the greater": True}

    def resolver(a: replicator.Version, b: replicator.Version) -> bool:
        return ((a.value or b"") > (b.value or b"")) == answers["accept the greater"]

    def opened(name: str, **keywords: Any) -> Replica:
        db = plyvel.DB(str(tmp_path / name), create_if_missing=True)
        return wrap(db, name=name, discovery=[], cluster="c", resolver=resolver, **keywords)

    first, second = opened("first", port=0), opened("second", join_timeout=0.0)
    first.put(b"k", b"1")
    second.put(b"k", b"2")
    second.add_peer(str(first.address))
    assert second.sync(60) and second.get(b"k") == b"2"
    answers["accept the greater"] = False
    assert second.reevaluate(60) and second.get(b"k") == b"1"
    assert first.get(b"k") == b"2"
    assert first.reevaluate() and first.get(b"k") == b"1"
    with pytest.raises(UsageError):
        first.update(b"k", lambda _: first.reevaluate() and None)
    assert first.digest() == second.digest()


def test_opened_with_another_resolver(tmp_path: Path, wrap: Wrap) -> None:
    for resolver, shown in ((min, b"1"), (max, b"2")):

        def choose(a: Any, b: Any, pick: Any = resolver) -> bool:
            return bool(pick(a.value, b.value) == a.value)

        choose.__qualname__ = resolver.__name__
        db = plyvel.DB(str(tmp_path / "a"), create_if_missing=True)
        handle = wrap(db, port=0, discovery=[], cluster="c", resolver=choose, join_timeout=0.0)
        if shown == b"1":
            handle.put(b"k", b"1")
            other = wrap(
                plyvel.DB(str(tmp_path / "b"), create_if_missing=True),
                discovery=[],
                cluster="c",
                join_timeout=0.0,
            )
            other.put(b"k", b"2")
            other.add_peer(str(handle.address))
            assert other.sync(60)
            other.close()
        deadline = time.monotonic() + 60
        while handle.status().revisiting is not None and time.monotonic() < deadline:
            time.sleep(0.01)
        assert handle.get(b"k") == shown
        handle.close()
