"""What the socket offers of guarantees: writes that peers hold, tokens, changes.

The table is in `replicator.faces.commands`.
"""

from collections.abc import Callable
from typing import Any

from replicator.config import PAGE_BYTES
from replicator.core.dots import Dot, parse_dot
from replicator.core.record import Version
from replicator.faces.handle import Replica
from replicator.faces.nursery import TrioReplica
from replicator.faces.redis.table import Awaited, Command, Slices, Work, waiting
from replicator.faces.redis.turn import Turn
from replicator.faces.resp import Reply, Request, Status, encode
from replicator.faces.stepwise import CommandError, Session
from replicator.faces.words import count, flag, number, options, text
from replicator.store.feed import Change


def put_with(replica: Replica, _session: Session, arguments: list[bytes]) -> Reply:
    """``REPL.PUT``"""
    key, value, *rest = arguments
    lifetime: dict[str, Any] = {}
    if len(rest) > 1 and rest[0].upper() == b"PX":
        lifetime = {"ttl": number(rest[1]) / 1000}
        rest = rest[2:]
    given = _guarantees(rest)
    if (only_over := given.pop("only_over")) is None:
        replica.put(key, value, **lifetime, **given)
    else:
        del given["seen"]
        replica.update(key, _where(only_over, value), **lifetime, **given)
    return Status("OK")


def delete_with(replica: Replica, _session: Session, arguments: list[bytes]) -> Reply:
    """``REPL.DELETE``"""
    key, *rest = arguments
    given = _guarantees(rest)
    if (only_over := given.pop("only_over")) is None:
        replica.delete(key, **given)
    else:
        del given["seen"]
        replica.update(key, _where(only_over, None), **given)
    return Status("OK")


def batch(replica: Replica, _session: Session, arguments: list[bytes]) -> Reply:
    """``REPL.BATCH``: all of it is one commit. The number of keys, each counted once."""
    place = 0
    while place < len(arguments) and arguments[place].upper() in _PROMISES:
        place += 2
    promised = _promised(arguments[:place])
    keys = set()
    with replica.write_batch(transaction=True, **promised) as batch:
        while place < len(arguments):
            word = arguments[place].upper()
            stop = place + 1 + _OPERATIONS.get(word, 0)
            if word not in _OPERATIONS or stop > len(arguments):
                raise CommandError("ERR syntax error")
            key, *rest = arguments[place + 1 : stop]
            if word == b"DELETE":
                batch.delete(key)
            else:
                batch.put(key, rest[0], ttl=number(rest[1]) / 1000 if word == b"PUTPX" else None)
            keys.add(key)
            place = stop
    return len(keys)


def token(turn: Turn, session: Session, request: Request) -> Work | Command:
    """``REPL.TOKEN``. That of the own writes alone is short, and asked for behind many a write."""
    if len(request) == 1:
        return waiting(_whole_token, 1)
    if request[1].upper() != b"OWN":
        raise CommandError("ERR syntax error")
    return Work(_own_token(turn.replica, session.protocol))


def _whole_token(replica: Replica, _session: Session, _arguments: list[bytes]) -> Reply:
    return replica.token()


def _own_token(replica: Replica, protocol: int) -> Slices:
    """Behind the turn's commit, so that it covers what was written in it."""
    yield encode(replica.token(own=True), protocol)


def wait_for(turn: Turn, _session: Session, request: Request) -> Awaited | Command:
    """``REPL.WAITFOR``"""
    given, timeout = text(request[1]), number(request[2]) / 1000
    replica = turn.replica
    if isinstance(replica, TrioReplica):
        return Awaited(lambda: replica.reached(given, timeout))
    return waiting(lambda *_: replica.wait_for(given, timeout), 3)


def changes(turn: Turn, _session: Session, request: Request) -> Awaited | Command:
    """``REPL.CHANGES``: a bounded page, which waits for its first item alone."""
    page = _Page(request[1:])
    replica = turn.replica
    if isinstance(replica, TrioReplica):
        return Awaited(lambda: page.fill_in_loop(replica))
    return waiting(lambda *_: page.fill(replica), 1)


class _Page:
    """What ``REPL.CHANGES`` is asked for, and what it has found."""

    def __init__(self, arguments: list[bytes]) -> None:
        given = options(arguments, (b"SINCE", b"COUNT", b"ORIGINS", b"WAIT"))
        since, origins = given.get(b"SINCE"), given.get(b"ORIGINS")
        self._since = None if since is None else text(since)
        self._origins = None if origins is None else text(origins)
        self._timeout = number(given.get(b"WAIT", b"0")) / 1000
        self._items: list[Reply] = []
        self._most = count(given)
        self._size = 0

    def fill(self, replica: Replica) -> Reply:
        """The page. Blocks for the first item."""
        feed = replica.changes(self._since, origins=self._origins, timeout=self._timeout)
        for change in feed:
            if self._is_full_with(change):
                break
            feed.wait_no_more()
        return [feed.token, *self._items]

    async def fill_in_loop(self, replica: TrioReplica) -> Reply:
        """The same, awaited."""
        feed = replica.follow(self._since, origins=self._origins, timeout=self._timeout)
        async for change in feed:
            if self._is_full_with(change):
                break
            feed.wait_no_more()
        return [feed.token, *self._items]

    def _is_full_with(self, change: Change) -> bool:
        dot = None if change.dot is None else str(change.dot)
        is_local, expiry_ms = change.is_local, change.expiry_ms
        item = [change.kind, change.key, change.value, dot, is_local, change.token, expiry_ms]
        self._items.append(item)
        self._size += len(change.key) + len(change.value or b"")
        return len(self._items) == self._most or self._size >= PAGE_BYTES


_PROMISES = (b"SYNC", b"REPLICAS", b"TIMEOUT")
_OPERATIONS = {b"PUT": 2, b"PUTPX": 3, b"DELETE": 1}
"""The operations of a batch, and how many arguments each has."""


def _where(dots: frozenset[Dot], value: bytes | None) -> Callable[[list[Version]], bytes | None]:
    """What sets a value, or deletes, where exactly these versions are live."""

    def change(versions: list[Version]) -> bytes | None:
        if {version.dot for version in versions} != dots:
            raise CommandError("CHANGED other versions of the key are live: read it again")
        return value

    return change


def _guarantees(arguments: list[bytes]) -> dict[str, Any]:
    """The keywords of ``[SYNC 1] [REPLICAS n] [TIMEOUT ms] [SEEN dot … | IF dot …]``."""
    names = [argument.upper() for argument in arguments]
    behind = next((place for place, name in enumerate(names) if name in (b"SEEN", b"IF")), None)
    dots: dict[bytes, list[Dot]] = {}
    if behind is not None:
        dots[names[behind]] = [parse_dot(text(dot)) for dot in arguments[behind + 1 :]]
    only_over = dots.get(b"IF")
    return {
        **_promised(arguments[:behind]),
        "seen": dots.get(b"SEEN"),
        "only_over": None if only_over is None else frozenset(only_over),
    }


def _promised(arguments: list[bytes]) -> dict[str, Any]:
    """The keywords that stand for ``[SYNC 1] [REPLICAS n] [TIMEOUT ms]``."""
    given = options(arguments, _PROMISES)
    replicas, timeout = given.get(b"REPLICAS"), given.get(b"TIMEOUT")
    return {
        "sync": True if flag(given, b"SYNC") else None,
        "replicas": None if replicas is None else number(replicas),
        "timeout": None if timeout is None else number(timeout) / 1000,
    }
