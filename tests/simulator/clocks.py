"""The wall clocks of a cluster: off by a constant, and set to something else on the way.

What timestamps owe to them, whatever they do: none lies further ahead of the wall clock at which it
is issued than the bound, and those of one process grow, unless its clock was set back so far that
what it had issued or adopted lies further ahead than that. Jumps are drawn from dice of their own,
so that the rest of a seed stays the run it is.
"""

from collections.abc import Callable
from random import Random

from replicator.core.clock import SMOOTHED_MS, roughly, to_ms
from replicator.core.record import Version

from .loop import Loop
from .plan import Plan

EPOCH_MS = 1_790_000_000_000
"""The wall clock at the beginning of virtual time."""

JUMPS_MS = tuple(seconds * 1000 for seconds in (1, 600, 3_000, 86_400, 31_536_000, 315_360_000))
"""How far a clock is set forward or back: within the bound, and far beyond."""

JUMPS_MAX = 5


class Clocks:
    """Every node's wall clock, and the timestamps that were issued by it.

    Args:
        skew_max_ms: how far ahead of its own wall clock a node may follow another's.
    """

    def __init__(self, plan: Plan, loop: Loop, skew_max_ms: int) -> None:
        self._plan = plan
        self._loop = loop
        self._skew_max_ms = skew_max_ms
        self._lead_max_ms = skew_max_ms + SMOOTHED_MS
        self._offset_ms = dict(plan.skew_ms)
        self._issued: list[int] = []
        self._last: dict[str, int] = {}
        self._highest_ms: dict[str, int] = {}
        self._dice = Random(f"{plan.profile.about} {plan.seed} clock jumps")

    def wall_ms(self, name: str) -> int:
        """What a node's wall clock shows now, milliseconds since the epoch."""
        return EPOCH_MS + self._offset_ms[name] + int(self._loop.now * 1000)

    def set_off(self, name: str, offset_ms: int) -> None:
        """Set a node's clock: so far off from now on."""
        self._highest_ms[name] = max(self._highest_ms.get(name, 0), self.wall_ms(name))
        self._offset_ms[name] = offset_ms

    def schedule(self, told: Callable[[str, str], None]) -> None:
        """Set clocks to something else now and then, where the seed has that.

        Args:
            told: given the node and what happens, for the transcript.
        """
        if "clock jump" not in self._plan.faults:
            return
        for _ in range(self._dice.randint(1, JUMPS_MAX)):
            moment = self._dice.uniform(0, self._plan.profile.seconds)
            self._loop.after(moment, lambda: self._jump(told))

    def _jump(self, told: Callable[[str, str], None]) -> None:
        name = self._dice.choice(self._plan.names)
        by_ms = self._dice.choice((1, -1)) * self._dice.choice(JUMPS_MS)
        if self._dice.random() < 0.3:
            by_ms = -self._offset_ms[name]  # somebody sets it right
        self._highest_ms[name] = max(self._highest_ms.get(name, 0), self.wall_ms(name))
        self._offset_ms[name] += by_ms
        which = "forward" if by_ms > 0 else "back"
        told(name, f"its clock is set {which} by {roughly(abs(by_ms) / 1000)}")

    def opened(self, name: str) -> None:
        """A process opens the store: what an earlier one issued is as far known as it is live."""
        self._last.pop(name, None)
        self._highest_ms[name] = self.wall_ms(name)

    def fault(self, name: str, version: Version) -> str | None:
        """What is wrong with the timestamp of a write that a node issues now."""
        wall_ms = self.wall_ms(name)
        bound_ms = wall_ms + self._lead_max_ms
        if to_ms(version.timestamp) > bound_ms + 1:
            return f"{name} follows a clock that is too far ahead of its own"
        last = self._last.get(name, -1)
        adoptable_ms = max(self._highest_ms[name], wall_ms) + self._skew_max_ms
        adopted_ms = [ms for ms in map(to_ms, self._issued) if ms <= adoptable_ms]
        self._last[name] = version.timestamp
        self._issued.append(version.timestamp)
        if version.timestamp <= last and max(adopted_ms, default=0) <= bound_ms:
            return f"{name} issues a timestamp that is not later than its last one"
        return None
