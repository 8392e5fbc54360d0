"""Redis's glob patterns, matched as its ``stringmatchlen`` does, in linear time.

``*`` stands for any bytes, ``?`` for one, ``[abc]``, ``[^abc]`` and ``[a-z]`` for one of, or none
of, a set; a backslash takes the next byte's meaning away, also in a set. What stands between two
stars has a fixed length, so it may be taken at the first place where it fits, for good: each is an
atomic group of a regular expression, and no star is gone back over. What is left is the product of
both lengths; for a long key that is too much for one step of an expression, which holds every other
thread up, and all places of the pattern are followed at once, as bits of a number.

Oddities of Redis that are kept: a set that does not end holds all the rest of the pattern; in
``[a-]`` the range ends at the bracket; no pattern but ``*`` and the empty one matches an empty key.
Bytes of 0x80 and above are larger than those below, as in Redis on ARM; on x86, where ``char`` is
signed, a range with one of them means something else.
"""

import re
from dataclasses import dataclass
from typing import Final

from replicator.faces.redis.limits import RESP_PATTERN_BYTES_MAX
from replicator.faces.scanning import successor
from replicator.faces.stepwise import CommandError

ANY: Final = b"*"

_LONG: Final = 1024

_STAR, _QUESTION, _OPEN, _CLOSE, _BACKSLASH, _CARET, _DASH = b"*?[]\\^-"
_ANY_BYTE: Final = frozenset(range(256))


@dataclass(frozen=True, slots=True)
class Glob:
    """A pattern, ready to be matched.

    Attributes:
        prefix: what every key begins with that it matches.
        stop: all keys that it matches lie before this one; None where there is no such key.
        expression: matches those keys between the two; None where nothing else lies there.
        segments: what stands between the stars, each byte as the set of those that fit.
    """

    prefix: bytes
    stop: bytes | None
    expression: "re.Pattern[bytes] | None" = None
    segments: "tuple[tuple[frozenset[int], ...], ...]" = ()

    def matching(self, keys: list[bytes]) -> list[bytes]:
        """Those of some keys that match; all of them lie in its range."""
        if self.expression is None:
            return keys
        match = self.expression.match
        return [
            key for key in keys if (match(key) if len(key) <= _LONG else self.matches_long(key))
        ]

    def matches_long(self, key: bytes) -> bool:
        """Whether it matches a key that is not empty, byte by byte, other threads in between."""
        steps, stars = [0] * 256, 0
        place = 1
        for number, segment in enumerate(self.segments):
            stars |= place if number else 0
            for fitting in segment:
                place <<= 1
                for byte in fitting:
                    steps[byte] |= place
        reached = 1
        for byte in key:
            reached = (reached << 1 & steps[byte]) | (reached & stars)
        return bool(reached & place)

    def is_matched(self, text: bytes) -> bool:
        """Whether a text matches."""
        if not text.startswith(self.prefix) or (self.stop is not None and text >= self.stop):
            return False
        return self.expression is None or self.expression.match(text) is not None


EVERYTHING: Final = Glob(b"", None)


def glob(pattern: bytes) -> Glob:
    """Read a pattern.

    Raises:
        CommandError: it is longer than `RESP_PATTERN_BYTES_MAX`.
    """
    if pattern == ANY:
        return EVERYTHING
    if len(pattern) > RESP_PATTERN_BYTES_MAX:
        raise CommandError(f"ERR a pattern has at most {RESP_PATTERN_BYTES_MAX} bytes")
    segments = _segments(pattern)
    prefix = bytearray()
    for one in segments[0]:
        if len(one) != 1:
            break
        prefix += bytes(one)
    start, is_literal = bytes(prefix), len(prefix) == len(segments[0])
    if is_literal and len(segments) == 1:
        return Glob(start, start + b"\0")
    if is_literal and prefix and segments[1:] == [[]]:
        return Glob(start, successor(start))
    first, *others = (b"".join(map(_one_of, segment)) for segment in segments)
    if not others:
        text = first
    else:
        *between, last = others
        text = first + b"".join(b"(?>.*?%b)" % part for part in between) + b".*" + last
        text = text if first else b"(?=.)" + text
    expression = re.compile(b"(?s:%b)\\Z" % text)
    return Glob(start, successor(start), expression, tuple(map(tuple, segments)))


def _segments(pattern: bytes) -> list[list[frozenset[int]]]:
    """What stands between the stars, each byte as the set of those that fit."""
    segments: list[list[frozenset[int]]] = [[]]
    place = 0
    while place < len(pattern):
        byte = pattern[place]
        place += 1
        if byte == _STAR:
            if segments[-1] or len(segments) == 1:
                segments.append([])
            continue
        if byte == _QUESTION:
            fitting = _ANY_BYTE
        elif byte == _OPEN:
            fitting, place = _set(pattern, place)
        else:
            if byte == _BACKSLASH and place < len(pattern):
                byte = pattern[place]
                place += 1
            fitting = frozenset((byte,))
        segments[-1].append(fitting)
    return segments


def _set(pattern: bytes, place: int) -> tuple[frozenset[int], int]:
    """The set that begins behind a bracket, and the place behind it."""
    is_negated = pattern[place : place + 1] == b"^"
    place += is_negated
    members: set[int] = set()
    while place < len(pattern) and pattern[place] != _CLOSE:
        byte = pattern[place]
        left = len(pattern) - place
        if byte == _BACKSLASH and left >= 2:
            members.add(pattern[place + 1])
            place += 2
        elif left >= 3 and pattern[place + 1] == _DASH:
            low, high = sorted((byte, pattern[place + 2]))
            members.update(range(low, high + 1))
            place += 3
        else:
            members.add(byte)
            place += 1
    found = frozenset(members)
    return (_ANY_BYTE - found if is_negated else found), place + 1


def _one_of(fitting: frozenset[int]) -> bytes:
    """A regular expression for one byte of a set."""
    if fitting == _ANY_BYTE:
        return b"."
    if not fitting:
        return b"(?!)"
    return b"[%b]" % b"".join(b"\\x%02x" % byte for byte in sorted(fitting))
