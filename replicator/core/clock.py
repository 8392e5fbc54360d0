"""The hybrid logical clock: wall clock milliseconds and a counter in one 64-bit number.

`Kulkarni et al., Logical Physical Clocks (2014)`: a timestamp is at least the wall clock and
greater than every timestamp seen before, so it orders causally related writes and stays close
to real time.

One rule keeps wrong dates from spreading and from staying: *a timestamp never lies further ahead
of the wall clock at which it is issued than a bound*. A peer's timestamp is adopted only up to
there, so one node with a wrong date cannot drag the cluster along. And where the own wall clock is
set back further than that, timestamps follow it: a node that was years ahead for a minute is right
again as soon as its clock is. Smaller steps back are smoothed over, as the paper has it. Nothing
but what people see depends on timestamps (R2 never looks at them), so none of this loses data.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

COUNTER_BITS = 16
TIMESTAMP_MAX = 2**63 - 1

SMOOTHED_MS = 1000
"""Own steps back of that much, beyond the bound, are smoothed over as well: clocks are adjusted all
the time, and the counter of a large batch runs into the next milliseconds."""

_UNITS = (("years", 365.25 * 86_400), ("days", 86_400), ("hours", 3_600), ("minutes", 60))

ORIGINS_AHEAD_MAX = 64
"""Origins whose clocks are ahead that are told apart."""


def from_ms(wall_ms: int) -> int:
    """The first timestamp of a wall clock millisecond."""
    return wall_ms << COUNTER_BITS


def roughly(seconds: float) -> str:
    """A span of time as people say it, so coarse that it stays the same text for a while."""
    for name, unit in _UNITS:
        if seconds >= 2 * unit:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds:.0f} seconds"


def to_ms(timestamp: int) -> int:
    """The wall clock part of a timestamp, in milliseconds since the epoch."""
    return timestamp >> COUNTER_BITS


class HybridClock:
    """Issues timestamps. Not thread-safe: the store calls it under its write lock.

    Args:
        skew_max_ms: how far ahead of the own wall clock a seen timestamp may lie to be adopted.

    Attributes:
        last: the greatest timestamp issued or adopted since the wall clock was last set back.
        lead_max: how far `last` may lie ahead of the wall clock's timestamp when one is issued.
        skewed: how many timestamps were too far ahead to be adopted.
        set_backs: how often the wall clock was found to be set back further than the bound.
        set_back_ms: by how much it was the last time, at least.
    """

    __slots__ = ("last", "lead_max", "set_back_ms", "set_backs", "skew_max_ms", "skewed")

    def __init__(self, skew_max_ms: int) -> None:
        self.last = 0
        self.skew_max_ms = skew_max_ms
        self.lead_max = from_ms(skew_max_ms + SMOOTHED_MS)
        self.skewed = 0
        self.set_backs = 0
        self.set_back_ms = 0

    def tick(self, wall_ms: int) -> int:
        """A fresh timestamp: greater than every one issued or adopted before, unless the wall clock
        was set back further than the bound."""
        now = wall_ms << COUNTER_BITS
        if now <= self.last:
            now = self.last + 1 if self.last - now <= self.lead_max else self.set_back(now)
        self.last = now
        return now

    def set_back(self, now: int) -> int:
        """What to issue where `last` lies too far ahead of the wall clock's timestamp: `now`. It is
        counted; becomes `last` when it is issued."""
        self.set_backs += 1
        self.set_back_ms = to_ms(self.last - now)
        return max(now, 0)

    def observe(self, timestamp: int, wall_ms: int) -> bool:
        """Adopt a seen timestamp.

        Returns:
            False where it lies more than `skew_max_ms` ahead: it was counted, not adopted.
        """
        return not self.observe_all((timestamp,), wall_ms)

    def observe_all(self, timestamps: Iterable[int], wall_ms: int) -> int:
        """Adopt the latest of some seen timestamps that does not lie too far ahead.

        Returns:
            How many do: they were counted.
        """
        bound = from_ms(wall_ms + self.skew_max_ms + 1) - 1
        ahead = 0
        for timestamp in timestamps:
            if timestamp > self.last:
                if timestamp > bound:
                    ahead += 1
                else:
                    self.last = timestamp
        self.skewed += ahead
        return ahead


@dataclass(frozen=True, slots=True)
class Ahead:
    """An origin whose timestamps were too far ahead to be adopted.

    Attributes:
        writes: how many.
        seconds: how far ahead of the wall clock the latest one was, the last time.
    """

    writes: int
    seconds: float


class AheadTable:
    """Whose clocks are ahead. Not thread-safe."""

    __slots__ = ("_by_origin", "others")

    def __init__(self) -> None:
        self._by_origin: dict[int, Ahead] = {}
        self.others = 0
        """How many timestamps of origins beyond `ORIGINS_AHEAD_MAX` there were."""

    def note(self, origin: int, writes: int, ahead_ms: int) -> None:
        """Count timestamps of an origin, the latest of which was that far ahead."""
        before = self._by_origin.get(origin)
        if before is None and len(self._by_origin) >= ORIGINS_AHEAD_MAX:
            self.others += writes
            return
        earlier = 0 if before is None else before.writes
        self._by_origin[origin] = Ahead(earlier + writes, ahead_ms / 1000)

    def get(self, origin: int) -> Ahead | None:
        """What was counted of an origin."""
        return self._by_origin.get(origin)

    def __iter__(self) -> Iterator[tuple[int, Ahead]]:
        """Origins in the order in which they were found."""
        return iter(list(self._by_origin.items()))
