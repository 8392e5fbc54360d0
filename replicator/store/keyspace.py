"""The keyspace: where every row of the replicator lies in LevelDB, and what is in it.

The user's keys and values stay exactly where and as they are: a raw LevelDB reader sees the
visible values. Everything else lies behind the reserved prefix ``FF FF FF FF``, the end of the
keyspace; user keys that begin with it are refused. In a wrapped ``PrefixedDB`` all of this lies
behind that prefix. These numbers never change; numbers are big-endian.

======================  =============================================  ========================
key, after FF FF FF FF  value                                          what it is
======================  =============================================  ========================
``i`` key               record row (`replicator.core.rows`)            log index: key → metadata
``l`` number, seq       key                                            log: dot → key
``v`` number, seq       value                                          a value kept aside
``k`` number, start     stop                                           known seqs start … stop-1
``o`` number            origin u64                                     interned origin
``f`` number            seq u64                                        purge floor
``x`` moment u64, key   empty                                          an expiry (R17), see below
``c`` number, start     stop                                           closed seqs start … stop-1
``n`` origin u64        msgpack list (`replicator.store.members`)      a member (R7)
``m`` name              see `META`                                     one of a kind
``R``                   msgpack list of prefixes (at the root only)    registry of wraps (R15)
======================  =============================================  ========================

``number`` is a u32 (the store's own short name of an origin), ``seq``, ``start`` and ``stop``
are u64. A record of one live version that never expires keeps its value in the user's row only. A
record of several versions, or of one that expires, keeps each put's value aside, and the visible
one in the user's row as well, until it expires. Every batch that writes an index row, or takes
a value out of the user's row, writes the index row, the user's row, the expiry row and all values
aside of that key again: LevelDB may lose an older batch and keep a newer one at a power cut (R11),
and then each key is whole.

A key whose shown version expires has one expiry row. Its moment is that expiry, in milliseconds
since the epoch, while the value stands in the user's row; and the expiry with the highest bit set
once it has been taken out (swept). So what is due lies before the present moment, what was swept
too early, by a clock that was ahead, behind the present moment with the highest bit, and both are
found by one look. An expiry of 2**63 or more is never. A row that does not fit its record (left
by a power cut) is removed by whoever comes to it. Expiry issues no dot and leaves the index row and
the values aside as they are: they are sent to peers like any other.

Meta rows (msgpack): ``format`` version; ``identity`` [origin, machine, directory inode, lock
inode, boot id, clean]; ``cluster`` 16 bytes; ``shown`` highest own seq ever sent; ``durable`` the
known set as of the last sync point, {origin 8 bytes: bounds}; ``adopt`` the last key adopted,
present until adoption is complete; ``fork`` [number, shown, fresh origin], present until a fork is
mended; ``full`` what peers knew whose full-state rounds have changed something here and were not
completed since (R9), a known set like ``durable``: until it is known, the keys may be ahead of the
known set; ``want_full`` present from when this node was forgotten until it has had a full-state
round (R10); ``resolver`` [name, mode], what the shown values of all keys stand for, those behind
the key in ``revisit`` perhaps not yet: the last key looked at again since the resolver changed, or
nil, present until all were (`replicator.store.revisit`); ``restoring``, present, without
``format``, until a restore is complete.

Example: ``put(b"k", b"v")`` as seq 7 of origin number 1 makes three rows in one batch::

    6b                                              76
    ff ff ff ff 6c 00000001 0000000000000007        6b
    ff ff ff ff 69 6b                               01 00 00000001 … (the record row)

with an expiry at 1_800_000_000_000 ms (0x1A3185C5000) two more, the first of which becomes the
second, and the user's row goes, when that moment has come::

    ff ff ff ff 76 00000001 0000000000000007        76
    ff ff ff ff 78 000001a3185c5000 6b
    ff ff ff ff 78 800001a3185c5000 6b
"""

import struct
from typing import Any

import msgpack

from replicator.core import ranges
from replicator.core.known import KnownSet
from replicator.errors import FormatError

RESERVED = b"\xff\xff\xff\xff"
FORMAT_VERSION = 2
"""Version 1 had no rows for expiries and closed seqs; see `replicator.store.migration`."""

