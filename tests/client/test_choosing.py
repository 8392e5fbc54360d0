"""Which daemon a client uses, and that it finds there what it has written elsewhere."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

import replicator
from replicator import AccessError, StaleError, UnreachableError
from replicator.core.token import read_token
from replicator.faces.client import places
from replicator.faces.client.endpoints import endpoints_of
from replicator.faces.client.limits import CLIENT_HOLDOFF_MAX, CLIENT_HOLDOFF_MIN
from replicator.faces.client.places import Place
from replicator.faces.client.session import Written
from replicator.faces.resp import Failure
from tests.client.fake import FakeDaemon, fakes


@pytest.fixture
def three(tmp_path: Path) -> Iterator[list[FakeDaemon]]:
    with fakes(tmp_path, 3) as daemons:
        yield daemons


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon that failed is looked at again at once."""
    monkeypatch.setattr(places, "CLIENT_HOLDOFF_MAX", 0.001)


def urls(daemons: list[FakeDaemon]) -> list[str]:
    return [daemon.url for daemon in daemons]


def waited(daemon: FakeDaemon) -> list[tuple[dict[int, int], int]]:
    """What the daemon was asked to wait for: how much of which origin, for how many ms."""
    return [
        (
            {origin: bounds[-1] - 1 for origin, bounds in read_token(token).items()},
            int(timeout),
        )
        for name, token, timeout in (asked for asked in daemon.asked if asked[0] == b"REPL.WAITFOR")
    ]


def test_the_first_that_answers_is_used_and_kept(three: list[FakeDaemon]) -> None:
    three[0].stop()
    with replicator.connect(urls(three)) as db:
        assert [db.get(b"k") for _ in range(3)] == [b"of 2"] * 3
    assert three[2].connections == 0
    three[0].start()


def test_after_a_move_the_new_daemon_has_what_was_written(three: list[FakeDaemon]) -> None:
    with replicator.connect(urls(three)) as db:
        db.put(b"a", b"1")
        db.put(b"b", b"2")
        three[0].stop()
        assert db.get(b"a") == b"of 2"
        assert waited(three[1]) == [({1: 2}, 0)]
        db.put(b"c", b"3")
        db.get(b"c")
        assert len(waited(three[1])) == 1  # its own writes it has
        three[1].stop()
        db.delete(b"d")
        assert waited(three[2]) == [({1: 2, 2: 1}, 0)]
    three[0].start()
    three[1].start()


def test_reads_alone_wait_for_nothing(three: list[FakeDaemon]) -> None:
    with replicator.connect(urls(three)) as db:
        db.get(b"a")
        three[0].stop()
        db.get(b"a")
    assert waited(three[1]) == []
    three[0].start()


def test_one_that_has_caught_up_is_liked_better(three: list[FakeDaemon]) -> None:
    three[1].has_caught_up = False
    with replicator.connect(urls(three)) as db:
        db.put(b"a", b"1")
        three[0].stop()
        assert db.get(b"a") == b"of 3"
    three[0].start()


def test_where_none_has_caught_up_it_is_waited_and_then_told(three: list[FakeDaemon]) -> None:
    three[1].has_caught_up = three[2].has_caught_up = False
    with replicator.connect(urls(three), catch_up=0.25) as db:
        db.put(b"a", b"1")
        three[0].stop()
        with pytest.raises(StaleError, match=r"2\.sock has not got, in 0\.25 s"):
            db.get(b"a")
        assert waited(three[1]) == [({1: 1}, 0), ({1: 1}, 250)]
        with pytest.raises(StaleError):
            db.put(b"a", b"2")
        assert b"GET" not in three[1].names
        assert b"SET" not in three[1].names
        assert db.wait_for(db.token(), 0) is False  # what is about nodes is answered
        three[1].has_caught_up = True
        assert db.get(b"a") == b"of 2"
    three[0].start()


def test_whoever_says_so_reads_what_is_there(
    three: list[FakeDaemon], caplog: pytest.LogCaptureFixture
) -> None:
    three[1].has_caught_up = three[2].has_caught_up = False
    with (
        caplog.at_level(logging.WARNING, "replicator"),
        replicator.connect(urls(three), catch_up=0.01, stale=True) as db,
    ):
        db.put(b"a", b"1")
        three[0].stop()
        assert [db.get(b"a") for _ in range(3)] == [b"of 2"] * 3
    assert len([wait for wait in waited(three[1]) if wait[1]]) == 1  # once, not every time
    assert caplog.text.count("goes on without") == 1
    three[0].start()


