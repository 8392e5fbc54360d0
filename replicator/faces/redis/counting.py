"""Commands that add to a number, as Redis has them."""

from typing import Final

from replicator.faces.redis.numbers import (
    INTEGER_MAX,
    INTEGER_MIN,
    integer,
    real,
    rounded,
    written,
)
from replicator.faces.redis.table import Table, writing
from replicator.faces.redis.turn import Turn
from replicator.faces.resp import Reply, Request
from replicator.faces.stepwise import CommandError, Session


def _incr(turn: Turn, _session: Session, request: Request) -> Reply:
    return _add(turn, request[1], 1)


def _decr(turn: Turn, _session: Session, request: Request) -> Reply:
    return _add(turn, request[1], -1)


def _incrby(turn: Turn, _session: Session, request: Request) -> Reply:
    return _add(turn, request[1], integer(request[2]))


def _decrby(turn: Turn, _session: Session, request: Request) -> Reply:
    decrement = integer(request[2])
    if decrement == INTEGER_MIN:
        raise CommandError("ERR decrement would overflow")
    return _add(turn, request[1], -decrement)


def _add(turn: Turn, key: bytes, increment: int) -> int:
    turn.hold()
    old = turn.get(key)
    if old is None:
        turn.put(key, b"%d" % increment)
        return increment
    number = integer(old) + increment
    if not INTEGER_MIN <= number <= INTEGER_MAX:
        raise CommandError("ERR increment or decrement would overflow")
    turn.put(key, b"%d" % number, turn.expiry_ms(key))
    return number


def _incrbyfloat(turn: Turn, _session: Session, request: Request) -> Reply:
    key = request[1]
    turn.hold()
    old = turn.get(key)
    number = rounded(real(b"0" if old is None else old) + real(request[2]))
    value = written(number)
    turn.put(key, value, None if old is None else turn.expiry_ms(key))
    return value


COUNTING: Final[Table] = {
    b"INCR": writing(_incr, 2, 2),
    b"DECR": writing(_decr, 2, 2),
    b"INCRBY": writing(_incrby, 3, 3),
    b"DECRBY": writing(_decrby, 3, 3),
    b"INCRBYFLOAT": writing(_incrbyfloat, 3, 3),
}
