import pytest
from hypothesis import given
from hypothesis import strategies as st

from replicator.core.clock import (
    COUNTER_BITS,
    ORIGINS_AHEAD_MAX,
    SMOOTHED_MS,
    TIMESTAMP_MAX,
    Ahead,
    AheadTable,
    HybridClock,
    from_ms,
    roughly,
    to_ms,
)

SKEW_MAX_MS = 100

walls = st.integers(0, 1000)
timestamps = st.one_of(st.integers(0, from_ms(2000)), walls.map(from_ms))


def test_a_timestamp_is_the_wall_clock_where_that_moves_on() -> None:
    clock = HybridClock(SKEW_MAX_MS)
    assert clock.tick(5) == from_ms(5)
    assert clock.tick(6) == from_ms(6)


def test_within_a_millisecond_the_counter_goes_up() -> None:
    clock = HybridClock(SKEW_MAX_MS)
    assert [clock.tick(5) - from_ms(5) for _ in range(3)] == [0, 1, 2]


def test_a_full_counter_carries_into_the_milliseconds() -> None:
    clock = HybridClock(SKEW_MAX_MS)
    clock.observe(from_ms(6) - 1, wall_ms=5)
    assert clock.tick(5) == from_ms(6)


def test_a_wall_clock_that_goes_back_does_not_take_timestamps_back() -> None:
    clock = HybridClock(SKEW_MAX_MS)
    assert clock.tick(9) < clock.tick(3)


def test_a_timestamp_at_the_bound_is_adopted() -> None:
    clock = HybridClock(SKEW_MAX_MS)
    edge = from_ms(5 + SKEW_MAX_MS) + (1 << COUNTER_BITS) - 1
    assert clock.observe(edge, wall_ms=5)
    assert clock.tick(5) == edge + 1
    assert clock.skewed == 0


def test_a_timestamp_beyond_the_bound_is_counted_and_not_adopted() -> None:
    clock = HybridClock(SKEW_MAX_MS)
    assert not clock.observe(from_ms(6 + SKEW_MAX_MS), wall_ms=5)
    assert clock.skewed == 1
    assert clock.tick(5) == from_ms(5)


def test_a_timestamp_adopted_once_is_not_skewed_when_the_wall_clock_goes_back() -> None:
    clock = HybridClock(SKEW_MAX_MS)
    assert clock.observe(from_ms(500), wall_ms=450)
    assert clock.observe(from_ms(500), wall_ms=1)
    assert clock.skewed == 0


def test_an_old_timestamp_changes_nothing() -> None:
    clock = HybridClock(SKEW_MAX_MS)
    issued = clock.tick(5)
    assert clock.observe(from_ms(1), wall_ms=0)
    assert clock.last == issued


def test_the_layout_of_a_timestamp_never_changes() -> None:
    assert from_ms(1_700_000_000_000) + 1 == 0x18BCFE568000001
    assert TIMESTAMP_MAX == 0x7FFFFFFFFFFFFFFF


@given(walls)
def test_milliseconds_go_there_and_back(wall_ms: int) -> None:
    assert to_ms(from_ms(wall_ms)) == wall_ms


@given(st.lists(st.tuples(walls, st.none() | timestamps)))
def test_every_timestamp_is_greater_than_all_issued_and_adopted_before(
    steps: list[tuple[int, int | None]],
) -> None:
    clock = HybridClock(SKEW_MAX_MS)
    greatest = 0
    for wall_ms, seen in steps:
        if seen is None:
            issued = clock.tick(wall_ms)
            assert issued > greatest
            assert to_ms(issued) >= wall_ms
            greatest = issued
        elif clock.observe(seen, wall_ms):
            greatest = max(greatest, seen)
        else:
            assert to_ms(seen) > wall_ms + SKEW_MAX_MS
        assert clock.last == greatest


def test_a_clock_set_back_beyond_the_bound_is_followed() -> None:
    """Years ahead for a moment is right again as soon as the clock is."""
    clock = HybridClock(SKEW_MAX_MS)
    clock.tick(10**12)
    assert clock.tick(10**9) == from_ms(10**9)
    assert (clock.set_backs, clock.set_back_ms) == (1, 10**12 - 10**9)
    assert clock.tick(10**9) == from_ms(10**9) + 1
    assert clock.set_backs == 1


@pytest.mark.parametrize("back_ms", [1, SKEW_MAX_MS, SKEW_MAX_MS + SMOOTHED_MS])
def test_a_clock_set_back_within_the_bound_is_smoothed_over(back_ms: int) -> None:
    clock = HybridClock(SKEW_MAX_MS)
    last = clock.tick(10**9)
    assert clock.tick(10**9 - back_ms) == last + 1
    assert clock.set_backs == 0


def test_without_any_bound_small_steps_are_smoothed_over_all_the_same() -> None:
    """A batch of more than 65,536 keys runs into the next milliseconds."""
    clock = HybridClock(0)
    issued = [clock.tick(5) for _ in range((1 << COUNTER_BITS) + 5)]
    assert issued == sorted(set(issued)) and to_ms(issued[-1]) == 6
    assert not clock.observe(from_ms(7), wall_ms=6)


def test_before_1970_nothing_breaks() -> None:
    clock = HybridClock(SKEW_MAX_MS)
    assert [clock.tick(-(10**12)) for _ in range(2)] == [0, 0]
    assert clock.tick(5) == from_ms(5)


def test_the_latest_of_some_within_the_bound_is_adopted() -> None:
    clock = HybridClock(SKEW_MAX_MS)
    far, near = from_ms(10**6), from_ms(50)
    assert clock.observe_all([from_ms(20), far, near, TIMESTAMP_MAX], wall_ms=5) == 2
    assert (clock.last, clock.skewed) == (near, 2)


@given(st.lists(st.tuples(st.integers(0, 10**9), st.none() | st.integers(0, TIMESTAMP_MAX))))
def test_no_timestamp_lies_beyond_the_bound(steps: list[tuple[int, int | None]]) -> None:
    """Whatever was seen, however the clock jumps."""
    clock = HybridClock(SKEW_MAX_MS)
    for wall_ms, seen in steps:
        if seen is not None:
            clock.observe(seen, wall_ms)
        else:
            assert wall_ms <= to_ms(clock.tick(wall_ms)) <= wall_ms + SKEW_MAX_MS + SMOOTHED_MS + 1


def test_whose_clocks_are_ahead() -> None:
    table = AheadTable()
    table.note(1, 2, 5000)
    table.note(1, 1, 4000)
    assert list(table) == [(1, Ahead(3, 4.0))] and table.get(2) is None
    for origin in range(2, ORIGINS_AHEAD_MAX + 5):
        table.note(origin, 1, 1)
    assert len(list(table)) == ORIGINS_AHEAD_MAX
    assert table.others == 4
    table.note(1, 1, 6000)
    assert table.get(1) == Ahead(4, 6.0)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (5, "5 seconds"),
        (119.6, "120 seconds"),
        (130, "2 minutes"),
        (8000, "2 hours"),
        (86_400 * 3, "3 days"),
        (86_400 * 365.25 * 10, "10 years"),
    ],
)
def test_spans_as_people_say_them(seconds: float, text: str) -> None:
    assert roughly(seconds) == text
