"""The digest: equal on nodes that hold the same data (R16), in one scan of the index."""

import hashlib
import struct
from collections.abc import Mapping

from plyvel._plyvel import Snapshot

from replicator.core import rows
from replicator.store.keyspace import INDEX, after

_VERSION = struct.Struct(">QQ?QQQI")


def digest(snapshot: Snapshot, origins: Mapping[int, int], moment_ms: int) -> str:
    """Hash every record with at least one put that has not expired at `moment_ms`.

    Per live version: dot with the 64-bit origin, operation, clock, timestamp, expiry, checksum of
    the value. Never visible values, contexts, this store's numbers, or records of deletes only:
    those differ between nodes that hold the same data.
    """
    state = hashlib.blake2b(digest_size=16)
    skip = len(INDEX)
    with snapshot.iterator(start=INDEX, stop=after(INDEX)) as index:
        for row_key, row in index:
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
