"""Signs of life for the service manager, as long as there is life: the loop turns, and the store
takes writes. Where either is not so, only a restart helps, and that is the manager's to do.
"""

import logging
from collections.abc import Callable

import trio

from replicator.faces.limits import STARTING_PATIENCE_SECONDS, STARTING_SECONDS
from replicator.faces.notify import WATCHDOG, Notifier

logger = logging.getLogger("replicator")

BEATS = 3
"""Signs of life in the time after which the manager gives up: two may be late."""


class Heart:
    """Beats from start to end of a daemon. For its trio thread.

    Args:
        notifier: tells the manager.

    Attributes:
        fault: tells why the store takes no more writes, or None; itself None while there is no
            store.
    """

    def __init__(self, notifier: Notifier) -> None:
        self.fault: Callable[[], str | None] | None = None
        self._notifier = notifier
        self._is_told = False

    def start(self) -> None:
        """Beat until the loop ends."""
        if self._notifier.is_heard:
            trio.lowlevel.spawn_system_task(self._beat)

    async def _beat(self) -> None:
        watchdog = self._notifier.watchdog_seconds
        while True:
            if self.fault is None:
                micros = int(STARTING_PATIENCE_SECONDS * 1e6)
                self._notifier.tell(f"EXTEND_TIMEOUT_USEC={micros}", patience=0)
                pause = STARTING_SECONDS
            elif watchdog is None:
                return
            else:
                self._sign(self.fault())
                pause = watchdog
            await trio.sleep(min(pause, watchdog or pause) / BEATS)

    def _sign(self, fault: str | None) -> None:
        if fault is None:
            self._notifier.tell(WATCHDOG, patience=0)
        elif not self._is_told:
            self._is_told = True
            self._notifier.tell("STATUS=the store has failed, and waits for a restart", patience=0)
            logger.error("no more signs of life to the service manager, which restarts: %s", fault)
