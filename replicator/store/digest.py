"""The digest: equal on nodes that hold the same data (R16), in one scan of the index."""

import hashlib
import struct
from collections.abc import Generator, Mapping

from plyvel._plyvel import Snapshot

from replicator.core import rows
from replicator.store.keyspace import INDEX, after

_VERSION = struct.Struct(">QQ?QQQI")


STEP_KEYS = 20_000
"""Records between two moments at which whoever waits hears of it: some 50 ms."""


def digest(snapshot: Snapshot, origins: Mapping[int, int], moment_ms: int) -> str:
    """The digest as of a wall clock, in milliseconds since the epoch. See `digest_steps`."""
    steps = digest_steps(snapshot, origins, moment_ms)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: str = end.value
            return result


def digest_steps(
    snapshot: Snapshot, origins: Mapping[int, int], moment_ms: int
) -> Generator[int, None, str]:
    """Hash every record with at least one put that has not expired at `moment_ms`.

    Per live version: dot with the 64-bit origin, operation, clock, timestamp, expiry, checksum of
    the value. Never visible values, contexts, this store's numbers, or records of deletes only:
    those differ between nodes that hold the same data.

    Yields:
        Now and then, how many records were looked at.

    Returns:
        The hash, in hex.
    """
    state = hashlib.blake2b(digest_size=16)
    skip = len(INDEX)
    with snapshot.iterator(start=INDEX, stop=after(INDEX)) as index:
        for count, (row_key, row) in enumerate(index):
            if count and count % STEP_KEYS == 0:
                yield count
            key = row_key[skip:]
            record, _ = rows.unpack(row, key, origins)
            if not any(
                not version.is_delete
                and (version.expiry_ms is None or version.expiry_ms > moment_ms)
                for version in record.versions
            ):
                continue
            state.update(struct.pack(">II", len(key), len(record.versions)))
            state.update(key)
            for version in record.versions:
                state.update(
                    _VERSION.pack(
                        *version.dot,
                        version.is_delete,
                        version.clock,
                        version.timestamp,
                        version.expiry_ms or 0,
                        version.checksum,
                    )
                )
    return state.hexdigest()