INDEX = RESERVED + b"i"
LOG = RESERVED + b"l"
VALUE = RESERVED + b"v"
KNOWN = RESERVED + b"k"
ORIGIN = RESERVED + b"o"
FLOOR = RESERVED + b"f"
EXPIRY = RESERVED + b"x"
CLOSED = RESERVED + b"c"
MEMBER = RESERVED + b"n"
META = RESERVED + b"m"
ROOT = RESERVED + b"R"

NEVER_MS = 1 << 63
"""An expiry from here on never comes."""

NUMBER = struct.Struct(">I")
SEQ = struct.Struct(">Q")
NUMBER_SEQ = struct.Struct(">IQ")


def index_key(key: bytes) -> bytes:
    """The row of the log index for a user's key."""
    return INDEX + key


def log_key(number: int, seq: int) -> bytes:
    """The log entry of a dot, by the number of its origin."""
    return LOG + NUMBER_SEQ.pack(number, seq)


def value_key(number: int, seq: int) -> bytes:
    """The row of a value kept aside, by the dot that wrote it."""
    return VALUE + NUMBER_SEQ.pack(number, seq)


def known_key(number: int, start: int) -> bytes:
    """The row of the known range of an origin that begins at `start`."""
    return KNOWN + NUMBER_SEQ.pack(number, start)


def origin_key(number: int) -> bytes:
    """The row that says which origin a number stands for."""
    return ORIGIN + NUMBER.pack(number)


def floor_key(number: int) -> bytes:
    """The row of the purge floor of an origin."""
    return FLOOR + NUMBER.pack(number)


def expiry_key(expiry_ms: int, key: bytes) -> bytes:
    """The expiry row of a user's key whose value is shown; the expiry is below `NEVER_MS`."""
    return EXPIRY + SEQ.pack(expiry_ms) + key


def swept_key(expiry_ms: int, key: bytes) -> bytes:
    """The expiry row of a user's key whose value has been taken out of the user's row."""
    return EXPIRY + SEQ.pack(expiry_ms | NEVER_MS) + key


def closed_key(number: int, start: int) -> bytes:
    """The row of the closed range of an origin that begins at `start`."""
    return CLOSED + NUMBER_SEQ.pack(number, start)


def member_key(origin: int) -> bytes:
    """The row of what is known of a member."""
    return MEMBER + SEQ.pack(origin)


def meta_key(name: str) -> bytes:
    """The row of a named value of the store itself."""
    return META + name.encode()


def after(prefix: bytes) -> bytes:
    """The first key behind all keys that begin with a tag prefix above."""
    return prefix[:-1] + bytes([prefix[-1] + 1])


def number_seq(row_key: bytes) -> tuple[int, int]:
    """The number and seq of a log, value or known row's key.

    Raises:
        FormatError: the key has another length.
    """
    try:
        number, seq = NUMBER_SEQ.unpack(row_key[5:])
    except struct.error as error:
        raise FormatError(f"the row key {row_key!r} is malformed; restore the directory") from error
    return number, seq


def pack_meta(value: object) -> bytes:
    """The meta row that holds a value."""
    return bytes(msgpack.packb(value))


def unpack_meta(name: str, row: bytes) -> Any:
    """The value of a meta row.

    Raises:
        FormatError: the row does not decode.
    """
    try:
        return msgpack.unpackb(row, strict_map_key=False)
    except (ValueError, msgpack.UnpackException) as error:
        raise FormatError(f"the row {name!r} does not decode; restore from a backup") from error


def pack_known(known: KnownSet) -> bytes:
    """The meta row that holds a known set."""
    return pack_meta({SEQ.pack(origin): bounds for origin, bounds in known.items()})


def unpack_known(name: str, row: bytes) -> KnownSet:
    """The known set of a meta row.

    Raises:
        FormatError: it does not decode, or its ranges are malformed.
    """
    table = unpack_meta(name, row)
    try:
        valid = all(ranges.is_valid(bounds) for bounds in table.values())
        known = {SEQ.unpack(origin)[0]: bounds for origin, bounds in table.items() if bounds}
    except (AttributeError, TypeError, struct.error):
        valid = False
    if not valid:
        raise FormatError(f"the row {name!r} holds malformed ranges; restore from a backup")
    return KnownSet(known)
