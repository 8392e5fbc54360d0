"""Closed sets: dots that nobody will ever hold (R10).

When a node is forgotten, or takes a new origin, dots of its old origin may be lacking everywhere:
lost by a power cut, or superseded before anyone was told. Such gaps would hold the watermark down
for good. They are *closed*: they count where a known set is asked how far it is contiguous, and
never where two records are merged (R2). A node that turns up with a version of a closed dot issues
it again under its own origin.

A dot is closed once every member has said, after it has heard the last of that origin, that it does
not know it, durably or not (`Member.seen`). What a member knows grows only, so it will not come
to know that dot from another member. Closed sets only grow, and merge by union.
"""

from collections.abc import Container

from replicator.core import ranges
from replicator.core.known import KnownSet
from replicator.core.members import Roster


def seen(roster: Roster, known: KnownSet, closed: KnownSet, connected: Container[int]) -> KnownSet:
    """What a node tells that it has seen of forgotten origins: all that it knows of those in which
    there are gaps.

    Args:
        known: its known set, durable or not.
        connected: origins that it may still hear something of; nothing is said of them.
    """
    found = KnownSet()
    for origin, bounds in known.items():
        has_gaps = len(bounds) > 2 or bounds[0] > 1
        if has_gaps and roster.is_forgotten(origin) and origin not in connected:
            held = ranges.union(bounds, closed.bounds(origin))
            if len(held) > 2 or held[0] > 1:
                found.replace(origin, bounds[:])
    return found


def closable(roster: Roster, own: int, seen_here: KnownSet, closed: KnownSet) -> KnownSet:
    """The dots that may be closed: below what some member has seen, and seen by none.

    Args:
        own: this node's origin.
        seen_here: what it says itself, as of now (`seen`).
        closed: what is closed already.
    """
    found = KnownSet()
    others = [member for member in roster.members() if member.origin != own]
    if roster.is_full:
        return found
    for origin, bounds in seen_here.items():
        if not all(member.seen.bounds(origin) for member in others):
            continue
        held = bounds
        for member in others:
            held = ranges.union(held, member.seen.bounds(origin))
        gaps = ranges.difference([1, held[-1]], ranges.union(held, closed.bounds(origin)))
        found.replace(origin, gaps)
    return found
