"""Fingerprints of ranges of keys: equal where two nodes hold the same records there (R16).

A fingerprint covers, of every record in the range, the key and of each live version the 64-bit
origin, the seq, the operation, the clock, the timestamp, the expiry and the checksum of the value.
It never covers contexts, visible places or this store's short origin numbers: those differ between
nodes that hold the same.

It is made of index rows as they lie on disk (`replicator.core.rows`), column by column, so that a
row costs a fraction of a microsecond::

    fingerprint = BLAKE2b-128(lengths | keys | versions | origins), each BLAKE2b-128 over:
    lengths     the length of each key, u32
    keys        the keys
    versions    per live version, in the row's order, 34 bytes: 01, flags u8, 00000000, seq u64,
                clock u64, timestamp u64, checksum u32; then the expiry u64 where there is one.
                Flags: 1 = delete, 2 = an expiry follows, 128 = the key has a further version
    origins     per live version the origin, u64

with all numbers big-endian. A *digest as of a moment* leaves out records without a put whose
expiry lies after that moment.
"""

import struct
from collections.abc import Mapping, Sequence
from hashlib import blake2b

from replicator.core import rows
from replicator.core.dots import ORIGIN_MAX
from replicator.errors import FormatError

FINGERPRINT_BYTES = 16

_SIZE = rows.SINGLE_ROW.size
_SHORT_KIND = bytes([rows.SINGLE])
_NUMBER = slice(2, 6)
_NO_NUMBER = bytes(4)
_MORE = 128
_HEAD = struct.Struct(">BHHI")
_VERSION_BYTES = _SIZE - 1
_EXPIRY_BYTES = 8
_ORIGIN = struct.Struct(">Q")


class OriginTable(dict[bytes, bytes]):
    """The number of an origin, as a row has it → the origin, 8 bytes. Numbers that are interned
    later are found as well.

    Args:
        origins: number → origin.
    """

    def __init__(self, origins: Mapping[int, int]) -> None:
        super().__init__()
        self._origins = origins

    def __missing__(self, number: bytes) -> bytes:
        origin = self._origins.get(int.from_bytes(number, "big"), ORIGIN_MAX + 1)
        if origin > ORIGIN_MAX:
            raise FormatError(f"an index row has the origin number {number.hex()}, which is none")
        packed = self[number] = _ORIGIN.pack(origin)
        return packed


class Fingerprint:
    """The fingerprint of one range in the making; records are added in key order.

    Args:
        origins: of the store whose rows are added.
        moment_ms: records without a put that expires later than this wall clock do not count;
            None counts all.

    Attributes:
        count: how many records were counted.
    """

    __slots__ = ("_columns", "_moment_ms", "_origins", "count")

    def __init__(self, origins: OriginTable, moment_ms: int | None = None) -> None:
        self.count = 0
        self._origins = origins
        self._moment_ms = moment_ms
        self._columns = tuple(blake2b(digest_size=FINGERPRINT_BYTES) for _ in range(4))

    def add(self, keys: Sequence[bytes], found: Sequence[bytes]) -> None:
        """Add some records: their keys, and as many index rows.

        Raises:
            FormatError: a row is malformed.
        """
        joined = b"".join(found)
        count = len(found)
        # Every other row is longer than a short one.
        is_short = len(joined) == _SIZE * count
        if is_short and self._moment_ms is not None:
            is_short = joined[1::_SIZE].count(0) == count
        if is_short:
            self._add_short(keys, found, joined)
        else:
            self._add_long(keys, found)

    def _add_short(self, keys: Sequence[bytes], found: Sequence[bytes], joined: bytes) -> None:
        count = len(found)
        versions = bytearray(joined)
        nothing = bytes(count)
        for place in range(_NUMBER.start, _NUMBER.stop):
            versions[place::_SIZE] = nothing
        table = self._origins
        self._update(
            keys, versions, b"".join([table[number] for number in [row[_NUMBER] for row in found]])
        )

    def _add_long(self, keys: Sequence[bytes], found: Sequence[bytes]) -> None:
        counted, versions, origins = [], [], []
        for key, row in zip(keys, found, strict=True):
            parts, live = _versions(key, row, self._moment_ms)
            if live or self._moment_ms is None:
                counted.append(key)
                for part in parts:
                    origins.append(self._origins[part[_NUMBER]])
                    versions.append(part[: _NUMBER.start] + _NO_NUMBER + part[_NUMBER.stop :])
        self._update(counted, b"".join(versions), b"".join(origins))

    def _update(self, keys: Sequence[bytes], versions: bytes | bytearray, origins: bytes) -> None:
        self.count += len(keys)
        lengths = struct.pack(f">{len(keys)}I", *map(len, keys))
        for column, data in zip(
            self._columns, (lengths, b"".join(keys), versions, origins), strict=True
        ):
            column.update(data)

    def digest(self) -> bytes:
        """The fingerprint of what was added, `FINGERPRINT_BYTES` bytes."""
        whole = b"".join(column.digest() for column in self._columns)
        return blake2b(whole, digest_size=FINGERPRINT_BYTES).digest()


def _versions(key: bytes, row: bytes, moment_ms: int | None) -> tuple[list[bytes], bool]:
    """The versions of a row, each like a short row with its flags as a fingerprint has them, and
    whether one of them is a put that has not expired at the moment."""
    try:
        return _versions_of(row, moment_ms or 0)
    except (struct.error, IndexError) as error:
        raise FormatError(f"the row of key {key!r} does not decode: {error!r}") from error


def _versions_of(row: bytes, moment_ms: int) -> tuple[list[bytes], bool]:
    if row[0] == rows.SINGLE:
        if len(row) != _SIZE:
            raise struct.error("a short row of another length")
        return [row], not row[1] & rows.DELETE
    _, _, count, _ = _HEAD.unpack_from(row)
    place = _HEAD.size
    parts, live = [], False
    for left in range(count - 1, -1, -1):
        flags = row[place]
        end = place + _VERSION_BYTES
        expires = None
        if flags & rows.EXPIRY:
            (expires,) = _ORIGIN.unpack_from(row, end)
            end += _EXPIRY_BYTES
        is_put = not flags & rows.DELETE
        live = live or (is_put and (expires is None or expires > moment_ms))
        head = _SHORT_KIND + bytes([flags | (_MORE if left else 0)])
        parts.append(head + row[place + 1 : end])
        place = end
    return parts, live
