"""Sync points of one store (R11), one at a time, each for all who asked before it began."""

import trio
from trio.lowlevel import ParkingLot

from replicator.core.known import KnownSet
from replicator.store.store import Store


class SyncPoints:
    """Makes sync points. For one trio thread.

    Args:
        limiter: bounds the worker threads.
    """

    def __init__(self, store: Store, limiter: trio.CapacityLimiter) -> None:
        self._store = store
        self._limiter = limiter
        self._is_running = False
        self._begun = self._done = 0
        self._over = ParkingLot()

    async def make(self) -> None:
        """Return after a sync point that began after this call.

        Those who ask while one is being made share the next one. Where it fails, each of them tries
        for itself.

        Raises:
            StorageError, ClosedError: see `Store.sync_point`.
        """
        mine = self._begun + 1
        while self._done < mine:
            if self._is_running:
                await self._over.park()
            else:
                await self._lead()

    async def _lead(self) -> None:
        self._is_running = True
        self._begun = turn = self._begun + 1
        try:
            await trio.to_thread.run_sync(self._store.sync_point, limiter=self._limiter)
            self._done = turn
        finally:
            self._is_running = False
            self._over.unpark_all()

    async def cover(self, dots: KnownSet) -> KnownSet:
        """Make dots durable that are known.

        Returns:
            Those of them that are durable now: all, unless this node took a new origin meanwhile
            and gave some up (R13).

        Raises:
            StorageError, ClosedError: see `Store.sync_point`.
        """
        if not self._store.durable.issuperset(dots):
            await self.make()
        return self._store.durable.intersection(dots)
