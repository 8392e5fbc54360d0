"""Comparing range by range: verdicts, runs of records, and bounds that are short."""

from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from replicator.core.chunk import Chunk
from replicator.core.compare import (
    EQUAL,
    RECORDS,
    SPLIT,
    Key,
    Part,
    Range,
    answer,
    between,
    precedes,
)

FEW = 2


def answered(*parts: Part, holds: list[tuple[Key, Key, int, bytes | None]]) -> list[object]:
    """What a server says that holds this, range by range; a read shows as its bounds."""

    def measure(after: Key, upto: Key, most: int) -> tuple[int, bytes | None]:
        for low, high, count, fingerprint in holds:
            if (low, high) == (after, upto):
                return count, fingerprint if count <= most else None
        raise AssertionError((after, upto))

    def read(after: Key, upto: Key) -> Iterator[Chunk]:
        yield Chunk({}, [b"(%s, %s]" % (after or b"-", upto or b"-")], [b""], [], 0)

    return [
        item.keys[0] if isinstance(item, Chunk) else list(item)
        for item in answer(parts, measure, read, FEW)
    ]


def test_what_is_equal_few_many_or_one_sided() -> None:
    ranges = (
        Range(b"b", 9, b"same"),
        Range(b"c", 9, b"mine"),
        Range(b"d", FEW, b"mine"),
        Range(b"e", 9, b"mine"),
        Range(b"f", 9, b"mine"),
        Range(None, 0, b"none"),
    )
    holds: list[tuple[Key, Key, int, bytes | None]] = [
        (None, b"b", 9, b"same"),
        (b"b", b"c", 8, b"other"),
        (b"c", b"d", 5, b"other"),
        (b"d", b"e", FEW, b"other"),
        (b"e", b"f", 9 * 2 + FEW + 1, b"other"),
        (b"f", None, 0, b"none"),
    ]
    assert answered(Part(None, ranges), holds=holds) == [
        [EQUAL, SPLIT, RECORDS, RECORDS, RECORDS],
        b"(c, f]",
        [EQUAL],
    ]


def test_a_run_of_records_ends_with_its_part() -> None:
    holds: list[tuple[Key, Key, int, bytes | None]] = [
        (b"a", b"b", 1, b"other"),
        (b"b", b"c", 1, b"other"),
        (b"c", b"d", 1, b"same"),
    ]
    parts = [
        Part(b"a", (Range(b"b", 1, b"mine"),)),
        Part(b"b", (Range(b"c", 1, b"mine"), Range(b"d", 1, b"same"))),
    ]
    assert answered(*parts, holds=holds) == [
        [RECORDS],
        b"(a, b]",
        [RECORDS],
        b"(b, c]",
        [EQUAL],
    ]


def test_who_holds_nothing_is_sent_everything() -> None:
    everything = Part(None, (Range(None, 0, b"none"),))
    assert answered(everything, holds=[(None, None, 1000, b"all")]) == [[RECORDS], b"(-, -]"]
    assert answered(everything, holds=[(None, None, 0, b"none")]) == [[EQUAL]]


@given(st.binary(max_size=6), st.binary(max_size=6))
def test_a_bound_separates_and_is_short(one: bytes, other: bytes) -> None:
    low, high = sorted((one, other))
    if low == high:
        return
    bound = between(low, high)
    assert low <= bound < high
    assert len(bound) <= len(low) + 1


def test_bounds_of_long_keys_are_short() -> None:
    assert between(b"a" * 1000, b"b" * 1000) == b"b"
    assert between(b"a" * 1000, b"b") == b"ab"
    assert between(b"a\xff\xff", b"b") == b"a\xff\xff"
    assert between(b"key1", b"key1\0") == b"key1"


def test_precedes() -> None:
    assert precedes(None, b"") and precedes(b"", None) and precedes(b"a", b"b")
    assert not precedes(b"a", b"a")
    assert not precedes(b"b", b"a")
