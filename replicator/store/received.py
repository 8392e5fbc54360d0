"""A peer's records, decoded and checked before they touch the store."""

from collections.abc import Iterator, Mapping
from zlib import crc32

from replicator.config import KEY_BYTES_MAX, VALUE_BYTES_MAX
from replicator.core import rows
from replicator.core.chunk import Chunk, fill
from replicator.core.record import Record
from replicator.errors import FormatError, ProtocolError
from replicator.store.keyspace import RESERVED


def decoded(key: bytes, row: bytes, origins: Mapping[int, int], values: Iterator[bytes]) -> Record:
    """A peer's record, checked.

    Raises:
        ProtocolError: it is malformed or damaged.
    """
    try:
        record = fill(rows.unpack(row, key, origins)[0], values)
    except FormatError as error:
        raise ProtocolError(str(error)) from error
    for version in record.versions:
        if version.value is not None and (
            crc32(version.value) != version.checksum or len(version.value) > VALUE_BYTES_MAX
        ):
            raise ProtocolError(f"the value of key {key[:40]!r}, dot {version.dot}, is damaged")
    return record


def checked(chunk: Chunk) -> dict[bytes, Record]:
    """A peer's records of a full-state round, by key.

    Raises:
        ProtocolError: the chunk is malformed.
    """
    if len(chunk.keys) != len(chunk.rows):
        raise ProtocolError("a chunk has not one row per key")
    values = iter(chunk.values)
    result = {}
    for key, row in zip(chunk.keys, chunk.rows, strict=True):
        if key >= RESERVED or len(key) > KEY_BYTES_MAX:
            raise bad_key(key)
        result[key] = decoded(key, row, chunk.origins, values)
    if len(result) != len(chunk.keys) or next(values, None) is not None:
        raise ProtocolError("a chunk names a key twice, or has values that no row explains")
    return result


def bad_key(key: bytes) -> ProtocolError:
    """What to raise for a key that no store takes."""
    return ProtocolError(f"a record of the key {key[:40]!r}, which is reserved or too long")
