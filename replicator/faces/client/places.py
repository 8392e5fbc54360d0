"""The daemons of a client: how each has fared, and the connections to it that are free.

A daemon that cannot be reached is left alone for a pause, which doubles with every failure; the
pauses are drawn, so that clients that lost a daemon together do not come back together.
"""

from dataclasses import dataclass, field
from math import inf
from typing import Generic, Protocol, TypeVar

from replicator import chance
from replicator.faces.client.endpoints import Endpoint
from replicator.faces.client.limits import CLIENT_HOLDOFF_MAX, CLIENT_HOLDOFF_MIN


class HasEnd(Protocol):
    """A connection."""

    def is_quiet(self) -> bool:
        """Whether it can be used."""

    def close(self) -> None:
        """Hang up. Idempotent."""


L = TypeVar("L", bound=HasEnd)


@dataclass(eq=False, slots=True)
class Place(Generic[L]):
    """One daemon. Its lists and numbers are changed under the lock of whoever holds it.

    Attributes:
        number: its place in the order of preference.
        idle: connections that nobody uses, the last used at the end.
        failures: how often in a row it could not be used.
        tried: when it could not be used the last time.
        due: when it may be tried again.
        problem: why it could not be used the last time.
        settled: up to which of the session's writes it is known to hold them
            (`replicator.faces.client.session`).
    """

    number: int
    endpoint: Endpoint
    idle: list[L] = field(default_factory=list)
    failures: int = 0
    tried: float = -inf
    due: float = 0.0
    problem: str = "not tried yet"
    settled: int = 0

    def fine(self) -> None:
        """It was of use."""
        self.failures = 0
        self.due = 0.0

    def failed(self, now: float, problem: str) -> None:
        """It was not."""
        pause = min(CLIENT_HOLDOFF_MIN * 2.0 ** min(self.failures, 30), CLIENT_HOLDOFF_MAX)
        self.failures += 1
        self.tried = now
        self.due = now + pause * chance.uniform(0.5, 1.0)
        self.problem = problem

    def take_idle(self) -> L | None:
        """A connection that is free and as it should be; those that are not are closed."""
        while self.idle:
            line = self.idle.pop()
            if line.is_quiet():
                return line
            line.close()
        return None

    def hang_up(self) -> None:
        """Close what is free."""
        while self.idle:
            self.idle.pop().close()
