"""What the socket offers of guarantees: writes that peers hold, tokens, changes.

The table is in `replicator.faces.commands`.
"""

from typing import Any

from replicator.config import PAGE_BYTES
from replicator.core.dots import parse_dot
from replicator.faces.handle import Replica
from replicator.faces.resp import Reply, Status
from replicator.faces.stepwise import CommandError, Session
from replicator.faces.words import count, number, options, text


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


def changes(replica: Replica, _session: Session, arguments: list[bytes]) -> Reply:
    """``REPL.CHANGES``: a bounded page, which waits for its first item alone."""
    given = options(arguments, (b"SINCE", b"COUNT", b"ORIGINS", b"WAIT"))
    since, origins = given.get(b"SINCE"), given.get(b"ORIGINS")
    feed = replica.changes(
        None if since is None else text(since),
        origins=None if origins is None else text(origins),
        timeout=number(given.get(b"WAIT", b"0")) / 1000,
    )
    most, size = count(given), 0
    items: list[Reply] = []
    for change in feed:
        dot = None if change.dot is None else str(change.dot)
        items.append([change.kind, change.key, change.value, dot, change.is_local, change.token])
        size += len(change.key) + len(change.value or b"")
        if len(items) == most or size >= PAGE_BYTES:
            break
        feed.wait_no_more()
    return [feed.token, *items]


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
