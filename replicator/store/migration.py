"""Bringing a store of an earlier format up to this one, in place.

One step a format. A step may be cut anywhere and begins again, and the row that names the new
format is written, durably, behind it; so until then the version that wrote the store opens it as
before.
"""

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
    """Format 1 kept expiries in the index only, and the value of a lone version in the user's row
    only, even where it expires; that row stays until the first sweep."""
    commit_rows(state, rows_of(state, EXPIRY), delete=True)
    commit_rows(state, _expiry_rows(state))


def _expiry_rows(state: State) -> Iterable[Row]:
    for row_key, row in rows_of(state, INDEX):
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
