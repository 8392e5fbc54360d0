"""Patterns match what Redis's ``stringmatchlen`` matches, and in linear time."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replicator.faces.redis.globs import EVERYTHING, glob
from replicator.faces.redis.limits import RESP_PATTERN_BYTES_MAX
from replicator.faces.stepwise import CommandError

PATTERNS = st.lists(
    st.sampled_from([bytes([byte]) for byte in b"ab]-^[\\*?c\xff"] + [b"[a-c]", b"[^a", b"**"]),
    max_size=12,
).map(b"".join)
KEYS = st.lists(st.sampled_from(b"abc]-^[\\*?\xff\n"), max_size=10).map(bytes)


def redis_matches(pattern: bytes, text: bytes) -> bool:
    """``stringmatchlen_impl`` of Redis 7, word by word; bytes are unsigned."""
    while pattern and text:
        head = pattern[:1]
        if head == b"*":
            pattern = pattern.lstrip(b"*")
            return not pattern or any(
                redis_matches(pattern, text[place:]) for place in range(len(text))
            )
        if head == b"[":
            is_in, pattern = in_set(pattern[1:], text[0])
            if not is_in:
                return False
        else:
            if head == b"\\" and len(pattern) >= 2:
                pattern = pattern[1:]
            if head != b"?" and pattern[0] != text[0]:
                return False
        pattern, text = pattern[1:], text[1:]
        if not text:
            pattern = pattern.lstrip(b"*")
    return not pattern and not text


def in_set(pattern: bytes, byte: int) -> tuple[bool, bytes]:
    """Whether a byte is in the set, and the pattern from the bracket on that ends it."""
    is_not = pattern[:1] == b"^"
    pattern = pattern[is_not:]
    match = False
    while True:
        if len(pattern) >= 2 and pattern[0] == ord("\\"):
            pattern = pattern[1:]
            match |= pattern[0] == byte
        elif pattern[:1] == b"]":
            break
        elif not pattern:
            return match != is_not, b"]"
        elif len(pattern) >= 3 and pattern[1] == ord("-"):
            low, high = sorted((pattern[0], pattern[2]))
            match |= low <= byte <= high
            pattern = pattern[2:]
        else:
            match |= pattern[0] == byte
        pattern = pattern[1:]
    return match != is_not, pattern


def matches(pattern: bytes, key: bytes) -> bool:
    """As KEYS finds it: what lies outside of the range is not even looked at."""
    found = glob(pattern)
    if key < found.prefix or (found.stop is not None and key >= found.stop):
        return False
    return found.matching([key]) == [key]


@given(PATTERNS, KEYS)
def test_matches_as_redis(pattern: bytes, key: bytes) -> None:
    if pattern != b"*":  # which Redis does not match at all
        assert matches(pattern, key) == redis_matches(pattern, key)
    found = glob(pattern)
    if key and found.expression is not None and key.startswith(found.prefix):
        assert found.matches_long(key) == redis_matches(pattern, key)


def test_matches_as_redis_a_key_made_for_it() -> None:
    chance = random.Random(7)
    for _ in range(5000):
        pattern = bytes(chance.choices(b"ab*?[]-^\\", k=chance.randint(0, 9)))
        key = bytes(chance.choices(b"ab", k=chance.randint(0, 6)))
        if pattern != b"*":
            assert matches(pattern, key) == redis_matches(pattern, key), (pattern, key)


@pytest.mark.parametrize(
    ("pattern", "start", "stop"),
    [
        (b"user:*", b"user:", b"user;"),
        (b"user:1", b"user:1", b"user:1\0"),
        (b"us\\*r?", b"us*r", b"us*s"),
        (b"a[b]*", b"ab", b"ac"),
        (b"a[bc]", b"a", b"b"),
        (b"*x", b"", None),
        (b"\xff\xff*", b"\xff\xff", None),
        (b"*", b"", None),
        (b"", b"", b"\0"),
    ],
)
def test_what_a_pattern_begins_with_is_a_range(
    pattern: bytes, start: bytes, stop: bytes | None
) -> None:
    found = glob(pattern)
    assert (found.prefix, found.stop) == (start, stop)


def test_a_prefix_alone_needs_no_look() -> None:
    assert glob(b"user:*").expression is None
    assert glob(b"*") is EVERYTHING
    assert matches(b"*", b"")


@pytest.mark.parametrize(
    "pattern",
    [b"*a" * 30 + b"*b", b"a*" * 60 + b"b", b"*[ab]" * 30 + b"c*", b"*?" * 50 + b"b", b"*" * 900],
)
@pytest.mark.parametrize("size", [1000, 20_000])
def test_patterns_that_ruin_others(pattern: bytes, size: int) -> None:
    assert matches(pattern, b"a" * size) == (pattern == b"*" * 900)  # it would be for ever
    assert matches(pattern, b"a" * size + b"cb")


def test_a_long_pattern_is_refused() -> None:
    assert matches(b"?" * RESP_PATTERN_BYTES_MAX, b"x" * RESP_PATTERN_BYTES_MAX)
    with pytest.raises(CommandError, match="at most 1024 bytes"):
        glob(b"?" * (RESP_PATTERN_BYTES_MAX + 1))
