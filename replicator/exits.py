"""Stops what still runs in threads of ours when the main thread ends.

A program that forgets to close its handle must end all the same, as it did before it was
wrapped. Python waits for non-daemon threads before anything registered with `atexit` runs, and
a daemon thread that is inside LevelDB while the interpreter is taken down can crash. So our
threads are no daemons, and one daemon thread per process waits for the main thread's end and
then asks them to stop.
"""

import os
import threading
from collections.abc import Callable

_lock = threading.Lock()
_stops: dict[Callable[[], object], int] = {}
"""What to call, oldest first, with the process that asked for it (a forked child is another)."""
_watch: threading.Thread | None = None


def when_main_ends(stop: Callable[[], object]) -> None:
    """Have `stop` called once, in a thread of its own kind, when the main thread has ended.

    Args:
        stop: must not raise; called last registered first. Thread-safe.
    """
    global _watch
    with _lock:
        _stops[stop] = os.getpid()
        if _watch is None or not _watch.is_alive():
            _watch = threading.Thread(target=_wait, name="replicator exit watch", daemon=True)
            _watch.start()


def forget(stop: Callable[[], object]) -> None:
    """Take back `when_main_ends`; nothing happens where it was not registered. Thread-safe."""
    with _lock:
        _stops.pop(stop, None)


def _wait() -> None:
    threading.main_thread().join()
    while True:
        with _lock:
            if not _stops:
                return
            stop, pid = _stops.popitem()
        if pid == os.getpid():
            stop()
