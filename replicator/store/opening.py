"""Opening a store: what is in the directory, whose it is, and what has to be mended first.

The order: the reserved range is ours or empty; a format we know, brought up to the present one; the
tables; the identity (a copy
or a machine crash takes a new origin, R13); recovery after a machine crash (R11); a fork's mending
and an adoption that were cut go on. Only then is anything issued or applied.
"""

import os
import struct
from collections.abc import Callable
from typing import Any

import plyvel
from plyvel._plyvel import PrefixedDB

from replicator.core import rows
from replicator.core.known import KnownSet
from replicator.errors import FormatError
from replicator.store.adoption import adopt
from replicator.store.fork import Fork
from replicator.store.identity import Identity, look_around, new_origin
from replicator.store.keyspace import (
    CLOSED,
    FLOOR,
    FORMAT_VERSION,
    INDEX,
    NUMBER,
    RESERVED,
    ROOT,
    SEQ,
    after,
    known_key,
    log_key,
    meta_key,
    number_seq,
    pack_known,
    pack_meta,
    unpack_known,
    unpack_meta,
)
from replicator.store.knowledge import read_known
from replicator.store.level import Level, read_registry
from replicator.store.migration import migrate
from replicator.store.recovery import recover
from replicator.store.resolving import Settler
from replicator.store.revisit import Revisit
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
    if db.get(meta_key("restoring")) is not None:
        raise FormatError(
            f"{level.path} is half of a restore that was cut: run replicator restore again"
        )
    with db.iterator(start=RESERVED, include_value=False) as keys:
        foreign = next((key for key in keys if prefix or key != ROOT), None)
    if foreign is not None and prefix in read_registry(level.db):
        raise FormatError(
            f"replicator strip was cut in {level.path}: run it again, then wrap what is left"
        )
    if foreign is not None:
        raise FormatError(
            f"{level.path} holds the key {foreign[:40]!r}, in the range that begins with "
            "ff ff ff ff and is reserved for the replicator: move those keys first"
        )
    with db.iterator(stop=RESERVED, include_value=False) as keys:
        has_data = next(keys, None) is not None
    level.enter_registry(prefix)
    batch = db.write_batch()
    batch.put(meta_key("format"), pack_meta(FORMAT_VERSION))
    if has_data:
        batch.put(meta_key("adopt"), pack_meta(None))
        batch.put(meta_key("cluster"), os.urandom(16))
    with level.lock:
        level.commit(batch)


def load(
    state: State,
    settler: Settler,
    progress: Callable[[int], None] | None,
    revisit: Revisit,
    visiting: bool,
) -> None:
    """Read everything a store keeps in memory, and mend what has to be mended.

    Args:
        progress: told the number of existing keys adopted, now and then.
        revisit, visiting: see `Revisit.take_up`.

    Raises:
        FormatError: rows are malformed.
        ReservedKeyError: an existing key or value is too large to be adopted.
        StorageError: LevelDB failed.
    """
    before, fork = _read_meta(state)
    here = look_around(state.level.path)
    now = before.reopened(here) if before else Identity(new_origin(), here, clean=False)
    crashed = before is not None and before.lost_commits(here)
    migrate(state, lost_power=crashed)
    if crashed:
        assert before is not None
        if before.was_copied(here):
            state.durable = KnownSet()  # it speaks of files that were copied at another moment
        recover(state)
    state.learnt = _read_known(state)
    state.origin = now.origin
    if before is not None and crashed and not before.was_copied(here):
        state.former = before.origin
    left = 0
    if before is not None and before.origin != now.origin:
        state.shown = 0
        left = 0 if crashed else before.origin
    _mark_open(state, now, left)
    _own(state)
    _start_clock(state)
    revisit.take_up(
        is_new=before is None, crashed=crashed, visiting=visiting, mends=fork is not None
    )
    if fork is not None:
        Fork(state, settler).resume(*fork)
    if state.db.get(meta_key("adopt")) is not None:
        adopt(state, progress)


def mark_clean(state: State) -> None:
    """Leave the store synced, with the identity row saying that it was closed."""
    state.level.sync()  # before: a power cut may keep that row and lose older ones (R11)
    identity = Identity(state.origin, look_around(state.level.path), clean=True)
    batch = state.db.write_batch()
    batch.put(meta_key("identity"), pack_meta(identity.row()))
    with state.level.lock:
        state.level.commit(batch)
    state.level.sync()


