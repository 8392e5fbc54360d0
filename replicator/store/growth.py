"""Who waits for the known set to grow, or for anything to be written here.

A commit rings at most once for whoever has asked since the last one: while nobody waits, a write
pays one look at a flag that it looks at anyway.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from replicator.core import ranges
from replicator.core.known import KnownSet
from replicator.store.state import State

logger = logging.getLogger("replicator")

COALESCE_SECONDS = 0.001
"""Pause of who waits for a known set before the next look: writes that come at once ring once."""


def knows(state: State, wanted: KnownSet) -> bool:
    """Whether the store knows all of `wanted`, without copying anything.

    Raises:
        ClosedError: the store is closed.
        UsageError: called in a function that `update` runs.
    """
    state.level.refuse_in_update()
    with state.level.lock:
        state.refuse_closed()
        return all(
            bounds[-1] - 1 <= state.seq
            if origin == state.origin
            else ranges.includes(state.learnt.bounds(origin), bounds)
            for origin, bounds in wanted.items()
        )


@contextmanager
def ringing(state: State, bell: Callable[[], object]) -> Iterator[Callable[[], None]]:
    """Have `bell` called, in the committing thread, once after each call of what is given."""
    try:
        yield lambda: state.when_changed(bell)
    finally:
        state.forget_bell(bell)


def wait_until_known(state: State, wanted: KnownSet, timeout: float | None) -> bool:
    """Block until the store knows all of `wanted`.

    Args:
        timeout: seconds; None waits as long as it takes.

    Returns:
        Whether it does.

    Raises:
        ClosedError: the store is closed, or was meanwhile.
        UsageError: called in a function that `update` runs.
    """
    end = None if timeout is None else time.monotonic() + timeout
    changed = threading.Event()
    with ringing(state, changed.set) as arm:
        while True:
            changed.clear()
            arm()  # before the look: what is committed behind it rings
            if knows(state, wanted):
                return True
            left = None if end is None else end - time.monotonic()
            if left is not None and left <= 0:
                return False
            changed.wait(left)
            time.sleep(COALESCE_SECONDS)
