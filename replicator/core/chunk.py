"""A chunk: some records of one snapshot, as they travel from store to store.

The currency between a store and a conversation. Columns, not objects: packing and unpacking
a chunk costs a few calls in C, whatever the number of records.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from replicator.core import rows
from replicator.core.record import Record
from replicator.errors import FormatError

RECORD_OVERHEAD_BYTES = 16
"""What a record costs in a chunk beside its key, row and values, roughly."""


@dataclass(slots=True)
class Chunk:
    """Whole records of one snapshot.

    Attributes:
        origins: what the origin numbers in `rows` stand for.
        keys: one a record, as the user wrote them.
        rows: one a record (`replicator.core.rows`).
        values: the values of all puts, record by record, in the order of the versions in the row.
        size_bytes: what the chunk counts against limits.
    """

    origins: Mapping[int, int] = field(default_factory=dict)
    keys: list[bytes] = field(default_factory=list)
    rows: list[bytes] = field(default_factory=list)
    values: list[bytes] = field(default_factory=list)
    size_bytes: int = 0

    def __len__(self) -> int:
        return len(self.keys)

    def append(self, key: bytes, row: bytes, values: list[bytes]) -> None:
        """Add a record: its key, its row, and the values of its puts in the row's order."""
        self.keys.append(key)
        self.rows.append(row)
        self.values += values
        self.size_bytes += len(key) + len(row) + sum(map(len, values)) + RECORD_OVERHEAD_BYTES

    def records(self) -> Iterator[tuple[bytes, Record]]:
        """Every record with its values, checked.

        Raises:
            FormatError: rows and values do not fit together, or a row is malformed.
        """
        if len(self.keys) != len(self.rows):
            raise FormatError(f"a chunk has {len(self.keys)} keys and {len(self.rows)} rows")
        values = iter(self.values)
        for key, row in zip(self.keys, self.rows, strict=True):
            record, _ = rows.unpack(row, key, self.origins)
            yield key, fill(record, values)
        if next(values, None) is not None:
            raise FormatError("a chunk has more values than its rows have puts")


def fill(record: Record, values: Iterator[bytes]) -> Record:
    """The record with its puts' values taken from `values` in order.

    Raises:
        FormatError: there are too few values.
    """
    versions = []
    for version in record.versions:
        if version.is_delete:
            versions.append(version)
            continue
        value = next(values, None)
        if value is None:
            raise FormatError("a chunk has fewer values than its rows have puts")
        versions.append(replace(version, value=value))
    return Record(tuple(versions), record.context)