def _read_meta(state: State) -> tuple[Identity | None, list[int] | None]:
    """Read the rows that are one of a kind, and the floor.

    Returns:
        The identity as of the last time, and the marker of a fork's mending that was cut.
    """
    db = state.db
    origins = state.origins.by_number
    state.cluster_id = db.get(meta_key("cluster"))
    state.shown = _meta(db, "shown") or 0
    full = db.get(meta_key("full"))
    state.unexplained = KnownSet() if full is None else unpack_known("full", full)
    state.wants_full = db.get(meta_key("want_full")) is not None
    durable = db.get(meta_key("durable"))
    state.durable = KnownSet() if durable is None else unpack_known("durable", durable)
    fork, adopted, identity = _meta(db, "fork"), _meta(db, "adopt"), _meta(db, "identity")
    with db.iterator(start=FLOOR, stop=after(FLOOR)) as found:
        floor = [(row_key[len(FLOOR) :], row) for row_key, row in found]
    try:
        state.floor = {
            origins[NUMBER.unpack(number)[0]]: SEQ.unpack(row)[0] for number, row in floor
        }
        state.closed_dots = read_known(db, origins, CLOSED)
        if fork is not None:
            old, _, _ = [int(field) for field in fork]
            origins[old]  # known, or KeyError
    except (KeyError, TypeError, ValueError, struct.error) as error:
        raise _malformed(state, error) from error
    if not isinstance(state.shown, int) or not isinstance(adopted, bytes | None):
        raise _malformed(state, "shown or adopt")
    return None if identity is None else Identity.from_row(identity), fork


def _read_known(state: State) -> KnownSet:
    try:
        return read_known(state.db, state.origins.by_number)
    except (KeyError, struct.error) as error:
        raise _malformed(state, error) from error


def _malformed(state: State, what: object) -> FormatError:
    return FormatError(
        f"{state.level.path}: a row of the replicator is malformed or missing ({what!r}); restore "
        "the directory from a backup"
    )


def _mark_open(state: State, identity: Identity, left: int) -> None:
    """Write the identity row, durably, and what belongs to one origin with it.

    Args:
        left: the origin issued so far, where another one is taken from now on; its writes are all
            here. 0 for none.
    """
    batch = state.db.write_batch()
    batch.put(meta_key("identity"), pack_meta(identity.row()))
    batch.put(meta_key("shown"), pack_meta(state.shown))
    if state.db.get(meta_key("durable")) is not None:
        batch.put(meta_key("durable"), pack_known(state.durable))
    last = _last_seq(state, left)
    if last:
        batch.put(known_key(state.origins.number(left), 1), SEQ.pack(last + 1))
    with state.level.lock:
        state.level.commit(batch)
    state.learnt.add_range(left, 1, last + 1)
    state.level.sync()


def _own(state: State) -> None:
    """Go on behind the last own seq, and never at or below one that was shown (R13)."""
    if state.origin in state.origins.numbers:
        state.set_origin(state.origin)
        state.seq = max(_last_seq(state, state.origin), state.shown)
        state.learnt.replace(state.origin, [])


def _last_seq(state: State, origin: int) -> int:
    """The last seq of an origin that this store issued: what its known-set row says, or the newest
    log entry above it."""
    number = state.origins.numbers.get(origin)
    if number is None:
        return 0
    with state.db.iterator(
        start=log_key(number, 0), stop=log_key(number + 1, 0), reverse=True, include_value=False
    ) as log:
        newest = next((number_seq(row_key)[1] for row_key in log), 0)
    return max(newest, state.learnt.highest(origin))


def _start_clock(state: State) -> None:
    """Begin behind the newest own write that is live, so that timestamps go on rising after a small
    step back. A peer's beside it says nothing: it may be years ahead."""
    with state.db.iterator(
        start=log_key(state.number, 0), stop=log_key(state.number + 1, 0), reverse=True
    ) as log:
        key = next((key for _, key in log), None) if state.number else None
    row = None if key is None else state.db.get(INDEX + key)
    if key is not None and row is not None:
        record, _ = rows.unpack(row, key, state.origins.by_number)
        own = [one.timestamp for one in record.versions if one.dot.origin == state.origin]
        state.clock.last = max(own, default=0)


def _meta(db: plyvel.DB | PrefixedDB, name: str) -> Any:
    row = db.get(meta_key(name))
    return None if row is None else unpack_meta(name, row)
