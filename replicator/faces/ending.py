"""How the daemon ends: when it is told to, within a bound, and at once where it is told twice.

A process that is killed loses nothing that was acknowledged (R11), so ending hard is safe at any
moment. It is less kind: clients and peers are not told, and the next start has more to look at.
"""

import logging
import os
import signal
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

import trio

logger = logging.getLogger("replicator")

ENDING = (signal.SIGTERM, signal.SIGINT)

SAYING_SECONDS = 1.0

HARD_EXIT_CODE = 3
"""As where storage fails: mostly it is the disk that does not let go."""


def end_at_once_when_told() -> None:
    """Obey a signal to end at once, outside of `told_to_end`. Said explicitly, because the first
    process of a container ignores signals that it does not handle."""
    for number in ENDING:
        signal.signal(number, _end_at_once)
    # Trio delivers what it has received and nobody has read to whoever handles it otherwise.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


@contextmanager
def told_to_end() -> Iterator[Callable[[], Awaitable[signal.Signals]]]:
    """Take signals to end: what is given waits for the first. When the context is left, a further
    one is obeyed at once again."""
    with trio.open_signal_receiver(*ENDING) as signals:

        async def first() -> signal.Signals:
            return signal.Signals(await anext(aiter(signals)))

        yield first


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
