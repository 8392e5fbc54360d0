"""The hybrid logical clock: wall clock milliseconds and a counter in one 64-bit number.

`Kulkarni et al., Logical Physical Clocks (2014)`: a timestamp is at least the wall clock and
greater than every timestamp seen before, so it orders causally related writes and stays close
to real time. A peer's timestamp is adopted only up to a bound ahead of the own wall clock, so
one node with a wrong date cannot drag the cluster along.
"""

COUNTER_BITS = 16
TIMESTAMP_MAX = 2**63 - 1


def from_ms(wall_ms: int) -> int:
    """The first timestamp of a wall clock millisecond."""
    return wall_ms << COUNTER_BITS


def to_ms(timestamp: int) -> int:
    """The wall clock part of a timestamp, in milliseconds since the epoch."""
    return timestamp >> COUNTER_BITS


class HybridClock:
    """Issues timestamps. Not thread-safe: the store calls it under its write lock.

    Args:
        skew_max_ms: how far ahead of the own wall clock a seen timestamp may lie to be adopted.
    """

    __slots__ = ("last", "skew_max_ms", "skewed")

    def __init__(self, skew_max_ms: int) -> None:
        self.last = 0
        self.skew_max_ms = skew_max_ms
        self.skewed = 0
        """How many timestamps were too far ahead to be adopted."""

    def tick(self, wall_ms: int) -> int:
        """A fresh timestamp, greater than every one issued or adopted before."""
        now = wall_ms << COUNTER_BITS
        self.last = now if now > self.last else self.last + 1
        return self.last

    def observe(self, timestamp: int, wall_ms: int) -> bool:
        """Adopt a seen timestamp.

        Returns:
            False where it lies more than `skew_max_ms` ahead: it was counted, not adopted.
        """
        if timestamp <= self.last:
            return True
        if timestamp >> COUNTER_BITS > wall_ms + self.skew_max_ms:
            self.skewed += 1
            return False
        self.last = timestamp
        return True
