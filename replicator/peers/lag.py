"""How far a peer is behind, in dots and in seconds."""

from replicator.core.known import KnownSet


class Lag:
    """Follows one peer, whose known set is looked at now and then.

    The oldest dot that a peer lacks is as old as the oldest goal that it has not reached.
    """

    __slots__ = ("_goal", "_goal_at")

    def __init__(self) -> None:
        self._goal: KnownSet | None = None
        self._goal_at = 0.0

    def watch(self, ours: KnownSet, theirs: KnownSet, now: float) -> None:
        """Note how far the peer is; called while this node's set grows.

        Args:
            ours: taken over, not copied.
            now: seconds of a monotonic clock.
        """
        if self._goal is None or theirs.issuperset(self._goal):
            self._goal, self._goal_at = ours, now

    def measure(self, ours: KnownSet, theirs: KnownSet, now: float) -> tuple[int, float]:
        """How many of our dots the peer lacks, and for how many seconds."""
        entries = ours.difference(theirs).count()
        self.watch(ours, theirs, now)
        return entries, now - self._goal_at if entries else 0.0
