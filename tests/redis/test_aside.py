"""What is done beside the loop: the loop waits for it a moment only."""

import threading
from collections.abc import Generator
from itertools import islice

import pytest

from replicator.faces.handle import Replica
from replicator.faces.redis.aside import Commits, begun, ended
from replicator.faces.redis.globs import EVERYTHING
from replicator.faces.redis.turn import Turn
from replicator.faces.redis.view import View
from replicator.faces.stepwise import Session
from replicator.store.pace import Pace
from tests.cli.daemons import until


def result(steps: Generator[bytes, None, int]) -> tuple[int, int]:
    """What a wait returns, and how often it has let others go on."""
    count = 0
    try:
        while True:
            next(steps)
            count += 1
    except StopIteration as stop:
        return stop.value, count


def test_what_is_quick_is_waited_for() -> None:
    assert result(ended(begun(lambda: 7)))[0] == 7


def test_others_go_on_while_it_takes_long() -> None:
    may_end = threading.Event()
    steps = ended(begun(lambda: may_end.wait(30)))
    assert list(islice(steps, 5)) == [b""] * 5
    may_end.set()
    assert result(steps)[0] is True


@pytest.mark.parametrize("error", [ValueError("wrong"), TimeoutError("too late")])
def test_what_it_raises_is_raised(error: Exception) -> None:
    def fail() -> int:
        raise error

    with pytest.raises(type(error), match=str(error)):
        result(ended(begun(fail)))


def commits_on(replica: Replica) -> Commits:
    """As a command that goes on has them, whose turn is over."""
    turn = Turn(replica)
    turn.abandon()
    return Commits(turn, Session())


def test_commits_give_way_where_much_was_written(
    replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[int] = []
    monkeypatch.setattr(Pace, "give_way", lambda _, size: waited.append(size))
    commits = commits_on(replica)
    for number in range(8):
        with commits.turn() as turn:
            turn.put(b"%d" % number, bytes(300_000))
        assert b"" in list(commits.step())
    assert len(waited) == 2
    assert all(1 << 20 <= size < 1_500_000 for size in waited)
    assert replica.get(b"7") == bytes(300_000)


def test_a_turn_that_raises_writes_nothing(replica: Replica) -> None:
    with pytest.raises(ValueError), commits_on(replica).turn() as turn:
        turn.put(b"k", b"v")
        raise ValueError
    assert replica.get(b"k") is None


def test_a_view_that_is_closed_in_the_middle_of_a_read(replica: Replica) -> None:
    replica.put(b"k", b"v")
    view = View(replica)
    may_end, is_inside = threading.Event(), threading.Event()

    def read() -> None:
        is_inside.set()
        may_end.wait(30)

    steps = view.aside(read)
    next(steps)
    assert is_inside.wait(30)
    steps.close()
    view.close()
    assert view in replica._engine.held  # a thread is inside
    may_end.set()
    until(lambda: view not in replica._engine.held)
    view.close()


def test_a_view_of_a_handle_that_is_closed(replica: Replica) -> None:
    view = View(replica)
    keys = view.keys()
    replica.close()
    assert not replica._engine.held
    with pytest.raises(RuntimeError, match="closed"):
        view.read_keys(keys, EVERYTHING)
    view.close()
