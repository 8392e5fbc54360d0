"""RESP2 and RESP3, the server's side: requests out of bytes, replies into bytes. No sockets.

Requests are arrays of bulk strings, or inline: a line of words, for people with netcat. Which of
the two is told by the first byte at each request's start.

Clients read replies with `hiredis.Reader`; requests are not read with it. It accepts any reply
type where a request may only have strings, and makes room for what a header announces: the 13
bytes ``>1000000000\\r\\n`` occupied version 3.5.0 for 12 seconds and 7.6 GB before it returned.
Telling such a header from the same bytes inside of a value takes exactly the scan below, and
after that nothing is left to parse. A guard in front of it that looks for such bytes anywhere
would refuse good values, and a request that hiredis has begun nobody else can end.

It would win little. Nearly all requests hold no line's end in an argument: those are cut by
`bytes.split` and compared with the lengths that they told (`_whole`): 0.9 µs a request of three
arguments, beside 0.7 µs for hiredis with its results measured and typed, and 3.1 µs for the scan,
which takes all others. Every size is checked before anything is kept.

Reference: https://redis.io/docs/latest/develop/reference/protocol-spec/
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from replicator.errors import ProtocolError
from replicator.faces.logs import printable
from replicator.faces.redis.limits import (
    RESP_ARGUMENTS_MAX,
    RESP_INLINE_BYTES_MAX,
    RESP_REQUEST_BYTES_MAX,
)

Request = list[bytes]
"""The command's name and its arguments, at least one item."""

ARGUMENT_OVERHEAD_BYTES = 48
"""What an argument takes in memory beside its bytes; an empty one is six bytes on the wire."""

_HEADER_BYTES_MAX = 32
_SIZES = {b"%d" % size: size for size in range(4096)}
_LINES = {b"*%d" % count: 1 + 2 * count for count in range(1, 65)}
_header_of = {size: b"$%d" % size for size in range(4096)}.get
_FAST_BYTES_MAX = 1 << 18
_NUMBER = re.compile(rb"0|[1-9][0-9]{0,17}")


@dataclass(frozen=True, slots=True)
class Status:
    """A short word such as OK, sent as a simple string."""

    text: str


@dataclass(frozen=True, slots=True)
class Failure:
    """An error reply: a code in capitals, which programs look at, and a text for people."""

    code: str
    text: str


@dataclass(frozen=True, slots=True)
class Push:
    """A message that no request asked for, of a type of its own in RESP3, else an array."""

    items: "Sequence[Reply]"


@dataclass(frozen=True, slots=True)
class Several:
    """Replies one after the other, where a request has more than one."""

    replies: "Sequence[Reply]"


@dataclass(frozen=True, slots=True)
class NullArray:
    """The array that is none, which RESP2 tells from the null of a string."""


Reply: TypeAlias = (
    "bool | int | float | bytes | str | Status | Failure | Push | Several | NullArray"
    " | Sequence[Reply] | Mapping[str, Reply] | None"
)
"""What a command answers; `encode` writes it."""


