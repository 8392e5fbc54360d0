"""What the cursors of SCAN stand for.

Redis's cursor is a place in its hash table. Here keys lie in order, and a scan goes on behind the
last key it looked at: so it shows every key that is there from its beginning to its end, whatever
is written meanwhile, and none twice. A cursor is a number of 64 bits, too small for a key, so that
one is remembered here. Of a scan that goes on the cursor that was used last, and the one that was
given for it, are kept: a client that got no answer may ask again, through another connection too.
"""

import weakref
from collections import OrderedDict
from typing import Final

from replicator import chance
from replicator.faces.redis.limits import RESP_CURSORS_BYTES_MAX, RESP_CURSORS_MAX
from replicator.faces.stepwise import CommandError
from replicator.store.store import Store

_CURSOR_MAX: Final = (1 << 53) - 1
"""Some clients keep it in a floating-point number."""


class Cursors:
    """The cursors of one store. For one thread."""

    def __init__(self) -> None:
        self._places: OrderedDict[int, tuple[bytes, int]] = OrderedDict()
        self._bytes = 0

    def place(self, cursor: int) -> bytes:
        """The key behind which a scan goes on; its cursor before is forgotten.

        Raises:
            CommandError: it was never given, or is forgotten.
        """
        found = self._places.get(cursor)
        if found is None:
            raise CommandError(
                f"ERR unknown cursor {cursor}: it was given long ago, or before the daemon was "
                "started: begin again with 0"
            )
        self._places.move_to_end(cursor)
        key, before = found
        self._forget(before)
        return key

    def remember(self, key: bytes, before: int) -> int:
        """A cursor for a scan that goes on behind a key.

        Args:
            before: the one that it was given; 0 at its beginning.
        """
        cursor = 0
        while cursor == 0 or cursor in self._places:
            cursor = int(chance.uniform(1, _CURSOR_MAX))
        self._places[cursor] = key, before
        self._bytes += len(key)
        while len(self._places) > RESP_CURSORS_MAX or self._bytes > RESP_CURSORS_BYTES_MAX:
            self._forget(next(iter(self._places)))
        return cursor

    def _forget(self, cursor: int) -> None:
        key, _ = self._places.pop(cursor, (b"", 0))
        self._bytes -= len(key)


_cursors: "weakref.WeakKeyDictionary[Store, Cursors]" = weakref.WeakKeyDictionary()


def cursors_of(store: Store) -> Cursors:
    """The cursors of a store, whoever's connections they are used through."""
    return _cursors.setdefault(store, Cursors())
