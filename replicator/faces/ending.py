"""How the daemon ends: when it is told to, within a bound, and at once where it is told twice.

A process that is killed loses nothing that was acknowledged (R11), so ending hard is safe at any
moment. It is less kind: clients and peers are not told, and the next start has more to look at.
"""

import logging
import os
import signal
import threading
from types import FrameType
from typing import NoReturn

import trio

logger = logging.getLogger("replicator")

ENDING = (signal.SIGTERM, signal.SIGINT)

SAYING_SECONDS = 1.0

HARD_EXIT_CODE = 3
"""As where storage fails: mostly it is the disk that does not let go."""


def end_at_once_when_told() -> None:
    """Obey a signal to end at once, where no `Ending` listens. Said explicitly, because the first
    process of a container ignores signals that it does not handle."""
    for number in ENDING:
        signal.signal(number, _end_at_once)
    # Trio delivers what it has received and nobody has read to whoever handles it otherwise.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


class Ending:
    """Whether the daemon is told to end. For its trio thread."""

    def __init__(self) -> None:
        self._asked = trio.Event()
        self._why = ""
        self._listening = trio.CancelScope()

    def ask(self, why: str) -> None:
        """Tell it, for a reason that the log names; only the first one counts. A signal that comes
        after that is obeyed at once again."""
        if not self._asked.is_set():
            self._why = why
            self._asked.set()
            self._listening.cancel()

    async def asked(self) -> str:
        """Wait until it is told; why."""
        await self._asked.wait()
        return self._why

    async def listen(
        self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Take signals to end, until the first one, or until it is told otherwise."""
        with self._listening, trio.open_signal_receiver(*ENDING) as signals:
            task_status.started()
            async for number in signals:
                self.ask(signal.Signals(number).name)
                return


def end_hard_after(seconds: float) -> None:
    """End the process after so many seconds, whatever it is at by then."""
    timer = threading.Timer(seconds, _end_hard, [seconds])
    timer.daemon = True
    timer.start()


def _end_at_once(number: int, _frame: FrameType | None) -> NoReturn:
    os._exit(128 + number)


def _end_hard(seconds: float) -> None:
    # In a thread, as whoever hangs may hold the log.
    text = "closing has not come to an end within %g s: it ends now; what was acknowledged is there"
    saying = threading.Thread(target=logger.error, args=(text, seconds), daemon=True)
    saying.start()
    saying.join(SAYING_SECONDS)
    os._exit(HARD_EXIT_CODE)
