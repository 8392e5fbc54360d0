"""Commands on one or two keys, whatever they hold, as Redis has them."""

from typing import Final

from replicator.faces.redis.numbers import integer
from replicator.faces.redis.table import OK, Table, reading, writing
from replicator.faces.redis.turn import Turn
from replicator.faces.resp import Reply, Request, Status
from replicator.faces.stepwise import CommandError, Session

_STRING: Final = Status("string")
_NONE: Final = Status("none")
_DATABASE_MIN, _DATABASE_MAX = -(1 << 31), (1 << 31) - 1


def _type(turn: Turn, _session: Session, request: Request) -> Reply:
    return _NONE if turn.get(request[1]) is None else _STRING


def _rename(turn: Turn, _session: Session, request: Request) -> Reply:
    _, key, target = request
    value = _held(turn, key)
    if key != target:
        turn.put(target, value, turn.expiry_ms(key))
        turn.delete(key)
    return OK


def _renamenx(turn: Turn, _session: Session, request: Request) -> Reply:
    _, key, target = request
    value = _held(turn, key)
    if turn.get(target) is not None:
        return 0
    turn.put(target, value, turn.expiry_ms(key))
    turn.delete(key)
    return 1


def _held(turn: Turn, key: bytes) -> bytes:
    turn.hold()
    value = turn.get(key)
    if value is None:
        raise CommandError("ERR no such key")
    return value


def _copy(turn: Turn, _session: Session, request: Request) -> Reply:
    key, target = request[1], request[2]
    replaces = _copy_replaces(request)
    if key == target:
        raise CommandError("ERR source and destination objects are the same")
    turn.hold()
    value = turn.get(key)
    if value is None or (not replaces and turn.get(target) is not None):
        return 0
    turn.put(target, value, turn.expiry_ms(key))
    return 1


def _copy_replaces(request: Request) -> bool:
    """Whether COPY has the option REPLACE; there is one database, 0."""
    replaces = False
    words = iter(request[3:])
    for word in words:
        if word.upper() == b"REPLACE":
            replaces = True
        elif word.upper() == b"DB" and (number := next(words, None)) is not None:
            database = integer(number)
            if not _DATABASE_MIN <= database <= _DATABASE_MAX:
                raise CommandError(
                    "ERR value is out of range, value must between "
                    f"{_DATABASE_MIN} and {_DATABASE_MAX}"
                )
            if database != 0:
                raise CommandError("ERR DB index is out of range")
        else:
            raise CommandError("ERR syntax error")
    return replaces


KEYS: Final[Table] = {
    b"TYPE": reading(_type, 2, 2),
    b"RENAME": writing(_rename, 3, 3, last=2),
    b"RENAMENX": writing(_renamenx, 3, 3, last=2),
    b"COPY": writing(_copy, 3, last=2),
}
