"""The record row: everything about one key but its values, packed.

The index keeps one row a key, and a round sends the rows as they are, with a table that says
which 64-bit origin each small number stands for; so the sender of a round encodes nothing.

Big-endian throughout. A version is 33 bytes::

    flags u8 | origin number u32 | seq u64 | clock u64 | timestamp u64 | checksum u32

flags: 1 = delete, 2 = an expiry follows; the other bits are reserved and 0. The row of a record
with one version without expiry, whose context is just its dot (nearly all), is 34 bytes::

    01 | version

Every other row is::

    02 | visible u16 | versions u16 | context entries u32 | version …, each with its expiry u64
    (milliseconds since the epoch) behind it if flagged | (origin number u32, seq u64) …

with the versions in dot order of the 64-bit origins, the context entries by number. `visible` is
the place of the version that the key shows, or FFFF where it shows a value merged by the resolver;
it is the writing node's own business, a receiver of a round ignores it.

Example: the put of ``b"v"`` (CRC-32 0x6B643B84) as seq 7 of origin number 1, a first write at
timestamp 0x18BCFE568000001::

    01 00 00000001 0000000000000007 0000000000000000 018bcfe568000001 6b643b84
"""

import struct
from collections.abc import Callable, Mapping
from itertools import pairwise

from replicator.core.clock import TIMESTAMP_MAX
from replicator.core.dots import SEQ_MAX, Dot
from replicator.core.record import Record, Version
from replicator.errors import FormatError

SINGLE = 1
GENERAL = 2
DELETE = 1
EXPIRY = 2
MERGED = 0xFFFF
VERSIONS_MAX = 0xFFFE
"""Most siblings of one key: more nodes than that do not write one key at the same moment."""

SINGLE_ROW = struct.Struct(">BBIQQQI")
_HEAD = struct.Struct(">BHHI")
_VERSION = struct.Struct(">BIQQQI")
_EXPIRY = struct.Struct(">Q")
_ENTRY = struct.Struct(">IQ")

CLOCK_MAX = 2**63 - 1
EXPIRY_MS_MAX = 2**63 - 1
"""Latest expiry that is written; a reader takes any."""


def pack(record: Record, number_of: Callable[[int], int], visible: int = 0) -> bytes:
    """The row of a record.

    Args:
        record: at least one version.
        number_of: origin → number; may raise.
        visible: place of the shown version in `record.versions`, or `MERGED`.
    """
    versions, context = record.versions, record.context
    if len(versions) == 1 and len(context) == 1 and versions[0].expiry_ms is None:
        version = versions[0]
        if context == {version.dot.origin: version.dot.seq}:
            return SINGLE_ROW.pack(
                SINGLE,
                DELETE if version.is_delete else 0,
                number_of(version.dot.origin),
                version.dot.seq,
                version.clock,
                version.timestamp,
                version.checksum,
            )
    parts = [_HEAD.pack(GENERAL, visible, len(versions), len(context))]
    for version in versions:
        flags = (DELETE if version.is_delete else 0) | (0 if version.expiry_ms is None else EXPIRY)
        parts.append(
            _VERSION.pack(
                flags,
                number_of(version.dot.origin),
                version.dot.seq,
                version.clock,
                version.timestamp,
                version.checksum,
            )
        )
        if version.expiry_ms is not None:
            parts.append(_EXPIRY.pack(version.expiry_ms))
    entries = sorted((number_of(origin), seq) for origin, seq in context.items())
    parts += [_ENTRY.pack(number, seq) for number, seq in entries]
    return b"".join(parts)


