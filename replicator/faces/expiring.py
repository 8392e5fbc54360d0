"""The commands of the daemon's socket that are about expiries, as Redis has them.

Times are whole seconds or milliseconds; what has no time to live is -1, what is not there is -2.
"""

from replicator.faces.handle import Replica
from replicator.faces.resp import Reply, Status
from replicator.faces.stepwise import CommandError, Session

SECONDS = 1000
MILLISECONDS = 1

NUMBER_CHARACTERS_MAX = 15


def set_(replica: Replica, _session: Session, arguments: list[bytes]) -> Reply:
    """``SET key value [EX seconds | PX milliseconds]``."""
    key, value, *options = arguments
    if not options:
        replica.put(key, value)
        return Status("OK")
    unit = {b"EX": SECONDS, b"PX": MILLISECONDS}.get(options[0].upper())
    if unit is None or len(options) != 2:
        raise CommandError("ERR syntax error")
    ttl_ms = _number(options[1]) * unit
    if ttl_ms <= 0:
        raise CommandError("ERR invalid expire time in 'set' command")
    replica.put(key, value, ttl=ttl_ms / 1000)
    return Status("OK")


def expire(replica: Replica, _session: Session, arguments: list[bytes]) -> Reply:
    """``EXPIRE key seconds``: 1, or 0 where the key shows nothing. Not above 0 deletes."""
    return _expire(replica, arguments[0], _number(arguments[1]) * SECONDS)


def pexpire(replica: Replica, _session: Session, arguments: list[bytes]) -> Reply:
    """``PEXPIRE key milliseconds``."""
    return _expire(replica, arguments[0], _number(arguments[1]) * MILLISECONDS)


def persist(replica: Replica, _session: Session, arguments: list[bytes]) -> Reply:
    """``PERSIST key``: 1, or 0 where there is no expiry to take off."""
    return int(replica.persist(arguments[0]))


def ttl(replica: Replica, _session: Session, arguments: list[bytes]) -> Reply:
    """``TTL key``: seconds, rounded."""
    left_ms = _left_ms(replica, arguments[0])
    return left_ms if left_ms < 0 else (left_ms + 500) // 1000


def pttl(replica: Replica, _session: Session, arguments: list[bytes]) -> Reply:
    """``PTTL key``: milliseconds."""
    return _left_ms(replica, arguments[0])


def _expire(replica: Replica, key: bytes, ttl_ms: int) -> int:
    if ttl_ms > 0:
        return int(replica.expire(key, ttl_ms / 1000))
    if replica.get(key) is None:
        return 0
    replica.delete(key)
    return 1


def _left_ms(replica: Replica, key: bytes) -> int:
    left = replica.ttl(key)
    if left is None:
        return -1
    return round(left * 1000) if left > 0 else -2


def _number(text: bytes) -> int:
    digits = text.removeprefix(b"-")
    if not digits.isdigit() or len(digits) > NUMBER_CHARACTERS_MAX:
        raise CommandError("ERR value is not an integer or out of range")
    return int(text)
