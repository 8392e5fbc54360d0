"""Sets of whole numbers as sorted boundaries.

A *bounds list* ``[1, 5, 9, 10]`` is the set ``{1, 2, 3, 4, 9}``: numbers from an even place
up to, without, the next odd place. Ranges are disjoint and never touch, so a set has exactly
one bounds list and equality is list equality. ``bisect`` does the searching: a number is in the
set exactly if the count of boundaries at or below it is odd.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from itertools import pairwise

Bounds = list[int]


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


def union(a: Bounds, b: Bounds) -> Bounds:
    """The numbers of either set, as a new list."""
    if not a or not b:
        return list(a or b)
    small, large = (a, b) if len(a) <= len(b) else (b, a)
    if len(small) * 8 < len(large):
        result = list(large)
        for start, stop in pairs(small):
            add(result, start, stop)
        return result
    return _sweep(a, b, lambda in_a, in_b: in_a or in_b)


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
    return _sweep(a, b, lambda in_a, in_b: in_a and not in_b)


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


def _sweep(a: Bounds, b: Bounds, keep: Callable[[bool, bool], bool]) -> Bounds:
    """Merge two bounds lists from left to right, noting each place where `keep` changes."""
    result: Bounds = []
    i = j = 0
    inside = False
    while i < len(a) or j < len(b):
        if j == len(b) or (i < len(a) and a[i] <= b[j]):
            place = a[i]
        else:
            place = b[j]
        while i < len(a) and a[i] == place:
            i += 1
        while j < len(b) and b[j] == place:
            j += 1
        now = keep(i & 1 == 1, j & 1 == 1)
        if now != inside:
            result.append(place)
            inside = now
    return result


def is_valid(bounds: Bounds) -> bool:
    """Whether `bounds` is what this module makes: even count, strictly ascending, from 1."""
    return (
        len(bounds) % 2 == 0
        and (not bounds or bounds[0] >= 1)
        and all(low < high for low, high in pairwise(bounds))
    )
