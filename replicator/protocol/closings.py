"""What the two sides of a conversation tell each other of closed dots (R10)."""

from collections.abc import Callable

from replicator.core.known import KnownSet
from replicator.protocol.effects import Effect, LearnClosed, Send
from replicator.protocol.messages import SINCE, Closed


class Closings:
    """One side's part.

    Args:
        closed: reads what is closed here.
        emit: takes the effects.
    """

    def __init__(self, closed: Callable[[], KnownSet], emit: Callable[[Effect], None]) -> None:
        self._closed = closed
        self._emit = emit
        self._told = KnownSet()

    def take(self, closed: KnownSet) -> None:
        """The peer has closed these."""
        self._told.update(closed)
        self._emit(LearnClosed(closed))

    def tell(self, version: int) -> None:
        """Tell what is closed here and was neither told before nor by the peer.

        Args:
            version: of the protocol; the first knows nothing of closed dots.
        """
        news = self._closed().difference(self._told) if version >= SINCE[Closed] else KnownSet()
        if news:
            self._told.update(news)
            self._emit(Send(Closed(news)))
