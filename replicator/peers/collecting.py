"""Collecting while the node runs (R8, R10): when a pass is worth its while, and at which rate.

A watermark is taken, and used once this node knows every dot in the acknowledgements that it was
taken from; under steady writing that comes a little later. A pass goes on in steps, each in a
thread; where steps find little, they leave most of the time to others.
"""

import time
from functools import partial

import trio

from replicator.config import (
    COLLECT_PATIENCE_SECONDS,
    COLLECT_POLL_SECONDS,
    COLLECT_SECONDS,
    COLLECT_SHARE,
)
from replicator.core.known import KnownSet
from replicator.core.members import Watermark
from replicator.peers.forgetting import Forgetting
from replicator.peers.hosting import Hosting
from replicator.peers.membership import Membership
from replicator.store.collect import Step
from replicator.store.store import Store

NEVER = Watermark({}, KnownSet())
"""No watermark."""

FRUITFUL = 0.05
"""The part of the rows that a step has to collect for the next one to follow at once."""


class Collecting:
    """Collects in one store, by the members that its node knows. For one trio thread.

    Args:
        forgetting: looks after silent members, who hold collecting up.
    """

    def __init__(
        self,
        store: Store,
        membership: Membership,
        hosting: Hosting,
        forgetting: Forgetting,
    ) -> None:
        self._store = store
        self._membership = membership
        self._hosting = hosting
        self._forgetting = forgetting
        self._limiter = hosting.workers.common
        self._used = NEVER
        self._left = 0
        self._expires_ms: int | None = None

    async def keep(self) -> None:
        """Collect whenever there may be something to collect; never ends."""
        while True:
            await trio.sleep(COLLECT_SECONDS)
            try:
                self._forgetting.look(self._store.origin)
                await self._close()
                origin, watermark = self._store.origin, self._membership.watermark()
                if self._is_due(watermark) and await self._knows(watermark):
                    await self._pass(watermark, origin)
            except Exception as error:
                self._hosting.complain("collecting", error)

    async def _close(self) -> None:
        """Close what nobody will ever hold, and issue again what turns up of it (R10)."""
        closing, dots = self._store.closing, self._membership.closable()
        if dots:
            await trio.to_thread.run_sync(partial(closing.close, dots), limiter=self._limiter)
            self._hosting.closed()
        if self._store.closed_dots:
            await trio.to_thread.run_sync(closing.reissue, limiter=self._limiter)

    def _is_due(self, watermark: Watermark) -> bool:
        """Whether a pass may find something: there is something new, which is at least counted, or
        what the last one left can have come under the watermark since, or expired for everybody."""
        if self._store.is_littered:
            return True
        has_expired = self._expires_ms is not None and self._expires_ms < watermark.said_ms
        return has_expired or (self._left > 0 and watermark.covered != self._used.covered)

    async def _knows(self, watermark: Watermark) -> bool:
        """Wait until this node knows all that the watermark was taken from. A member may have
        acknowledged what nobody can give any more; then a later watermark has to do."""
        with trio.move_on_after(COLLECT_PATIENCE_SECONDS):
            while not self._store.known().issuperset(watermark.needs):
                await trio.sleep(COLLECT_POLL_SECONDS)
            return True
        return False

    async def _pass(self, watermark: Watermark, origin: int) -> None:
        self._used, self._left = NEVER, 1  # whatever ends it early, another one follows
        left, expiries = 0, list[int]()
        last = None
        while True:
            started = time.monotonic()
            step = await trio.to_thread.run_sync(
                partial(self._store.collect, watermark, origin, last), limiter=self._limiter
            )
            if step.is_void:
                return
            left += step.tombstones + step.wide
            expiries += [] if step.expires_ms is None else [step.expires_ms]
            last = step.last
            if last is None:
                break
            await trio.sleep(_rest(step, time.monotonic() - started))
        self._used, self._left, self._expires_ms = watermark, left, min(expiries, default=None)


def _rest(step: Step, seconds: float) -> float:
    """How long to leave the store to others after a step that took so long."""
    if step.dropped + step.shrunk >= FRUITFUL * step.rows:
        return 0
    return seconds * (1 / COLLECT_SHARE - 1)
