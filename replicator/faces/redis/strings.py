"""Commands on one string, as Redis has them. A key is always a string: none is of a wrong type."""

from typing import Final

from replicator.config import VALUE_BYTES_MAX
from replicator.faces.redis.expiring import moment, put_until
from replicator.faces.redis.expiring import options as options_of
from replicator.faces.redis.numbers import integer
from replicator.faces.redis.table import OK, Table, reading, writing
from replicator.faces.redis.turn import Turn
from replicator.faces.resp import Reply, Request
from replicator.faces.stepwise import CommandError, Session

_FLAGS: Final = frozenset({b"NX", b"XX", b"GET"})


def _get(turn: Turn, _session: Session, request: Request) -> Reply:
    return turn.get(request[1])


def _strlen(turn: Turn, _session: Session, request: Request) -> Reply:
    return len(turn.get(request[1]) or b"")


def _getrange(turn: Turn, _session: Session, request: Request) -> Reply:
    start, end = integer(request[2]), integer(request[3])
    value = turn.get(request[1])
    if not value or (start < 0 and end < 0 and start > end):
        return b""
    size = len(value)
    start = max(0, start + size if start < 0 else start)
    end = max(0, end + size if end < 0 else end)
    return value[start : end + 1]


def _set(turn: Turn, _session: Session, request: Request) -> Reply:
    if len(request) == 3:
        turn.put(request[1], request[2])
        return OK
    key, value = request[1], request[2]
    options = options_of(request[3:], b"KEEPTTL", _FLAGS)
    if options.flags >= {b"NX", b"XX"}:
        raise CommandError("ERR syntax error")
    expiry_ms = None
    if options.time is not None:
        expiry_ms = moment(turn, request, options.kind, options.time)
    keeps = options.kind == b"KEEPTTL"
    if not (options.flags or keeps):
        put_until(turn, key, value, expiry_ms)
        return OK
    turn.hold()
    old = turn.get(key)
    gets = b"GET" in options.flags
    if (b"NX" if old is not None else b"XX") in options.flags:
        return old if gets else None
    if keeps and old is not None:
        expiry_ms = turn.expiry_ms(key)
    put_until(turn, key, value, expiry_ms)
    return old if gets else OK


def _setnx(turn: Turn, _session: Session, request: Request) -> Reply:
    turn.hold()
    if turn.get(request[1]) is not None:
        return 0
    turn.put(request[1], request[2])
    return 1


def _setex(turn: Turn, _session: Session, request: Request) -> Reply:
    put_until(turn, request[1], request[3], moment(turn, request, b"EX", request[2]))
    return OK


def _psetex(turn: Turn, _session: Session, request: Request) -> Reply:
    put_until(turn, request[1], request[3], moment(turn, request, b"PX", request[2]))
    return OK


def _getset(turn: Turn, _session: Session, request: Request) -> Reply:
    turn.hold()
    old = turn.get(request[1])
    turn.put(request[1], request[2])
    return old


def _getdel(turn: Turn, _session: Session, request: Request) -> Reply:
    turn.hold()
    old = turn.get(request[1])
    if old is not None:
        turn.delete(request[1])
    return old


def _getex(turn: Turn, _session: Session, request: Request) -> Reply:
    key = request[1]
    options = options_of(request[2:], b"PERSIST")
    if not options.kind:
        return turn.get(key)
    turn.hold()
    value = turn.get(key)
    if value is None:
        return None
    if options.time is not None:
        put_until(turn, key, value, moment(turn, request, options.kind, options.time))
    elif turn.expiry_ms(key) is not None:
        turn.put(key, value)
    return value


def _append(turn: Turn, _session: Session, request: Request) -> Reply:
    key = request[1]
    turn.hold()
    old = turn.get(key)
    if old is None:
        turn.put(key, request[2])
        return len(request[2])
    if not request[2]:
        return len(old)
    return _change(turn, key, old, len(old), request[2])


def _setrange(turn: Turn, _session: Session, request: Request) -> Reply:
    key, offset = request[1], integer(request[2])
    if offset < 0:
        raise CommandError("ERR offset is out of range")
    turn.hold()
    old = turn.get(key)
    if not request[3]:
        return len(old or b"")
    return _change(turn, key, old, offset, request[3])


def _change(turn: Turn, key: bytes, old: bytes | None, offset: int, part: bytes) -> int:
    """Let a value be what it was, but for a part; its length."""
    if offset + len(part) > VALUE_BYTES_MAX:
        raise CommandError("ERR string exceeds maximum allowed size (proto-max-bulk-len)")
    before = (old or b"").ljust(offset, b"\0")
    value = before[:offset] + part + before[offset + len(part) :]
    turn.put(key, value, None if old is None else turn.expiry_ms(key))
    return len(value)


STRINGS: Final[Table] = {
    b"GET": reading(_get, 2, 2),
    b"SET": writing(_set, 3),
    b"SETNX": writing(_setnx, 3, 3),
    b"SETEX": writing(_setex, 4, 4),
    b"PSETEX": writing(_psetex, 4, 4),
    b"GETSET": writing(_getset, 3, 3),
    b"GETDEL": writing(_getdel, 2, 2),
    b"GETEX": writing(_getex, 2),
    b"STRLEN": reading(_strlen, 2, 2),
    b"GETRANGE": reading(_getrange, 4, 4),
    b"SUBSTR": reading(_getrange, 4, 4),
    b"SETRANGE": writing(_setrange, 4, 4),
    b"APPEND": writing(_append, 3, 3),
}
