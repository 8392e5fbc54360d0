"""The feed of a client: tokens to go on with, moves, and what ends it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import replicator
from replicator import UsageError
from replicator.core.feeding import at
from replicator.core.known import KnownSet
from replicator.core.token import write_token
from tests.client.fake import FakeDaemon, fakes


def token(seq: int) -> str:
    return write_token(at(KnownSet({1: [1, seq + 1]})))


def item(seq: int) -> list[object]:
    dot = f"{1:016x}:{seq}"
    more = [7000] if seq % 2 else []  # a daemon of version 0.2.0 says less
    return ["change", b"k%d" % seq, b"v", dot, True, token(seq), *more]


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[list[FakeDaemon]]:
    """Two daemons that tell of six writes, two a page."""

    def page(request: list[bytes]) -> object:
        words = dict(zip(request[1::2], request[2::2], strict=True))
        since = words.get(b"SINCE", token(0).encode()).decode()
        seen = next(seq for seq in range(10) if token(seq) == since)
        last = min(seen + 2, 6)
        return [token(last), *(item(seq) for seq in range(seen + 1, last + 1))]

    with fakes(tmp_path, 2) as daemons:
        for daemon in daemons:
            daemon.acts[b"REPL.CHANGES"] = page
        yield daemons


def test_tokens_are_those_of_what_was_given(pair: list[FakeDaemon]) -> None:
    with replicator.connect(pair[0].url) as db:
        feed = db.changes(follow=False)
        assert feed.token is None
        seen = []
        for change in feed:
            assert feed.token == change.token
            seen.append((change.key, change.expiry_ms))
        assert seen == [(b"k%d" % seq, 7000 if seq % 2 else None) for seq in range(1, 7)]
        assert feed.token == token(6)
        assert [change.key for change in db.changes(token(4), follow=False)] == [b"k5", b"k6"]


def test_it_goes_on_at_another_daemon_that_may_catch_up_first(pair: list[FakeDaemon]) -> None:
    first, second = pair
    with replicator.connect([first.url, second.url]) as db:
        feed = db.changes(follow=False)
        assert [next(feed).key for _ in range(3)] == [b"k1", b"k2", b"k3"]
        first.stop()
        assert [change.key for change in feed] == [b"k4", b"k5", b"k6"]
        names = [asked[0] for asked in second.asked]
        place = names.index(b"REPL.WAITFOR")
        assert second.asked[place][1] == token(4).encode()
        assert names[place + 1] == b"REPL.CHANGES"
        assert token(4).encode() in second.asked[place + 1]
        assert names.count(b"REPL.WAITFOR") == 1
        first.start()


def test_a_timeout_ends_it_when_nothing_comes(pair: list[FakeDaemon]) -> None:
    pair[0].acts[b"REPL.CHANGES"] = lambda _: [token(6)]
    with replicator.connect(pair[0].url) as db:
        feed = db.changes(token(6), timeout=0.05)
        assert list(feed) == []
        assert feed.token == token(6)


def test_questions_that_make_no_sense(pair: list[FakeDaemon]) -> None:
    with replicator.connect(pair[0].url) as db:
        for wrong in (
            {"follow": False, "timeout": 1},
            {"origins": []},
            {"origins": ["local", "remote"]},
            {"timeout": -1},
        ):
            with pytest.raises(UsageError):
                db.changes(**wrong)
        db.changes(origins=["local"])
