"""Bringing a store of an earlier format up to this one, in place.

One step a format. A step may be cut anywhere and begins again, and the row that names the new
format is written, durably, behind it; so until then the version that wrote the store opens it as
before. A step changes no row that the version before would read, so it may even have gone on in
between; and each key of a directory that lost power is whole (R11), so steps come before recovery.
Reads the index once, in bounded memory.
"""

import logging
from collections.abc import Callable, Iterable, Mapping

from replicator.core import rows
from replicator.store.expiry import due_ms, keeps_aside
from replicator.store.keyspace import (
    EXPIRY,
    FORMAT_VERSION,
    INDEX,
    expiry_key,
    meta_key,
    pack_meta,
    unpack_meta,
    value_key,
)
from replicator.store.recovery import stale_values
from replicator.store.rowwise import Row, commit_rows, rows_of
from replicator.store.state import State

logger = logging.getLogger("replicator")

ROWS_PER_REPORT = 1_000_000
"""How many keys are looked at between two lines of the log."""


def migrate(state: State, *, lost_power: bool) -> None:
    """Take the steps from the format found to `FORMAT_VERSION`.

    Args:
        lost_power: whether recovery comes afterwards.

    Raises:
        CommitError, StoreFailedError: a commit failed; the next open begins the step again.
        FormatError: an index row does not decode.
    """
    found = unpack_meta("format", state.db.get(meta_key("format")) or pack_meta(1))
    for version in range(found, FORMAT_VERSION):
        logger.warning(
            "%s: bringing the store up from format %d to %d; afterwards an earlier version cannot "
            "open it any more",
            state.level.path,
            version,
            version + 1,
        )
        if not lost_power:  # else the log does not tell, and recovery does it
            commit_rows(state, stale_values(state), delete=True)
        STEPS[version](state)
        state.level.sync()  # before: a power cut may keep that row and lose older ones (R11)
        commit_rows(state, [(meta_key("format"), pack_meta(version + 1))])
        state.level.sync()
        logger.info("%s: the store is of format %d now", state.level.path, version + 1)


def _with_expiry_rows(state: State) -> None:
    """Format 1 kept expiries in the index only, and the value of a lone version in the user's row
    only, even where it expires; that row stays until the first sweep."""
    commit_rows(state, rows_of(state, EXPIRY), delete=True)
    commit_rows(state, _expiry_rows(state))


def _expiry_rows(state: State) -> Iterable[Row]:
    for count, (row_key, row) in enumerate(rows_of(state, INDEX), 1):
        if count % ROWS_PER_REPORT == 0:
            logger.info("%s: %s keys looked at so far", state.level.path, f"{count:,}")
        if row[0] == rows.SINGLE:
            continue
        key = row_key[len(INDEX) :]
        record, visible = rows.unpack(row, key, state.origins.by_number)
        if len(record.versions) == 1 and keeps_aside(record):
            origin, seq = record.versions[0].dot
            value = state.db.get(key)
            if value is not None:
                yield value_key(state.origins.number(origin), seq), value
        due = due_ms(record, visible)
        if due is not None:
            yield expiry_key(due, key), b""


STEPS: Mapping[int, Callable[[State], None]] = {1: _with_expiry_rows}
"""Format → the step to the next one."""
