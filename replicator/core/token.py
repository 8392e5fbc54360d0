"""Tokens: a known set, or where a reader stands, as a short text that clients carry from node to
node.

A token says exactly what a handle knew: `wait_for` waits for no more than that, and a feed that
goes on behind it leaves nothing out. Its size follows the number of origins and of gaps, about 15
characters each; a cluster in steady state has one range an origin.

The bytes behind the URL-safe base64 (without padding)::

    01 | CRC-32 of what follows u32 | known
    02 | CRC-32 of what follows u32 | known | shown beyond that
    03 | CRC-32 of what follows u32 | known | shown beyond that | listing | after

A known set is ``origins | (origin u64 | bounds | difference …) …``. Numbers without a size are
varints: seven bits a byte, lowest first, the high bit set but in the last. Origins ascend; bounds
are those of `replicator.core.ranges`, each as the difference to the one before. The parts are those
of `replicator.core.feeding.Position`; the key `after` is 00 for none, or 01 and its bytes.
"""

import binascii
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from itertools import accumulate, pairwise
from zlib import crc32

from replicator.config import TOKEN_BYTES_MAX
from replicator.core import ranges
from replicator.core.dots import SEQ_MAX
from replicator.core.feeding import Position, at
from replicator.core.known import KnownSet
from replicator.errors import UsageError

_KNOWN, _SHOWN, _LISTING = 1, 2, 3
_HEAD = struct.Struct(">BI")
_ORIGIN = struct.Struct(">Q")


def write_token(position: KnownSet | Position) -> str:
    """The token of a known set, or of a reader.

    Raises:
        UsageError: it would be larger than `TOKEN_BYTES_MAX`.
    """
    if isinstance(position, KnownSet):
        position = at(position)
    kind, body = _KNOWN, bytearray()
    _put_known(body, position.known)
    shown = position.shown.difference(position.known)
    if shown or position.listing is not None:
        kind = _SHOWN
        _put_known(body, shown)
    if position.listing is not None:
        kind = _LISTING
        _put_known(body, position.listing)
        body += b"\0" if position.after is None else b"\1" + position.after
    if len(body) > TOKEN_BYTES_MAX:
        raise UsageError(
            f"a token of all that is known here would have {len(body)} bytes, more than "
            f"{TOKEN_BYTES_MAX}: ask for one of the own writes alone, or when catching up is over"
        )
    whole = _HEAD.pack(kind, crc32(body)) + body
    return urlsafe_b64encode(whole).rstrip(b"=").decode()


def read_token(token: str | bytes) -> KnownSet:
    """All that whoever has this token may have seen.

    Raises:
        UsageError: see `read_position`.
    """
    return read_position(token).shown


def read_position(token: str | bytes) -> Position:
    """Where the reader stands whose token this is.

    Raises:
        UsageError: it is no token: cut short, changed on the way, or of a later version.
    """
    try:
        text = token if isinstance(token, str) else token.decode("ascii")
        data = urlsafe_b64decode(text + "=" * (-len(text) % 4))
        kind, checksum = _HEAD.unpack_from(data)
        body = data[_HEAD.size :]
        if not _KNOWN <= kind <= _LISTING or crc32(body) != checksum:
            raise ValueError("another version, or another checksum")
        position = _read(kind, body)
        if len(body) > TOKEN_BYTES_MAX or write_token(position) != text:
            raise ValueError("written in another way")
    except (ValueError, IndexError, AttributeError, struct.error, binascii.Error) as error:
        shown = token[:40] if isinstance(token, str | bytes) else token
        raise UsageError(
            f"{shown!r} is no token ({error}): pass one on as token() or changes() gave it"
        ) from error
    return position


def _put_known(body: bytearray, known: KnownSet) -> None:
    origins = sorted(known.items())
    _put(body, len(origins))
    for origin, bounds in origins:
        body += _ORIGIN.pack(origin)
        _put(body, len(bounds))
        _put(body, bounds[0])
        for low, high in pairwise(bounds):
            _put(body, high - low)


def _put(body: bytearray, number: int) -> None:
    while number > 0x7F:
        body.append(number & 0x7F | 0x80)
        number >>= 7
    body.append(number)


def _read(kind: int, body: bytes) -> Position:
    known, place = _read_known(body, 0)
    shown, listing, after = known, None, None
    if kind != _KNOWN:
        more, place = _read_known(body, place)
        shown = known.union(more)
    if kind == _LISTING:
        listing, place = _read_known(body, place)
        if body[place] == 1:
            after = body[place + 1 :]
            place = len(body)
        elif body[place] == 0:
            place += 1
    if place != len(body):
        raise ValueError("bytes follow")
    return Position(known, shown, listing, after)


def _read_known(body: bytes, place: int) -> tuple[KnownSet, int]:
    count, place = _number(body, place)
    result: dict[int, ranges.Bounds] = {}
    for _ in range(count):
        (origin,) = _ORIGIN.unpack_from(body, place)
        length, place = _number(body, place + _ORIGIN.size)
        differences = []
        for _ in range(length):
            number, place = _number(body, place)
            differences.append(number)
        bounds = list(accumulate(differences))
        if not bounds or not ranges.is_valid(bounds) or bounds[-1] > SEQ_MAX + 1:
            raise ValueError("bounds that are none")
        result[origin] = bounds
    return KnownSet(result), place


def _number(body: bytes, place: int) -> tuple[int, int]:
    """The varint at a place, and the place behind it."""
    number = shift = 0
    while True:
        byte = body[place]
        place += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, place
        shift += 7
        if shift > 63:
            raise ValueError("a number that is too long")
