"""When a value expires: the words of requests that say so, and what is done about it (R17)."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Final

from replicator.config import TTL_SECONDS_MAX
from replicator.faces.redis.numbers import integer
from replicator.faces.redis.turn import Turn
from replicator.faces.resp import Request
from replicator.faces.stepwise import CommandError
from replicator.store.local import check_key, check_value

TTL_MS_MAX: Final = int(TTL_SECONDS_MAX * 1000)

TIMES: Final = {
    b"EX": (1000, True),
    b"PX": (1, True),
    b"EXAT": (1000, False),
    b"PXAT": (1, False),
}
"""The options: how many milliseconds their unit has, and whether they count from now."""


@dataclass(slots=True)
class Options:
    """The options of a SET or GETEX.

    Attributes:
        flags: those that stand alone and concern no lifetime.
        kind: which one says how long the value lives; empty for none.
        time: what follows that one, where it is one of `TIMES`.
    """

    flags: set[bytes] = field(default_factory=set)
    kind: bytes = b""
    time: bytes | None = None


def options(words: Iterable[bytes], alone: bytes, flags: Collection[bytes] = ()) -> Options:
    """The options in a request. Of a kind the last one counts; there may be one lifetime.

    Args:
        words: nothing but options.
        alone: the lifetime that has no time.
        flags: the other ones that there may be.

    Raises:
        CommandError: anything else is among them.
    """
    found = Options()
    left = iter(words)
    for word in left:
        name = word.upper()
        if name in flags:
            found.flags.add(name)
            continue
        if found.kind not in (b"", name) or (name != alone and name not in TIMES):
            raise CommandError("ERR syntax error")
        found.kind = name
        if name != alone:
            found.time = next(left, None)
            if found.time is None:
                raise CommandError("ERR syntax error")
    return found


def moment(turn: Turn, request: Request, kind: bytes, time: bytes) -> int:
    """The expiry that one of `TIMES` stands for, wall clock in milliseconds since the epoch.

    Raises:
        CommandError: it is no number, not above 0, or more than `TTL_SECONDS_MAX` away.
    """
    unit, is_relative = TIMES[kind]
    number, now_ms = integer(time), turn.store.wall_ms()
    expiry_ms = number * unit + (now_ms if is_relative else 0)
    if number <= 0 or expiry_ms > now_ms + TTL_MS_MAX:
        raise invalid(request)
    return expiry_ms


def invalid(request: Request) -> CommandError:
    """What to raise for a time that no value can live."""
    name = request[0].decode(errors="backslashreplace").lower()
    return CommandError(f"ERR invalid expire time in '{name}' command")


def put_until(turn: Turn, key: bytes, value: bytes, expiry_ms: int | None) -> None:
    """Set a key until then; where that is over, delete what is there."""
    if expiry_ms is None or expiry_ms > turn.store.wall_ms():
        turn.put(key, value, expiry_ms)
        return
    check_key(key)
    check_value(key, value)
    turn.hold()
    if turn.get(key) is not None:
        turn.delete(key)
