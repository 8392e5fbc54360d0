"""A filter that answers "surely no such key" without asking LevelDB.

Looking up an absent key costs LevelDB several table reads unless its user asked for bloom
filters, and every first write of a key looks up its index row: this is a bloom filter with one
hash function (Python's own, seeded per process) over a fixed bit table. A false "perhaps" costs
one look-up. It is filled in the background after opening; until then it answers "perhaps".
"""

BITS = 1 << 26
"""8 MiB: one wrong "perhaps" in 64 at a million keys, one in 7 at ten million."""

_PLACE_MASK = (BITS >> 3) - 1


class AbsentFilter:
    """Which keys surely have no index row. Reads may come from any thread, adds come under the
    store's write lock: two that change one octet at the same time could lose a bit.

    Attributes:
        bits: the table; the store's write path reads it in place.
        ready: False until every key that was there at opening has been added.
    """

    __slots__ = ("bits", "ready")

    MASK = _PLACE_MASK

    def __init__(self) -> None:
        self.bits = bytearray(BITS >> 3)
        self.ready = False

    def add(self, key: bytes) -> None:
        place = hash(key)
        self.bits[place >> 3 & _PLACE_MASK] |= 1 << (place & 7)

    def may_contain(self, key: bytes) -> bool:
        if not self.ready:
            return True
        place = hash(key)
        return self.bits[place >> 3 & _PLACE_MASK] >> (place & 7) & 1 == 1
