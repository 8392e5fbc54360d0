"""The sender's half of a round: reading one snapshot in reverse log order or in key order (R4, R9).

Rows travel as they lie in the index, with a table of the origin numbers in use, so that the
sender encodes nothing; a record with several versions is sent when the walk meets the first of its
dots that the receiver lacks, and only then.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial

from plyvel._plyvel import Snapshot

from replicator.config import CHUNK_BYTES, CHUNK_RECORDS_MAX
from replicator.core import ranges, rows
from replicator.core.chunk import RECORD_OVERHEAD_BYTES, Chunk
from replicator.core.compare import Key, Part, answer
from replicator.core.dots import Dot
from replicator.core.fingerprint import OriginTable
from replicator.core.known import KnownSet
from replicator.errors import CorruptionError
from replicator.store.comparing import index_rows, measure
from replicator.store.expiry import keeps_aside
from replicator.store.keyspace import INDEX, RESERVED, log_key, value_key
from replicator.store.origins import Origins
from replicator.store.state import Reader

SCAN_DOTS_MIN = 10_000
SCAN_FACTOR = 8
"""A round that lacks at least so many dots, and this part of all, reads the index in key order."""

REPAIR = "stop the node and run: replicator verify DIR --repair"
"""What to do where rows contradict each other."""

SKIPPED_VALUES_MAX = 64
"""Values read over before a scan looks one up instead."""

_SINGLE = rows.SINGLE
_unpack_single = rows.SINGLE_ROW.unpack


class Source:
    """One snapshot of a store. For one thread at a time; `close` may come from any.

    Attributes:
        known: the known set of exactly this snapshot.
        floor: its purge floor.
    """

    def __init__(
        self, snapshot: Snapshot, known: KnownSet, floor: dict[int, int], origins: Origins
    ) -> None:
        self.known = known
        self.floor = floor
        self._snapshot = snapshot
        self._origins = origins
        self._table: OriginTable | None = None

    def close(self) -> None:
        """Release the snapshot. Idempotent."""
        self._snapshot.close()

    def read(self, lack: KnownSet) -> Iterator[Chunk]:
        """The records of all dots in `lack` that are live here, newest first per origin.

        Raises:
            CorruptionError: log, index and data contradict each other.
        """
        count = lack.count()
        if count >= SCAN_DOTS_MIN and count * SCAN_FACTOR >= self.known.count():
            yield from self._scan(lack)
        else:
            yield from self._walk(lack)

    def _walk(self, lack: KnownSet) -> Iterator[Chunk]:
        """By the log, in reverse: the cost follows the number of dots lacked."""
        packer = _Packer(self._snapshot.get, self._origins)
        for origin, bounds in sorted(lack.items()):
            number = self._origins.numbers.get(origin)
            if number is None:
                continue
            for start, stop in reversed(list(ranges.pairs(bounds))):
                # Not `start` inclusive: plyvel's reverse iterator misses a first key equal to it.
                with self._snapshot.iterator(
                    start=log_key(number, start - 1),
                    include_start=False,
                    stop=log_key(number, stop),
                    reverse=True,
                ) as log:
                    for row_key, key in log:
                        if packer.add_logged(row_key, key, lack):
                            yield packer.take()
        if len(packer.chunk):
            yield packer.take()

    def read_all(self) -> Iterator[Chunk]:
        """All records in key order."""
        return self._scan(None)

    def answer(
        self, parts: Sequence[Part], moment_ms: int | None = None
    ) -> Iterator[bytes | Chunk]:
        """What this snapshot says to ranges of a peer: see `replicator.core.compare`.

        Args:
            moment_ms: which records count in fingerprints; see `Fingerprint`. Those sent are all.

        Raises:
            CorruptionError, FormatError: index and data contradict each other.
        """
        if self._table is None:
            self._table = OriginTable(self._origins.by_number)
        table = self._table

        def measured(after_key: Key, upto: Key, most: int) -> tuple[int, bytes | None]:
            return measure(self._snapshot, table, after_key, upto, most, moment_ms)

        return answer(parts, measured, partial(self._scan, None))

    def _scan(
        self, lack: KnownSet | None, after_key: Key = None, upto: Key = None
    ) -> Iterator[Chunk]:
        """By the index, in key order, index and values side by side: the cost follows the number
        of keys, but each costs a fraction of what two look-ups in key-random log order do."""
        wanted = None if lack is None else self._wanted(lack)
        with (
            closing(index_rows(self._snapshot, after_key, upto)) as index,
            self._snapshot.iterator(start=after_key, stop=RESERVED) as values,
        ):
            packer = _Packer(_ValuesInOrder(self._snapshot.get, values).get, self._origins)
            for row_key, row in index:
                if wanted is not None and not wanted(row):
                    continue
                if packer.add(row_key[len(INDEX) :], row):
                    yield packer.take()
        if len(packer.chunk):
            yield packer.take()

    def _wanted(self, lack: KnownSet) -> Callable[[bytes], bool]:
        """Whether a record row has a live dot in `lack`."""
        # A copy: another round may meet new origins meanwhile.
        by_number = self._origins.by_number.copy()
        bounds_of = {number: lack.bounds(origin) for number, origin in by_number.items()}

        def wanted(row: bytes) -> bool:
            if row[0] == _SINGLE:
                _, _, number, seq, _, _, _ = _unpack_single(row)
                return bisect_right(bounds_of[number], seq) & 1 == 1
            record, _ = rows.unpack(row, b"", self._origins.by_number)
            return any(version.dot in lack for version in record.versions)

        return wanted


class _ValuesInOrder:
    """``get`` for user keys asked in ascending order: reads on instead of looking up."""

    def __init__(self, get: Reader, values: Iterator[tuple[bytes, bytes]]) -> None:
        self._get = get
        self._values = values
        self._at = next(values, None)

    def get(self, key: bytes) -> bytes | None:
        """The value of a user key, or of a row kept aside, which is looked up."""
        if key >= RESERVED:
            return self._get(key)
        skipped = 0
        while self._at is not None and self._at[0] < key:
            if skipped == SKIPPED_VALUES_MAX:
                return self._get(key)
            self._at = next(self._values, None)
            skipped += 1
        return self._at[1] if self._at is not None and self._at[0] == key else None


class _Packer:
    """Collects records into chunks."""

    def __init__(self, get: Reader, origins: Origins) -> None:
        self._get = get
        self._origins = origins
        self._numbers: set[int] = set()
        self.chunk = Chunk()

    def take(self) -> Chunk:
        """The chunk so far; the next one begins."""
        chunk, self.chunk = self.chunk, Chunk()
        by_number = self._origins.by_number
        chunk.origins = {number: by_number[number] for number in self._numbers}
        self._numbers.clear()
        return chunk

    def add_logged(self, row_key: bytes, key: bytes, lack: KnownSet) -> bool:
        """Add the record that a log entry names, unless another entry of it came first.

        Returns:
            Whether the chunk is full.
        """
        row = self._get(INDEX + key)
        if row is None:
            raise CorruptionError(f"the log names key {key!r}, which has no index row; {REPAIR}")
        if row[0] != _SINGLE:
            record, _ = rows.unpack(row, key, self._origins.by_number)
            lacked = [version.dot for version in record.versions if version.dot in lack]
            if not lacked:
                raise CorruptionError(
                    f"the log names a dot of key {key!r} that is not live; {REPAIR}"
                )
            origin = lacked[0].origin
            # The walk goes by ascending origin, then down: of one origin the highest comes first.
            seq = max(dot.seq for dot in lacked if dot.origin == origin)
            if row_key != log_key(self._origins.numbers[origin], seq):
                return False
        return self.add(key, row)

    def add(self, key: bytes, row: bytes) -> bool:
        """Add one record. Returns whether the chunk is full."""
        chunk = self.chunk
        if row[0] == _SINGLE:
            _, flags, number, _, _, _, _ = _unpack_single(row)
            self._numbers.add(number)
            if flags & rows.DELETE:
                size = 0
            else:
                value = self._get(key)
                if value is None:
                    raise CorruptionError(f"key {key!r} is in the index and has no value; {REPAIR}")
                chunk.values.append(value)
                size = len(value)
            chunk.keys.append(key)
            chunk.rows.append(row)
            chunk.size_bytes += len(key) + len(row) + size + RECORD_OVERHEAD_BYTES
        else:
            self._add_general(key, row)
        return chunk.size_bytes >= CHUNK_BYTES or len(chunk.keys) >= CHUNK_RECORDS_MAX

    def _add_general(self, key: bytes, row: bytes) -> None:
        record, _ = rows.unpack(row, key, self._origins.by_number)
        self._numbers.update(self._origins.numbers[origin] for origin in record.context)
        aside = keeps_aside(record)
        values = []
        for version in record.versions:
            if not version.is_delete:
                value = self._get(self._aside(version.dot) if aside else key)
                if value is None:
                    raise CorruptionError(
                        f"dot {version.dot} of key {key!r} has no value; {REPAIR}"
                    )
                values.append(value)
        self.chunk.append(key, row, values)

    def _aside(self, dot: Dot) -> bytes:
        return value_key(self._origins.numbers[dot.origin], dot.seq)
