"""A handle whose node runs in the caller's own trio nursery."""

import threading
from math import inf

import trio

from replicator.background import STOP_SECONDS
from replicator.core.known import KnownSet
from replicator.core.token import read_token
from replicator.errors import UsageError
from replicator.faces.changes import AsyncChanges, Bell, Origins
from replicator.faces.engine import Engine
from replicator.faces.handle import Replica
from replicator.node import Node
from replicator.peers.replicated import check_replicas, check_timeout
from replicator.store.growth import COALESCE_SECONDS, knows, ringing


class NurseryNode:
    """Runs a node as a task of the loop in which this is made."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._ended = threading.Event()
        self._thread = threading.get_ident()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run the node. See `Node.run`."""
        try:
            await self._node.run(task_status=task_status)
        finally:
            self._ended.set()

    @property
    def waits_for_this_thread(self) -> bool:
        """Whether the node cannot end while the calling thread waits for that."""
        return threading.get_ident() == self._thread and not self._ended.is_set()

    def stop(self, timeout: float = STOP_SECONDS) -> bool:
        """Have the node end, in any other thread.

        Returns:
            Whether it has ended.
        """
        self._node.stop()
        return self._ended.wait(timeout)


class TrioReplica(Replica):
    """What `open_replica` gives: a handle like any other, with what blocks for the network also
    as something to await.

    All of plyvel's methods stay plain calls in the caller's thread: they take microseconds. A
    first write that waits for peers, ``sync=True``, `digest` and long iterations are better called
    through `trio.to_thread.run_sync`, which any method of a handle allows.
    """

    __slots__ = ("_runner",)

    def __init__(self, engine: Engine, runner: NurseryNode) -> None:
        super().__init__(engine)
        self._runner = runner

    async def synchronize(self, timeout: float | None = None) -> bool:
        """As `sync`, to be awaited in the trio thread of the handle."""
        self._check_open()
        return await self._engine.node.synchronize(timeout)

    async def replicated(self, replicas: int, timeout: float | None = None) -> None:
        """Wait until so many peers hold on disk all that was written here so far: the twin of
        ``replicas=`` of `put` and the others.

        Args:
            replicas: how many peers, from 1 on.
            timeout: seconds; None waits as long as it takes.

        Raises:
            NotReplicated: they did not, in that time. The writes stay; on cancellation too.
            UsageError: an argument makes no sense.
            RuntimeError: the handle is closed.
        """
        self._check_open()
        check_replicas(replicas, timeout)
        store = self._engine.store
        own = store.known().bounds(store.origin)
        if own:
            dots = KnownSet({store.origin: own})
            await self._engine.node.replicated.until(dots, replicas, timeout)

    async def reached(self, token: str, timeout: float | None = None) -> bool:
        """As `wait_for`, to be awaited."""
        self._check_open()
        check_timeout(timeout)
        wanted, store, bell = read_token(token), self._engine.store, Bell()
        with trio.move_on_after(inf if timeout is None else timeout):
            with ringing(store, bell.ring) as arm:
                while True:
                    bell.clear()
                    arm()
                    if knows(store, wanted):
                        return True
                    await bell.wait()
                    await trio.sleep(COALESCE_SECONDS)
        return False

    def follow(
        self,
        since: str | None = None,
        *,
        origins: Origins = None,
        follow: bool = True,
        timeout: float | None = None,
    ) -> AsyncChanges:
        """As `changes`, for ``async for``."""
        self._check_open()
        return AsyncChanges(self, since, origins, follow, timeout)

    def close(self) -> None:
        """As any handle's. The end of the ``async with`` block does it.

        Raises:
            UsageError: called in the trio thread before that.
        """
        if self._runner.waits_for_this_thread:
            raise UsageError(
                "close() in the trio thread would wait for itself: leave the `async with` block, "
                "which closes the handle"
            )
        super().close()
