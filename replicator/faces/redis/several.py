"""Commands on any number of keys, as Redis has them.

Up to `RESP_KEYS_AT_ONCE` keys they are run in their turn: they read one moment, and what they write
is one commit. With more they go on in slices: one that reads still reads one moment; one that
writes makes several commits, so that others see some of its keys changed and some not yet.
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final

from replicator.faces.failures import wrong_count
from replicator.faces.handle import Replica
from replicator.faces.redis.aside import Commits
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
    if len(request) <= RESP_KEYS_AT_ONCE or turn.is_whole:
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
        for keys in _taken(request, RESP_SCAN_KEYS):
            while keys:
                values = yield from view.aside(view.read_values, keys)
                del keys[: len(values)]
                yield b"".join(encode(value, protocol) for value in values)
    finally:
        view.close()


def _exists(turn: Turn, _session: Session, request: Request) -> "Reply | Work":
    if len(request) <= RESP_KEYS_AT_ONCE or turn.is_whole:
        get = turn.get
        return sum(get(key) is not None for key in islice(request, 1, None))
    return Work(_existing(turn.replica, request))


def _existing(replica: Replica, request: Request) -> Slices:
    view = View(replica)
    try:
        count = 0
        for keys in _taken(request, RESP_SCAN_KEYS):
            while keys:
                values = yield from view.aside(view.read_values, keys)
                del keys[: len(values)]
                count += sum(value is not None for value in values)
                yield b""
        yield b":%d\r\n" % count
    finally:
        view.close()


def _del(turn: Turn, session: Session, request: Request) -> "Reply | Work":
    if len(request) <= RESP_KEYS_AT_ONCE or turn.is_whole:
        return _delete(turn, islice(request, 1, None))
    return Work(_deleted(turn, session, request))


def _deleted(first: Turn, session: Session, request: Request) -> Slices:
    commits = Commits(first, session, request)
    count = 0
    for keys in _taken(request, RESP_WRITES_KEYS):
        with commits.turn() as turn:
            count += _delete(turn, keys)
        yield from commits.step()
    yield from commits.end()
    yield b":%d\r\n" % count


def _delete(turn: Turn, keys: Iterable[bytes]) -> int:
    turn.hold()
    count = 0
    for key in keys:
        if turn.get(key) is not None:
            turn.delete(key)
            count += 1
    return count


def _mset(turn: Turn, session: Session, request: Request) -> "Reply | Work":
    _refuse_odd(request)
    if _is_much(request) and not turn.is_whole:
        return Work(_written(turn, session, request))
    turn.put_all(_pairs(islice(request, 1, None)))
    return OK


def _written(first: Turn, session: Session, request: Request) -> Slices:
    for place in range(1, len(request), 2 * RESP_SCAN_KEYS):
        check_all(_pairs(islice(request, place, place + 2 * RESP_SCAN_KEYS)))
        yield b""
    commits = Commits(first, session, request)
    for words in _taken(request, 2 * RESP_WRITES_KEYS):
        left = list(_pairs(words).items())
        while left:
            count = _fitting(left)
            with commits.turn() as turn:
                turn.put_all(dict(left[:count]))
            del left[:count]
            yield from commits.step()
    yield from commits.end()
    yield b"+OK\r\n"


def _fitting(pairs: list[tuple[bytes, bytes]]) -> int:
    """How many of them make a commit."""
    size = 0
    for count, (_, value) in enumerate(pairs, 1):
        size += len(value)
        if size >= RESP_WRITES_BYTES:
            return count
    return len(pairs)


def _msetnx(turn: Turn, _session: Session, request: Request) -> Reply:
    _refuse_odd(request)
    if _is_much(request) and not turn.is_whole:
        raise CommandError(
            f"ERR MSETNX is one commit: at most {RESP_KEYS_AT_ONCE} keys, and "
            f"{RESP_VALUES_AT_ONCE_BYTES} bytes"
        )
    values = _pairs(islice(request, 1, None))
    turn.hold()
    if any(turn.get(key) is not None for key in values):
        return 0
    turn.put_all(values)
    return 1


def _refuse_odd(request: Request) -> None:
    if not len(request) % 2:
        refused = wrong_count(request)
        raise CommandError(f"{refused.code} {refused.text}")


def _is_much(request: Request) -> bool:
    """Whether a request with values is too much for one commit."""
    return (
        len(request) > 2 * RESP_KEYS_AT_ONCE + 1
        or sum(map(len, request)) > RESP_VALUES_AT_ONCE_BYTES
    )


def _pairs(words: Iterable[bytes]) -> dict[bytes, bytes]:
    left = iter(words)
    return dict(zip(left, left, strict=True))


def _taken(request: Request, count: int) -> Iterator[list[bytes]]:
    """The arguments of a request, so many at a time, taken off it: a million words that are given
    up at once hold everybody up for a while."""
    request.reverse()
    request.pop()
    while request:
        words = request[-count:]
        del request[-count:]
        words.reverse()
        yield words


SEVERAL: Final[Table] = {
    b"MGET": reading(_mget, 2, last=-1),
    b"MSET": writing(_mset, 3, last=-1, step=2),
    b"MSETNX": writing(_msetnx, 3, last=-1, step=2),
    b"DEL": writing(_del, 2, last=-1),
    b"UNLINK": writing(_del, 2, last=-1),
    b"EXISTS": reading(_exists, 2, last=-1),
    b"TOUCH": reading(_exists, 2, last=-1),
}
