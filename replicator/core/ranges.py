"""Sets of whole numbers as sorted boundaries.

A *bounds list* ``[1, 5, 9, 10]`` is the set ``{1, 2, 3, 4, 9}``: numbers from an even place
up to, without, the next odd place. Ranges are disjoint and never touch, so a set has exactly
one bounds list and equality is list equality. ``bisect`` does the searching: a number is in the
set exactly if the count of boundaries at or below it is odd.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from itertools import pairwise

Bounds = list[int]

COMMON_STEP = 16
"""Boundaries that are compared at once where two lists begin to differ."""


def contains(bounds: Bounds, number: int) -> bool:
    """Whether the number is in the set."""
    return bisect_right(bounds, number) & 1 == 1


def add(bounds: Bounds, start: int, stop: int) -> None:
    """Add ``start … stop - 1`` in place."""
    if start >= stop:
        return
    first = bisect_left(bounds, start)
    last = bisect_right(bounds, stop)
    edges = []
    if not first & 1:
        edges.append(start)
    if not last & 1:
        edges.append(stop)
    bounds[first:last] = edges


def discard(bounds: Bounds, start: int, stop: int) -> None:
    """Remove ``start … stop - 1`` in place."""
    if start >= stop:
        return
    first = bisect_left(bounds, start)
    last = bisect_right(bounds, stop)
    edges = []
    if first & 1:
        edges.append(start)
    if last & 1:
        edges.append(stop)
    bounds[first:last] = edges


def covers(bounds: Bounds, start: int, stop: int) -> bool:
    """Whether every number of ``start … stop - 1`` is in the set."""
    place = bisect_right(bounds, start)
    return start >= stop or (place & 1 == 1 and bounds[place] >= stop)


def pairs(bounds: Bounds) -> Iterator[tuple[int, int]]:
    """The ranges as ``(start, stop)``, ascending, stop excluded."""
    return zip(bounds[::2], bounds[1::2], strict=True)


def count(bounds: Bounds) -> int:
    """How many numbers are in the set."""
    return sum(bounds[1::2]) - sum(bounds[::2])


def includes(bounds: Bounds, others: Bounds) -> bool:
    """Whether every number of `others` is in the set."""
    if not others or others == bounds:
        return True
    if not bounds or others[0] < bounds[0] or others[-1] > bounds[-1]:
        return False
    if len(others) * 8 < len(bounds):
        return all(covers(bounds, *pair) for pair in pairs(others))
    if count(others) > count(bounds):
        return False
    return not any(_touches(others, *pair) for pair in pairs(_apart(bounds, others)))


def _touches(bounds: Bounds, start: int, stop: int) -> bool:
    """Whether any number of ``start … stop - 1`` is in the set."""
    place = bisect_right(bounds, start)
    return place & 1 == 1 or (place < len(bounds) and bounds[place] < stop)


def union(a: Bounds, b: Bounds) -> Bounds:
    """The numbers of either set, as a new list."""
    if not a or not b:
        return list(a or b)
    small, large = (a, b) if len(a) <= len(b) else (b, a)
    if len(small) * 8 >= len(large):
        small = difference(small, large)
    if len(small) * 8 >= len(large):
        return _apart(small, large)
    result = list(large)
    for start, stop in pairs(small):
        add(result, start, stop)
    return result


def difference(a: Bounds, b: Bounds) -> Bounds:
    """The numbers of `a` that are not in `b`, as a new list."""
    if not a or not b:
        return list(a)
    if len(b) * 8 < len(a):
        result = list(a)
        for start, stop in pairs(b):
            discard(result, start, stop)
        return result
    if len(a) * 8 < len(b):
        result = []
        for start, stop in pairs(a):
            result += _gaps(b, start, stop)
        return result
    return _within(a, _apart(a, b))


def intersection(a: Bounds, b: Bounds) -> Bounds:
    """The numbers of both sets, as a new list."""
    if not a or not b:
        return []
    return difference(a, difference(a, b))


def _gaps(bounds: Bounds, start: int, stop: int) -> Bounds:
    """What of ``start … stop - 1`` is not in the set."""
    first = bisect_right(bounds, start)
    last = bisect_left(bounds, stop)
    inner = bounds[first:last]
    if not first & 1:
        inner.insert(0, start)
    if not last & 1:
        inner.append(stop)
    return inner


def _within(bounds: Bounds, frame: Bounds) -> Bounds:
    """What of the set lies in a second one, which has few ranges."""
    result: Bounds = []
    for start, stop in pairs(frame):
        first = bisect_right(bounds, start)
        last = bisect_left(bounds, stop)
        if first & 1:
            result.append(start)
        result += bounds[first:last]
        if last & 1:
            result.append(stop)
    return result


def _apart(a: Bounds, b: Bounds) -> Bounds:
    """The numbers of exactly one of two sets: these begin and end where one of the two does and
    the other does not. Two sets that grow side by side differ in few ranges, however many they
    have: what they have in common at both ends is skipped by comparing lists, which is C's work.
    """
    head = _common(a, b)
    a, b = a[head:], b[head:]
    tail = _common(a[::-1], b[::-1])
    return sorted(set(a[: len(a) - tail]).symmetric_difference(b[: len(b) - tail]))


def _common(a: Bounds, b: Bounds) -> int:
    """How many boundaries are surely the same at the beginning of two lists."""
    place, step = 0, 64
    most = min(len(a), len(b))
    while place < most:
        if a[place : place + step] == b[place : place + step]:
            place += step
            step *= 2
        elif step > COMMON_STEP:
            step //= 4
        else:
            break
    return min(place, most)


def is_valid(bounds: Bounds) -> bool:
    """Whether `bounds` is what this module makes: even count, strictly ascending, from 1."""
    return (
        len(bounds) % 2 == 0
        and (not bounds or bounds[0] >= 1)
        and all(low < high for low, high in pairwise(bounds))
    )
