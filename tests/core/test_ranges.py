"""Bounds lists against Python's sets."""

from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from replicator.core import ranges
from replicator.core.ranges import Bounds

NUMBER_MAX = 80

numbers = st.integers(1, NUMBER_MAX)
sets = st.one_of(
    st.frozensets(numbers, max_size=3),
    st.frozensets(numbers),
    st.sets(st.sampled_from(range(1, NUMBER_MAX, 2)), min_size=25).map(frozenset),
)
"""Few ranges and many, so that pairs of very different length come up: they take ways of their
own through the set operations."""

ODD = frozenset(range(1, NUMBER_MAX, 2))


def as_bounds(members: frozenset[int]) -> Bounds:
    """The bounds list of a set, made in the most obvious way."""
    return [n for n in range(1, NUMBER_MAX + 2) if (n in members) != (n - 1 in members)]


@given(sets)
def test_contains(members: frozenset[int]) -> None:
    bounds = as_bounds(members)
    assert {n for n in range(NUMBER_MAX + 3) if ranges.contains(bounds, n)} == members


@given(sets, numbers, numbers)
def test_add(members: frozenset[int], start: int, stop: int) -> None:
    bounds = as_bounds(members)
    ranges.add(bounds, start, stop)
    assert bounds == as_bounds(members | set(range(start, stop)))


@given(sets, numbers, numbers)
def test_discard(members: frozenset[int], start: int, stop: int) -> None:
    bounds = as_bounds(members)
    ranges.discard(bounds, start, stop)
    assert bounds == as_bounds(members - set(range(start, stop)))


@given(sets, numbers, numbers)
def test_covers(members: frozenset[int], start: int, stop: int) -> None:
    expected = members.issuperset(range(start, stop))
    assert ranges.covers(as_bounds(members), start, stop) is expected


@given(sets)
def test_pairs_and_count(members: frozenset[int]) -> None:
    bounds = as_bounds(members)
    assert [n for pair in ranges.pairs(bounds) for n in range(*pair)] == sorted(members)
    assert ranges.count(bounds) == len(members)


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        (ranges.union, frozenset.union),
        (ranges.difference, frozenset.difference),
        (ranges.intersection, frozenset.intersection),
    ],
)
@given(a=sets, b=sets)
@example(a=ODD, b=frozenset({1, 2, 3, 40, 79}))
@example(a=frozenset({1, 2, 3, 40, 79}), b=ODD)
@example(a=ODD, b=ODD)
@example(a=ODD, b=frozenset(range(2, NUMBER_MAX, 2)))
def test_set_operation(
    operation: Callable[[Bounds, Bounds], Bounds],
    expected: Callable[[frozenset[int], frozenset[int]], frozenset[int]],
    a: frozenset[int],
    b: frozenset[int],
) -> None:
    bounds_a, bounds_b = as_bounds(a), as_bounds(b)
    result = operation(bounds_a, bounds_b)
    assert result == as_bounds(expected(a, b))
    result.append(0)
    assert (bounds_a, bounds_b) == (as_bounds(a), as_bounds(b)), "an argument was changed or shared"


@given(sets)
def test_what_the_module_makes_is_valid(members: frozenset[int]) -> None:
    assert ranges.is_valid(as_bounds(members))


@pytest.mark.parametrize(
    "bounds", [[1], [0, 2], [-1, 2], [2, 2], [3, 2], [1, 3, 3, 5], [1, 4, 3, 5]]
)
def test_rubbish_is_not_valid(bounds: Bounds) -> None:
    assert not ranges.is_valid(bounds)
