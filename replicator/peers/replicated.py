"""The way to the waiting for peers' disks, from any thread and from the trio thread."""

import trio

from replicator.core.known import KnownSet
from replicator.errors import UsageError
from replicator.peers.loopcalls import LoopCalls
from replicator.peers.waiting import Waiting


class Replicated:
    """Waits until peers hold own writes on disk. Thread-safe.

    Args:
        waiting: of the node.
    """

    def __init__(self, waiting: Waiting) -> None:
        self._waiting = waiting
        self._calls: LoopCalls | None = None

    def begin(self, calls: LoopCalls) -> None:
        """The node runs."""
        self._calls = calls

    def refuse_inside(self) -> None:
        """Refuse, before anything is written, what would wait for itself.

        Raises:
            UsageError: called in the node's own trio thread.
        """
        if self._calls is not None and self._calls.is_inside:
            raise UsageError(
                "replicas= waits for peers, which this trio thread has to talk to: write without "
                "it, then `await db.replicated(...)`"
            )

    def wait(self, dots: KnownSet, replicas: int, timeout: float | None) -> None:
        """Block until so many peers hold these own dots on disk. See `Waiting.until_held`.

        Raises:
            NotReplicated: in that time they did not, or the node stopped.
            UsageError: called in the node's own trio thread.
        """
        calls, scope = self._calls, trio.CancelScope()

        async def wait() -> bool:
            with scope:
                await self._waiting.until_held(dots, replicas, timeout)
                return True
            return False

        try:
            if calls is not None and calls.run(wait, False):
                return
        except (KeyboardInterrupt, SystemExit):
            if calls is not None:
                calls.soon(scope.cancel)
            raise
        raise self._waiting.failure(dots, replicas, "when this node stopped")

    async def until(self, dots: KnownSet, replicas: int, timeout: float | None) -> None:
        """`wait`, to be awaited in the trio thread of the node."""
        await self._waiting.until_held(dots, replicas, timeout)


def check_replicas(replicas: object, timeout: object) -> None:
    """Refuse nonsense, before anything is written.

    Raises:
        UsageError: `replicas` is no whole number from 1 on, `timeout` is negative or no number, or
            comes without `replicas`.
    """
    if replicas is None:
        if timeout is not None:
            raise UsageError("timeout= says how long to wait for replicas=: give both, or none")
        return
    if type(replicas) is not int or replicas < 1:
        raise UsageError(
            f"replicas={replicas!r}: on the disks of how many peers? A whole number from 1 on; "
            "sync=True is about the own disk"
        )
    check_timeout(timeout)


def check_timeout(timeout: object) -> None:
    """Refuse what is no time to wait.

    Raises:
        UsageError: it is negative, or no number.
    """
    if timeout is None:
        return
    if type(timeout) not in (int, float) or not timeout >= 0:  # type: ignore[operator]
        raise UsageError(f"timeout={timeout!r}: seconds to wait, 0 or more; None has no limit")
