"""Tokens: a known set as a short text that clients carry from node to node.

A token says exactly what a handle knew: `wait_for` waits for no more than that, and a feed that
goes on behind it leaves nothing out. Its size follows the number of origins and of gaps, about 15
characters each; a cluster in steady state has one range an origin.

The bytes behind the URL-safe base64 (without padding)::

    01 | CRC-32 of what follows u32 | origins | (origin u64 | bounds | difference …) …

Numbers without a size are varints: seven bits a byte, lowest first, the high bit set but in the
last. Origins ascend; bounds are written as in `replicator.core.known`, each as the difference to
the one before.
"""

import binascii
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from itertools import accumulate, pairwise
from zlib import crc32

from replicator.config import TOKEN_BYTES_MAX
from replicator.core import ranges
from replicator.core.dots import SEQ_MAX
from replicator.core.known import KnownSet
from replicator.errors import UsageError

_VERSION = 1
_HEAD = struct.Struct(">BI")
_ORIGIN = struct.Struct(">Q")


def write_token(known: KnownSet) -> str:
    """The token of a known set.

    Raises:
        UsageError: it would be larger than `TOKEN_BYTES_MAX`.
    """
    origins = sorted(known.items())
    body = bytearray()
    _put(body, len(origins))
    for origin, bounds in origins:
        body += _ORIGIN.pack(origin)
        _put(body, len(bounds))
        _put(body, bounds[0])
        for low, high in pairwise(bounds):
            _put(body, high - low)
    if len(body) > TOKEN_BYTES_MAX:
        raise UsageError(
            f"a token of all that is known here would have {len(body)} bytes, more than "
            f"{TOKEN_BYTES_MAX}: ask for one of the own writes alone, or when catching up is over"
        )
    whole = _HEAD.pack(_VERSION, crc32(body)) + body
    return urlsafe_b64encode(whole).rstrip(b"=").decode()


def read_token(token: str | bytes) -> KnownSet:
    """The known set that a token stands for.

    Raises:
        UsageError: it is no token: cut short, changed on the way, or of a later version.
    """
    try:
        text = token if isinstance(token, str) else token.decode("ascii")
        data = urlsafe_b64decode(text + "=" * (-len(text) % 4))
        version, checksum = _HEAD.unpack_from(data)
        body = data[_HEAD.size :]
        if version != _VERSION or crc32(body) != checksum or len(body) > TOKEN_BYTES_MAX:
            raise ValueError("another version, or another checksum")
        known = _read(body)
        if write_token(known) != text:
            raise ValueError("written in another way")
    except (ValueError, IndexError, AttributeError, struct.error, binascii.Error) as error:
        shown = token[:40] if isinstance(token, str | bytes) else token
        raise UsageError(
            f"{shown!r} is no token ({error}): pass one on as token() or changes() gave it"
        ) from error
    return known


def _put(body: bytearray, number: int) -> None:
    while number > 0x7F:
        body.append(number & 0x7F | 0x80)
        number >>= 7
    body.append(number)


def _read(body: bytes) -> KnownSet:
    count, place = _number(body, 0)
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
    if place != len(body):
        raise ValueError("bytes follow")
    return KnownSet(result)


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
