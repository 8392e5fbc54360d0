from hypothesis import given
from hypothesis import strategies as st

from replicator.core.clock import COUNTER_BITS, TIMESTAMP_MAX, HybridClock, from_ms, to_ms

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
