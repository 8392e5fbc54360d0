"""What a client needs of the outside: connections, pauses, limits.

`replicator.faces.client.lines` has the world in which all of it blocks, `triolines` that of trio.
"""

from typing import Protocol

from replicator.faces.client.endpoints import Endpoint
from replicator.faces.client.places import L


class Limit(Protocol):
    """So many may be taken at a time."""

    async def take(self, timeout: float) -> bool:
        """Take one; whether one was free in so many seconds."""

    def give_back(self) -> None:
        """Give one back."""


class World(Protocol[L]):
    """What a client needs of the outside. Thread-safe where its users have threads."""

    def now(self) -> float:
        """Seconds, of a clock that nobody sets."""

    async def pause(self, seconds: float) -> None:
        """Wait."""

    async def dial(self, endpoint: Endpoint, timeout: float) -> L:
        """Connect.

        Raises:
            UnreachableError: that failed.
        """

    async def exchange(
        self, line: L, data: bytes, count: int, timeout: float | None
    ) -> list[object]:
        """Send requests and read so many replies.

        Raises:
            LostError: not all of them came.
        """

    def slots(self, count: int) -> Limit:
        """A limit."""
