"""The digest: equal on nodes that hold the same data (R16), in one scan of the index.

It is the fingerprint of the whole keyspace as of a moment (`replicator.core.fingerprint`).
"""

from collections.abc import Mapping
from contextlib import closing
from itertools import islice

from plyvel._plyvel import Snapshot

from replicator.core.fingerprint import Fingerprint, OriginTable
from replicator.store.comparing import BATCH_ROWS, add_rows, index_rows


def digest(snapshot: Snapshot, origins: Mapping[int, int], moment_ms: int) -> str:
    """Hash every record with at least one put that has not expired at `moment_ms`.

    Per live version: dot with the 64-bit origin, operation, clock, timestamp, expiry, checksum of
    the value. Never visible values, contexts, this store's numbers, or records of deletes only:
    those differ between nodes that hold the same data.
    """
    whole = Fingerprint(OriginTable(origins), moment_ms)
    with closing(index_rows(snapshot, None, None)) as index:
        while batch := list(islice(index, BATCH_ROWS)):
            add_rows(whole, batch)
    return whole.digest().hex()
