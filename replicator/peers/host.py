"""What the sessions of one node have in common: the node that they tell things, and the threads
that they share."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import trio

from replicator.config import WORKER_THREADS_MAX
from replicator.core.known import KnownSet
from replicator.core.members import Member
from replicator.protocol.effects import MakeDurable, Report
from replicator.store.apply import Applied

if TYPE_CHECKING:
    from replicator.peers.session import Session


class Host(Protocol):
    """What a session tells its node, in the trio thread. None of it may raise."""

    def reported(self, session: "Session", report: Report) -> None:
        """The conversation reports something."""

    def applied(self, session: "Session", applied: Applied) -> None:
        """A piece of a round is committed."""

    def failed(self, session: "Session", error: Exception) -> None:
        """An effect, or the session itself, failed; the session ends."""

    def poke_others(self, session: "Session") -> None:
        """Call `poke` of every other session."""

    def learned(self, session: "Session", members: tuple[Member, ...]) -> None:
        """The peer has said what it knows of members (R7)."""

    def closed(self) -> None:
        """Dots have been closed (R10)."""

    def make_durable(self, session: "Session", effect: MakeDurable) -> None:
        """Make a sync point (R11) and `post` the answer."""

    def secured(self, session: "Session", known: KnownSet) -> None:
        """The peer has made durable what it was asked for."""

    async def fork(self, session: "Session", was_forgotten: bool) -> None:
        """End every other session, then give the store a new origin (R13, R10)."""


@dataclass(frozen=True, slots=True)
class Workers:
    """The worker threads that all sessions of a node share.

    Attributes:
        common: bounds those that read, encode and decode.
        applying: see `Applying`.
    """

    common: trio.CapacityLimiter
    applying: trio.CapacityLimiter

    @classmethod
    def make(cls) -> "Workers":
        return cls(trio.CapacityLimiter(WORKER_THREADS_MAX), trio.CapacityLimiter(1))
