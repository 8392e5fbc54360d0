"""Running a user's resolver safely: what it raises or how long it takes stops nothing (R6)."""

import logging
import queue
import threading
from collections.abc import Callable, Sequence

from replicator.core.record import Version
from replicator.core.resolve import Resolution, Resolver, ResolverMode, resolve
from replicator.core.resolvers import is_trusted
from replicator.errors import UsageError

logger = logging.getLogger("replicator")


_here = threading.local()
"""Whether this thread runs a resolver."""

HUNG_MAX = 8
"""Calls of a resolver that may be left behind, each in its thread; beyond that the resolver is
not called until one of them comes back."""


class Settler:
    """Resolves siblings with the node's resolver. Thread-safe.

    Ready-made resolvers run in place; a user's runs in a thread of its own with a time limit. One
    that takes too long is left behind in its thread, and the default order decides for that key. A
    resolver may read through the handle; one that makes the store settle a conflict in turn would
    call itself without end, and is refused.

    Attributes:
        resolver, mode: see `replicator.core.resolve`.
        faults: how often the default order had to decide because the resolver failed.
    """

    def __init__(self, resolver: Resolver, mode: ResolverMode, timeout: float) -> None:
        self.resolver = resolver
        self.mode: ResolverMode = mode
        self.faults = 0
        self._timeout = timeout
        self._hung = 0
        self._hung_lock = threading.Lock()

    def resolve(self, versions: Sequence[Version]) -> Resolution:
        """What the key of these live versions shows, whatever the resolver does.

        Raises:
            UsageError: called from within the resolver.
        """
        if len(versions) == 1:
            return Resolution(versions[0], merged=False, conflict=False)
        if getattr(_here, "is_resolving", False):
            raise UsageError(
                f"the resolver wrote key {versions[0].key[:40]!r}, which has to be settled by the "
                "resolver: it must decide from the two versions alone"
            )
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
        fault: Exception
        if self._hung < HUNG_MAX:
            call = _Call(lambda: resolve(versions, self.resolver, self.mode))
            try:
                answer = call.answer.get(timeout=self._timeout)
                if isinstance(answer, Resolution):
                    return answer
                fault = RuntimeError(f"it raised {answer!r}")
            except queue.Empty:
                fault = TimeoutError(f"it took longer than {self._timeout} s")
                self._leave_behind(call)
        else:
            fault = TimeoutError(f"{HUNG_MAX} earlier calls of it have not come back")
        return resolve(versions, _raising(fault), self.mode)

    def _leave_behind(self, call: "_Call") -> None:
        with self._hung_lock:
            self._hung += 1

        def came_back() -> None:
            with self._hung_lock:
                self._hung -= 1

        call.when_over(came_back)


class _Call:
    """One call in a thread of its own.

    Attributes:
        answer: gets what the call returns or raises.
    """

    def __init__(self, function: Callable[[], Resolution]) -> None:
        self.answer: queue.SimpleQueue[Resolution | BaseException] = queue.SimpleQueue()
        self._function = function
        self._lock = threading.Lock()
        self._over = False
        self._then: Callable[[], None] | None = None
        threading.Thread(target=self._run, name="replicator resolver", daemon=True).start()

    def when_over(self, then: Callable[[], None]) -> None:
        """Call `then` when the call has ended, in its thread, or at once."""
        with self._lock:
            if not self._over:
                self._then = then
                return
        then()

    def _run(self) -> None:
        _here.is_resolving = True
        try:
            self.answer.put(self._function())
        except BaseException as error:  # SystemExit and the like end nothing here
            self.answer.put(error)
        with self._lock:
            self._over = True
        if self._then is not None:
            self._then()


def _raising(error: Exception) -> Resolver:
    def resolver(a: Version, b: Version) -> bool:
        raise error

    return resolver
