"""Telling the filter of absent keys which keys there are, in the background after opening.

A million keys take most of a second of the processor, and while a daemon starts it needs that for
itself: so filling begins a little later, and leaves half of the time to others.
"""

import threading
import time
from itertools import islice

from plyvel._plyvel import Iterator as PlyvelIterator

from replicator.store.keyspace import INDEX, after
from replicator.store.state import State

FILTER_KEYS_AT_OPEN = 20_000
"""An index up to this size is read into the filter before opening returns."""

FILTER_KEYS_AT_ONCE = 1000

FILTER_PAUSE_SECONDS = 0.5
"""Between opening and the filling of a larger one."""


class Filling:
    """Fills the filter of one store."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._thread: threading.Thread | None = None
        self._ended = threading.Event()

    def begin(self) -> None:
        """Tell the filter all keys there are; a small index is read at once."""
        # Read once: LevelDB's cache is for what is read again.
        index = self._state.db.iterator(
            start=INDEX, stop=after(INDEX), include_value=False, fill_cache=False
        )
        if self._fill(index, FILTER_KEYS_AT_OPEN):
            index.close()
            return
        self._thread = threading.Thread(
            target=self._fill_slowly, args=(index,), name="replicator filter", daemon=True
        )
        self._thread.start()

    def end(self) -> None:
        """The store is closed: return when nothing is read any more."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()

    def _fill_slowly(self, index: "PlyvelIterator[bytes]") -> None:
        pause = FILTER_PAUSE_SECONDS
        while not self._ended.wait(pause) and self._state.closed is None:
            begin = time.perf_counter()
            if self._fill(index, FILTER_KEYS_AT_ONCE):
                break
            pause = time.perf_counter() - begin
        index.close()

    def _fill(self, index: "PlyvelIterator[bytes]", most: int) -> bool:
        """Add up to `most` further keys; returns whether these were the last."""
        skip = len(INDEX)
        keys = [row_key[skip:] for row_key in islice(index, most)]
        state = self._state
        with state.level.lock:
            for key in keys:
                state.absent.add(key)
            state.absent.ready = len(keys) < most
        return state.absent.ready
