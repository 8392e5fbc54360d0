"""After a machine crash: believe only what survived (R11).

LevelDB may have lost older batches and kept newer ones. Each key is whole all the same (every
batch that writes an index row rewrites all of the key), so the index is the truth: the known set
becomes the durable one plus the dots of the live index rows, and the log, the values aside and the
expiry rows are made to fit the index. The purge floor says nothing beyond what is known. Cut
anywhere, it begins again: the identity row that ends it comes last. An adoption that was under way
begins again at the first key.
"""

from collections.abc import Iterator

from replicator.core import ranges, rows
from replicator.core.known import KnownSet, within_known
from replicator.core.record import ABSENT
from replicator.store.expiry import expiry_of, keeps_aside, key_of, moment_of
from replicator.store.keyspace import (
    EXPIRY,
    FLOOR,
    INDEX,
    KNOWN,
    LOG,
    NUMBER_SEQ,
    SEQ,
    VALUE,
    floor_key,
    known_key,
    log_key,
    meta_key,
    pack_meta,
)
from replicator.store.rowwise import Row, commit_rows, rows_of
from replicator.store.state import State


def recover(state: State) -> None:
    """Rebuild known set, log and values aside from the durable row and the index.

    Raises:
        CommitError, StoreFailedError: a commit failed; the next open begins again.
        FormatError: an index row does not decode.
    """
    known = state.durable.copy()
    commit_rows(state, _stale_log(state), delete=True)
    commit_rows(state, _log_of_index(state, known))
    commit_rows(state, stale_values(state), delete=True)
    commit_rows(state, _stale_expiries(state), delete=True)
    commit_rows(state, rows_of(state, KNOWN), delete=True)
    commit_rows(state, _known_rows(state, known))
    state.floor = within_known(state.floor, known.union(state.closed_dots))
    commit_rows(state, rows_of(state, FLOOR), delete=True)
    commit_rows(state, _floor_rows(state))
    if state.db.get(meta_key("adopt")) is not None:
        commit_rows(state, [(meta_key("adopt"), pack_meta(None))])
    state.level.sync()


def _live(state: State, key: bytes) -> dict[bytes, bool]:
    """Number and seq of each live version of a key, as in row keys: whether its value is aside."""
    row = state.db.get(INDEX + key)
    if row is None:
        return {}
    record, _ = rows.unpack(row, key, state.origins.by_number)
    aside = keeps_aside(record)
    return {
        NUMBER_SEQ.pack(state.origins.number(version.dot.origin), version.dot.seq): aside
        and not version.is_delete
        for version in record.versions
    }


def _stale_log(state: State) -> Iterator[Row]:
    """Log entries of dots that are not live."""
    for row_key, key in rows_of(state, LOG):
        if row_key[len(LOG) :] not in _live(state, key):
            yield row_key, b""


def _log_of_index(state: State, known: KnownSet) -> Iterator[Row]:
    """The log entries that the index asks for; their dots are added to `known`."""
    for row_key, row in rows_of(state, INDEX):
        key = row_key[len(INDEX) :]
        record, _ = rows.unpack(row, key, state.origins.by_number)
        for version in record.versions:
            known.add(*version.dot)
            yield log_key(state.origins.number(version.dot.origin), version.dot.seq), key


def stale_values(state: State) -> Iterator[Row]:
    """Values aside that no record asks for; the log fits the index."""
    for row_key, _ in rows_of(state, VALUE):
        place = row_key[len(VALUE) :]
        key = state.db.get(LOG + place)
        if key is None or not _live(state, key).get(place, False):
            yield row_key, b""


def _stale_expiries(state: State) -> Iterator[Row]:
    """Expiry rows at a moment at which no version of their key expires."""
    for row_key, _ in rows_of(state, EXPIRY):
        key = key_of(row_key)
        row = state.db.get(INDEX + key)
        record = ABSENT if row is None else rows.unpack(row, key, state.origins.by_number)[0]
        if moment_of(row_key) not in map(expiry_of, record.versions):
            yield row_key, b""


def _floor_rows(state: State) -> Iterator[Row]:
    for origin, seq in state.floor.items():
        yield floor_key(state.origins.number(origin)), SEQ.pack(seq)


def _known_rows(state: State, known: KnownSet) -> Iterator[Row]:
    for origin, bounds in known.items():
        number = state.origins.number(origin)
        for start, stop in ranges.pairs(bounds):
            yield known_key(number, start), SEQ.pack(stop)
