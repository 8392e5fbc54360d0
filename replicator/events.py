"""Events: what a node tells the program, in a thread of its own.

Callbacks may be slow, may raise, and may call the handle again: nothing of that touches
replication. What a callback raises is logged.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping
from types import MappingProxyType

from replicator import exits
from replicator.config import EVENT_QUEUE_MAX
from replicator.errors import UsageError

Callback = Callable[..., object]

EVENTS: Mapping[str, str] = MappingProxyType(
    {
        "connect": "host, port: this node dialled a peer, and both have greeted",
        "connection": "host, port: a peer dialled this node, and both have greeted",
        "round": "a `status.Round`: this node has caught up with one snapshot of a peer",
        "conflict": "key, versions (winner first): writes that did not see each other met",
        "difference": "name, origin of a peer: both know the same writes and hold different data",
        "error": "an exception: something failed; replication goes on where it can",
    }
)
"""Every event and what its callbacks are given."""

CLOSE_SECONDS = 2.0
"""How long `Events.close` lets callbacks work off what has happened already."""

logger = logging.getLogger("replicator")


class Events:
    """Hands events to callbacks in one thread, in the order in which they happened.

    Thread-safe. The thread starts with the first event that somebody listens to. At most
    `EVENT_QUEUE_MAX` events wait; beyond that the oldest is dropped and counted.

    Args:
        name: what the thread is called, behind "replicator events".
    """

    def __init__(self, name: str = "") -> None:
        self._name = f"replicator events {name}".strip()
        self._callbacks: dict[str, tuple[Callback, ...]] = dict.fromkeys(EVENTS, ())
        self._waiting: deque[tuple[str, tuple[object, ...]]] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False
        self.dropped = 0
        """How many events were dropped because callbacks are too slow."""

    def on(self, name: str, callback: Callback) -> None:
        """Call `callback` whenever `name` happens (`EVENTS` says with what).

        A callback that is registered twice for a name is called twice.

        Raises:
            UsageError: there is no event of that name.
        """
        with self._changed:
            self._callbacks[_checked(name)] += (callback,)

    def off(self, name: str, callback: Callback) -> None:
        """Take back one `on` of the same name and callback.

        Raises:
            UsageError: there is no event of that name, or the callback is not registered for it.
        """
        with self._changed:
            callbacks = list(self._callbacks[_checked(name)])
            if callback not in callbacks:
                raise UsageError(f"{callback!r} is not registered for the event {name!r}")
            callbacks.remove(callback)
            self._callbacks[name] = tuple(callbacks)

    def emit(self, name: str, *arguments: object) -> None:
        """Let the callbacks of `name` know; returns at once. Nothing after `close`."""
        with self._changed:
            if self._closed or not self._callbacks[name]:
                return
            if len(self._waiting) >= EVENT_QUEUE_MAX:
                self._drop_oldest()
            self._waiting.append((name, arguments))
            if self._thread is None:
                self._start()
            self._changed.notify()

    def close(self, timeout: float = CLOSE_SECONDS) -> None:
        """Deliver what waits, for at most `timeout` seconds, and end the thread. Idempotent.

        From within a callback it returns at once, and what waits is dropped.
        """
        with self._changed:
            self._closed = True
            self._changed.notify()
            thread = self._thread
        if thread is None:
            return
        exits.forget(self.close)
        if thread is not threading.current_thread():
            thread.join(timeout)
        with self._changed:
            self._waiting.clear()

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._deliver, name=self._name)
        self._thread.start()
        exits.when_main_ends(self.close)

    def _drop_oldest(self) -> None:
        self._waiting.popleft()
        self.dropped += 1
        if self.dropped == 1:
            logger.warning(
                "events are dropped: %d wait already; callbacks must be quicker, or hand their "
                "work to a thread",
                EVENT_QUEUE_MAX,
            )

    def _deliver(self) -> None:
        while True:
            with self._changed:
                while not self._waiting:
                    if self._closed:
                        return
                    self._changed.wait()
                name, arguments = self._waiting.popleft()
                callbacks = self._callbacks[name]
            for callback in callbacks:
                _call(name, callback, arguments)


def _call(name: str, callback: Callback, arguments: tuple[object, ...]) -> None:
    try:
        callback(*arguments)
    except BaseException:  # `sys.exit()` in a callback must not end the thread either
        logger.exception("a callback of the event %r raised", name)


def _checked(name: str) -> str:
    if name not in EVENTS:
        raise UsageError(f"there is no event {name!r}; the events are {', '.join(EVENTS)}")
    return name
