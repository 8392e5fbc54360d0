"""Links between nodes and the connections over them, as TCP gives them.

A connection delivers its payloads in order, each way, until it breaks; what was under way then is
lost, whatever it was, and the two ends hear of it at moments of their own, if at all. A link that
goes down either breaks its connections or freezes them: then everything arrives once it is up.
"""

from collections import deque
from math import isqrt
from random import Random
from typing import Protocol

from replicator.core.known import KnownSet

from .loop import Loop

PART_SECONDS = 0.1
"""How often the other end hears that a long message is coming in."""


class End(Protocol):
    """Who uses one end of a connection."""

    def heard(self) -> None:
        """Some of what the other end sends has come, no whole message yet."""

    def arrived(self, payload: bytes) -> None:
        """The other end sent this."""

    def lost(self, reason: str) -> None:
        """The connection is gone; nothing can be sent any more."""


class Connection:
    """One connection; ends 0 (who dialled) and 1.

    Attributes:
        unexplained: of either end, for the oracle: what its snapshot lacks for reasons that itself
            does not know (`ModelStore.unexplained`).
    """

    def __init__(self, link: "Link") -> None:
        self.link = link
        self.open = True
        self.ends: list[End] = []
        self.unexplained = [KnownSet(), KnownSet()]
        self._ways = (_Way(), _Way())

    def send(self, end: int, payload: bytes) -> None:
        """Send from one end; nothing happens if the connection is broken."""
        if not self.open:
            return
        way, link = self._ways[end], self.link
        way.taken = max(way.taken, link.loop.now) + link.seconds_per_byte * len(payload)
        for part in range(1, int((way.taken - link.loop.now) / PART_SECONDS)):
            link.loop.after(part * PART_SECONDS, lambda: self._part_came(end))
        self._put(end, payload)

    def _part_came(self, end: int) -> None:
        if self.open and self.link.up and len(self.ends) > 1:
            self.ends[1 - end].heard()

    def close(self, end: int) -> None:
        """One end closes; the other end hears of it behind what was sent."""
        if self.open:
            self._put(end, None)

    def _put(self, end: int, payload: bytes | None) -> None:
        way, link = self._ways[end], self.link
        way.payloads.append(payload)
        way.arrival = max(way.arrival, way.taken + link.latency(), link.loop.now)
        link.loop.after(way.arrival - link.loop.now, lambda: self._arrive(end))

    def taken(self, end: int) -> float:
        """How many seconds until everything sent from one end is on its way."""
        return max(0.0, self._ways[end].taken - self.link.loop.now)

    def _arrive(self, end: int) -> None:
        way = self._ways[end]
        if not self.open or not way.payloads:
            return
        if not self.link.up:
            way.held += 1
            return
        payload = way.payloads.popleft()
        if payload is not None:
            self.ends[1 - end].arrived(payload)
            return
        self.open = False
        self.link.connections.remove(self)
        self.ends[1 - end].lost("the peer closed the connection")

    def thaw(self) -> None:
        """The link is up again: what was held arrives, in order, in a while."""
        for end, way in enumerate(self._ways):
            for _ in range(way.held):
                self.link.loop.after(self.link.latency(), lambda end=end: self._arrive(end))  # type: ignore[misc]
            way.held = 0

    def cut(self, heard: tuple[float | None, float | None]) -> None:
        """Break: what is under way is lost.

        Args:
            heard: seconds until each end hears of it, None for never.
        """
        if not self.open:
            return
        self.open = False
        self.link.connections.remove(self)
        for end, delay in enumerate(heard):
            if delay is not None:
                self.link.loop.after(delay, lambda end=end: self.ends[end].lost("connection reset"))  # type: ignore[misc]


class _Way:
    """One direction of a connection."""

    def __init__(self) -> None:
        self.payloads: deque[bytes | None] = deque()
        self.taken = 0.0
        self.arrival = 0.0
        self.held = 0


class Link:
    """What lies between two nodes.

    Attributes:
        names: of the two nodes.
        up: whether anything gets through.
    """

    def __init__(self, loop: Loop, random: Random, names: tuple[str, str], slow: bool) -> None:
        self.loop = loop
        self.names = names
        self.up = True
        self.connections: list[Connection] = []
        self.seconds_per_byte = 2e-4 if slow else 1e-6
        self._random = random
        self._latency = 0.2 if slow else 0.01

    def latency(self) -> float:
        return self._latency * (0.5 + self._random.random())

    def connect(self) -> Connection:
        connection = Connection(self)
        self.connections.append(connection)
        return connection

    def cut(self) -> None:
        """Break every connection; each end hears of it soon, late or never."""
        for connection in self.connections[:]:
            connection.cut((self._heard(), self._heard()))

    def go_down(self, freeze: bool) -> None:
        self.up = False
        if not freeze:
            self.cut()

    def come_up(self) -> None:
        self.up = True
        for connection in self.connections:
            connection.thaw()

    def _heard(self) -> float | None:
        chance = self._random.random()
        return None if chance < 0.2 else 0.02 if chance < 0.7 else self._random.uniform(0.1, 3.0)


def topology(kind: str, names: list[str]) -> list[tuple[str, str]]:
    """Which nodes are linked: "line", "ring", "star", "mesh", "tree" or "grid"."""
    count = len(names)
    pairs: list[tuple[int, int]]
    if kind == "mesh":
        pairs = [(i, j) for j in range(count) for i in range(j)]
    elif kind == "star":
        pairs = [(0, i) for i in range(1, count)]
    elif kind == "tree":
        pairs = [((i - 1) // 2, i) for i in range(1, count)]
    elif kind == "grid":
        width = isqrt(count)
        pairs = [(i - 1, i) for i in range(1, count) if i % width]
        pairs += [(i - width, i) for i in range(width, count)]
    else:
        pairs = [(i - 1, i) for i in range(1, count)]
        if kind == "ring" and count > 2:
            pairs.append((0, count - 1))
    return [(names[i], names[j]) for i, j in pairs]
