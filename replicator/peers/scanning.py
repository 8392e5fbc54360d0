"""The scans of one conversation: own keys cut into ranges (R9), and digests (R16), in threads.

A scan of ranges is one call; a digest of a large store takes long, so it is made in steps and rests
between them as long as they take.
"""

from collections.abc import Callable
from functools import partial
from typing import TypeVar

import trio

from replicator.core.compare import Part, Stretch
from replicator.protocol.comparison import DigestTaken, Scan, Scanned, TakeDigest
from replicator.protocol.effects import Effect, Event
from replicator.store.store import Store

ScanEffect = Scan | TakeDigest

T = TypeVar("T")

SCANS_MAX = 2
"""Scans that wait: a conversation has at most one of each kind under way."""


class Scanning:
    """Carries out what a conversation has to look at in its own store. For one trio thread.

    Args:
        workers: bounds the threads.
        post: takes the answers.
        failed: takes what the store raised, for one effect instead of an answer.
    """

    def __init__(
        self,
        store: Store,
        workers: trio.CapacityLimiter,
        post: Callable[[Event], None],
        failed: Callable[[Effect, Exception], None],
    ) -> None:
        self._store = store
        self._workers = workers
        self._post = post
        self._failed = failed
        self._put, self._effects = trio.open_memory_channel[ScanEffect](SCANS_MAX)

    def put(self, effect: ScanEffect) -> None:
        """Begin to look."""
        self._put.send_nowait(effect)

    async def run(self) -> None:
        """Look until cancelled."""
        async with trio.open_nursery() as nursery:
            async for effect in self._effects:
                nursery.start_soon(self._carry_out, effect)

    async def _carry_out(self, effect: ScanEffect) -> None:
        try:
            if isinstance(effect, Scan):
                self._post(Scanned(*await self._in_thread(partial(self._scan, effect))))
            else:
                self._post(await self._digest(effect.moment_ms))
        except Exception as error:
            self._failed(effect, error)

    def _scan(self, effect: Scan) -> tuple[tuple[Part, ...], tuple[Stretch, ...]]:
        return self._store.watching.scan(effect.stretches, effect.moment_ms)

    async def _digest(self, moment_ms: int) -> DigestTaken:
        scan = await self._in_thread(partial(self._store.watching.digest, moment_ms))
        try:
            digest = None
            while digest is None:
                begun = trio.current_time()
                digest = await self._in_thread(scan.step)
                await trio.sleep(trio.current_time() - begun)
            return DigestTaken(scan.known, scan.closed, digest, scan.is_settled)
        finally:
            with trio.CancelScope(shield=True):
                await self._in_thread(scan.close)

    async def _in_thread(self, call: Callable[[], T]) -> T:
        return await trio.to_thread.run_sync(call, limiter=self._workers)
