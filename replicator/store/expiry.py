"""When a key has to be looked at because what it shows expires (R17).

An expiry row, ``x`` expiry key, says when. It is written in the batch that writes the index row and
never taken at its word: whoever comes to it reads the record again, so a row that is out of date
costs one look-up.
"""

from replicator.core import rows
from replicator.core.record import Record


def due_ms(record: Record, visible: int) -> int | None:
    """When to look at the key of a record, wall clock in milliseconds; None for never.

    Args:
        visible: place of the shown version, or `rows.MERGED`: which versions a merged value is made
            of is not kept, so the first expiry among them counts.
    """
    if visible != rows.MERGED:
        return record.versions[visible].expiry_ms
    expiries = [one.expiry_ms for one in record.versions if one.expiry_ms is not None]
    return min(expiries, default=None)
