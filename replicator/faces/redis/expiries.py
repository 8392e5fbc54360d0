"""Commands on times to live, as Redis has them (R17).

What has no time to live is -1, what is not there is -2.
"""

from collections.abc import Sequence
from typing import Final

from replicator.faces.redis.expiring import TIMES, TTL_MS_MAX, invalid, put_until
from replicator.faces.redis.numbers import INTEGER_MIN, integer
from replicator.faces.redis.table import Table, reading, writing
from replicator.faces.redis.turn import Turn
from replicator.faces.resp import Reply, Request
from replicator.faces.stepwise import CommandError, Session

_CONDITIONS: Final = frozenset({b"NX", b"XX", b"GT", b"LT"})


def _expire(turn: Turn, _session: Session, request: Request) -> Reply:
    return _expire_at(turn, request, b"EX")


def _pexpire(turn: Turn, _session: Session, request: Request) -> Reply:
    return _expire_at(turn, request, b"PX")


def _expireat(turn: Turn, _session: Session, request: Request) -> Reply:
    return _expire_at(turn, request, b"EXAT")


def _pexpireat(turn: Turn, _session: Session, request: Request) -> Reply:
    return _expire_at(turn, request, b"PXAT")


def _expire_at(turn: Turn, request: Request, kind: bytes) -> int:
    conditions = _conditions(request[3:])
    unit, is_relative = TIMES[kind]
    key, time, now_ms = request[1], integer(request[2]) * unit, turn.store.wall_ms()
    expiry_ms = time + (now_ms if is_relative else 0)
    if expiry_ms > now_ms + TTL_MS_MAX or time < INTEGER_MIN:
        raise invalid(request)
    turn.hold()
    value = turn.get(key)
    if value is None or not _applies(conditions, expiry_ms, turn.expiry_ms(key)):
        return 0
    put_until(turn, key, value, expiry_ms)
    return 1


def _conditions(words: Sequence[bytes]) -> set[bytes]:
    conditions = {word.upper() for word in words}
    for word in words:
        if word.upper() not in _CONDITIONS:
            raise CommandError(f"ERR Unsupported option {word.decode(errors='backslashreplace')}")
    if b"NX" in conditions and len(conditions) > 1:
        raise CommandError("ERR NX and XX, GT or LT options at the same time are not compatible")
    if {b"GT", b"LT"} <= conditions:
        raise CommandError("ERR GT and LT options at the same time are not compatible")
    return conditions


def _applies(conditions: set[bytes], new_ms: int, old_ms: int | None) -> bool:
    """Whether an expiry may be set: none is later than any."""
    return not (
        (b"NX" in conditions and old_ms is not None)
        or (b"XX" in conditions and old_ms is None)
        or (b"GT" in conditions and (old_ms is None or new_ms <= old_ms))
        or (b"LT" in conditions and old_ms is not None and new_ms >= old_ms)
    )


def _persist(turn: Turn, _session: Session, request: Request) -> Reply:
    turn.hold()
    key = request[1]
    value = turn.get(key)
    if value is None or turn.expiry_ms(key) is None:
        return 0
    turn.put(key, value)
    return 1


def _ttl(turn: Turn, _session: Session, request: Request) -> Reply:
    return _in_seconds(_left_ms(turn, request[1]))


def _pttl(turn: Turn, _session: Session, request: Request) -> Reply:
    return _left_ms(turn, request[1])


def _expiretime(turn: Turn, _session: Session, request: Request) -> Reply:
    return _in_seconds(_expiry_ms(turn, request[1]))


def _pexpiretime(turn: Turn, _session: Session, request: Request) -> Reply:
    return _expiry_ms(turn, request[1])


def _in_seconds(milliseconds: int) -> int:
    return milliseconds if milliseconds < 0 else (milliseconds + 500) // 1000


def _left_ms(turn: Turn, key: bytes) -> int:
    expiry_ms = _expiry_ms(turn, key)
    return expiry_ms if expiry_ms < 0 else max(0, expiry_ms - turn.store.wall_ms())


def _expiry_ms(turn: Turn, key: bytes) -> int:
    if turn.get(key) is None:
        return -2
    expiry_ms = turn.expiry_ms(key)
    return -1 if expiry_ms is None else expiry_ms


EXPIRIES: Final[Table] = {
    b"EXPIRE": writing(_expire, 3),
    b"PEXPIRE": writing(_pexpire, 3),
    b"EXPIREAT": writing(_expireat, 3),
    b"PEXPIREAT": writing(_pexpireat, 3),
    b"PERSIST": writing(_persist, 2, 2),
    b"TTL": reading(_ttl, 2, 2),
    b"PTTL": reading(_pttl, 2, 2),
    b"EXPIRETIME": reading(_expiretime, 2, 2),
    b"PEXPIRETIME": reading(_pexpiretime, 2, 2),
}
