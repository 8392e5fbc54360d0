"""A node in a thread of its own, for programs that are not written in trio."""

import logging
import threading

import trio

from replicator import exits
from replicator.errors import UsageError
from replicator.node import Node

STOP_SECONDS = 10.0
"""How long `NodeThread.stop` waits for the thread; draining is bounded to less."""

logger = logging.getLogger("replicator")


class NodeThread:
    """Runs a node's trio loop in a thread named "replicator NAME". Methods are thread-safe.

    The thread is no daemon; it is asked to stop when the main thread ends.

    Args:
        node: not run anywhere else.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._ready = threading.Event()
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the node and return when it listens.

        Raises:
            UsageError, ConfigError: it cannot, as `Node.run` says; or it was started before.
        """
        if self._thread is not None:
            raise UsageError("a node thread starts once: make a new one")
        self._thread = threading.Thread(target=self._main, name="replicator")
        self._thread.start()
        self._ready.wait()
        if self._error is not None:
            self._thread.join()
            raise self._error
        exits.when_main_ends(self.stop)

    def stop(self, timeout: float = STOP_SECONDS) -> bool:
        """Say farewell to the peers and end the thread. Idempotent.

        Returns:
            Whether the thread has ended; it has not where the disk hangs, or a user's resolver.
        """
        exits.forget(self.stop)
        thread = self._thread
        if thread is None:
            return True
        self._node.stop()
        if thread is not threading.current_thread():
            thread.join(timeout)
        return not thread.is_alive()

    def started(self, value: None = None) -> None:
        """For `Node.run`: the node listens."""
        threading.current_thread().name = f"replicator {self._node.name}"
        self._ready.set()

    def _main(self) -> None:
        try:
            trio.run(self._run)
        except BaseException as error:
            if self._ready.is_set():
                logger.critical("%s: the node has failed", self._node.name, exc_info=True)
            self._error = error
        finally:
            self._ready.set()

    async def _run(self) -> None:
        await self._node.run(task_status=self)
