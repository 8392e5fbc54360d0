"""A handle whose node runs in the caller's own trio nursery."""

import threading

import trio

from replicator.background import STOP_SECONDS
from replicator.errors import UsageError
from replicator.faces.engine import Engine
from replicator.faces.handle import Replica
from replicator.node import Node


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
