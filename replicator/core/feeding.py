"""Where a reader of a feed stands: its *position* is the known set that it has dealt with.

What is known at a node beyond it is told by walking the node's log over just those dots, each
origin in its order. A superseded dot has no log entry: its superseder comes in its own turn. So a
reader that has walked everything shows what the node shows, unless the log cannot tell it all
(`can_walk`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from replicator.core import ranges
from replicator.core.known import KnownSet, below_floor


@dataclass(frozen=True, slots=True)
class Position:
    """Where a reader stands. Its parts are not to be changed.

    Attributes:
        known: what it has dealt with.
        listing: while it gets all keys, what the node knew when that began: it has dealt with that
            once it has got them. None when it walks the log.
        after: the last key that it got then; None before the first.
    """

    known: KnownSet = field(default_factory=KnownSet)
    listing: KnownSet | None = None
    after: bytes | None = None

    def completed(self) -> "Position":
        """All keys were given."""
        return Position(
            KnownSet({**dict(self.known.items()), **dict((self.listing or KnownSet()).items())})
        )


def can_walk(position: KnownSet, known: KnownSet, floor: Mapping[int, int]) -> bool:
    """Whether the log of a node tells a reader all that it lacks. If not, it needs all keys.

    It does not where deletes that the reader has not seen may be collected (R8: the position lies
    below the purge floor), nor where the reader knows what the node does not: what a power cut or
    a fork took there (R11, R13), the reader may show for ever.
    """
    return known.issuperset(position) and not below_floor(position, floor)


def behind(position: KnownSet, known: KnownSet, origin: int, seq: int) -> KnownSet:
    """The position of a reader that has dealt with what is known of one origin up to `seq`.

    Exactly that: what the node lacks in between, a reader must get when it comes.

    Returns:
        A new set, which shares with `position` what has not changed.
    """
    done = ranges.intersection(known.bounds(origin), [1, seq + 1] if seq else [])
    bounds = ranges.union(position.bounds(origin), done)
    return KnownSet({**dict(position.items()), **({origin: bounds} if bounds else {})})
