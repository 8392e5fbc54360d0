"""Commands that go through keys, as Redis has them: in slices, over one moment (`View`)."""

import re
from dataclasses import dataclass
from typing import Final

from replicator import chance
from replicator.faces.handle import Replica
from replicator.faces.redis.cursors import cursors_of
from replicator.faces.redis.globs import EVERYTHING, Glob, glob
from replicator.faces.redis.limits import RESP_SCAN_HELD_BYTES, RESP_SCAN_KEYS
from replicator.faces.redis.numbers import integer
from replicator.faces.redis.table import Slices, Table, Work, walking
from replicator.faces.redis.turn import Turn
from replicator.faces.redis.view import View
from replicator.faces.resp import Reply, Request, encode
from replicator.faces.scanning import successor
from replicator.faces.stepwise import CommandError, Session

_CURSOR: Final = re.compile(rb"[0-9]{1,20}")
_CURSOR_END: Final = 1 << 64
_SCAN_COUNT: Final = 10
_RANDOM_LEVELS_MAX: Final = 64
_RANDOM_SHORTEST: Final = 1 / 8


def _keys(turn: Turn, _session: Session, request: Request) -> "Reply | Work":
    return Work(_found(turn.replica, glob(request[1])))


def _found(replica: Replica, pattern: Glob) -> Slices:
    """All keys that match: counted first, as their number leads the reply."""
    view = View(replica)
    try:
        count = size = 0
        held: list[list[bytes]] = []
        keys = view.keys(pattern.prefix, pattern.stop)
        place: bytes | None = b""
        while place is not None:
            found, place = yield from view.aside(view.read_keys, keys, pattern)
            count += len(found)
            size += sum(map(len, found))
            if size <= RESP_SCAN_HELD_BYTES:
                held.append(found)
            yield b""
        yield b"*%d\r\n" % count
        if size <= RESP_SCAN_HELD_BYTES:
            for found in held:
                yield _bulks(found)
            return
        held.clear()
        keys, place = view.keys(pattern.prefix, pattern.stop), b""
        while place is not None:
            found, place = yield from view.aside(view.read_keys, keys, pattern)
            yield _bulks(found)
    finally:
        view.close()


def _bulks(keys: list[bytes]) -> bytes:
    return b"".join([b"$%d\r\n%b\r\n" % (len(key), key) for key in keys])


def _dbsize(turn: Turn, _session: Session, _request: Request) -> "Reply | Work":
    return Work(_counted(turn.replica))


def _counted(replica: Replica) -> Slices:
    view = View(replica)
    try:
        count = 0
        keys = view.keys()
        place: bytes | None = b""
        while place is not None:
            found, place = yield from view.aside(view.read_keys, keys, EVERYTHING)
            count += len(found)
            yield b""
        yield b":%d\r\n" % count
    finally:
        view.close()


@dataclass(slots=True)
class Scan:
    """What a SCAN asks for.

    Attributes:
        count: how many keys it looks at.
        is_for_strings: whether it wants keys that hold strings: all of them, or else none.
    """

    cursor: int
    pattern: Glob = EVERYTHING
    count: int = _SCAN_COUNT
    is_for_strings: bool = True


def _scan(turn: Turn, _session: Session, request: Request) -> "Reply | Work":
    scan = _scan_of(request)
    after = cursors_of(turn.store).place(scan.cursor) if scan.cursor else None
    if not scan.is_for_strings:
        return [b"0", []]
    return Work(_scanned(turn.replica, scan, after))


def _scan_of(request: Request) -> Scan:
    text = request[1]
    if not _CURSOR.fullmatch(text) or int(text) >= _CURSOR_END:
        raise CommandError("ERR invalid cursor")
    scan = Scan(int(text))
    words = iter(request[2:])
    for word in words:
        name, value = word.upper(), next(words, None)
        if value is None or name not in (b"MATCH", b"COUNT", b"TYPE"):
            raise CommandError("ERR syntax error")
        if name == b"COUNT":
            scan.count = integer(value)
            if scan.count < 1:
                raise CommandError("ERR syntax error")
        elif name == b"MATCH":
            scan.pattern = glob(value)
        else:
            scan.is_for_strings = value.lower() == b"string"
    return scan


def _scanned(replica: Replica, scan: Scan, after: bytes | None) -> Slices:
    """The keys behind one, as far as a call goes, and the cursor behind them."""
    view = View(replica)
    try:
        pattern = scan.pattern
        start = pattern.prefix if after is None else max(after, pattern.prefix)
        keys = view.keys(start, pattern.stop, include_start=start != after)
        found: list[bytes] = []
        left, size = scan.count, 0
        place: bytes | None = b""
        while place is not None and left > 0 and size < RESP_SCAN_HELD_BYTES:
            count = min(left, RESP_SCAN_KEYS)
            some, place = yield from view.aside(view.read_keys, keys, pattern, count)
            found += some
            left -= count
            size += sum(map(len, some))
        cursor = 0
        if place is not None:
            cursor = cursors_of(view.store).remember(place, scan.cursor)
        yield encode([b"%d" % cursor, found], 2)
    finally:
        view.close()


def _randomkey(turn: Turn, session: Session, _request: Request) -> "Reply | Work":
    return Work(_drawn(turn.replica, session.protocol))


def _drawn(replica: Replica, protocol: int) -> Slices:
    view = View(replica)
    try:
        key: bytes | None = yield from view.aside(read_random_key, view)
        for start in () if key is None else (key, b""):  # past what has expired
            keys = view.keys(start)
            found: list[bytes] = []
            place: bytes | None = b""
            while place is not None and not found:
                found, place = yield from view.aside(view.read_keys, keys, EVERYTHING, 1)
            key = found[0] if found else None
            if key is not None:
                break
        yield encode(key, protocol)
    finally:
        view.close()


def read_random_key(view: View) -> bytes | None:
    """Some key, expired or not; None where there is none.

    From what all keys begin with, byte by byte: a byte is drawn between that of the first key and
    that of the last one, and the first key found from there on says with which keys to go on. So a
    few look-ups do, and keys of numbers of one length are equally likely; of others, those with
    few neighbours are more likely. A key that all the others begin with is drawn now and then.
    """
    first, last = view.read_key_from(b""), view.read_key_before(None)
    for _ in range(_RANDOM_LEVELS_MAX):
        if first is None or last is None or first == last:
            break
        size = _common(first, last)
        if size == len(first):
            if chance.random() < _RANDOM_SHORTEST:
                break
            first = view.read_key_from(first + b"\0") or last
        least, most = first[size], last[size]
        drawn = round(chance.uniform(least - 0.5, most + 0.5))
        if drawn > least:
            first = view.read_key_from(first[:size] + bytes([min(drawn, most)])) or last
        last = view.read_key_before(successor(first[: size + 1]))
    return first


def _common(first: bytes, last: bytes) -> int:
    """How many bytes two keys begin with alike."""
    size = min(len(first), len(last))
    return next((place for place in range(size) if first[place] != last[place]), size)


SCANNING: Final[Table] = {
    b"KEYS": walking(_keys, 2, 2),
    b"SCAN": walking(_scan, 2),
    b"DBSIZE": walking(_dbsize, 1, 1),
    b"RANDOMKEY": walking(_randomkey, 1, 1),
}
