"""Every record of a store as it is, for people and tools."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from replicator.core import rows
from replicator.core.record import Version
from replicator.store.keyspace import INDEX, after
from replicator.store.local import LocalWrites


@dataclass(frozen=True, slots=True)
class Listed:
    """One key.

    Attributes:
        key: the user's key.
        value: what it shows; None for nothing.
        versions: its live versions, values loaded, winner first.
        context: per origin, up to which seq its writes of this key are live or superseded.
    """

    key: bytes
    value: bytes | None
    versions: list[Version]
    context: Mapping[int, int]


def listed(store: LocalWrites, start: bytes, stop: bytes | None) -> Iterator[Listed]:
    """The records of a range of keys, deleted ones included, in key order.

    As of the moment of the first step; closes its snapshot at the end or when dropped.

    Args:
        start: the first key.
        stop: the first key that does not belong to it; None is the end.

    Raises:
        ClosedError: the store is closed.
        CorruptionError: something else wrote to the LevelDB.
    """
    store.refuse_closed()
    upto = after(INDEX) if stop is None else INDEX + stop
    with (
        store.db.snapshot() as snapshot,
        snapshot.iterator(start=INDEX + start, stop=upto) as index,
    ):
        for row_key, row in index:
            key = row_key[len(INDEX) :]
            record, _ = rows.unpack(row, key, store.origins.by_number)
            record = store.load(record, snapshot.get)
            yield Listed(key, snapshot.get(key), store.ordered(record), record.context)
