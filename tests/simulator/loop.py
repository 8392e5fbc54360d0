"""Virtual time: actions in the order of their moments, ties in the order they were asked for."""

from collections.abc import Callable
from heapq import heappop, heappush

Action = Callable[[], None]


class Loop:
    """Runs actions at moments of virtual time, in seconds."""

    def __init__(self) -> None:
        self.now = 0.0
        self._actions: list[tuple[float, int, Action]] = []
        self._count = 0

    def after(self, delay: float, action: Action) -> None:
        """Run `action` `delay` seconds from now."""
        self._count += 1
        heappush(self._actions, (self.now + delay, self._count, action))

    def run(self, until: float, stop: Callable[[], bool]) -> bool:
        """Run everything up to the moment `until`, or until `stop()` holds after an action.

        Returns:
            Whether `stop()` held.
        """
        while self._actions and self._actions[0][0] <= until:
            self.now, _, action = heappop(self._actions)
            action()
            if stop():
                return True
        self.now = until
        return False
