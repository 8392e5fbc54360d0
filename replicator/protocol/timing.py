"""When a conversation has to do something although nothing happens."""

from math import inf

from replicator.config import Settings

SILENCES_MAX = 3
"""A peer that is silent for so many keepalives is dropped."""


class Timing:
    """What happened last on one conversation, in seconds of the driver's clock.

    Args:
        dialled: the side that dialled leaves first.
        now: the conversation begins.

    Attributes:
        limit_at: by when the greeting, or the farewell, has to be over.
        heard_at, sent_at: when something was last heard and sent.
        active_at: when something other than a sign of life was.
    """

    __slots__ = ("_patience", "_settings", "active_at", "heard_at", "limit_at", "sent_at")

    def __init__(self, settings: Settings, dialled: bool, now: float) -> None:
        self._settings = settings
        self._patience = settings.linger + (0.0 if dialled else settings.reask_timeout)
        self.heard_at = self.sent_at = self.active_at = now
        self.limit(now)

    def limit(self, now: float) -> None:
        """What begins now has to be over in ``connect_timeout``."""
        self.limit_at = now + self._settings.connect_timeout

    def heard(self, now: float, active: bool = True) -> None:
        self.heard_at = now
        if active:
            self.active_at = now

    def sent(self, now: float, active: bool = True) -> None:
        self.sent_at = now
        if active:
            self.active_at = now

    def silent_at(self, reading: bool) -> float:
        """When the peer is to be given up; never while it is not read."""
        return self.heard_at + SILENCES_MAX * self._settings.keepalive if reading else inf

    @property
    def ping_at(self) -> float:
        """When the peer ought to hear a sign of life."""
        return self.sent_at + self._settings.keepalive

    def quiet_at(self, lacking: bool) -> float:
        """When it has been idle for long enough: longer where one side still lacks something that
        it has perhaps asked from others."""
        waiting = self._settings.reask_timeout if lacking else 0.0
        return self.active_at + self._patience + waiting
