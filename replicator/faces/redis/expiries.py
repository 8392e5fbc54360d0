"""Commands on times to live, as Redis has them (R17).

What has no time to live is -1, what is not there is -2.
"""

from typing import Final

from replicator.core.rows import EXPIRY_MS_MAX
from replicator.faces.redis.strings import MILLISECONDS, SECONDS, integer
from replicator.faces.redis.table import Table, reading, writing
from replicator.faces.redis.turn import Turn
from replicator.faces.resp import Reply, Request
from replicator.faces.stepwise import CommandError, Session


def _expire(turn: Turn, _session: Session, request: Request) -> Reply:
    return _expire_in(turn, request, SECONDS)


def _pexpire(turn: Turn, _session: Session, request: Request) -> Reply:
    return _expire_in(turn, request, MILLISECONDS)


def _expire_in(turn: Turn, request: Request, unit: int) -> Reply:
    key, ttl_ms = request[1], integer(request[2]) * unit
    expiry_ms = turn.store.wall_ms() + ttl_ms
    if expiry_ms > EXPIRY_MS_MAX:
        raise CommandError("ERR invalid expire time")
    turn.hold()
    value = turn.get(key)
    if value is None:
        return 0
    if ttl_ms > 0:
        turn.put(key, value, expiry_ms)
    else:
        turn.delete(key)
    return 1


def _persist(turn: Turn, _session: Session, request: Request) -> Reply:
    turn.hold()
    key = request[1]
    value = turn.get(key)
    if value is None or turn.expiry_ms(key) is None:
        return 0
    turn.put(key, value)
    return 1


def _ttl(turn: Turn, _session: Session, request: Request) -> Reply:
    left_ms = _left_ms(turn, request[1])
    return left_ms if left_ms < 0 else (left_ms + 500) // 1000


def _pttl(turn: Turn, _session: Session, request: Request) -> Reply:
    return _left_ms(turn, request[1])


def _left_ms(turn: Turn, key: bytes) -> int:
    if turn.get(key) is None:
        return -2
    expiry_ms = turn.expiry_ms(key)
    return -1 if expiry_ms is None else max(0, expiry_ms - turn.store.wall_ms())


EXPIRIES: Final[Table] = {
    b"EXPIRE": writing(_expire, 3, 3),
    b"PEXPIRE": writing(_pexpire, 3, 3),
    b"PERSIST": writing(_persist, 2, 2),
    b"TTL": reading(_ttl, 2, 2),
    b"PTTL": reading(_pttl, 2, 2),
}
