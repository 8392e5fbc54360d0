"""Running a user's resolver safely: what it raises or how long it takes stops nothing (R6)."""

import logging
import queue
import threading
from collections.abc import Sequence

from replicator.core.record import Version
from replicator.core.resolve import Resolution, Resolver, ResolverMode, resolve
from replicator.core.resolvers import is_trusted

logger = logging.getLogger("replicator")


class Settler:
    """Resolves siblings with the node's resolver. Thread-safe.

    Ready-made resolvers run in place; a user's runs in a thread of its own with a time limit. One
    that takes too long is left behind in its thread, and the default order decides for that key.

    Attributes:
        resolver, mode: see `replicator.core.resolve`.
        faults: how often the default order had to decide because the resolver failed.
    """

    def __init__(self, resolver: Resolver, mode: ResolverMode, timeout: float) -> None:
        self.resolver = resolver
        self.mode: ResolverMode = mode
        self.faults = 0
        self._timeout = timeout

    def resolve(self, versions: Sequence[Version]) -> Resolution:
        """What the key of these live versions shows, whatever the resolver does."""
        if len(versions) == 1:
            return Resolution(versions[0], merged=False, conflict=False)
        if is_trusted(self.resolver):
            resolution = resolve(versions, self.resolver, self.mode)
        else:
            resolution = self._resolve_in_time(versions)
        if resolution.fault is not None:
            self.faults += 1
            logger.warning(
                "the resolver failed for key %r, the default order decided: %r",
                versions[0].key,
                resolution.fault,
            )
        return resolution

    def _resolve_in_time(self, versions: Sequence[Version]) -> Resolution:
        answer: queue.SimpleQueue[Resolution] = queue.SimpleQueue()
        threading.Thread(
            target=lambda: answer.put(resolve(versions, self.resolver, self.mode)),
            name="replicator resolver",
            daemon=True,
        ).start()
        try:
            return answer.get(timeout=self._timeout)
        except queue.Empty:
            fault = TimeoutError(f"it took longer than {self._timeout} s")
            return resolve(versions, _raising(fault), self.mode)


def _raising(error: Exception) -> Resolver:
    def resolver(a: Version, b: Version) -> bool:
        raise error

    return resolver
