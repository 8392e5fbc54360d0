"""Recent events, in words."""

from pathlib import Path

import plyvel
import pytest

from replicator.core.dots import Dot
from replicator.core.record import Version
from replicator.errors import PeerError
from replicator.faces.http.happenings import Happenings
from replicator.faces.http.limits import (
    HAPPENING_MERGE_SECONDS,
    HAPPENINGS_MAX,
    HAPPENINGS_WAITING_MAX,
)
from replicator.faces.library import replicate
from replicator.status import Round

VERSION = Version(b"k", Dot(1, 1), 0, 0, False, b"v")


def a_round(origin: str = "a" * 16, records: int = 2, changed: int = 1) -> Round:
    return Round("127.0.0.1:9", "berlin", origin, records, changed, False)


def test_every_event_has_words() -> None:
    happenings = Happenings()
    happenings.note("connect", "127.0.0.1", 9000)
    happenings.note("connection", "127.0.0.1", 50000)
    happenings.note("round", a_round())
    happenings.note("conflict", b"secret", [VERSION, VERSION])
    happenings.note("difference", "berlin", "b" * 16)
    happenings.note("error", PeerError("no such peer"))
    happenings.note("settled", "10.0.0.1", b"secret")
    told = happenings.take()
    assert [(one.kind, one.text) for one in told] == [
        ("connect", "dialled 127.0.0.1:9000"),
        ("connection", "was dialled by 127.0.0.1"),
        ("round", "caught up with berlin: 2 records, 1 news"),
        ("conflict", "2 versions of a key met"),
        ("difference", f"data differs from that of berlin ({'b' * 16})"),
        ("error", "no such peer"),
        ("settled", "a conflict was settled here by 10.0.0.1"),
    ]
    assert [one.key is not None for one in told] == [False] * 3 + [True] + [False] * 2 + [True]
    assert happenings.take() == []
    assert happenings.all() == told


def test_no_text_tells_a_key() -> None:
    happenings = Happenings()
    happenings.note("conflict", b"secret", [VERSION])
    happenings.note("settled", "x", b"secret")
    assert all("secret" not in one.text for one in happenings.take())


def test_strangers_text_is_escaped() -> None:
    happenings = Happenings()
    happenings.note("error", PeerError("\x1b[31m\u202e"))
    happenings.note("difference", "\x07name", "b" * 16)
    assert [one.text for one in happenings.take()] == [
        r"\x1b[31m\u202e",
        rf"data differs from that of \x07name ({'b' * 16})",
    ]


def test_rounds_that_follow_each_other_are_one(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("time.time_ns", lambda: int(now[0] * 1e9))
    happenings = Happenings()
    for _ in range(500):
        happenings.note("round", a_round())
    (first,) = happenings.take()
    assert (first.times, first.text) == (500, "caught up with berlin: 1,000 records, 500 news")
    now[0] += HAPPENING_MERGE_SECONDS
    happenings.note("round", a_round(origin="c" * 16))
    happenings.note("round", a_round())
    other, grown = happenings.take()
    assert grown.id == first.id and grown.times == 501
    assert other.id != first.id
    assert [one.id for one in happenings.all()] == [other.id, first.id]
    now[0] += HAPPENING_MERGE_SECONDS + 0.01
    happenings.note("round", a_round())
    (later,) = happenings.take()
    assert later.id != first.id and later.times == 1


def test_one_like_one_before_is_that_one_again() -> None:
    happenings = Happenings()
    for port in range(50_000, 50_300):
        happenings.note("connect", "berlin", 9000)
        happenings.note("connection", "berlin", port)
        happenings.note("error", PeerError("no route"))
    happenings.note("conflict", b"k", [VERSION])
    happenings.note("conflict", b"k", [VERSION])
    assert [(one.kind, one.times) for one in happenings.take()] == [
        ("connect", 300),
        ("connection", 300),
        ("error", 300),
        ("conflict", 1),
        ("conflict", 1),
    ]


def test_both_queues_are_bounded() -> None:
    happenings = Happenings()
    for number in range(HAPPENINGS_WAITING_MAX + 500):
        happenings.note("conflict", b"%d" % number, [VERSION])
    assert len(happenings.conflicting) == HAPPENINGS_WAITING_MAX
    assert len(happenings.take()) == HAPPENINGS_WAITING_MAX
    kept = happenings.all()
    assert len(kept) == HAPPENINGS_MAX
    key = kept[-1].key
    assert key is not None and key["text"] == str(HAPPENINGS_WAITING_MAX + 499)


def test_following_ends_with_its_context(tmp_path: Path) -> None:
    db = replicate(plyvel.DB(str(tmp_path / "a"), create_if_missing=True), port=None)
    happenings = Happenings()
    with happenings.following(db):
        assert any(db._engine.events._callbacks.values())
    assert not any(db._engine.events._callbacks.values())
    db.close()
