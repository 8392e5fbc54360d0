"""Adopting what was in a LevelDB before it was wrapped (R14).

Every existing key becomes a version with clock 0 and timestamp 0, so that it loses against any
write made later, and equal values on several nodes are no conflict. Nothing is issued or applied
before this is complete; it goes on where it was cut.
"""

from collections.abc import Callable
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
from replicator.store.state import State

KEYS_PER_COMMIT = 1000


def adopt(state: State, progress: Callable[[int], None] | None) -> None:
    """Make versions of all user keys behind the last one adopted.

    Args:
        progress: called with the number of keys adopted so far by this call, after each commit.

    Raises:
        CommitError, StoreFailedError: a commit failed; the next open goes on.
    """
    state.origins.intern(state.origin)
    state.set_origin(state.origin)
    row = state.db.get(meta_key("adopt"))
    cursor = unpack_meta("adopt", row) if row is not None else None
    done = 0
    while True:
        count, cursor = _adopt_some(state, cursor)
        done += count
        if progress is not None:
            progress(done)
        if cursor is None:
            break
    state.level.sync()


def _adopt_some(state: State, cursor: bytes | None) -> tuple[int, bytes | None]:
    """One commit's worth. Returns the number of keys and the last one, None at the end."""
    batch = state.db.write_batch()
    seq, key = state.seq, None
    with state.db.iterator(start=cursor, include_start=False, stop=RESERVED) as existing:
        for key, value in existing:
            seq += 1
            batch.put(state.log_prefix + SEQ.pack(seq), key)
            batch.put(
                INDEX + key,
                rows.SINGLE_ROW.pack(rows.SINGLE, 0, state.number, seq, 0, 0, crc32(value)),
            )
            if seq - state.seq == KEYS_PER_COMMIT:
                break
    count = seq - state.seq
    if count < KEYS_PER_COMMIT:
        key = None
        batch.delete(meta_key("adopt"))
    else:
        batch.put(meta_key("adopt"), pack_meta(key))
    with state.level.lock:
        state.commit(batch)
        state.seq = seq
    return count, key
