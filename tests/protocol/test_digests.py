"""When digests are compared: at a bounded rate, seldom where nothing changes, never hot (R16)."""

from math import inf

import pytest

from replicator.protocol.digests import (
    ASKS_PER_INTERVAL,
    BACKOFF_DOUBLINGS_MAX,
    MENDS_MAX,
    QUIET_INTERVALS,
    RETRY_SHARE,
    Digests,
)

HOUR = 3600.0
ONE, TWO = 1, 2


def schedule(random: float = 0.0, interval: float = HOUR) -> Digests:
    digests = Digests(interval, lambda: random)
    digests.met(ONE, 0)
    return digests


@pytest.mark.parametrize(("random", "due"), [(0.0, 0.0), (0.5, HOUR / 2)])
def test_a_new_peer_is_due_within_an_interval(random: float, due: float) -> None:
    assert schedule(random).due(ONE) == due


def test_without_an_interval_nobody_is_asked_and_everything_may_be_answered() -> None:
    digests = schedule(interval=0)
    assert digests.due(ONE) == inf
    digests.equal(ONE, b"k", 5)
    digests.undecided(ONE, 5)
    assert digests.differs(ONE, 5)
    digests.mended(ONE, 1, 5)
    assert digests.due(ONE) == inf
    assert (digests.compared, digests.differences, digests.mends) == (1, 1, 1)


def test_who_was_equal_is_asked_in_an_interval_if_something_has_changed() -> None:
    digests = schedule()
    digests.asks(ONE, 0)
    digests.equal(ONE, b"known", 10)
    assert digests.due(ONE) == 10 + HOUR
    assert digests.is_news(ONE, b"more", 20)
    assert not digests.is_news(ONE, b"known", 20)
    assert digests.due(ONE) == 20 + HOUR, "put off"
    assert not digests.is_news(ONE, b"known", 9 + QUIET_INTERVALS * HOUR)
    assert digests.is_news(ONE, b"known", 10 + QUIET_INTERVALS * HOUR), "behind our back"


def test_all_peers_together_are_asked_at_a_bounded_rate() -> None:
    digests = schedule()
    digests.met(TWO, 0)
    digests.asks(ONE, 0)
    assert digests.due(TWO) == HOUR / ASKS_PER_INTERVAL


def test_what_said_nothing_is_tried_again_soon() -> None:
    digests = schedule()
    digests.undecided(ONE, 100)
    assert digests.due(ONE) == 100 + HOUR * RETRY_SHARE
    digests.asks(ONE, 1000)
    assert digests.due(ONE) <= 1000 + HOUR / ASKS_PER_INTERVAL, "it may leave before it answers"


def test_a_mend_is_looked_at_soon_and_what_does_not_help_is_put_off() -> None:
    digests = schedule()
    now, pauses = 0.0, []
    for attempt in range(MENDS_MAX + BACKOFF_DOUBLINGS_MAX + 2):
        may_help = digests.differs(ONE, now)
        assert may_help == (attempt < MENDS_MAX)
        digests.mended(ONE, 0, now)
        pauses.append(digests.due(ONE) - now)
        now = digests.due(ONE)
    assert pauses[:MENDS_MAX] == [HOUR * RETRY_SHARE] * MENDS_MAX
    doubled = [HOUR * 2**power for power in range(1, BACKOFF_DOUBLINGS_MAX + 1)]
    assert pauses[MENDS_MAX:] == pytest.approx([*doubled, doubled[-1], doubled[-1]])
    digests.equal(ONE, b"k", now)
    assert digests.differs(ONE, now), "forgiven"


def test_what_was_mended_may_differ_from_everybody_else() -> None:
    digests = schedule()
    digests.equal(TWO, b"k", 0)
    digests.differs(ONE, 1)
    digests.mended(ONE, 0, 1)
    assert not digests.is_news(TWO, b"k", 2), "nothing changed here"
    digests.mended(ONE, 3, 1)
    assert digests.is_news(TWO, b"k", 2)
