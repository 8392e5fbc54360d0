"""Comparing what two nodes hold, range by range: range-based set reconciliation (R9, R16).

One node, the *receiver*, cuts its own keys into ranges and tells of each how many records it holds
there and their fingerprint. The other one, the *server*, looks at the same bounds in its own
snapshot and says of each range:

- `EQUAL`: both hold the same there;
- `RECORDS`: its records of that range follow, and where it has none, nothing does: absence counts;
- `SPLIT`: they differ and both hold many: the receiver compares again, in smaller ranges.

So two nodes that differ in ten of a million keys exchange what ten differences cost, and a receiver
that holds nothing is sent everything at once.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from replicator.config import COMPARE_FEW_KEYS
from replicator.core.chunk import Chunk

EQUAL, RECORDS, SPLIT = 0, 1, 2
VERDICTS = (EQUAL, RECORDS, SPLIT)

Key = bytes | None
"""A bound of a range; None lies before the first key, or behind the last."""


@dataclass(frozen=True, slots=True)
class Range:
    """A range of keys, which begins behind the one before it, and what lies in it.

    Attributes:
        upto: the greatest key that belongs to it, whether or not there is such a key. None: all
            that follow.
        count: how many records.
        fingerprint: of them (`replicator.core.fingerprint`).
    """

    upto: Key
    count: int
    fingerprint: bytes


@dataclass(frozen=True, slots=True)
class Part:
    """At least one range; each begins where the one before ends.

    Attributes:
        after: the first one begins behind this.
    """

    after: Key
    ranges: tuple[Range, ...]


@dataclass(frozen=True, slots=True)
class Stretch:
    """Keys with ``after < key <= upto``, to be cut into ranges of at most `step` records."""

    after: Key
    upto: Key
    step: int


@dataclass(frozen=True, slots=True)
class Piece:
    """All records of the server with ``after < key <= upto``."""

    chunk: Chunk
    after: Key
    upto: Key


Measure = Callable[[Key, Key, int], tuple[int, bytes | None]]
"""After, upto, most → how many records lie there, and their fingerprint; None in its place where
there are more than `most`, who need not be counted to the end."""

Read = Callable[[Key, Key], Iterator[Chunk]]
"""After, upto → the records that lie there, in key order."""


def answer(
    parts: Sequence[Part], measure: Measure, read: Read, few: int = COMPARE_FEW_KEYS
) -> Iterator[bytes | Chunk]:
    """What a server says to these ranges, in their order: verdicts, one octet each, and behind
    verdicts that end with `RECORDS` the records of that run of ranges.

    Args:
        few: a range in which one side holds no more records than that is not split; at least 1.
    """
    verdicts = bytearray()
    for part in parts:
        begin = after = part.after
        for one in part.ranges:
            verdict = _verdict(one, few, *measure(after, one.upto, 2 * one.count + few))
            if verdict != RECORDS:
                if verdicts and verdicts[-1] == RECORDS:
                    yield bytes(verdicts)
                    yield from read(begin, after)
                    verdicts.clear()
                begin = one.upto
            verdicts.append(verdict)
            after = one.upto
        if verdicts and verdicts[-1] == RECORDS:
            yield bytes(verdicts)
            yield from read(begin, after)
            verdicts.clear()
    if verdicts:
        yield bytes(verdicts)


def _verdict(theirs: Range, few: int, count: int, fingerprint: bytes | None) -> int:
    """Where the server holds far more, it sends all of it: that is most of what is lacking."""
    if fingerprint == theirs.fingerprint and count == theirs.count:
        return EQUAL
    is_split = min(count, theirs.count) > few and fingerprint is not None
    return SPLIT if is_split else RECORDS


def between(low: bytes, high: bytes) -> bytes:
    """A short byte string that separates two neighbouring keys: ``low <= it < high``."""
    place = 0
    while place < len(low) and low[place] == high[place]:
        place += 1
    if len(high) > place + 1:
        return high[: place + 1]
    # `high` ends where it differs, or is `low` and one octet more.
    for end in range(place + 1, len(low)):
        if low[end] < 0xFF:
            return low[:end] + bytes([low[end] + 1])
    return low


def precedes(low: Key, high: Key) -> bool:
    """Whether a range that begins behind `low` may end with `high`: some key may lie in it."""
    return low is None or high is None or low < high
