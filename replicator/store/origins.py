"""Origins on disk: each 64-bit origin is interned to a small number of this store's own.

An origin's row is synced before any row uses its number: a power cut may lose an older batch and
keep a newer one (R11), and a number that nothing explains would make rows unreadable.
"""

from collections.abc import Iterable

import plyvel
from plyvel._plyvel import PrefixedDB

from replicator.config import ORIGINS_MAX
from replicator.errors import FormatError, ProtocolError
from replicator.store.keyspace import NUMBER, ORIGIN, SEQ, after, origin_key
from replicator.store.level import Level


def origins_of(rows: Iterable[tuple[bytes, bytes]]) -> dict[int, int]:
    """What origin rows say: number → origin.

    Raises:
        FormatError: one is malformed.
    """
    found = {}
    for row_key, row in rows:
        if len(row_key) != len(ORIGIN) + NUMBER.size or len(row) != SEQ.size:
            raise FormatError(f"the origin row {row_key!r} is malformed")
        found[NUMBER.unpack(row_key[len(ORIGIN) :])[0]] = SEQ.unpack(row)[0]
    return found


class Origins:
    """The table of one store. Reads from any thread; `intern` under the store's apply mutex."""

    def __init__(self, level: Level, db: "plyvel.DB | PrefixedDB") -> None:
        self._level = level
        self._db = db
        self.by_number: dict[int, int] = {}
        self.numbers: dict[int, int] = {}
        with db.iterator(start=ORIGIN, stop=after(ORIGIN)) as rows:
            for number, origin in origins_of(rows).items():
                self._note(number, origin)

    def number(self, origin: int) -> int:
        """The number of a known origin.

        Raises:
            KeyError: it was never interned.
        """
        return self.numbers[origin]

    def intern(self, *origins: int) -> None:
        """Give numbers to those origins that have none, durably. Not under the write lock.

        Raises:
            CommitError, StoreFailedError: the row could not be written or synced.
            ProtocolError: there are too many origins.
        """
        fresh = [origin for origin in dict.fromkeys(origins) if origin not in self.numbers]
        if not fresh:
            return
        first = max(self.by_number, default=0) + 1
        if first + len(fresh) > ORIGINS_MAX:
            raise ProtocolError(f"more than {ORIGINS_MAX} origins: a peer invents them")
        batch = self._db.write_batch()
        for number, origin in enumerate(fresh, first):
            batch.put(origin_key(number), SEQ.pack(origin))
        with self._level.lock:
            self._level.commit(batch)
        self._level.sync()
        for number, origin in enumerate(fresh, first):
            self._note(number, origin)

    def _note(self, number: int, origin: int) -> None:
        self.by_number[number] = origin
        self.numbers[origin] = number
