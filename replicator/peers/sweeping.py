"""Sweeping while the node runs (R17): what expires goes within `SWEEP_SECONDS` of its moment.

The wall clock is looked at again and again instead of a timer being set: it may be put forward or
back. Where the store holds nothing that expires, nothing is done until a commit brings some.
"""

import trio

from replicator.config import SWEEP_SECONDS
from replicator.store.store import Store

SWEEP_SECONDS_MIN = 0.005
"""Shortest pause: values that expire one after the other are swept together."""


class Sweeping:
    """Sweeps one store. For one trio thread.

    Args:
        limiter: bounds the threads.
    """

    def __init__(self, store: Store, limiter: trio.CapacityLimiter) -> None:
        self._store = store
        self._limiter = limiter
        self._changed = trio.Event()

    def changed(self) -> None:
        """There were commits: perhaps of something that expires."""
        if self._store.due.is_any:
            self._changed.set()

    async def keep(self) -> None:
        """Sweep whenever something is due; never ends."""
        store = self._store
        while True:
            if not store.due.is_any:
                self._changed = trio.Event()
                if not store.due.is_any:
                    await self._changed.wait()
            if store.due.is_now(store.wall_ms()):
                await trio.to_thread.run_sync(store.sweep, limiter=self._limiter)
            await trio.sleep(self._pause())

    def _pause(self) -> float:
        """Until the next moment, if that is soon."""
        next_ms = self._store.due.next_ms
        left = SWEEP_SECONDS if next_ms is None else (next_ms - self._store.wall_ms()) / 1000
        return min(max(left, SWEEP_SECONDS_MIN), SWEEP_SECONDS)
