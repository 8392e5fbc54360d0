"""What a writer says that it has seen of a key: the versions that it read, or their dots."""

from collections.abc import Iterable

from replicator.core.dots import Dot
from replicator.core.record import Version
from replicator.errors import UsageError

Seen = Iterable[Version | Dot]
"""What `versions` of a handle gave, or the dots of it."""


def seen_by(key: bytes, seen: Seen | None) -> tuple[frozenset[Dot] | None, int]:
    """The dots that a write of `key` supersedes, and the highest clock among what was seen.

    Dots that this node does not know, because they were read elsewhere, count as not seen: what
    they name stays beside the write when it comes.

    Returns:
        None for everything there is; and -1 where no clock is known.

    Raises:
        UsageError: something else than versions of this key and dots.
    """
    if seen is None:
        return None, -1
    dots: set[Dot] = set()
    clock = -1
    for one in _all(seen):
        if isinstance(one, Version):
            if one.key != key:
                raise UsageError(
                    f"seen= holds a version of key {one.key[:40]!r} in a write of {key[:40]!r}: "
                    "give what versions(key) gave for the key that is written"
                )
            dots.add(one.dot)
            clock = max(clock, one.clock)
        elif isinstance(one, Dot):
            dots.add(one)
        else:
            raise UsageError(
                f"seen= takes what versions(key) gave, or dots, not {type(one).__name__}"
            )
    return frozenset(dots), clock


def _all(seen: object) -> Iterable[object]:
    if isinstance(seen, Version | Dot | str | bytes) or not isinstance(seen, Iterable):
        raise UsageError(
            f"seen= takes a list of what versions(key) gave, not one {type(seen).__name__}"
        )
    return seen
