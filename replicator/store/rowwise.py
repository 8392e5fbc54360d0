"""Going through many rows of a store in bounded commits: recovery, migration."""

from collections.abc import Iterable, Iterator
from itertools import islice

from replicator.store.keyspace import after
from replicator.store.state import State

ROWS_PER_COMMIT = 2000

Row = tuple[bytes, bytes]


def rows_of(state: State, tag: bytes) -> Iterator[Row]:
    """All rows whose keys begin with a tag of the keyspace, as of the first step."""
    with state.db.iterator(start=tag, stop=after(tag)) as found:
        yield from found


def commit_rows(state: State, found: Iterable[Row], *, delete: bool = False) -> None:
    """Write rows, or remove them, in commits of at most `ROWS_PER_COMMIT`.

    Raises:
        CommitError, StoreFailedError: a commit failed; those before it are done.
    """
    rows_left = iter(found)
    while some := list(islice(rows_left, ROWS_PER_COMMIT)):
        batch = state.db.write_batch()
        for row_key, row in some:
            if delete:
                batch.delete(row_key)
            else:
                batch.put(row_key, row)
        with state.level.lock:
            state.level.commit(batch)
