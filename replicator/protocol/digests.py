"""When a node compares digests with its peers, and what came of it (R16): shared by all of its
conversations. Pure: the time and random numbers come in as arguments.

Each peer is asked about once per interval, and all together no more than `ASKS_PER_INTERVAL` times
in one. A peer with which nothing has changed since the last equal comparison is asked again much
later, for what has happened behind the replicator's back. A difference is mended at once, and the
digests are compared again soon; where that did not help, mending is put off for longer and longer,
for then a person has to look.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf

from replicator.config import MEMBERS_MAX

ASKS_PER_INTERVAL = 16
"""How often a node asks at most within an interval, all peers together."""

QUIET_INTERVALS = 24
"""Intervals between two comparisons where nothing has changed."""

JITTER = 0.25
"""How much of an interval is left to chance."""

RETRY_SHARE = 1 / 60
"""The part of an interval after which a comparison that said nothing is tried again, and one that
looks whether a mend has helped."""

MENDS_MAX = 2
"""Mends in a row that are made at once: a first one may have met with a write."""

BACKOFF_DOUBLINGS_MAX = 6


@dataclass(slots=True)
class _Peer:
    """What came of comparing with one peer.

    Attributes:
        due: when to ask it.
        equal: hash of the known sets at which the digests were equal last, and when; empty where
            this node has mended something since.
        mends: how often a difference was mended since.
    """

    due: float
    equal: bytes = b""
    equal_at: float = -inf
    mends: int = 0


class Digests:
    """The schedule of one node; used from one thread.

    Args:
        interval: seconds between two comparisons with a peer; 0 never asks.
        random: evenly distributed in [0, 1).

    Attributes:
        compared, differences, mends: how often digests were equal, or differed, and how many
            rounds that mend were completed.
    """

    def __init__(self, interval: float, random: Callable[[], float]) -> None:
        self._interval = interval or inf
        self._random = random
        self._peers: dict[int, _Peer] = {}
        self._next_ask = -inf
        self.compared = 0
        self.differences = 0
        self.mends = 0

    def met(self, origin: int, now: float) -> None:
        """There is such a peer: a new one is due within an interval."""
        self._of(origin, now)

    def due(self, origin: int) -> float:
        """When to ask the peer of that origin."""
        peer = self._peers.get(origin)
        return inf if peer is None else max(peer.due, self._next_ask)

    def is_news(self, origin: int, known: bytes, now: float) -> bool:
        """Whether something has changed since the last equal comparison, or that was long ago;
        else the peer is not due for another interval.

        Args:
            known: hash of the known sets.
        """
        peer = self._of(origin, now)
        if peer.equal != known or now - peer.equal_at >= QUIET_INTERVALS * self._interval:
            return True
        peer.due = now + self._pause()
        return False

    def asks(self, origin: int, now: float) -> None:
        """The peer is about to be asked; if it leaves before it has told, it is soon due again."""
        self._next_ask = now + self._interval / ASKS_PER_INTERVAL
        self._retry(self._of(origin, now), now)

    def undecided(self, origin: int, now: float) -> None:
        """The comparison said nothing: one side had changed, or a round was open."""
        self._retry(self._of(origin, now), now)

    def equal(self, origin: int, known: bytes, now: float) -> None:
        """The digests are equal."""
        self.compared += 1
        peer = self._of(origin, now)
        peer.equal, peer.equal_at, peer.mends = known, now, 0
        peer.due = now + self._pause()

    def differs(self, origin: int, now: float) -> bool:
        """The digests differ.

        Returns:
            Whether mending may help; otherwise it has been tried, and is tried again after pauses
            that double.
        """
        self.differences += 1
        peer = self._of(origin, now)
        peer.mends += 1
        doublings = max(0, peer.mends - MENDS_MAX)
        peer.due = now + self._pause() * 2 ** min(doublings, BACKOFF_DOUBLINGS_MAX)
        return not doublings

    def mended(self, origin: int, changed: int, now: float) -> None:
        """A round that mends is complete: look soon whether it has helped, unless it is known
        not to.

        Args:
            changed: how many records changed here; then every other peer may differ by now.
        """
        self.mends += 1
        for one in self._peers.values() if changed else ():
            one.equal = b""
        peer = self._of(origin, now)
        if peer.mends <= MENDS_MAX:
            self._retry(peer, now)

    def _of(self, origin: int, now: float) -> _Peer:
        peer = self._peers.get(origin)
        if peer is None:
            if len(self._peers) >= MEMBERS_MAX:
                del self._peers[next(iter(self._peers))]
            due = inf if self._interval == inf else now + self._interval * self._random()
            peer = self._peers[origin] = _Peer(due)
        return peer

    def _retry(self, peer: _Peer, now: float) -> None:
        if self._interval < inf:
            peer.due = now + self._interval * RETRY_SHARE * (1 + self._random())

    def _pause(self) -> float:
        return self._interval * (1 - JITTER * self._random())
