"""Commands on strings, as Redis has them."""

from typing import Final

from replicator.core.rows import EXPIRY_MS_MAX
from replicator.faces.redis.table import OK, Table, reading, writing
from replicator.faces.redis.turn import Turn
from replicator.faces.resp import Reply, Request
from replicator.faces.stepwise import CommandError, Session

SECONDS = 1000
MILLISECONDS = 1

NUMBER_CHARACTERS_MAX = 15


def _get(turn: Turn, _session: Session, request: Request) -> Reply:
    return turn.get(request[1])


def _mget(turn: Turn, _session: Session, request: Request) -> Reply:
    return [turn.get(key) for key in request[1:]]


def _set(turn: Turn, _session: Session, request: Request) -> Reply:
    if len(request) == 3:
        turn.put(request[1], request[2])
        return OK
    _, key, value, *options = request
    unit = {b"EX": SECONDS, b"PX": MILLISECONDS}.get(options[0].upper())
    if unit is None or len(options) != 2:
        raise CommandError("ERR syntax error")
    ttl_ms = integer(options[1]) * unit
    expiry_ms = turn.store.wall_ms() + ttl_ms
    if ttl_ms <= 0 or expiry_ms > EXPIRY_MS_MAX:
        raise CommandError("ERR invalid expire time in 'set' command")
    turn.put(key, value, expiry_ms)
    return OK


def _del(turn: Turn, _session: Session, request: Request) -> Reply:
    turn.hold()
    count = 0
    for key in request[1:]:
        if turn.get(key) is not None:
            turn.delete(key)
            count += 1
    return count


def _incr(turn: Turn, _session: Session, request: Request) -> Reply:
    turn.hold()
    key = request[1]
    value = integer(turn.get(key) or b"0") + 1
    turn.put(key, b"%d" % value, turn.expiry_ms(key))
    return value


def integer(text: bytes) -> int:
    """A whole number.

    Raises:
        CommandError: it is none.
    """
    digits = text.removeprefix(b"-")
    if not digits.isdigit() or len(digits) > NUMBER_CHARACTERS_MAX:
        raise CommandError("ERR value is not an integer or out of range")
    return int(text)


STRINGS: Final[Table] = {
    b"GET": reading(_get, 2, 2),
    b"MGET": reading(_mget, 2, last=-1),
    b"SET": writing(_set, 3),
    b"DEL": writing(_del, 2, last=-1),
    b"INCR": writing(_incr, 2, 2),
}