@pytest.mark.usefixtures("quick")
def test_it_comes_home_when_home_has_caught_up(three: list[FakeDaemon]) -> None:
    with replicator.connect(urls(three)) as db:
        db.put(b"a", b"1")
        three[0].stop()
        db.put(b"a", b"2")
        assert db.endpoint == three[1].url
        three[0].has_caught_up = False
        three[0].start()
        while not waited(three[0]):
            db.get(b"a")
        assert db.endpoint == three[1].url
        three[0].has_caught_up = True
        while db.endpoint != three[0].url:
            db.get(b"a")
        assert waited(three[0])[-1] == ({1: 1, 2: 1}, 0)
        assert db._twin._caller.chooser._places[1].idle == []
        assert db.get(b"a") == b"of 1"


def test_a_wrong_password_at_one_is_told_at_once(three: list[FakeDaemon]) -> None:
    three[0].acts[b"HELLO"] = lambda _: Failure("WRONGPASS", "invalid")
    with pytest.raises(AccessError, match=r"1\.sock"):
        replicator.connect(urls(three))
    assert three[1].connections == 0


@pytest.mark.usefixtures("quick")
def test_home_that_refuses_is_not_moved_to(three: list[FakeDaemon]) -> None:
    with replicator.connect(urls(three)) as db:
        three[0].stop()
        db.get(b"a")
        three[0].acts[b"HELLO"] = lambda _: Failure("NOAUTH", "a password")
        three[0].start()
        seen = three[0].connections
        while three[0].connections < seen + 3:
            assert db.get(b"a") == b"of 2"


def test_all_gone_names_all(three: list[FakeDaemon]) -> None:
    with replicator.connect(urls(three), timeout=0.2) as db:
        for daemon in three:
            daemon.stop()
        with pytest.raises(UnreachableError, match=r"1\.sock: .*2\.sock: .*3\.sock: no daemon"):
            db.get(b"k")
        for daemon in three:
            daemon.start()
        assert db.get(b"k") in (b"of 1", b"of 2", b"of 3")


def test_pauses_double_and_are_drawn() -> None:
    (endpoint,) = endpoints_of("redis://h", None, None, None)
    pauses = []
    for _ in range(200):
        place: Place[FakeLine] = Place(0, endpoint)
        drawn = []
        for _ in range(12):
            place.failed(100.0, "x")
            drawn.append(place.due - 100.0)
        pauses.append(drawn)
    for number, drawn in enumerate(zip(*pauses, strict=True)):
        most = min(CLIENT_HOLDOFF_MIN * 2**number, CLIENT_HOLDOFF_MAX)
        assert most / 2 <= min(drawn) < max(drawn) <= most
    place.fine()
    assert (place.failures, place.due) == (0, 0.0)


class FakeLine:
    def __init__(self, quiet: bool) -> None:
        self.quiet = quiet
        self.closed = False

    def is_quiet(self) -> bool:
        return self.quiet

    def close(self) -> None:
        self.closed = True


def test_the_last_used_connection_comes_first_and_a_broken_one_never() -> None:
    (endpoint,) = endpoints_of("redis://h", None, None, None)
    fresh, broken = FakeLine(True), FakeLine(False)
    place = Place(0, endpoint, [fresh, broken])
    assert place.take_idle() is fresh
    assert broken.closed
    assert place.take_idle() is None


def test_tokens_of_a_session_become_one() -> None:
    written = Written()
    assert written.token() == (None, 0)
    with_many = replicator.core.token.write_token
    for seq in range(1, 200):
        written.note(with_many(replicator.KnownSet({1: [1, seq + 1]})).encode())
    mark = written.note(with_many(replicator.KnownSet({2: [1, 4]})).encode())
    token, at = written.token()
    assert (mark, at) == (200, 200)
    assert token is not None
    assert read_token(token) == replicator.KnownSet({1: [1, 200], 2: [1, 4]})
    assert len(written._latest) == 0
