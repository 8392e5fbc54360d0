"""What two nodes tell each other of the members of the cluster (R7).

Each side says of which member it knows which revision, at the beginning everything, later what has
changed; the other one calls for what is newer than its own. So an account of a member crosses to
each node about once, whatever the topology, and an idle cluster says nothing.
"""

from collections.abc import Callable, Iterable, Iterator

from replicator.config import CHUNK_BYTES, MEMBERS_AT_ONCE_MAX
from replicator.core.members import Member, Roster
from replicator.protocol.effects import Effect, Learn, Send
from replicator.protocol.messages import Call, Members, Revisions

BOUND_BYTES = 9
"""What a bound of a known set takes, at most."""

MEMBER_BYTES = 700
"""What the rest of an account takes, about."""


class Gossip:
    """One side's part in one conversation.

    Args:
        roster: what this node knows; changed by others.
        emit: takes the effects.
    """

    def __init__(self, roster: Roster, emit: Callable[[Effect], None]) -> None:
        self._roster = roster
        self._emit = emit
        self._told: dict[int, int] = {}
        self._theirs: dict[int, int] = {}
        self._called: dict[int, int] = {}
        self._awaited: set[int] = set()

    def advance(self) -> None:
        """The link is open, or the roster has changed: tell what the peer has not heard of."""
        self._ask()
        news = {
            origin: revision
            for origin, revision in self._roster.revisions().items()
            if revision > max(self._told.get(origin, -1), self._theirs.get(origin, -1))
        }
        if news:
            self._told.update(news)
            self._emit(Send(Revisions(news)))

    def take(self, message: Revisions | Call | Members) -> None:
        """The peer has said what it knows, has asked, or has answered."""
        match message:
            case Revisions(revisions):
                self._theirs.update(revisions)
                self._ask()
            case Call(origins):
                self._answer(origins)
            case Members(members):
                self._learn(members)

    def _answer(self, origins: Iterable[int]) -> None:
        """Tell what is asked for; what is not known here is left out."""
        found = (self._roster.get(origin) for origin in origins)
        for part in _parts(member for member in found if member is not None):
            self._emit(Send(Members(part)))

    def _learn(self, members: tuple[Member, ...]) -> None:
        """The peer has answered, perhaps with newer accounts than it had announced."""
        for member in members:
            self._awaited.discard(member.origin)
            known = self._theirs.get(member.origin, -1)
            self._theirs[member.origin] = max(known, member.revision)
        self._emit(Learn(members))

    def _ask(self) -> None:
        """Call for what is newer there, once for each revision, so many at a time."""
        if self._awaited:
            return
        newer = sorted(
            origin
            for origin, revision in self._theirs.items()
            if revision > max(self._roster.revision(origin), self._called.get(origin, -1))
        )[:MEMBERS_AT_ONCE_MAX]
        if newer:
            self._called.update((origin, self._theirs[origin]) for origin in newer)
            self._awaited.update(newer)
            self._emit(Send(Call(tuple(newer))))


def _parts(members: Iterator[Member]) -> Iterator[tuple[Member, ...]]:
    """The accounts in portions of about `CHUNK_BYTES`."""
    part: list[Member] = []
    size = 0
    for member in members:
        part.append(member)
        bounds = sum(len(bounds) for _, bounds in member.known.items())
        size += MEMBER_BYTES + BOUND_BYTES * bounds
        if size >= CHUNK_BYTES:
            yield tuple(part)
            part, size = [], 0
    if part:
        yield tuple(part)
