"""What all conversations of one node share about what they pull (R5, R9).

Three things need more than one conversation to be seen together:

- *Asks.* A dot is asked from one peer at a time. A conversation plans a round when the peer has
  announced dots that no other is asked for, until the others have made no progress for the re-ask
  timeout. It wants these, and of their origins, as of the peer's own, whatever else the peer's
  snapshot holds and no other is asked for. What is of other origins is withheld: another one has
  announced it, too, or is about to. Where this is the only conversation, everything is wanted.
- *Pending claims.* A round from which dots were withheld may not claim its snapshot's known set
  when it is complete: a withheld dot may have been superseded by one that this round brought, and
  only the other round may say that it is known. Such a claim waits here until all its withheld
  dots are known to the store. Two claims that wait for each other's dots never complete one
  another; they are settled by a round with nothing withheld, which a plan makes when a claim has
  waited for `CLAIM_SECONDS` and nobody is asked for what it waits for. Until then a dot of a
  pending claim is not asked for again: that brings no record, and two conversations that kept
  doing so would withhold from each other for ever.
- *Turns.* While a full-state round is open, nothing from another peer is applied. Turns are taken
  apply by apply: a log round is safe at every cut (R4), so it may stand still while a full-state
  round passes, and nobody waits for a slow peer.

Claims live in memory only: losing one costs a repeated question, nothing else.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf

from replicator.config import AHEAD_SECONDS, CLAIM_SECONDS, PENDING_CLAIMS_MAX
from replicator.core.dots import SEQ_MAX
from replicator.core.known import KnownSet

ConversationId = int

CLAIM_TIMEOUTS = 3
"""A claim waits no longer than so many re-ask timeouts for what others are still sending."""


@dataclass(frozen=True, slots=True)
class Ask:
    """What a round is asked for.

    Attributes:
        wanted: the dots; None for everything that this node lacks.
    """

    wanted: KnownSet | None


@dataclass(slots=True)
class _Asked:
    """What one conversation was asked for, when it last made progress, and until when the next
    writes of the same origins are left to it, too."""

    dots: KnownSet
    at: float
    ahead_until: float


@dataclass(slots=True)
class _Pending:
    """A claim that waits for `withheld`; `at` restarts when dots are asked for once more."""

    claim: KnownSet
    floor: Mapping[int, int]
    withheld: KnownSet
    at: float


class Pulls:
    """Shared by the conversations of one node; used from one thread.

    Args:
        reask_timeout: seconds without progress after which a dot is asked from another peer.
    """

    def __init__(self, reask_timeout: float) -> None:
        self._timeout = reask_timeout
        self._claim_timeout = min(CLAIM_SECONDS, reask_timeout)
        self._open: set[ConversationId] = set()
        self._asked: dict[ConversationId, _Asked] = {}
        self._pending: list[_Pending] = []
        self._applying: set[ConversationId] = set()
        self._exclusive: ConversationId | None = None
        self.turns = 0
        """How often a turn to apply was taken: of one who looks twice, whether one was since."""

    @property
    def pending(self) -> int:
        """How many claims wait. While there are any, digests of equal known sets need not agree
        (R16)."""
        return len(self._pending)

    @property
    def is_at_rest(self) -> bool:
        """Whether no round is open, nothing is being applied and no claim is pending: then digests
        of equal known sets agree (R16)."""
        return not (self._asked or self._applying or self._pending) and self._exclusive is None

    @property
    def exclusive_holder(self) -> ConversationId | None:
        """The conversation that has, or is about to have, a full-state round open."""
        return self._exclusive

    def joined(self, conversation_id: ConversationId) -> None:
        """The conversation is open: its peer may be asked."""
        self._open.add(conversation_id)

    def left(self, conversation_id: ConversationId) -> None:
        """The conversation is over."""
        self._open.discard(conversation_id)
        self.finished(conversation_id)

    def plan(
        self,
        conversation_id: ConversationId,
        peer: int,
        peer_known: KnownSet,
        known: KnownSet,
        now: float,
        full: bool = False,
    ) -> Ask | None:
        """Whether to ask this peer for a round now, and for what.

        Args:
            peer: the origin of the peer.
            peer_known: what the peer has announced.
            known: what the store knows.
            full: whether everything is asked for in any case (R10).

        Returns:
            None where the peer has nothing new, or nothing that others are not asked for, or
            nothing that a round with dots withheld could settle.
        """
        if self._exclusive not in (None, conversation_id):
            return None
        lack = peer_known.difference(known)
        if not lack and not full:
            return None
        elsewhere = self._asked_elsewhere(conversation_id, now)
        if full or self._is_alone(conversation_id) or self._is_overdue(lack, elsewhere, now):
            self._asked[conversation_id] = _Asked(lack, now, now + AHEAD_SECONDS)
            return Ask(None)
        wanted = lack.difference(elsewhere)
        if self._pending:
            wanted = wanted.difference(self._hoped_for(elsewhere))
        if not wanted:
            return None
        whole = KnownSet({origin: [1, SEQ_MAX + 1] for origin in {peer, *wanted.origins()}})
        wanted = whole.difference(elsewhere)
        self._asked[conversation_id] = _Asked(wanted, now, now + AHEAD_SECONDS)
        return Ask(wanted)

    def promised(self, conversation_id: ConversationId, dots: KnownSet) -> None:
        """The peer's snapshot is open: these dots, and no others, the round will bring."""
        asked = self._asked.get(conversation_id)
        if asked is not None:
            asked.dots = dots

    def _is_alone(self, conversation_id: ConversationId) -> bool:
        return self._open | self._asked.keys() <= {conversation_id}

    def _asked_elsewhere(self, conversation_id: ConversationId, now: float) -> KnownSet:
        """What others are asked for and may still send, and what they may be asked for next: a
        peer that is asked again and again sends fewer, larger rounds than many that are asked for
        slivers, and the known set stays in one piece."""
        elsewhere = KnownSet()
        for other, asked in self._asked.items():
            if other != conversation_id and now - asked.at < self._timeout:
                elsewhere.update(asked.dots)
                if now < asked.ahead_until:
                    for origin in asked.dots.origins():
                        elsewhere.add_range(origin, asked.dots.highest(origin) + 1, SEQ_MAX + 1)
        return elsewhere

    def _hoped_for(self, elsewhere: KnownSet) -> KnownSet:
        """What a pending claim will make known once others have sent what it waits for: to ask
        for it again meanwhile would bring the same answer."""
        hoped_for = KnownSet()
        for pending in self._pending:
            if pending.withheld.intersection(elsewhere):
                hoped_for.update(pending.claim)
        return hoped_for

    def _is_overdue(self, lack: KnownSet, elsewhere: KnownSet, now: float) -> bool:
        """Whether a claim that a round for `lack` could settle has waited for too long; if so, it
        begins to wait anew, for one such round at a time is enough.

        What others are sending just now is worth waiting for, but not for ever: of what they were
        asked for, they may have no record.
        """
        overdue = [
            pending
            for pending in self._pending
            if now - pending.at >= self._claim_timeout
            and now - pending.at >= self._patience(pending, elsewhere)
            and lack.intersection(pending.claim)
        ]
        for pending in overdue:
            pending.at = now
        return bool(overdue)

    def _patience(self, pending: _Pending, elsewhere: KnownSet) -> float:
        is_coming = bool(pending.withheld.intersection(elsewhere))
        return CLAIM_TIMEOUTS * self._timeout if is_coming else self._claim_timeout

    def retry_at(self, conversation_id: ConversationId, now: float) -> float:
        """When a plan may come out otherwise although nothing was heard, in seconds like `now`."""
        others = [asked for other, asked in self._asked.items() if other != conversation_id]
        moments = [asked.at + self._timeout for asked in others]
        moments += [asked.ahead_until for asked in others]
        for pending in self._pending:
            moments.append(pending.at + self._claim_timeout)
            moments.append(pending.at + CLAIM_TIMEOUTS * self._timeout)
        return min((moment for moment in moments if moment > now), default=inf)

    def progress(self, conversation_id: ConversationId, now: float) -> None:
        """The peer has answered: what it was asked for stays with it."""
        asked = self._asked.get(conversation_id)
        if asked is not None:
            asked.at = now

    def finished(self, conversation_id: ConversationId) -> None:
        """The round is complete, or the conversation has ended: nobody needs to wait for it."""
        self._asked.pop(conversation_id, None)
        self._applying.discard(conversation_id)
        if self._exclusive == conversation_id:
            self._exclusive = None

    def pend(
        self, claim: KnownSet, floor: Mapping[int, int], withheld: KnownSet, now: float
    ) -> None:
        """Keep a claim until all of `withheld` is known. Beyond `PENDING_CLAIMS_MAX` the oldest is
        given up; one that claims all that an older one does has waited for as long as that."""
        waits = [pending.at for pending in self._pending if claim.issuperset(pending.claim)]
        self._pending.append(_Pending(claim, floor, withheld, min([now, *waits])))
        del self._pending[:-PENDING_CLAIMS_MAX]

    def ripe(self, known: KnownSet) -> list[tuple[KnownSet, Mapping[int, int]]]:
        """Take out the claims whose withheld dots are all in `known`, which is what the store has
        committed: so no claim completes another. One that claims nothing new is ripe as well.

        Returns:
            Claims with their purge floors. Whoever takes them commits them.
        """
        ripe: list[tuple[KnownSet, Mapping[int, int]]] = []
        waiting = []
        for pending in self._pending:
            says_nothing = known.issuperset(pending.claim)
            if says_nothing and not pending.floor:
                continue
            if says_nothing or known.issuperset(pending.withheld):
                ripe.append((pending.claim, pending.floor))
            else:
                waiting.append(pending)
        self._pending = waiting
        return ripe

    def begin_apply(self, conversation_id: ConversationId) -> bool:
        """Take a turn to apply a piece of a log round, or a claim.

        Returns:
            False while another conversation has a full-state round open or waits to open it.
        """
        if self._exclusive not in (None, conversation_id):
            return False
        self._applying.add(conversation_id)
        self.turns += 1
        return True

    def exclusive(self, conversation_id: ConversationId) -> bool:
        """Take the turn for a whole full-state round, until `finished` (R9).

        Returns:
            False while another has it, or what others are applying is not yet committed; in the
            latter case no more of others is applied from now on.
        """
        if self._exclusive is None:
            self._exclusive = conversation_id
            self.turns += 1
        return self._exclusive == conversation_id and not self._applying - {conversation_id}

    def end_apply(self, conversation_id: ConversationId) -> bool:
        """The piece is committed.

        Returns:
            Whether another conversation waits for that.
        """
        self._applying.discard(conversation_id)
        return self._exclusive not in (None, conversation_id)
