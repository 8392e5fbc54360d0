"""Rows of one snapshot in batches, past blocks of LevelDB's files that are damaged.

LevelDB's own checksums are verified on the way. plyvel raises CorruptionError at a block that does
not fit its checksum, and goes on raising at every later step of that iterator, although LevelDB
itself has stepped over the block: so a new iterator begins behind it. What stands in the block is
read once more without the checksums; mostly a bit of one row is wrong, and the others can be told.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import plyvel
from plyvel._plyvel import RawIterator, Snapshot

ROWS_AT_ONCE = 1000

END = b"\xff" * 8
"""Stands for the end of the keyspace in a `Stretch`."""

Row = tuple[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Stretch:
    """Part of the keyspace in which LevelDB vouches for nothing.

    Attributes:
        after: the last row key before it that could be read.
        until: the first one behind it, or where the reading stopped.
    """

    after: bytes
    until: bytes


class Reading:
    """Reads one snapshot of a namespace. Not thread-safe.

    Args:
        snapshot: of the namespace; stays the caller's.
        prefix: what the namespace puts before every key: LevelDB's raw iterators do not.

    Attributes:
        damaged: what could not be read, so far.
    """

    def __init__(self, snapshot: Snapshot, prefix: bytes) -> None:
        self.damaged: list[Stretch] = []
        self._snapshot = snapshot
        self._prefix = prefix

    def get(self, key: bytes) -> bytes | None:
        """One row; None also where a damaged block hides it: the scan of its range tells."""
        try:
            return self._snapshot.get(key)
        except plyvel.CorruptionError:
            return None

    def batches(self, start: bytes, stop: bytes | None) -> Iterator[list[Row]]:
        """All rows from `start` up to, without, `stop`, in key order; none of the lists is empty.

        Args:
            stop: None is the end of the namespace.
        """
        at, include = start, True
        while True:
            found = self._snapshot.iterator(
                start=at, include_start=include, stop=stop, verify_checksums=True, fill_cache=False
            )
            try:
                while batch := list(islice(found, ROWS_AT_ONCE)):
                    yield batch
                    at, include = batch[-1][0], False
                return
            except plyvel.CorruptionError:
                pass  # with what was read of that batch
            finally:
                found.close()
            batch, at = self._past(at, include, stop)
            if batch:
                yield batch
            include = False

    def rows(self, start: bytes, stop: bytes | None) -> Iterator[Row]:
        """The same, row by row."""
        for batch in self.batches(start, stop):
            yield from batch

    def last_key(self, start: bytes, stop: bytes) -> bytes | None:
        """The last row key from `start` up to, without, `stop`; unverified."""
        with self._snapshot.iterator(
            start=start, include_start=False, stop=stop, reverse=True, include_value=False
        ) as found:
            try:
                return next(found, None)
            except plyvel.CorruptionError:
                return None  # the scan of these rows says so

    def _past(self, at: bytes, include: bool, stop: bytes | None) -> tuple[list[Row], bytes]:
        """The rows up to and with the first one behind a damaged block.

        Returns:
            The rows, and the last key that needs no further look.
        """
        rows: list[Row] = []
        found = self._snapshot.iterator(
            start=at, include_start=include, stop=stop, verify_checksums=True, fill_cache=False
        )
        try:
            rows.extend(found)
        except plyvel.CorruptionError:
            pass
        finally:
            found.close()
        after = rows[-1][0] if rows else at
        first = after if include and not rows else after + b"\0"
        behind = next(self._raw(first, stop, verified=True), None)
        until = behind[0] if behind is not None else stop or END
        for row in self._raw(first, stop if behind is None else until, verified=False):
            rows.append(row)
        if behind is not None:
            rows.append(behind)
        if self.damaged and self.damaged[-1].until == after:
            after = self.damaged.pop().after
        stretch = Stretch(after, until)
        if stretch not in self.damaged:  # some rows are read twice
            self.damaged.append(stretch)
        return rows, until

    def _raw(self, start: bytes, stop: bytes | None, *, verified: bool) -> Iterator[Row]:
        """Rows by a raw iterator, which steps over what it cannot read."""
        prefix = self._prefix
        raw = self._snapshot.raw_iterator(verify_checksums=verified, fill_cache=False)
        try:
            _step(raw, prefix + start)
            while raw.valid():
                key, value = raw.item()
                if not key.startswith(prefix):
                    return
                if stop is not None and key[len(prefix) :] >= stop:
                    return
                yield key[len(prefix) :], value
                _step(raw)
        finally:
            raw.close()


def _step(raw: RawIterator, target: bytes | None = None) -> None:
    """Go to the next row, or to the first one from `target` on, whatever is damaged there."""
    try:
        if target is None:
            raw.next()
        else:
            raw.seek(target)
    except plyvel.CorruptionError:
        pass  # LevelDB has moved all the same
