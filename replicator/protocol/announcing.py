"""What the two sides of a conversation have told each other about their known sets.

Announcing too little costs a record sent twice; announcing too much loses data, for the peer leaves
out of a round what it believes to be known. So only what the store has committed is announced, and
what the peer announced is all that is believed of it.
"""

from collections.abc import Iterator

from replicator.config import ORIGINS_MAX
from replicator.core import ranges
from replicator.core.known import KnownSet
from replicator.errors import ForkError, ProtocolError
from replicator.protocol.effects import Show
from replicator.protocol.me import Me
from replicator.protocol.messages import BOUNDS_MAX


class Announcements:
    """Both sides of the account.

    Args:
        me: this node.
        announced: what the peer is told at the greeting; taken over, not copied.

    Attributes:
        announced: what the peer was told; not to be changed.
        peer_known: what the peer has told; not to be changed.
    """

    __slots__ = ("_bounds", "_me", "_origins", "_shown", "announced", "peer_known")

    def __init__(self, me: Me, announced: KnownSet) -> None:
        self.announced = announced
        self.peer_known = KnownSet()
        self._me = me
        self._shown = me.shown()
        self._origins = 0
        self._bounds = 0

    def news(self, known: KnownSet, apart_from: KnownSet) -> KnownSet:
        """What of `known` is yet to be announced; it counts as announced from now on.

        Args:
            apart_from: what need not be announced now.
        """
        news: dict[int, ranges.Bounds] = {}
        for origin, bounds in known.items():
            told = self.announced.bounds(origin)
            if told != bounds:
                rest = ranges.difference(bounds, told)
                rest = ranges.difference(rest, apart_from.bounds(origin))
                if rest:
                    news[origin] = rest
        result = KnownSet(news)
        self.announced.update(result)
        return result

    def revealed(self, known: KnownSet) -> None:
        """The peer is told all of `known` by other means."""
        self.announced.update(known)

    def showing(self, known: KnownSet) -> Iterator[Show]:
        """What has to be stored before a message that tells of `known` is sent (R13)."""
        seq = known.highest(self._me.origin)
        if seq > self._shown:
            self._shown = seq
            yield Show(seq)

    def learn(self, known: KnownSet) -> None:
        """The peer knows this as well.

        Raises:
            ForkError: it knows an own dot that it cannot have from this life (R13).
            ProtocolError: all in all it announces more than anyone may.
        """
        self._check_fork(known)
        for origin in known.origins():
            self._count(origin, -1)
        self.peer_known.update(known)
        for origin in known.origins():
            self._count(origin, 1)
        if self._origins > ORIGINS_MAX or self._bounds > BOUNDS_MAX:
            raise ProtocolError(
                f"a known set of {self._origins} origins and {self._bounds} bounds exceeds the "
                f"limits of {ORIGINS_MAX} and {BOUNDS_MAX}"
            )

    def _check_fork(self, known: KnownSet) -> None:
        highest, shown = known.highest(self._me.origin), self._me.shown()
        if highest > shown:
            raise ForkError(
                f"the peer knows own seqs up to {highest}, of which only {shown} were ever shown: "
                "this directory was rolled back or cloned"
            )

    def _count(self, origin: int, sign: int) -> None:
        """Keep the size of `peer_known` while the part of one origin changes."""
        bounds = self.peer_known.bounds(origin)
        self._origins += sign * bool(bounds)
        self._bounds += sign * len(bounds)