class RaisedRows:
    """Rows of records of one version without expiry, their contexts raised to a floor (R9): as
    `pack` would make them of `raise_context`, without making the records.

    Args:
        floor: origin → seq.
        number_of: origin → number; may raise.
    """

    def __init__(self, floor: Mapping[int, int], number_of: Callable[[int], int]) -> None:
        self._floor = {number_of(origin): seq for origin, seq in floor.items()}
        self._around: dict[int, tuple[bytes, int, bytes]] = {}

    def row(
        self, flags: int, number: int, seq: int, clock: int, timestamp: int, checksum: int
    ) -> bytes:
        """The row of one record; fields as in a short row."""
        before, least, behind = self._around.get(number) or self._entries_around(number)
        if not (before or behind) and seq >= least:
            return SINGLE_ROW.pack(SINGLE, flags, number, seq, clock, timestamp, checksum)
        count = (len(before) + len(behind)) // _ENTRY.size + 1
        return b"".join(
            (
                _HEAD.pack(GENERAL, 0, 1, count),
                _VERSION.pack(flags, number, seq, clock, timestamp, checksum),
                before,
                _ENTRY.pack(number, max(seq, least)),
                behind,
            )
        )

    def _entries_around(self, number: int) -> tuple[bytes, int, bytes]:
        """The entries before that of an origin, its least seq, and the entries behind it."""
        entries = sorted(self._floor.items())
        before = b"".join(_ENTRY.pack(*one) for one in entries if one[0] < number)
        behind = b"".join(_ENTRY.pack(*one) for one in entries if one[0] > number)
        around = self._around[number] = before, self._floor.get(number, 0), behind
        return around


def unpack(row: bytes, key: bytes, origins: Mapping[int, int]) -> tuple[Record, int]:
    """The record that a row describes, its values not loaded (None), and the visible place.

    Args:
        row: from `pack`, or from a stranger.
        key: the user's key that the row belongs to.
        origins: number → 64-bit origin.

    Raises:
        FormatError: the row is malformed; a caller that got it from a peer says so.
    """
    try:
        if row[0] == SINGLE and len(row) == SINGLE_ROW.size:
            _, flags, number, seq, clock, timestamp, checksum = SINGLE_ROW.unpack(row)
            version = _version(key, origins, flags, number, seq, clock, timestamp, checksum)
            if flags & EXPIRY:
                raise ValueError("an expiry is flagged in a short row")
            return Record((version,), {version.dot.origin: seq}), 0
        return _unpack_general(row, key, origins)
    except (struct.error, IndexError, KeyError, ValueError) as error:
        raise FormatError(f"the row of key {key!r} does not decode: {error!r}") from error


def _unpack_general(row: bytes, key: bytes, origins: Mapping[int, int]) -> tuple[Record, int]:
    kind, visible, version_count, entry_count = _HEAD.unpack_from(row)
    if kind != GENERAL:
        raise ValueError("unknown kind of row")
    if not 1 <= version_count <= VERSIONS_MAX:
        raise ValueError("no version in it, or too many")
    if visible != MERGED and visible >= version_count:
        raise ValueError("the visible place lies outside")
    place = _HEAD.size
    versions = []
    for _ in range(version_count):
        flags, number, seq, clock, timestamp, checksum = _VERSION.unpack_from(row, place)
        place += _VERSION.size
        expiry_ms = None
        if flags & EXPIRY:
            (expiry_ms,) = _EXPIRY.unpack_from(row, place)
            place += _EXPIRY.size
        versions.append(
            _version(key, origins, flags, number, seq, clock, timestamp, checksum, expiry_ms)
        )
    context = {}
    for _ in range(entry_count):
        number, seq = _ENTRY.unpack_from(row, place)
        place += _ENTRY.size
        context[origins[number]] = seq
    if place != len(row) or len(context) != entry_count:
        raise ValueError("wrong length, or an origin twice in the context")
    if any(context.get(version.dot.origin, 0) < version.dot.seq for version in versions):
        raise ValueError("the context does not cover a live version")
    if not all(0 < seq <= SEQ_MAX for seq in context.values()):
        raise ValueError("a seq is out of range")
    dots = [version.dot for version in versions]
    if any(low >= high for low, high in pairwise(dots)):
        raise ValueError("the versions are not in dot order")
    return Record(tuple(versions), context), visible


def _version(
    key: bytes,
    origins: Mapping[int, int],
    flags: int,
    number: int,
    seq: int,
    clock: int,
    timestamp: int,
    checksum: int,
    expiry_ms: int | None = None,
) -> Version:
    if flags & ~(DELETE | EXPIRY):
        raise ValueError("reserved flags are set")
    if not 0 < seq <= SEQ_MAX or clock > CLOCK_MAX or timestamp > TIMESTAMP_MAX:
        raise ValueError("seq, clock or timestamp out of range")
    is_delete = bool(flags & DELETE)
    if is_delete and checksum:
        raise ValueError("a delete with a checksum")
    return Version(
        key, Dot(origins[number], seq), clock, timestamp, is_delete, None, expiry_ms, checksum
    )
