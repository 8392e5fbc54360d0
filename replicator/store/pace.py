"""Giving way to local writers.

LevelDB stops every writer while one memtable is full and the one before is still being flushed, or
while level 0 has too many tables; whoever writes at full rate brings both about. So what is not a
local write pauses where it has used its share and LevelDB lags behind.
"""

import time

from replicator.store.level import Level

MEMTABLE_SHARE_BYTES = 1 << 20
"""What is written before the next look at whether LevelDB keeps up; its memtable holds 4 MiB."""

LEVEL0_TABLES_MAX = 8
"""LevelDB slows every writer down from 8 tables in level 0 on, and stops them at 12."""

PAUSE_SECONDS = 0.002
PAUSES_MAX = 500


class Pace:
    """Shared by all that writes to one store in the background, one at a time."""

    def __init__(self, level: Level) -> None:
        self._level = level
        self._share_bytes = 0

    def give_way(self, size_bytes: int) -> None:
        """Wait until there is room for local writers beside `size_bytes` more, a second at most."""
        self._share_bytes += size_bytes
        if self._share_bytes < MEMTABLE_SHARE_BYTES:
            return
        for _ in range(PAUSES_MAX):
            tables = self._level.db.get_property(b"leveldb.num-files-at-level0")
            flushing = len(self._level.log_names()) > 1
            if not flushing and int(tables or 0) < LEVEL0_TABLES_MAX:
                break
            time.sleep(PAUSE_SECONDS)
        self._share_bytes = 0
