"""Adopting what was in a LevelDB before it was wrapped (R14).

Every existing key becomes a version with clock 0 and timestamp 0, so that it loses against any
write made later, and equal values on several nodes are no conflict. Nothing is issued or applied
before this is complete; it goes on where it was cut.
"""

from collections.abc import Callable
from itertools import islice
from zlib import crc32

from replicator.core import rows
from replicator.store.keyspace import (
    INDEX,
    RESERVED,
    SEQ,
    meta_key,
    pack_meta,
    unpack_meta,
)
from replicator.store.local import check_key, check_value
from replicator.store.state import State

KEYS_PER_COMMIT = 1000


def adopt(state: State, progress: Callable[[int], None] | None) -> None:
    """Make versions of all user keys behind the last one adopted.

    Args:
        progress: called with the number of keys adopted so far by this call, after each commit.

    Raises:
        CommitError, StoreFailedError: a commit failed; the next open goes on.
        ReservedKeyError: a key or value is too large to be replicated.
    """
    state.origins.intern(state.origin)
    state.set_origin(state.origin)
    cursor = unpack_meta("adopt", state.db.get(meta_key("adopt")) or pack_meta(None))
    # After a machine crash it begins again: some keys were adopted before.
    again = cursor is None and state.has_data()
    done, count = 0, KEYS_PER_COMMIT
    while count == KEYS_PER_COMMIT:
        count, cursor = _adopt_some(state, cursor, again)
        done += count
        if progress is not None:
            progress(done)
    state.level.sync()  # before: a power cut may keep what comes now and lose older batches (R11)
    batch = state.db.write_batch()
    batch.delete(meta_key("adopt"))
    with state.level.lock:
        state.commit(batch)
    state.level.sync()


def _adopt_some(state: State, cursor: bytes | None, again: bool) -> tuple[int, bytes | None]:
    """One commit's worth. Returns the number of keys looked at and the last one.

    Args:
        again: whether keys that have a record already are to be passed over.
    """
    batch = state.db.write_batch()
    seq, count = state.seq, 0
    with state.db.iterator(start=cursor, include_start=False, stop=RESERVED) as existing:
        for cursor, value in islice(existing, KEYS_PER_COMMIT):
            count += 1
            if again and state.db.get(INDEX + cursor) is not None:
                continue
            check_key(cursor)
            check_value(cursor, value)
            seq += 1
            batch.put(state.log_prefix + SEQ.pack(seq), cursor)
            batch.put(
                INDEX + cursor,
                rows.SINGLE_ROW.pack(rows.SINGLE, 0, state.number, seq, 0, 0, crc32(value)),
            )
    batch.put(meta_key("adopt"), pack_meta(cursor))
    with state.level.lock:
        state.commit(batch)
        state.seq = seq
    return count, cursor
