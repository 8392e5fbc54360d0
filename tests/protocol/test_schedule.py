"""Pauses follow the write velocity; hold-offs double; chance keeps nodes out of step; many peers
are dialled a few at a time."""

from math import inf, isclose

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replicator.config import Settings
from replicator.protocol.schedule import JITTER, Fanout, PeerSchedule, WriteVelocity, pause

SETTINGS = Settings(interval_min=0.1, interval_max=30.0, holdoff_max=10.0)

chance = st.floats(0, 1, exclude_max=True)
rates = st.floats(0, 1e9)


def ended(rate: float, random: float = 0.0) -> float:
    schedule = PeerSchedule(SETTINGS, now=0)
    schedule.ended(100, rate, random)
    return schedule.due - 100


def test_a_new_peer_is_due_at_once() -> None:
    assert PeerSchedule(SETTINGS, now=5).due == 5


@pytest.mark.parametrize(
    ("rate", "expected"), [(0, 30), (1e-9, 30), (0.1, 10), (1, 1), (5, 0.2), (10, 0.1), (1e6, 0.1)]
)
def test_the_pause_is_about_the_time_to_the_next_write(rate: float, expected: float) -> None:
    assert isclose(ended(rate), expected)


@given(rates, chance)
def test_the_pause_keeps_its_bounds(rate: float, random: float) -> None:
    assert 0.1 - 1e-9 <= ended(rate, random) <= 30


@given(rates, rates, chance)
def test_more_writes_never_mean_a_longer_pause(one: float, other: float, random: float) -> None:
    assert ended(max(one, other), random) <= ended(min(one, other), random)


def test_chance_shortens_the_pause() -> None:
    assert isclose(ended(0, random=0.5), 30 * (1 - JITTER / 2))
    assert ended(0, random=0.999) > 30 * (1 - JITTER)


def test_writes_in_the_pause_shorten_it_and_never_lengthen_it() -> None:
    schedule = PeerSchedule(SETTINGS, now=0)
    schedule.ended(100, rate=0.5, random=0)
    schedule.hasten(rate=0.1)
    assert schedule.due == 102
    schedule.hasten(rate=1)
    assert schedule.due == 101
    schedule.hasten(rate=0)
    assert schedule.due == 101


def test_a_hold_off_doubles_up_to_its_limit() -> None:
    schedule = PeerSchedule(SETTINGS, now=0)
    pauses = []
    for _ in range(9):
        schedule.failed(100, random=0)
        pauses.append(round(schedule.due - 100, 6))
    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10, 10]
    assert schedule.failures == 9


def test_failing_for_ever_overflows_nothing() -> None:
    schedule = PeerSchedule(SETTINGS, now=0)
    schedule.failures = 10**6
    schedule.failed(0, random=0)
    assert schedule.due == 10


@given(st.integers(0, 100), chance)
def test_chance_shortens_a_hold_off_by_half_at_most(failures: int, random: float) -> None:
    plain, shortened = PeerSchedule(SETTINGS, now=0), PeerSchedule(SETTINGS, now=0)
    plain.failures = shortened.failures = failures
    plain.failed(0, random=0)
    shortened.failed(0, random)
    assert plain.due / 2 <= shortened.due <= plain.due


def test_success_ends_the_hold_off() -> None:
    schedule = PeerSchedule(SETTINGS, now=0)
    for _ in range(5):
        schedule.failed(0, random=0)
    schedule.ended(10, rate=1, random=0)
    assert (schedule.due, schedule.failures) == (11, 0)
    schedule.failed(20, random=0)
    assert isclose(schedule.due, 20.1)


def test_writes_do_not_shorten_a_hold_off() -> None:
    schedule = PeerSchedule(SETTINGS, now=0)
    schedule.failed(0, random=0)
    schedule.failed(0, random=0)
    schedule.hasten(rate=1e6)
    assert isclose(schedule.due, 0.2)


def test_steady_writing_is_measured() -> None:
    velocity = WriteVelocity(now=0)
    for tick in range(1, 1001):
        velocity.add(1, now=tick / 100)
    assert 95 < velocity.rate(now=10) < 106


def test_velocity_decays_and_never_goes_backwards_in_time() -> None:
    velocity = WriteVelocity(now=0)
    assert velocity.rate(now=0) == 0
    velocity.add(10, now=0)
    assert velocity.rate(now=0) == velocity.rate(now=-5) == 10
    assert 3 < velocity.rate(now=1) < 4
    assert velocity.rate(now=60) < 1e-9


# The pause, and which share of many peers is dialled


@given(rates)
def test_a_pause_is_the_time_to_the_next_write_within_its_bounds(rate: float) -> None:
    found = pause(SETTINGS, rate)
    assert 0.1 <= found <= 30
    if 1 / 30 < rate <= 10:
        assert isclose(found, 1 / rate)


@given(rates, chance)
def test_a_peer_is_dialled_within_the_pause_of_its_rate(rate: float, random: float) -> None:
    assert ended(rate, random) <= pause(SETTINGS, rate) + 1e-9


def fanout(limit: int, *dials: float) -> Fanout:
    found = Fanout(Settings(fanout=limit, interval_min=0.1, interval_max=30.0))
    for now in dials:
        found.dialled(now)
    return found


def test_there_is_room_at_once_for_as_many_as_the_fanout() -> None:
    dialler = fanout(3)
    for now in (5.0, 5.0, 5.5):
        assert dialler.ready_at(0, rate=0) == -inf
        dialler.dialled(now)
    assert dialler.ready_at(0, rate=0) == 35


def test_enough_open_conversations_leave_no_room() -> None:
    dialler = fanout(3)
    assert dialler.ready_at(2, rate=0) == -inf
    assert dialler.ready_at(3, rate=0) == dialler.ready_at(40, rate=1e9) == inf


def test_one_more_has_room_a_pause_after_the_oldest_of_the_last_ones() -> None:
    dialler = fanout(2, 10.0, 11.0, 14.0)
    assert dialler.ready_at(0, rate=0) == 41
    assert dialler.ready_at(1, rate=0.5) == 13
    assert isclose(dialler.ready_at(1, rate=1e6), 11.1)


@given(st.integers(1, 6), st.lists(st.floats(0, 2), max_size=40), rates)
def test_no_more_than_the_fanout_is_dialled_within_a_pause(
    limit: int, waits: list[float], rate: float
) -> None:
    """By a node that dials whenever it may."""
    dialler, now, dials = fanout(limit), 0.0, list[float]()
    for wait in waits:
        now = max(now + wait, dialler.ready_at(0, rate))
        dialler.dialled(now)
        dials.append(now)
    between = pause(Settings(interval_min=0.1, interval_max=30.0), rate)
    for first, over in zip(dials, dials[limit:], strict=False):
        assert over - first >= between * (1 - 1e-9)
