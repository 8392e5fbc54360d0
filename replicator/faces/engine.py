"""What runs behind a handle, and the order in which it ends.

An engine knows nothing of its handle, so that a handle that nobody refers to any more can be
collected, which closes all of this, as plyvel does.
"""

import logging
import threading
import weakref
from contextlib import ExitStack
from typing import Protocol

import plyvel
from plyvel._plyvel import PrefixedDB

from replicator.events import Events
from replicator.faces.lease import Closable, Recall
from replicator.node import Node
from replicator.store.level import split
from replicator.store.store import Store

logger = logging.getLogger("replicator")


class Runner(Protocol):
    """Whatever runs the node: a thread of its own, or the caller's nursery."""

    def stop(self) -> bool:
        """End the node; whether it has ended."""


class Engine:
    """One open store with its node and its events, ended in one order.

    Args:
        db: what was wrapped.
        node: already running, by `runner`.
        events: what the node tells.

    Attributes:
        root, prefix: the LevelDB of `db`, and what `db` puts before every key.
        iterators: those handed out.
        held: what else holds something of LevelDB's, and is closed before that is. Not by weak
            references: where a handle and what was got from it are garbage together, those are
            gone first.
        closing: held while it closes.
    """

    def __init__(
        self,
        db: plyvel.DB | PrefixedDB,
        store: Store,
        node: Node,
        runner: Runner,
        events: Events,
    ) -> None:
        self.db = db
        self.root, self.prefix = split(db)
        self.store = store
        self.node = node
        self.events = events
        self.iterators: weakref.WeakSet[Closable] = weakref.WeakSet()
        self.held: set[Closable] = set()
        self.closing = threading.RLock()
        self._runner = runner
        self._is_closed = False

    def close(self, calls: Recall | None = None) -> None:
        """End everything; what fails is raised when the rest is done. Idempotent.

        Args:
            calls: those in flight through the handle, where there still is one.
        """
        with self.closing, ExitStack() as stack:
            if self._is_closed:
                return
            self._is_closed = True
            if self.db is self.root:
                stack.callback(self.root.close)
            stack.callback(self.store.close)
            stack.callback(self._close_iterators)
            if calls is not None:
                stack.callback(calls.wait, self.root.name)
            stack.callback(self.store.gate.shut)
            stack.callback(self.events.close)
            stack.callback(self._stop_node)

    def _stop_node(self) -> None:
        """Return when nothing of the node is inside the store any more: LevelDB must not be closed
        before."""
        while not self._runner.stop():
            logger.warning("closing %r still waits for its node to stop", self.root.name)

    def _close_iterators(self) -> None:
        for holder in [*self.iterators, *self.held]:
            holder.close()
