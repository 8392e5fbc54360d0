"""How long commits take, as a histogram."""

from bisect import bisect_left
from dataclasses import dataclass

BOUNDS_SECONDS = (
    0.00001,
    0.000025,
    0.00005,
    0.0001,
    0.00025,
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
)
"""Upper bounds of the buckets; above the last there is one more."""


@dataclass(frozen=True, slots=True)
class CommitCounts:
    """A histogram at one moment.

    Attributes:
        counts: how many fell into each bucket, the one above all bounds last.
        seconds: all of them together.
    """

    counts: tuple[int, ...]
    seconds: float


class CommitTimes:
    """Counts commits by how long they took. One thread at a time calls `observe`, as `Level` does
    under its lock; any may read."""

    def __init__(self) -> None:
        self._counts = [0] * (len(BOUNDS_SECONDS) + 1)
        self._seconds = 0.0

    def observe(self, seconds: float) -> None:
        """A commit took so long."""
        self._counts[bisect_left(BOUNDS_SECONDS, seconds)] += 1
        self._seconds += seconds

    def counts(self) -> CommitCounts:
        """What was counted so far."""
        return CommitCounts(tuple(self._counts), self._seconds)
