"""The table of cursors is bounded, and keeps what a scan that goes on needs."""

import pytest

from replicator.faces.redis import cursors as cursors_module
from replicator.faces.redis.cursors import Cursors
from replicator.faces.stepwise import CommandError


def test_a_cursor_and_the_one_before_it() -> None:
    cursors = Cursors()
    first = cursors.remember(b"a", 0)
    assert cursors.place(first) == cursors.place(first) == b"a"
    second = cursors.remember(b"b", first)
    assert cursors.place(first) == b"a"  # the reply may have been lost
    third = cursors.remember(b"b", first)  # asked again
    assert cursors.place(third) == cursors.place(second) == b"b"
    with pytest.raises(CommandError, match="unknown cursor"):
        cursors.place(first)


def test_cursors_fit_into_a_floating_point_number() -> None:
    cursors = Cursors()
    for number in range(2000):
        cursor = cursors.remember(b"%d" % number, 0)
        assert 0 < int(float(cursor)) == cursor


def test_those_used_longest_ago_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cursors_module, "RESP_CURSORS_MAX", 3)
    cursors = Cursors()
    one, other, third = (cursors.remember(b"k", 0) for _ in range(3))
    cursors.place(one)
    fourth = cursors.remember(b"k", 0)
    for cursor in (one, third, fourth):
        assert cursors.place(cursor) == b"k"
    with pytest.raises(CommandError):
        cursors.place(other)


def test_their_keys_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cursors_module, "RESP_CURSORS_BYTES_MAX", 1000)
    cursors = Cursors()
    given = [cursors.remember(bytes(100), 0) for _ in range(50)]
    assert len(cursors._places) == 10
    assert cursors.place(given[-10]) == bytes(100)
    for cursor in given[-10:]:
        cursors.remember(b"k", cursor)
        cursors.place(next(reversed(cursors._places)))  # and the given one is forgotten
    assert cursors._bytes == 10
