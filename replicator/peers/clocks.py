"""Clocks that are wrong, as a node notices them: its own, its peers', those of origins far away.

Nothing of it stops replication: writes are kept as they are dated, and no clock is followed further
than `clock_skew_max` (`replicator.core.clock`). But a person should hear of it, once, and with the
name of whose clock it is.
"""

import time
from collections.abc import Iterable

from replicator.config import Settings
from replicator.core.clock import roughly
from replicator.core.dots import format_origin
from replicator.peers.contacts import Contact
from replicator.peers.journal import Journal
from replicator.peers.membership import Membership
from replicator.protocol.messages import Hello
from replicator.status import AheadStatus, ClockStatus
from replicator.store.store import Store


class ClockWatch:
    """Tells of wrong clocks. For one trio thread."""

    def __init__(
        self, store: Store, settings: Settings, membership: Membership, journal: Journal
    ) -> None:
        self._store = store
        self._skew_max = settings.clock_skew_max
        self._roster = membership.roster
        self._journal = journal
        self._set_backs = store.clock.set_backs

    def met(self, peer: Hello, contact: Contact) -> None:
        """A peer has greeted."""
        contact.clock_ahead_seconds = peer.wall_ms / 1000 - time.time()
        if abs(contact.clock_ahead_seconds) <= self._skew_max:
            self._journal.works(skew_of(peer.node))

    def skewed(self, origins: Iterable[int]) -> None:
        """Writes of these origins are dated too far ahead, whoever passed them on."""
        for origin in origins:
            ahead = self._store.ahead.get(origin)
            if ahead is not None:
                name = self._name(origin)
                who = "" if name is None else f"node {name}, "
                self._journal.failed(
                    f"clock of {who}origin {format_origin(origin)}",
                    f"its writes are dated about {roughly(ahead.seconds)} ahead of this node's "
                    "clock: they are kept, the clock is not followed; set the wrong one right",
                )

    def mind_own(self) -> None:
        """There are commits: whether this node's clock was set back too far to smooth that over."""
        clock = self._store.clock
        if clock.set_backs != self._set_backs:
            self._set_backs = clock.set_backs
            self._journal.failed(
                "clock of this node",
                f"it was set back by about {roughly(clock.set_back_ms / 1000)} since the last "
                "write, which may be dated that far in the future: new writes follow the clock",
            )

    def status(self) -> ClockStatus:
        """What was noticed since the store was opened."""
        return ClockStatus(
            set_backs=self._store.clock.set_backs,
            ahead={
                format_origin(origin): AheadStatus(self._name(origin), ahead.writes, ahead.seconds)
                for origin, ahead in self._store.ahead
            },
        )

    def _name(self, origin: int) -> str | None:
        account = self._roster.get(origin)
        return None if account is None else account.name


def skew_of(node: str) -> str:
    """What the log calls the difference between this node's clock and that of a peer."""
    return f"skew of node {node}"