class RequestReader:
    """Requests out of a stream of bytes, cut anywhere. One per connection; not thread-safe.

    Attributes:
        error: what was wrong with the stream; set once, then nothing more is read. Requests in
            front of the mistake have been returned, as if it had come later.
    """

    def __init__(self) -> None:
        self.error: ProtocolError | None = None
        self._parts: list[bytes] = []
        self._held = 0
        self._need = 0
        self._missing = 0
        self._arguments: list[bytes] = []
        self._taken = 0

    @property
    def held(self) -> int:
        """How many bytes of memory a request that has not ended takes, about."""
        return self._held + self._taken + len(self._arguments) * ARGUMENT_OVERHEAD_BYTES

    def feed(self, data: bytes) -> list[Request]:
        """The requests that end in `data`, in order. See `error`.

        Args:
            data: what came next, of any length. A value larger than one read is collected
                without being looked at again and again.
        """
        if self.error is not None:
            return []
        self._parts.append(data)
        self._held += len(data)
        if self._held < self._need:
            return []
        if len(self._parts) > 1:
            data = b"".join(self._parts)
        requests: list[Request] = []
        self._need = position = 0
        try:
            if self._missing:
                position = self._scan(data, 0, requests, 1)
            if not self._missing and len(data) - position < _FAST_BYTES_MAX:
                position = _whole(data, position, requests)
            if position < len(data):
                position = self._scan(data, position, requests)
        except ProtocolError as error:
            self.error = error
            position = len(data)
        self._parts = [data[position:]] if position < len(data) else []
        self._held = len(data) - position
        return requests

    def _scan(
        self, data: bytes, position: int, requests: list[Request], most: int | None = None
    ) -> int:
        """Take whole items off `data` from `position` on, up to the end of that many requests; how
        far that went."""
        while position < len(data) and len(requests) != most:
            if self._missing:
                after = self._bulk(data, position)
            elif data[position] == 0x2A:  # *
                after = self._array(data, position)
            else:
                after = self._inline(data, position, requests)
            if after < 0:
                break
            position = after
            if self._arguments and not self._missing:
                requests.append(self._arguments)
                self._arguments = []
                self._taken = 0
        return position

    def _array(self, data: bytes, position: int) -> int:
        """Read ``*count``: that many arguments follow. -1 where it is not all there."""
        end = data.find(b"\r\n", position, position + _HEADER_BYTES_MAX)
        if end < 0:
            return _cut(data, position, "an array's header")
        if data[position + 1 : end] != b"-1":  # an array that is none, and of no length, is nothing
            self._missing = _number(data[position + 1 : end], RESP_ARGUMENTS_MAX, "arguments")
        self._taken = 0
        return end + 2

    def _bulk(self, data: bytes, position: int) -> int:
        """Read one ``$size`` argument. -1 where it is not all there."""
        if data[position] != 0x24:  # $
            raise ProtocolError(f"expected '$', got {_shown(data[position : position + 1])}")
        end = data.find(b"\r\n", position, position + _HEADER_BYTES_MAX)
        if end < 0:
            return _cut(data, position, "an argument's header")
        header = data[position + 1 : end]
        size = _SIZES.get(header)
        if size is None:
            size = _number(header, RESP_REQUEST_BYTES_MAX, "bytes")
        if self._taken + size > RESP_REQUEST_BYTES_MAX:
            raise ProtocolError(f"a request of more than {RESP_REQUEST_BYTES_MAX} bytes")
        start = end + 2
        stop = start + size
        if len(data) < stop + 2:
            self._need = stop + 2 - position
            return -1
        if data[stop : stop + 2] != b"\r\n":
            raise ProtocolError(f"an argument of {size} bytes does not end after them")
        self._arguments.append(data[start:stop])
        self._taken += size
        self._missing -= 1
        return stop + 2

    def _inline(self, data: bytes, position: int, requests: list[Request]) -> int:
        """Read a line of words. -1 where it is not all there."""
        end = data.find(b"\n", position, position + RESP_INLINE_BYTES_MAX)
        if end < 0:
            if len(data) - position >= RESP_INLINE_BYTES_MAX:
                raise ProtocolError("too big inline request")
            return -1
        words = split_words(data[position:end])
        if words:
            requests.append(words)
        return end + 1


def _whole(data: bytes, position: int, requests: list[Request]) -> int:
    """Take whole requests off `data` from `position` on, as long as they are arrays without a
    line's end in an argument, which is nearly always; how far that went.

    Nothing is taken for a length that was not found to be the right one.
    """
    lines = (data[position:] if position else data).split(b"\r\n")
    last = len(lines) - 1
    place = 0
    while (size := _LINES.get(lines[place])) is not None:
        stop = place + size
        if stop > last:
            break
        request = lines[place + 2 : stop : 2]
        lengths = lines[place + 1 : stop : 2]
        if lengths != [*map(_header_of, map(len, request))] and lengths != [
            b"$%d" % len(argument) for argument in request
        ]:
            break
        requests.append(request)
        place = stop
    if place == last and not lines[last]:
        return len(data)
    return position + sum(map(len, lines[:place])) + 2 * place


def _cut(data: bytes, position: int, what: str) -> int:
    if len(data) - position >= _HEADER_BYTES_MAX:
        raise ProtocolError(f"{what} does not end: {_shown(data[position : position + 16])}")
    return -1


