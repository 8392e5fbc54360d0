"""Fingerprints of ranges of a store's keys, in scans of the index (R16).

What is compared is the index alone: a value counts by its checksum there. Everything here reads a
live handle or a snapshot and is for worker threads: a call looks at a bounded number of rows.
"""

from collections.abc import Iterable, Iterator
from contextlib import closing
from itertools import islice
from typing import Any

import plyvel
from plyvel._plyvel import PrefixedDB, Snapshot

from replicator.config import COMPARE_BYTES, COMPARE_KEYS_MAX, COMPARE_RANGES_MAX
from replicator.core.compare import Key, Part, Range, Stretch, between
from replicator.core.fingerprint import Fingerprint, OriginTable
from replicator.store.keyspace import INDEX, after

BATCH_ROWS = 512
"""Rows that are taken from LevelDB at once."""

_SKIP = len(INDEX)

View = plyvel.DB | PrefixedDB | Snapshot
Row = tuple[bytes, bytes]


def index_rows(view: View, after_key: Key, upto: Key, **options: Any) -> Any:
    """An iterator over the index rows of the keys with ``after_key < key <= upto``."""
    return view.iterator(
        start=INDEX if after_key is None else INDEX + after_key + b"\0",
        stop=after(INDEX) if upto is None else INDEX + upto + b"\0",
        **options,
    )


def scan(
    view: View, origins: OriginTable, stretches: Iterable[Stretch], moment_ms: int | None
) -> tuple[tuple[Part, ...], tuple[Stretch, ...]]:
    """Cut stretches into ranges, as many as go into one message.

    Args:
        stretches: disjoint.
        moment_ms: which records count; see `Fingerprint`.

    Returns:
        The ranges, and what of the stretches they do not cover.

    Raises:
        FormatError: an index row is malformed.
    """
    budget = _Budget()
    parts: list[Part] = []
    left: list[Stretch] = []
    for stretch in stretches:
        if not budget.has_room:
            left.append(stretch)
            continue
        ranges = list(_ranges(view, origins, stretch, moment_ms, budget))
        parts.append(Part(stretch.after, tuple(ranges)))
        end = ranges[-1].upto
        if end != stretch.upto:
            left.append(Stretch(end, stretch.upto, stretch.step))
    return tuple(parts), tuple(left)


class _Budget:
    """What one message has room for."""

    __slots__ = ("_bytes", "_keys", "_ranges")

    def __init__(self) -> None:
        self._ranges = COMPARE_RANGES_MAX
        self._bytes = COMPARE_BYTES
        self._keys = COMPARE_KEYS_MAX

    @property
    def has_room(self) -> bool:
        return min(self._ranges, self._bytes, self._keys) > 0

    def take(self, bound: Key, keys: int) -> None:
        self._ranges -= 1
        self._bytes -= len(bound or b"")
        self._keys -= keys


def _ranges(
    view: View, origins: OriginTable, stretch: Stretch, moment_ms: int | None, budget: _Budget
) -> Iterator[Range]:
    """The ranges of one stretch, as far as there is room."""
    with closing(index_rows(view, stretch.after, stretch.upto)) as index:
        following: Row | None = next(index, None)
        while True:
            here = Fingerprint(origins, moment_ms)
            last, left = b"", stretch.step
            while following is not None and left:
                batch = [following, *islice(index, min(left, BATCH_ROWS) - 1)]
                last = add_rows(here, batch)
                left -= len(batch)
                following = next(index, None)
            is_last = following is None
            bound = stretch.upto if following is None else between(last, following[0][_SKIP:])
            budget.take(bound, stretch.step - left)
            yield Range(bound, here.count, here.digest())
            if is_last or not budget.has_room:
                return


def measure(
    view: View, origins: OriginTable, after_key: Key, upto: Key, most: int, moment_ms: int | None
) -> tuple[int, bytes | None]:
    """How many records lie in a range, and their fingerprint; see `replicator.core.compare`.

    Raises:
        FormatError: an index row is malformed.
    """
    here = Fingerprint(origins, moment_ms)
    with closing(index_rows(view, after_key, upto)) as index:
        while batch := list(islice(index, min(BATCH_ROWS, most + 1 - here.count))):
            add_rows(here, batch)
            if here.count > most:
                return here.count, None
    return here.count, here.digest()


def add_rows(fingerprint: Fingerprint, batch: list[Row]) -> bytes:
    """Add rows of the index; returns the last key."""
    keys = [row_key[_SKIP:] for row_key, _ in batch]
    fingerprint.add(keys, [row for _, row in batch])
    return keys[-1]
