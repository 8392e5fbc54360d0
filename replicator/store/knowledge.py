"""The known set on disk: one row a range, so that a change writes only the ranges it touches.

Rows may overlap for a while (a large claim swallows many ranges, whose rows go in bounded
batches afterwards): the set is the union of its rows, and an overlapping row says nothing that
the larger one does not. The store's own origin is known from 1 to its last own seq; its row is
written only by batches that remove an own log entry, because otherwise the log tells the seq.
"""

from bisect import bisect_left, bisect_right

import plyvel
from plyvel._plyvel import PrefixedDB, WriteBatch

from replicator.core import ranges
from replicator.core.known import KnownSet
from replicator.core.ranges import Bounds
from replicator.store.keyspace import KNOWN, SEQ, after, known_key, number_seq

SWALLOWED_ROWS_MAX = 1000
"""Rows that one batch removes because a larger range swallowed theirs."""


def read_known(db: plyvel.DB | PrefixedDB, origins: dict[int, int], tag: bytes = KNOWN) -> KnownSet:
    """The known set that the rows hold, or another set that is kept like it.

    Args:
        origins: number → origin.
        tag: what the rows' keys begin with: `KNOWN`, or `CLOSED` for the closed set (R10).

    Raises:
        FormatError: a row's key is malformed.
        KeyError: a row's number was never interned.
    """
    known = KnownSet()
    with db.iterator(start=tag, stop=after(tag)) as rows:
        for row_key, row in rows:
            number, start = number_seq(row_key)
            known.add_range(origins[number], start, SEQ.unpack(row)[0])
    return known


class OriginChange:
    """New dots of one origin: what its bounds become, and which rows to write for that."""

    __slots__ = ("_number", "_stale", "_written", "bounds")

    def __init__(self, number: int, bounds: Bounds) -> None:
        self._number = number
        self.bounds = bounds[:]
        self._written: dict[int, int] = {}
        self._stale: set[int] = set()

    def add(self, start: int, stop: int) -> None:
        """Add the seqs ``start … stop - 1``."""
        bounds = self.bounds
        if ranges.covers(bounds, start, stop):
            return
        first = bisect_left(bounds, start)
        last = bisect_right(bounds, stop)
        swallowed = bounds[first - (first & 1) : last : 2]
        ranges.add(bounds, start, stop)
        place = bisect_right(bounds, start) - 1
        self._stale.update(swallowed)
        for old in swallowed:
            self._written.pop(old, None)
        self._written[bounds[place]] = bounds[place + 1]

    def add_seqs(self, seqs: list[int]) -> None:
        """Add single seqs, in any order."""
        seqs.sort()
        start = stop = 0
        for seq in seqs:
            if seq == stop:
                stop += 1
                continue
            if stop:
                self.add(start, stop)
            start, stop = seq, seq + 1
        if stop:
            self.add(start, stop)

    def write(self, batch: WriteBatch) -> list[bytes]:
        """Put the rows into `batch`.

        Returns:
            Keys of swallowed rows beyond the limit of one batch, to be removed afterwards.
        """
        for start, stop in self._written.items():
            batch.put(known_key(self._number, start), SEQ.pack(stop))
        stale = [known_key(self._number, old) for old in self._stale if old not in self._written]
        for row_key in stale[:SWALLOWED_ROWS_MAX]:
            batch.delete(row_key)
        return stale[SWALLOWED_ROWS_MAX:]
