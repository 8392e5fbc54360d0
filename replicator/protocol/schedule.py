"""When to talk to a peer again (DESIGN §4). Pure: the time, the write velocity and random numbers
come in as arguments.

A node that writes much has much to tell: the pause after a conversation is about the time in which
the next write is to be expected, within ``interval_min`` and ``interval_max``. A peer that cannot
be reached is tried again after pauses that double, up to ``holdoff_max``. Both are shortened by a
random part, so that nodes that were started, or lost a switch, together do not dial in step.
"""

from collections import deque
from math import exp, inf

from replicator.config import Settings

JITTER = 0.25
"""How much of a pause is left to chance."""

HOLDOFF_JITTER = 0.5
"""The same for a hold-off: after an outage everyone is in step."""

VELOCITY_SECONDS = 1.0
"""How long commits count in the write velocity: their weight falls to 1/e in this time."""


class WriteVelocity:
    """The decaying average of a node's commits per second.

    Args:
        now: seconds of a monotonic clock, as everywhere here.
    """

    __slots__ = ("_at", "_rate")

    def __init__(self, now: float) -> None:
        self._rate = 0.0
        self._at = now

    def add(self, commits: int, now: float) -> None:
        """So many commits were made since the last call."""
        self._rate = self.rate(now) + commits / VELOCITY_SECONDS
        self._at = now

    def rate(self, now: float) -> float:
        """Commits per second, as of now."""
        return self._rate * exp(-max(0.0, now - self._at) / VELOCITY_SECONDS)


def pause(settings: Settings, rate: float) -> float:
    """The pause after a conversation, without its random part.

    Args:
        rate: commits per second of this node (`WriteVelocity`).
    """
    high = settings.interval_max
    expected = 1 / rate if rate * high > 1 else high
    return max(settings.interval_min, min(high, expected))


class Fanout:
    """Which share of many peers a node dials (DESIGN §4), so that its traffic does not grow with
    the cluster: at most ``fanout`` conversations are open when it dials one more, and at most so
    many are dialled within a pause.

    Whom it dials is left to chance, by the random parts of their schedules; so what one node
    writes spreads to all as a rumour does, in a number of steps that grows with the logarithm of
    theirs.
    """

    __slots__ = ("_dials", "_settings")

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._dials: deque[float] = deque(maxlen=settings.fanout)

    def ready_at(self, open_count: int, rate: float) -> float:
        """When one more peer may be dialled, as things stand; `inf` while enough is open.

        Args:
            open_count: conversations, whoever dialled.
            rate: commits per second of this node (`WriteVelocity`).
        """
        if open_count >= self._settings.fanout:
            return inf
        if len(self._dials) < self._settings.fanout:
            return -inf
        return self._dials[0] + pause(self._settings, rate)

    def dialled(self, now: float) -> None:
        """A peer was reached. Attempts that fail do not count: they have hold-offs."""
        self._dials.append(now)


class PeerSchedule:
    """When to dial one peer.

    Args:
        settings: intervals and hold-off, in seconds.
        now: the peer is due at once.

    Attributes:
        due: when to dial.
        failures: how many attempts in a row have failed.
    """

    __slots__ = ("_ended_at", "_random", "_settings", "due", "failures")

    def __init__(self, settings: Settings, now: float) -> None:
        self._settings = settings
        self._ended_at = now
        self._random = 0.0
        self.due = now
        self.failures = 0

    def ended(self, now: float, rate: float, random: float) -> None:
        """A conversation has ended well.

        Args:
            rate: commits per second of this node (`WriteVelocity`).
            random: evenly distributed in [0, 1).
        """
        self.failures = 0
        self._ended_at = now
        self._random = random
        self.due = now + self._pause(rate)

    def hasten(self, rate: float) -> None:
        """Commits were made in the pause: it becomes shorter, never longer. A hold-off stays.

        Args:
            rate: commits per second of this node by now.
        """
        if not self.failures:
            self.due = min(self.due, self._ended_at + self._pause(rate))

    def failed(self, now: float, random: float) -> None:
        """The peer could not be reached, or a conversation went wrong.

        Args:
            random: evenly distributed in [0, 1).
        """
        settings = self._settings
        # Doubling stops counting long before the power overflows.
        doubled = settings.interval_min * 2.0 ** min(self.failures, 60)
        self.failures += 1
        self.due = now + min(settings.holdoff_max, doubled) * (1 - HOLDOFF_JITTER * random)

    def _pause(self, rate: float) -> float:
        least = self._settings.interval_min
        return max(least, pause(self._settings, rate) * (1 - JITTER * self._random))
