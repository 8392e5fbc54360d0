"""Dots: ``(origin, seq)`` names one write, once, forever (DESIGN §1, R13)."""

import re
from typing import NamedTuple

from replicator.errors import UsageError

ORIGIN_MAX = 2**64 - 1
SEQ_MAX = 2**63 - 1

_DOT = re.compile(r"([0-9a-f]{16}):([1-9][0-9]{0,18})")


class Dot(NamedTuple):
    """One write: the 64-bit origin that issued it and its number there (1, 2, 3 …).

    Dots compare by origin, then seq: *dot order*, the same on every node.
    """

    origin: int
    seq: int

    def __str__(self) -> str:
        return f"{self.origin:016x}:{self.seq}"


def format_origin(origin: int) -> str:
    """An origin as people see it: 16 hex digits."""
    return f"{origin:016x}"


def parse_origin(text: str) -> int:
    """The origin written as 16 hex digits.

    Raises:
        UsageError: `text` is anything else.
    """
    if not re.fullmatch("[0-9a-f]{16}", text):
        raise UsageError(f"{text!r} is no origin: write its 16 hex digits, as status shows them")
    return int(text, 16)


def parse_dot(text: str) -> Dot:
    """The dot written as ``origin:seq``.

    Raises:
        UsageError: `text` is anything else.
    """
    match = _DOT.fullmatch(text)
    if match is None or int(match[2]) > SEQ_MAX:
        raise UsageError(f"{text!r} is no dot: write origin:seq, as versions shows them")
    return Dot(int(match[1], 16), int(match[2]))
