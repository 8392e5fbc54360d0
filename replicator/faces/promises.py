"""What the socket offers of guarantees: writes that peers hold, tokens, changes.

The table is in `replicator.faces.commands`.
"""

from typing import Any

from replicator.config import PAGE_BYTES
from replicator.core.dots import parse_dot
from replicator.faces.handle import Replica
from replicator.faces.nursery import TrioReplica
from replicator.faces.redis.table import Awaited
from replicator.faces.redis.turn import Turn
from replicator.faces.resp import Reply, Request, Status
from replicator.faces.stepwise import CommandError, Session
from replicator.faces.words import count, number, options, text
from replicator.store.feed import Change


def put_with(replica: Replica, _session: Session, arguments: list[bytes]) -> Reply:
    """``REPL.PUT``"""
    key, value, *rest = arguments
    if len(rest) > 1 and rest[0].upper() == b"PX":
        lifetime: dict[str, Any] = {"ttl": number(rest[1]) / 1000}
        rest = rest[2:]
    else:
        lifetime = {}
    replica.put(key, value, **lifetime, **_guarantees(rest))
    return Status("OK")


def delete_with(replica: Replica, _session: Session, arguments: list[bytes]) -> Reply:
    """``REPL.DELETE``"""
    key, *rest = arguments
    replica.delete(key, **_guarantees(rest))
    return Status("OK")


def token(replica: Replica, _session: Session, arguments: list[bytes]) -> Reply:
    """``REPL.TOKEN``"""
    if arguments and arguments[0].upper() != b"OWN":
        raise CommandError("ERR syntax error")
    return replica.token(own=bool(arguments))


def wait_for(replica: Replica, _session: Session, arguments: list[bytes]) -> Reply:
    """``REPL.WAITFOR``"""
    return replica.wait_for(text(arguments[0]), number(arguments[1]) / 1000)


def reach(turn: Turn, _session: Session, request: Request) -> Awaited:
    """``REPL.WAITFOR``, in the loop."""
    given, timeout = text(request[1]), number(request[2]) / 1000
    replica = _in_loop(turn)
    return Awaited(lambda: replica.reached(given, timeout))


def changes(replica: Replica, _session: Session, arguments: list[bytes]) -> Reply:
    """``REPL.CHANGES``: a bounded page, which waits for its first item alone."""
    page = _Page(arguments)
    feed = replica.changes(page.since, origins=page.origins, timeout=page.timeout)
    for change in feed:
        if page.is_full_with(change):
            break
        feed.wait_no_more()
    return [feed.token, *page.items]


def follow(turn: Turn, _session: Session, request: Request) -> Awaited:
    """``REPL.CHANGES``, in the loop."""
    page = _Page(request[1:])
    feed = _in_loop(turn).follow(page.since, origins=page.origins, timeout=page.timeout)

    async def reply() -> Reply:
        async for change in feed:
            if page.is_full_with(change):
                break
            feed.wait_no_more()
        return [feed.token, *page.items]

    return Awaited(reply)


def _in_loop(turn: Turn) -> TrioReplica:
    assert isinstance(turn.replica, TrioReplica), "a server has no other"
    return turn.replica


class _Page:
    """What ``REPL.CHANGES`` is asked for, and what it has found."""

    def __init__(self, arguments: list[bytes]) -> None:
        given = options(arguments, (b"SINCE", b"COUNT", b"ORIGINS", b"WAIT"))
        since, origins = given.get(b"SINCE"), given.get(b"ORIGINS")
        self.since = None if since is None else text(since)
        self.origins = None if origins is None else text(origins)
        self.timeout = number(given.get(b"WAIT", b"0")) / 1000
        self.items: list[Reply] = []
        self._most = count(given)
        self._size = 0

    def is_full_with(self, change: Change) -> bool:
        """Add an item; whether that was the last one."""
        dot = None if change.dot is None else str(change.dot)
        self.items.append(
            [change.kind, change.key, change.value, dot, change.is_local, change.token]
        )
        self._size += len(change.key) + len(change.value or b"")
        return len(self.items) == self._most or self._size >= PAGE_BYTES


def _guarantees(arguments: list[bytes]) -> dict[str, Any]:
    """The keywords that stand for ``[REPLICAS n] [TIMEOUT ms] [SEEN dot …]``."""
    names = [argument.upper() for argument in arguments]
    seen = names.index(b"SEEN") if b"SEEN" in names else None
    given = options(arguments[:seen], (b"REPLICAS", b"TIMEOUT"))
    replicas, timeout = given.get(b"REPLICAS"), given.get(b"TIMEOUT")
    return {
        "replicas": None if replicas is None else number(replicas),
        "timeout": None if timeout is None else number(timeout) / 1000,
        "seen": None if seen is None else [parse_dot(text(dot)) for dot in arguments[seen + 1 :]],
    }
