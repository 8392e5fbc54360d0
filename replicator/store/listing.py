"""Every record of a store as it is, for people and tools."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from replicator.core import rows
from replicator.store.conflicts import Standing, standing_of
from replicator.store.expiry import shown_until_ms
from replicator.store.keyspace import INDEX, after
from replicator.store.state import State


@dataclass(frozen=True, slots=True)
class Listed:
    """One key.

    Attributes:
        standing: its live versions, values loaded.
        value: what it shows; None for nothing.
        context: per origin, up to which seq its writes of this key are live or superseded.
        expiry_ms: when the value expires, wall clock in milliseconds since the epoch; None for
            never.
    """

    standing: Standing
    value: bytes | None
    context: Mapping[int, int]
    expiry_ms: int | None


def listed(store: State, start: bytes, stop: bytes | None) -> Iterator[Listed]:
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
            record, visible = rows.unpack(row, key, store.origins.by_number)
            record = store.load(record, snapshot.get)
            standing = standing_of(key, record, visible)
            value = snapshot.get(key)
            expiry_ms = None if value is None else shown_until_ms(record, visible)
            yield Listed(standing, value, record.context, expiry_ms)
