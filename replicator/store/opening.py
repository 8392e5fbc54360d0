"""Opening a store: what is in the directory, whose it is, and what has to be mended first.

The order: the reserved range is ours or empty; a format we know; the tables; the identity (a copy
or a machine crash takes a new origin, R13); recovery after a machine crash (R11); a fork's mending
and an adoption that were cut go on. Only then is anything issued or applied.
"""

import os
from collections.abc import Callable
from typing import Any

import plyvel
from plyvel._plyvel import PrefixedDB

from replicator.core.known import KnownSet
from replicator.errors import FormatError
from replicator.store.adoption import adopt
from replicator.store.fork import Fork
from replicator.store.identity import Identity, look_around, new_origin
from replicator.store.keyspace import (
    FLOOR,
    FORMAT_VERSION,
    NUMBER,
    RESERVED,
    ROOT,
    SEQ,
    after,
    log_key,
    meta_key,
    number_seq,
    pack_meta,
    unpack_known,
    unpack_meta,
)
from replicator.store.knowledge import read_known
from replicator.store.level import Level
from replicator.store.recovery import recover
from replicator.store.resolving import Settler
from replicator.store.state import State


def check_format(db: plyvel.DB | PrefixedDB, level: Level, prefix: bytes) -> None:
    """Make sure that the reserved range is ours, and write the format row into a new store.

    Raises:
        FormatError: foreign data in the reserved range, or a format of a newer version.
    """
    row = db.get(meta_key("format"))
    if row is not None:
        version = unpack_meta("format", row)
        if not isinstance(version, int) or version > FORMAT_VERSION:
            raise FormatError(
                f"{level.path} was written by a newer replicator (format {version!r}, this one "
                f"knows {FORMAT_VERSION}): install the newer version"
            )
        return
    with db.iterator(start=RESERVED, include_value=False) as keys:
        foreign = next((key for key in keys if prefix or key != ROOT), None)
    if foreign is not None:
        raise FormatError(
            f"{level.path} holds the key {foreign[:40]!r}, in the range that begins with "
            "ff ff ff ff and is reserved for the replicator: move those keys first"
        )
    with db.iterator(include_value=False) as keys:
        has_data = next(keys, None) is not None
    level.enter_registry(prefix)
    batch = db.write_batch()
    batch.put(meta_key("format"), pack_meta(FORMAT_VERSION))
    if has_data:
        batch.put(meta_key("adopt"), pack_meta(None))
        batch.put(meta_key("cluster"), os.urandom(16))
    with level.lock:
        level.commit(batch)


def load(state: State, settler: Settler, progress: Callable[[int], None] | None) -> None:
    """Read everything a store keeps in memory, and mend what has to be mended.

    Args:
        progress: told the number of existing keys adopted, now and then.

    Raises:
        FormatError: rows are malformed.
        StorageError: LevelDB failed.
    """
    db = state.db
    origins = state.origins.by_number
    state.cluster_id = db.get(meta_key("cluster"))
    state.shown = _meta(db, "shown") or 0
    durable = db.get(meta_key("durable"))
    state.durable = KnownSet() if durable is None else unpack_known("durable", durable)
    with db.iterator(start=FLOOR, stop=after(FLOOR)) as rows:
        for row_key, row in rows:
            state.floor[origins[NUMBER.unpack(row_key[5:])[0]]] = SEQ.unpack(row)[0]
    crashed = _identify(state)
    if crashed:
        recover(state)
    try:
        state.learnt = read_known(db, origins)
    except KeyError as error:
        raise FormatError(f"{state.level.path}: an origin's row is missing ({error})") from error
    _own(state)
    _start_clock(state)
    if crashed:
        _mark_open(state, state.origin)
    fork = _meta(db, "fork")
    if fork is not None:
        Fork(state, settler).resume(*fork)
    if db.get(meta_key("adopt")) is not None:
        adopt(state, progress)


def mark_clean(state: State) -> None:
    """Leave the store synced, with the identity row saying that it was closed."""
    identity = Identity(state.origin, look_around(state.level.path), clean=True)
    batch = state.db.write_batch()
    batch.put(meta_key("identity"), pack_meta(identity.row()))
    with state.level.lock:
        state.level.commit(batch)
    state.level.sync()


def _identify(state: State) -> bool:
    """Find the origin to go on with; mark the store as open, durably.

    Returns:
        Whether the machine went down while the store was open: the mark is left to the caller,
        so that a recovery that is cut begins again.
    """
    here = look_around(state.level.path)
    row = _meta(state.db, "identity")
    if row is None:
        _mark_open(state, new_origin())
        return False
    before = Identity.from_row(row)
    now = before.reopened(here)
    state.origin = now.origin
    if now.origin != before.origin:
        state.shown = 0
    if before.lost_commits(here):
        return True
    _mark_open(state, now.origin)
    return False


def _mark_open(state: State, origin: int) -> None:
    """Write the identity row, and `shown` with it: both belong to one origin."""
    identity = Identity(origin, look_around(state.level.path), clean=False)
    batch = state.db.write_batch()
    batch.put(meta_key("identity"), pack_meta(identity.row()))
    batch.put(meta_key("shown"), pack_meta(state.shown))
    with state.level.lock:
        state.level.commit(batch)
    state.level.sync()
    state.origin = origin


def _own(state: State) -> None:
    """The last own seq: what the known-set row says, or the newest own log entry above it."""
    number = state.origins.numbers.get(state.origin)
    if number is None:
        return
    state.set_origin(state.origin)
    newest = 0
    with state.db.iterator(
        start=log_key(number, 0), stop=log_key(number + 1, 0), reverse=True, include_value=False
    ) as log:
        for row_key in log:
            newest = number_seq(row_key)[1]
            break
    state.seq = max(newest, state.learnt.highest(state.origin))
    state.learnt.replace(state.origin, [])


def _start_clock(state: State) -> None:
    """Begin behind the newest own write, so that timestamps go on rising after a step back."""
    if not state.seq:
        return
    key = state.db.get(log_key(state.number, state.seq))
    if key is not None:
        for version in state.read(key).versions:
            state.clock.last = max(state.clock.last, version.timestamp)


def _meta(db: plyvel.DB | PrefixedDB, name: str) -> Any:
    row = db.get(meta_key(name))
    return None if row is None else unpack_meta(name, row)