def _number(text: bytes, most: int, of: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise ProtocolError(f"{_shown(text)} is no number of {of}")
    number = int(text)
    if number > most:
        raise ProtocolError(f"{number} {of}: at most {most} are accepted")
    return number


def _shown(data: bytes) -> str:
    return ascii(data)[1:]


_WORD = re.compile(
    rb"""[\ \t\r\0]*(?:"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)'|([^\s"'\0][^\s\0]*))(?=[\s\0]|$)""",
    re.DOTALL,
)
_ESCAPE = re.compile(rb"\\(?:x([0-9a-fA-F]{2})|(.))", re.DOTALL)
_ESCAPED = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"a": b"\a"}


def split_words(line: bytes) -> list[bytes]:
    """The words of an inline request: ``"double"`` with escapes, ``'single'`` with ``\\'`` alone.

    Raises:
        ProtocolError: a quote does not end, or something follows it.
    """
    words = []
    line = line.rstrip(b" \t\r\0")
    position = 0
    while position < len(line):
        match = _WORD.match(line, position)
        if match is None:
            raise ProtocolError("unbalanced quotes in request")
        double, single, bare = match.groups()
        if double is not None:
            words.append(_ESCAPE.sub(_unescape, double))
        elif single is not None:
            words.append(single.replace(b"\\'", b"'"))
        else:
            words.append(bare)
        position = match.end()
    return words


def _unescape(match: re.Match[bytes]) -> bytes:
    digits, letter = match.groups()
    return bytes([int(digits, 16)]) if digits else _ESCAPED.get(letter, letter)


def encode_request(*arguments: bytes) -> bytes:
    """A request as every client sends it."""
    parts = [b"*%d\r\n" % len(arguments)]
    for argument in arguments:
        parts += (b"$%d\r\n" % len(argument), argument, b"\r\n")
    return b"".join(parts)


def encode(reply: Reply, protocol: int) -> bytes:
    """A reply as bytes.

    Args:
        protocol: 2, or 3 where the client asked for it: then nulls, truth values, floating
            point numbers and maps have types of their own; else they are what Redis makes of
            them, a map a flat array.
    """
    parts: list[bytes] = []
    _encode(reply, protocol, parts)
    return b"".join(parts)


def _encode(reply: Reply, protocol: int, parts: list[bytes]) -> None:
    match reply:
        case bytes():
            parts += (b"$%d\r\n" % len(reply), reply, b"\r\n")
        case str():
            _encode(reply.encode(errors="surrogateescape"), protocol, parts)
        case None:
            parts.append(b"_\r\n" if protocol == 3 else b"$-1\r\n")
        case bool() if protocol == 3:
            parts.append(b"#t\r\n" if reply else b"#f\r\n")
        case int():
            parts.append(b":%d\r\n" % reply)
        case float() if protocol == 3:
            parts.append(b",%a\r\n" % reply)
        case float():
            _encode(repr(reply), protocol, parts)
        case Status():
            parts.append(b"+%s\r\n" % _line(reply.text).encode(errors="surrogateescape"))
        case Failure():
            # It quotes what a stranger has sent, and people will look at it.
            parts.append(b"-%s\r\n" % printable(_line(f"{reply.code} {reply.text}")).encode())
        case Mapping():
            parts.append(
                b"%%%d\r\n" % len(reply) if protocol == 3 else b"*%d\r\n" % (2 * len(reply))
            )
            for key, value in reply.items():
                _encode(key, protocol, parts)
                _encode(value, protocol, parts)
        case NullArray():
            parts.append(b"_\r\n" if protocol == 3 else b"*-1\r\n")
        case Push():
            parts.append((b">%d\r\n" if protocol == 3 else b"*%d\r\n") % len(reply.items))
            for item in reply.items:
                _encode(item, protocol, parts)
        case Several():
            for item in reply.replies:
                _encode(item, protocol, parts)
        case _:
            parts.append(b"*%d\r\n" % len(reply))
            for item in reply:
                _encode(item, protocol, parts)


def _line(text: str) -> str:
    return text.replace("\r", " ").replace("\n", " ")
