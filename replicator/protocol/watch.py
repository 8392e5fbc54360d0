"""Comparing digests in one conversation (R16).

Whoever is due asks, and both sides compute their digests as of the asker's moment and tell them,
each with a hash of the known and closed sets that it is of. Where the hashes are equal and the
digests are not, both sides see that, and each mends by a round of its own. A digest says nothing
while a round is open, a claim is pending, or records were applied while it was computed; then the
hash is left out. Of two questions that cross the one of the smaller origin counts.
"""

from collections.abc import Callable
from dataclasses import dataclass
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


@dataclass(slots=True)
class _Comparison:
    """One comparison.

    Attributes:
        is_mine: whether this side has asked.
        mine, theirs: what the two sides hold, once it is known.
    """

    number: int
    moment_ms: int
    is_mine: bool
    mine: Digest | None = None
    theirs: Digest | None = None


class Watch:
    """One side's part in one conversation.

    Args:
        origin: of this node.
        pulls, digests: shared by all conversations of the node.
        wall_ms: reads the wall clock.
        emit: takes the effects.

    Attributes:
        mends: the moment as of which a difference is to be mended, as soon as no round is open;
            None for nothing to mend.
    """

    def __init__(
        self,
        origin: int,
        pulls: Pulls,
        digests: Digests,
        wall_ms: Callable[[], int],
        emit: Callable[[Effect], None],
    ) -> None:
        self.mends: int | None = None
        self._origin = origin
        self._pulls = pulls
        self._digests = digests
        self._wall_ms = wall_ms
        self._emit = emit
        self._peer = 0
        self._number = 0
        self._current: _Comparison | None = None
        self._computing: _Comparison | None = None
        self._turns = 0

    @property
    def is_idle(self) -> bool:
        """Whether nothing is compared, or to be mended."""
        return self._current is None and self._computing is None and self.mends is None

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
        self._current = _Comparison(self._number, self._wall_ms(), is_mine=True)
        self._emit(Send(Digest("ask", self._number, self._current.moment_ms, b"", b"")))
        self._compute()

    def take(self, message: Digest, now: float) -> None:
        """The peer asks or tells.

        Raises:
            ProtocolError: it asks again before it has told, or tells what nobody asked.
        """
        current = self._current
        if message.step == "ask":
            if current is not None and not (current.is_mine and current.theirs is None):
                raise ProtocolError("a digest is asked for before the last one was told")
            if current is None or self._peer < self._origin:
                self._current = _Comparison(message.number, message.moment_ms, is_mine=False)
                self._compute()
            return
        told = message.number, message.moment_ms
        if current is None or current.theirs or told != (current.number, current.moment_ms):
            raise ProtocolError("a digest that nobody asked for")
        current.theirs = message
        self._judge(current, now)

    def _compute(self) -> None:
        """Unless a digest is being computed that is of no use any more: then afterwards."""
        if self._computing is None and self._current is not None:
            self._computing = self._current
            self._turns = self._pulls.turns if self._pulls.is_at_rest else -1
            self._emit(TakeDigest(self._current.moment_ms))

    def taken(self, event: DigestTaken, now: float) -> None:
        """The digest is computed: tell it."""
        computed, self._computing = self._computing, None
        current = self._current
        if current is None or computed is not current:
            self._compute()
            return
        is_valid = event.is_settled and self._pulls.is_at_rest and self._pulls.turns == self._turns
        current.mine = Digest(
            "answer",
            current.number,
            current.moment_ms,
            known_hash(event.known, event.closed) if is_valid else b"",
            event.digest if is_valid else b"",
        )
        self._emit(Send(current.mine))
        self._judge(current, now)

    def _judge(self, current: _Comparison, now: float) -> None:
        mine, theirs = current.mine, current.theirs
        if mine is None or theirs is None:
            return
        self._current = None
        if not mine.known or mine.known != theirs.known:
            self._digests.undecided(self._peer, now)
        elif mine.digest == theirs.digest:
            self._digests.equal(self._peer, mine.known, now)
            self._emit(Report("compared"))
        else:
            self.mends = mine.moment_ms
            self._emit(Report("differs", self._text(self._digests.differs(self._peer, now))))

    def _text(self, may_help: bool) -> str:
        what = f"this node and origin {format_origin(self._peer)} know the same writes and hold "
        what += "different data (R16): something has changed a LevelDB behind the replicator"
        if may_help:
            return f"{what}; it is mended now"
        return f"{what}; mending has not helped: run `replicator verify` on both"

    def mended(self, changed: int, now: float) -> None:
        """The round that mends is complete, and has changed so many records here."""
        self._digests.mended(self._peer, changed, now)
