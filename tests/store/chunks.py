"""Chunks made by hand, as peers would send them."""

from zlib import crc32

from replicator.core import rows
from replicator.core.chunk import Chunk
from replicator.core.dots import Dot
from replicator.core.record import Record, Version

A, B = 0xAAAA, 0xBBBB
"""Two origins."""


def version(
    value: bytes | None,
    origin: int,
    seq: int,
    *,
    clock: int = 0,
    timestamp: int = 1,
    key: bytes = b"k",
) -> Version:
    checksum = 0 if value is None else crc32(value)
    return Version(key, Dot(origin, seq), clock, timestamp, value is None, value, None, checksum)


def chunk_of(*found: tuple[bytes, Record]) -> Chunk:
    """A chunk as a peer would send it; its numbers are not this store's."""
    origins = sorted({origin for _, record in found for origin in record.context})
    numbers = {origin: 1000 + index for index, origin in enumerate(origins)}
    chunk = Chunk(origins={number: origin for origin, number in numbers.items()})
    for key, record in found:
        values = [one.value for one in record.versions if one.value is not None]
        chunk.append(key, rows.pack(record, numbers.__getitem__), values)
    return chunk


def single(value: bytes | None, origin: int, seq: int, key: bytes = b"k") -> tuple[bytes, Record]:
    return key, Record((version(value, origin, seq, key=key),), {origin: seq})
