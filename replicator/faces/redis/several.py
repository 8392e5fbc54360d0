"""Commands on any number of keys, as Redis has them.

Up to `RESP_KEYS_AT_ONCE` keys they are run in their turn: they read one moment, and what they write
is one commit. With more they go on in slices: one that reads still reads one moment; one that
writes makes several commits, so that others see some of its keys changed and some not yet.
"""

from collections.abc import Generator, Iterable
from contextlib import contextmanager
from itertools import islice
from typing import Final

from replicator.faces.failures import wrong_count
from replicator.faces.handle import Replica
from replicator.faces.redis.limits import (
    RESP_KEYS_AT_ONCE,
    RESP_SCAN_KEYS,
    RESP_VALUES_AT_ONCE_BYTES,
    RESP_WRITES_BYTES,
    RESP_WRITES_KEYS,
)
from replicator.faces.redis.table import OK, Slices, Table, Work, reading, writing
from replicator.faces.redis.turn import Turn, check_all
from replicator.faces.redis.view import View
from replicator.faces.resp import Reply, Request, encode
from replicator.faces.stepwise import CommandError, Session


def _mget(turn: Turn, session: Session, request: Request) -> "Reply | Work":
    if len(request) <= RESP_KEYS_AT_ONCE:
        size = 0
        values = []
        for key in islice(request, 1, None):
            value = turn.get(key)
            values.append(value)
            if value is not None:
                size += len(value)
                if size > RESP_VALUES_AT_ONCE_BYTES:
                    break
        else:
            return values
    return Work(_values(turn.replica, session.protocol, request))


def _values(replica: Replica, protocol: int, request: Request) -> Slices:
    view = View(replica)
    try:
        yield b"*%d\r\n" % (len(request) - 1)
        place = 1
        while place < len(request):
            keys = request[place : place + RESP_SCAN_KEYS]
            values = yield from view.aside(view.read_values, keys)
            place += len(values)
            yield b"".join(encode(value, protocol) for value in values)
    finally:
        view.close()


def _exists(turn: Turn, _session: Session, request: Request) -> "Reply | Work":
    if len(request) <= RESP_KEYS_AT_ONCE:
        get = turn.get
        return sum(get(key) is not None for key in islice(request, 1, None))
    return Work(_existing(turn.replica, request))


def _existing(replica: Replica, request: Request) -> Slices:
    view = View(replica)
    try:
        count, place = 0, 1
        while place < len(request):
            keys = request[place : place + RESP_SCAN_KEYS]
            values = yield from view.aside(view.read_values, keys)
            place += len(values)
            count += sum(value is not None for value in values)
            yield b""
        yield b":%d\r\n" % count
    finally:
        view.close()


def _del(turn: Turn, _session: Session, request: Request) -> "Reply | Work":
    if len(request) <= RESP_KEYS_AT_ONCE:
        return _delete(turn, islice(request, 1, None))
    return Work(_deleted(turn.replica, request))


def _deleted(replica: Replica, request: Request) -> Slices:
    count = 0
    for place in range(1, len(request), RESP_WRITES_KEYS):
        keys = request[place : place + RESP_WRITES_KEYS]
        with committed(replica) as turn:
            count += _delete(turn, keys)
        yield b""
    yield b":%d\r\n" % count


def _delete(turn: Turn, keys: Iterable[bytes]) -> int:
    turn.hold()
    count = 0
    for key in keys:
        if turn.get(key) is not None:
            turn.delete(key)
            count += 1
    return count


def _mset(turn: Turn, _session: Session, request: Request) -> "Reply | Work":
    values = _pairs(request)
    if len(values) <= RESP_KEYS_AT_ONCE and _bytes(values) <= RESP_VALUES_AT_ONCE_BYTES:
        turn.put_all(values)
        return OK
    check_all(values)
    return Work(_written(turn.replica, values))


def _written(replica: Replica, values: dict[bytes, bytes]) -> Slices:
    batch: dict[bytes, bytes] = {}
    size = 0
    for key, value in values.items():
        batch[key] = value
        size += len(value)
        if len(batch) >= RESP_WRITES_KEYS or size >= RESP_WRITES_BYTES:
            with committed(replica) as turn:
                turn.put_all(batch)
            batch, size = {}, 0
            yield b""
    if batch:
        with committed(replica) as turn:
            turn.put_all(batch)
    yield b"+OK\r\n"


def _msetnx(turn: Turn, _session: Session, request: Request) -> Reply:
    values = _pairs(request)
    if len(values) > RESP_KEYS_AT_ONCE or _bytes(values) > RESP_VALUES_AT_ONCE_BYTES:
        raise CommandError(
            f"ERR MSETNX is one commit: at most {RESP_KEYS_AT_ONCE} keys, whose values have at "
            f"most {RESP_VALUES_AT_ONCE_BYTES} bytes together"
        )
    turn.hold()
    if any(turn.get(key) is not None for key in values):
        return 0
    turn.put_all(values)
    return 1


def _pairs(request: Request) -> dict[bytes, bytes]:
    if not len(request) % 2:
        refused = wrong_count(request)
        raise CommandError(f"{refused.code} {refused.text}")
    return dict(zip(islice(request, 1, None, 2), islice(request, 2, None, 2), strict=True))


def _bytes(values: dict[bytes, bytes]) -> int:
    return sum(map(len, values.values()))


@contextmanager
def committed(replica: Replica) -> Generator[Turn]:
    """A turn of a command that goes on in slices: one commit at the end.

    Raises:
        What `Turn.commit` raises.
    """
    turn = Turn(replica)
    try:
        yield turn
        turn.commit()
    finally:
        turn.abandon()


SEVERAL: Final[Table] = {
    b"MGET": reading(_mget, 2, last=-1),
    b"MSET": writing(_mset, 3, last=-1, step=2),
    b"MSETNX": writing(_msetnx, 3, last=-1, step=2),
    b"DEL": writing(_del, 2, last=-1),
    b"UNLINK": writing(_del, 2, last=-1),
    b"EXISTS": reading(_exists, 2, last=-1),
    b"TOUCH": reading(_exists, 2, last=-1),
}
