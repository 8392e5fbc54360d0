"""Comparing digests in one conversation (R16).

Whoever is due computes its digest as of now and sends it, with a hash of the known and closed sets
that it is of; the other one computes its own as of the same moment and answers alike. Where the
hashes are equal and the digests are not, both sides have seen that, and each mends by a round of
its own. A digest says nothing while a round is open, a claim is pending, or records were applied
while it was computed; then the hash is left out.
"""

from collections import deque
from collections.abc import Callable
from hashlib import blake2b
from math import inf

from replicator.core.dots import format_origin
from replicator.core.fingerprint import FINGERPRINT_BYTES
from replicator.core.known import KnownSet
from replicator.errors import ProtocolError
from replicator.protocol.comparison import DigestTaken, TakeDigest
from replicator.protocol.digests import Digests
from replicator.protocol.effects import Effect, Report, Send
from replicator.protocol.messages import Digest
from replicator.protocol.pulls import Pulls


def known_hash(known: KnownSet, closed: KnownSet) -> bytes:
    """Equal where known and closed sets are."""
    whole = blake2b(digest_size=FINGERPRINT_BYTES)
    for part in (known, closed):
        for block in part.block_hashes():
            whole.update(block or bytes(8))
    return whole.digest()


class Watch:
    """One side's part in one conversation.

    Args:
        pulls, digests: shared by all conversations of the node.
        wall_ms: reads the wall clock.
        emit: takes the effects.

    Attributes:
        mends: the moment as of which a difference is to be mended, as soon as no round is open;
            None for nothing to mend.
    """

    def __init__(
        self,
        pulls: Pulls,
        digests: Digests,
        wall_ms: Callable[[], int],
        emit: Callable[[Effect], None],
    ) -> None:
        self.mends: int | None = None
        self._pulls = pulls
        self._digests = digests
        self._wall_ms = wall_ms
        self._emit = emit
        self._peer = 0
        self._number = 0
        self._computing: deque[Digest] = deque()
        self._rounds = 0
        self._mine: Digest | None = None
        self._theirs = False

    @property
    def is_idle(self) -> bool:
        """Whether nothing is computed, awaited or to be mended."""
        return not self._computing and self._mine is None and self.mends is None

    def met(self, origin: int, now: float) -> None:
        """The peer has greeted under this origin."""
        self._peer = origin
        self._digests.met(origin, now)

    @property
    def due(self) -> float:
        """When to ask the peer."""
        return self._digests.due(self._peer) if self.is_idle else inf

    def ask(self, known: KnownSet, closed: KnownSet, now: float) -> None:
        """It is time to ask the peer, which knows what this node does, unless nothing has changed
        since the last time, or there is something else to do first."""
        if not self._digests.is_news(self._peer, known_hash(known, closed), now):
            return
        if not self._pulls.is_at_rest:
            self._digests.undecided(self._peer, now)
            return
        self._digests.asks(self._peer, now)
        self._number += 1
        self._compute(Digest("ask", self._number, self._wall_ms(), b"", b""))

    def take(self, message: Digest, now: float) -> None:
        """The peer asks or answers.

        Raises:
            ProtocolError: it asks again before it was answered, or answers what nobody asked.
        """
        if message.step == "ask":
            if self._theirs:
                raise ProtocolError("a digest was asked for twice at a time")
            self._theirs = True
            self._compute(message)
            return
        mine, self._mine = self._mine, None
        if mine is None or mine.number != message.number or mine.moment_ms != message.moment_ms:
            raise ProtocolError("a digest that nobody asked for")
        self._judge(mine, message, now)

    def _compute(self, asked: Digest) -> None:
        """One after the other: the peer may ask while this node does."""
        self._computing.append(asked)
        if len(self._computing) == 1:
            self._begin()

    def _begin(self) -> None:
        self._rounds = self._pulls.turns if self._pulls.is_at_rest else -1
        self._emit(TakeDigest(self._computing[0].moment_ms))

    def taken(self, event: DigestTaken, now: float) -> None:
        """The digest is there: ask, or answer."""
        asked = self._computing.popleft()
        is_valid = event.is_settled and self._pulls.is_at_rest and self._pulls.turns == self._rounds
        found = known_hash(event.known, event.closed) if is_valid else b""
        digest = event.digest if is_valid else b""
        if asked.known:  # the peer's
            self._theirs = False
            mine = Digest("answer", asked.number, asked.moment_ms, found, digest)
            self._emit(Send(mine))
            self._judge(mine, asked, now)
        elif is_valid:
            self._mine = Digest("ask", asked.number, asked.moment_ms, found, digest)
            self._emit(Send(self._mine))
        else:
            self._digests.undecided(self._peer, now)
        if self._computing:
            self._begin()

    def _judge(self, mine: Digest, theirs: Digest, now: float) -> None:
        if not mine.known or mine.known != theirs.known:
            self._digests.undecided(self._peer, now)
        elif mine.digest == theirs.digest:
            self._digests.equal(self._peer, mine.known, now)
            self._emit(Report("compared"))
        else:
            if self._digests.differs(self._peer, now):
                self.mends = mine.moment_ms
            self._emit(Report("differs", self._text()))

    def _text(self) -> str:
        what = f"this node and origin {format_origin(self._peer)} know the same writes and hold "
        what += "different data (R16): something has changed a LevelDB behind the replicator"
        if self.mends is None:
            return f"{what}; mending has not helped: run `replicator verify` on both"
        return f"{what}; it is mended now"

    def mended(self, now: float) -> None:
        """The round that mends is complete."""
        self._digests.mended(self._peer, now)
