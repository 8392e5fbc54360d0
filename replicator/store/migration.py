"""Bringing a store of an earlier format up to this one, in place.

One step a format. A step may be cut anywhere and begins again, and the row that names the new
format is written, durably, behind it; so until then the version that wrote the store opens it as
before.
"""

from collections.abc import Callable, Iterable, Mapping

from replicator.core import rows
from replicator.store.expiry import due_ms
from replicator.store.keyspace import (
    EXPIRY,
    FORMAT_VERSION,
    INDEX,
    expiry_key,
    meta_key,
    pack_meta,
    unpack_meta,
)
from replicator.store.rowwise import Row, commit_rows, rows_of
from replicator.store.state import State


def migrate(state: State) -> None:
    """Take the steps from the format found to `FORMAT_VERSION`.

    Raises:
        CommitError, StoreFailedError: a commit failed; the next open begins the step again.
        FormatError: an index row does not decode.
    """
    found = unpack_meta("format", state.db.get(meta_key("format")) or pack_meta(1))
    for version in range(found, FORMAT_VERSION):
        STEPS[version](state)
        state.level.sync()  # before: a power cut may keep that row and lose older ones (R11)
        commit_rows(state, [(meta_key("format"), pack_meta(version + 1))])
        state.level.sync()


def _with_expiry_rows(state: State) -> None:
    """Format 1 kept expiries in the index only."""
    commit_rows(state, rows_of(state, EXPIRY), delete=True)
    commit_rows(state, _expiry_rows(state))


def _expiry_rows(state: State) -> Iterable[Row]:
    for row_key, row in rows_of(state, INDEX):
        if row[0] != rows.SINGLE:
            key = row_key[len(INDEX) :]
            due = due_ms(*rows.unpack(row, key, state.origins.by_number))
            if due is not None:
                yield expiry_key(due, key), b""


STEPS: Mapping[int, Callable[[State], None]] = {1: _with_expiry_rows}
"""Format → the step to the next one."""
