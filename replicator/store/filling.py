"""Telling the filter of absent keys which keys there are, in the background after opening."""

import threading
from itertools import islice

from plyvel._plyvel import Iterator as PlyvelIterator

from replicator.store.keyspace import INDEX, after
from replicator.store.state import State

FILTER_KEYS_AT_OPEN = 20_000
"""An index up to this size is read into the filter before opening returns."""

FILTER_KEYS_AT_ONCE = 1000


class Filling:
    """Fills the filter of one store."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._thread: threading.Thread | None = None

    def begin(self) -> None:
        """Tell the filter all keys there are; a small index is read at once."""
        index = self._state.db.iterator(start=INDEX, stop=after(INDEX), include_value=False)
        if self._fill(index, FILTER_KEYS_AT_OPEN):
            index.close()
            return
        self._thread = threading.Thread(
            target=self._fill_slowly, args=(index,), name="replicator filter", daemon=True
        )
        self._thread.start()

    def end(self) -> None:
        """The store is closed: return when nothing is read any more."""
        if self._thread is not None:
            self._thread.join()

    def _fill_slowly(self, index: "PlyvelIterator[bytes]") -> None:
        while self._state.closed is None and not self._fill(index, FILTER_KEYS_AT_ONCE):
            pass
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
