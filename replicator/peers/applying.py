"""The applying effects of one conversation, carried out in a thread, one after the other."""

from collections.abc import Callable

import trio

from replicator.protocol import effects
from replicator.protocol.comparison import ApplyRanges
from replicator.protocol.effects import Apply, ApplyFull, Effect, Event, Finish
from replicator.store.apply import Applied
from replicator.store.store import Store

ApplyEffect = Apply | Finish | ApplyFull | ApplyRanges


class Applying:
    """Carries out what a conversation has to apply.

    Args:
        turns: lets one session of the node apply at a time. They take turns in the store anyway;
            so those whose turn it is not occupy no thread.
        post: takes the answers.
        applied: takes what became of each piece.
        failed: takes what the store raised, instead of an answer.
    """

    def __init__(
        self,
        store: Store,
        turns: trio.CapacityLimiter,
        post: Callable[[Event], None],
        applied: Callable[[Applied], None],
        failed: Callable[[Effect, Exception], None],
    ) -> None:
        self._store = store
        self._turns = turns
        self._post = post
        self._applied = applied
        self._failed = failed
        self._put, self._effects = trio.open_memory_channel[ApplyEffect](1)

    def put(self, effect: ApplyEffect) -> None:
        """Begin to apply. A conversation has at most one piece under way."""
        self._put.send_nowait(effect)

    async def run(self) -> None:
        """Apply until cancelled; what has been begun then is applied to the end, and told."""
        async for effect in self._effects:
            try:
                applied = await trio.to_thread.run_sync(
                    _apply, self._store, effect, limiter=self._turns
                )
            except Exception as error:
                self._failed(effect, error)
            else:
                self._applied(applied)
                self._post(effects.Applied(applied.records, applied.changed))


def _apply(store: Store, effect: ApplyEffect) -> Applied:
    match effect:
        case Apply(chunk, remote_known):
            return store.apply(chunk, remote_known)
        case Finish(chunk, remote_known, claim, floor, full):
            return store.finish(chunk, remote_known, claim, floor, full)
        case ApplyFull(chunk, remote_known, floor, after, upto):
            return store.apply_full(chunk, remote_known, floor, after, upto)
        case ApplyRanges(pieces, remote_known, floor, mends):
            return store.apply_ranges(pieces, remote_known, floor, mends=mends)
