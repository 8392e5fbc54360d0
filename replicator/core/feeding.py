"""Where a reader of a feed stands.

What is known at a node beyond what the reader has dealt with is told by walking the node's log over
just those dots, each origin in its order. A superseded dot has no log entry: its superseder comes
in its own turn. So a reader that has walked everything shows what the node shows, unless the log
cannot tell it all (`can_go_on`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from replicator.core import ranges
from replicator.core.known import KnownSet


@dataclass(frozen=True, slots=True)
class Position:
    """Where a reader stands. Its parts are not to be changed.

    Attributes:
        known: what it has dealt with.
        shown: what the node knew when it was last read from: the state of a key that the reader was
            given may come of any of it.
        listing: while it gets all keys, what the node knew when that began: it has dealt with that
            once it has got them. None when it walks the log.
        after: the last key that it got then; None before the first.
    """

    known: KnownSet = field(default_factory=KnownSet)
    shown: KnownSet = field(default_factory=KnownSet)
    listing: KnownSet | None = None
    after: bytes | None = None

    def completed(self) -> "Position":
        """All keys were given."""
        listing = self.listing or KnownSet()
        known = KnownSet({**dict(self.known.items()), **dict(listing.items())})
        return Position(known, self.shown)


def at(known: KnownSet) -> Position:
    """Where whoever stands that has dealt with all that a node knows."""
    return Position(known, known)


def can_go_on(
    position: Position, known: KnownSet, floor: Mapping[int, int], closed: KnownSet
) -> bool:
    """Whether what a reader has is sound, and a node can tell it what it lacks. If not, it needs
    all keys.

    It is not sound where the node does not know what the reader was shown: what a power cut or a
    fork took there (R11, R13) the reader would show for ever. The node cannot tell where deletes
    that the reader has not seen may be collected (R8): it lacks something below the purge floor.
    What the node itself lacks there was not collected, and may never come: everybody may have lost
    it.

    Args:
        closed: the closed set (R10): what nobody has, no reader lacks.
    """
    if not known.issuperset(position.shown):
        return False
    if position.listing is not None:
        return True
    lacked = known.difference(position.known.union(closed))
    return all(bounds[0] > floor.get(origin, 0) for origin, bounds in lacked.items())


def behind(position: KnownSet, known: KnownSet, origin: int, seq: int) -> KnownSet:
    """The position of a reader that has dealt with what is known of one origin up to `seq`.

    Exactly that: what the node lacks in between, a reader must get when it comes.

    Returns:
        A new set, which shares with `position` what has not changed.
    """
    done = ranges.intersection(known.bounds(origin), [1, seq + 1] if seq else [])
    bounds = ranges.union(position.bounds(origin), done)
    return KnownSet({**dict(position.items()), **({origin: bounds} if bounds else {})})
