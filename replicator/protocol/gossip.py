"""What two nodes tell each other of the members of the cluster (R7).

The greetings tell whether both know the same. If not, each side says of which member it knows
which revision, and later in any case what has changed; the other one calls for what is newer than
its own. So an account of a member crosses to each node about once, whatever the topology, and an
idle cluster says next to nothing, however large it is.
"""

from collections.abc import Callable, Iterable, Iterator

from replicator.config import CHUNK_BYTES, MEMBERS_AT_ONCE_MAX, MEMBERS_MAX
from replicator.core.members import Member, Roster
from replicator.errors import ProtocolError
from replicator.protocol.effects import Effect, Learn, Send
from replicator.protocol.messages import (
    SINCE,
    Accounts,
    Call,
    Members,
    Message,
    Ping,
    Pong,
    Quiet,
    Revisions,
)

BOUND_BYTES = 9
"""What a bound of a known set takes, at most."""

MEMBERS_TOLD_MAX = 2 * MEMBERS_MAX
"""Members that one peer tells of in one conversation: a roster that is full, and what this node
tells of in its answers."""

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
        self._seen = 0
        self._at_hello = roster.changed
        self._theirs: dict[int, int] = {}
        self._newer: set[int] = set()
        self._called: dict[int, int] = {}
        self._awaited: set[int] = set()
        self._owed: set[int] | None = None
        self._answers: type[Members | Accounts] = Members

    @property
    def is_waiting(self) -> bool:
        """Whether the peer owes an answer, or has yet to ask for what it was told at the opening:
        who leaves before, over a slow link, leaves before that every time."""
        return bool(self._awaited or self._owed)

    def keeps_open(self, message: Message) -> bool:
        """Whether a message of the peer is a reason not to leave yet: one about members is while
        the opening exchange goes on."""
        if isinstance(message, Quiet):
            return self.is_waiting and not isinstance(message, Ping | Pong)
        return True

    def greeted(self, are_equal: bool, version: int) -> None:
        """The peer has greeted.

        Args:
            are_equal: whether both sides knew the same of everybody when they greeted; then
                there is nothing to tell but what has changed since.
            version: of the protocol, as both speak it.
        """
        if version >= SINCE[Accounts]:
            self._answers = Accounts
        if are_equal:
            self._seen = self._at_hello

    def advance(self) -> None:
        """The link is open, or the roster has changed: tell what the peer has not heard of."""
        self._ask()
        news = {
            origin: revision
            for origin, revision in self._roster.changed_since(self._seen)
            if revision > max(self._told.get(origin, -1), self._theirs.get(origin, -1))
        }
        self._seen = self._roster.changed
        if self._owed is None:
            self._owed = set(news)
        if news:
            self._told.update(news)
            self._emit(Send(Revisions(news)))

    def take(self, message: Revisions | Call | Members | Accounts) -> None:
        """The peer has said what it knows, has asked, or has answered.

        Raises:
            ProtocolError: all in all it tells of more members than anyone may.
        """
        match message:
            case Revisions(revisions):
                self._theirs.update(revisions)
                self._check_count()
                self._newer.update(revisions)
                self._settle(revisions)
                self._ask()
            case Call(origins):
                self._answer(origins)
            case Members(members) | Accounts(members):
                self._learn(members)

    def _answer(self, origins: Iterable[int]) -> None:
        """Tell what is asked for; what is not known here is left out."""
        found = [self._roster.get(origin) for origin in origins]
        members = [member for member in found if member is not None]
        self._theirs.update((member.origin, member.revision) for member in members)
        self._settle(origins)
        for part in _parts(iter(members)):
            self._emit(Send(self._answers(part)))

    def _settle(self, origins: Iterable[int]) -> None:
        """What the peer knows of these is not waited for any more."""
        if self._owed:
            theirs, told = self._theirs, self._told
            self._owed -= {o for o in origins if theirs.get(o, -1) >= told.get(o, -1)}

    def _learn(self, members: tuple[Member, ...]) -> None:
        """The peer has answered, perhaps with newer accounts than it had announced."""
        for member in members:
            self._awaited.discard(member.origin)
            known = self._theirs.get(member.origin, -1)
            self._theirs[member.origin] = max(known, member.revision)
        self._check_count()
        self._emit(Learn(members))

    def _check_count(self) -> None:
        if len(self._theirs) > MEMBERS_TOLD_MAX:
            raise ProtocolError(f"the peer tells of more than {MEMBERS_TOLD_MAX} members")

    def _ask(self) -> None:
        """Call for what is newer there, once for each revision, so many at a time."""
        if self._awaited:
            return
        self._newer = {origin for origin in self._newer if self._is_newer(origin)}
        newer = sorted(self._newer)[:MEMBERS_AT_ONCE_MAX]
        if newer:
            self._newer.difference_update(newer)
            self._called.update((origin, self._theirs[origin]) for origin in newer)
            self._awaited.update(newer)
            self._emit(Send(Call(tuple(newer))))

    def _is_newer(self, origin: int) -> bool:
        """Whether the peer has an account that is neither known here nor called for."""
        here = max(self._roster.revision(origin), self._called.get(origin, -1))
        return self._theirs[origin] > here


def _parts(members: Iterator[Member]) -> Iterator[tuple[Member, ...]]:
    """The accounts in portions of about `CHUNK_BYTES`."""
    part: list[Member] = []
    size = 0
    for member in members:
        part.append(member)
        bounds = sum(len(bounds) for _, bounds in (*member.known.items(), *member.seen.items()))
        size += MEMBER_BYTES + BOUND_BYTES * bounds
        if size >= CHUNK_BYTES:
            yield tuple(part)
            part, size = [], 0
    if part:
        yield tuple(part)
