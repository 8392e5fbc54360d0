"""MULTI and EXEC, WATCH: requests of one client that are run in one go.

What a transaction writes is one commit (R1): all of it or nothing, here, on the disk, and in what
a peer sees of a round (R4). From the look at what was watched to the commit the turn holds the
store's lock, so neither another client nor a peer comes in between.

A watched key counts as changed when a live version of it is another one, whoever wrote that: this
node's clients, or peers, whose writes arrive here; when what it showed has expired; and when it
shows something else for any other reason. WATCH decides on this node alone: what another node
writes at the same moment is a conflict like any other.
"""

from typing import Final

from replicator.core import rows
from replicator.core.record import Record
from replicator.faces.access import Role
from replicator.faces.redis.client import GATHERS, Client
from replicator.faces.redis.limits import (
    RESP_TRANSACTION_BYTES_MAX,
    RESP_TRANSACTION_WORDS_MAX,
    RESP_WATCHED_MAX,
)
from replicator.faces.redis.shared import client_of
from replicator.faces.redis.table import OK, Awaited, Command, Table
from replicator.faces.redis.turn import Turn
from replicator.faces.resp import NullArray, Reply, Request
from replicator.faces.stepwise import CommandError, Session
from replicator.store.store import Store

ABORTED: Final = NullArray()


def _multi(_turn: Turn, session: Session, _request: Request) -> Reply:
    client = client_of(session)
    if client.queue is not None:
        raise CommandError("ERR MULTI calls can not be nested")
    client.queue, client.is_dirty = [], False
    client.queue_bytes = client.queue_words = 0
    client.set_mode(GATHERS, True)
    return OK


def _exec(turn: Turn, session: Session, request: Request) -> Reply:
    client = client_of(session)
    if len(request) > 1:
        end(client)
        raise CommandError(
            "EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' "
            "command"
        )
    queue, watched, is_dirty = client.queue, client.watched, client.is_dirty
    if queue is None:
        raise CommandError("ERR EXEC without MULTI")
    end(client)
    if is_dirty:
        raise CommandError("EXECABORT Transaction discarded because of previous errors.")
    turn.hold()
    if any(_has_changed(turn, key, *before) for key, before in watched.items()):
        return ABORTED
    shared = client.shared
    client.is_executing = turn.is_whole = True
    try:
        replies = [shared.run(client, request) for request in queue]
    finally:
        client.is_executing = turn.is_whole = False
    return replies


def _discard(_turn: Turn, session: Session, _request: Request) -> Reply:
    client = client_of(session)
    if client.queue is None:
        raise CommandError("ERR DISCARD without MULTI")
    end(client)
    return OK


def end(client: Client) -> None:
    """It gathers nothing and watches nothing any more."""
    client.queue, client.is_dirty = None, False
    client.queue_bytes = client.queue_words = 0
    client.watched = {}
    client.set_mode(GATHERS, False)


def gather(client: Client, request: Request) -> None:
    """Put a request into its transaction.

    Raises:
        CommandError: there is no more room.
    """
    assert client.queue is not None
    words = client.queue_words + len(request)
    is_full = words > RESP_TRANSACTION_WORDS_MAX
    size = client.queue_bytes + (0 if is_full else sum(map(len, request)))
    if is_full or size > RESP_TRANSACTION_BYTES_MAX:
        client.queue.clear()  # it will not be run
        raise CommandError(
            f"ERR a transaction has {RESP_TRANSACTION_WORDS_MAX} words and "
            f"{RESP_TRANSACTION_BYTES_MAX} bytes at most: make several of it, or a pipeline without"
        )
    client.queue_bytes, client.queue_words = size, words
    client.queue.append(request)


def _watch(turn: Turn, session: Session, request: Request) -> "Reply | Awaited":
    client = client_of(session)
    if client.queue is not None:
        raise CommandError("ERR WATCH inside MULTI is not allowed")
    keys = request[1:]
    if len(client.watched) + len(keys) > RESP_WATCHED_MAX:
        raise CommandError(f"ERR one client watches {RESP_WATCHED_MAX} keys at most")
    if turn.writes and not turn.writes.keys().isdisjoint(keys):
        # What this turn has written is watched as it will have been committed.
        return Awaited(lambda: _watch_later(client, keys))
    _remember(turn.store, client, keys)
    return OK


async def _watch_later(client: Client, keys: list[bytes]) -> Reply:
    _remember(client.shared.store, client, keys)
    return OK


def _remember(store: Store, client: Client, keys: list[bytes]) -> None:
    for key in keys:
        if key not in client.watched:
            client.watched[key] = store.row(key), _is_shown(store, key)


def _unwatch(_turn: Turn, session: Session, _request: Request) -> Reply:
    client_of(session).watched = {}
    return OK


def _is_shown(store: Store, key: bytes) -> bool:
    """Whether a key shows anything, as far as expiry goes."""
    return not (store.due.was_any and store.has_expired(key))


def _has_changed(turn: Turn, key: bytes, before: bytes | None, was_shown: bool) -> bool:
    """Whether a watched key was written since, or has expired."""
    if key in turn.writes:
        turn.is_touched = True
        return True
    row = turn.row(key)
    if row != before:
        return _differ(turn.store, key, before, row)
    return was_shown and not _is_shown(turn.store, key)


def _differ(store: Store, key: bytes, before: bytes | None, now: bytes | None) -> bool:
    """Whether two index rows of a key stand for different contents.

    They do not where only the context has shrunk, or where deletes were collected (R8).
    """
    if before is None:
        return True
    one, shown = _unpacked(store, key, before)
    if now is None:
        return not all(version.is_delete for version in one.versions)
    other, shown_now = _unpacked(store, key, now)
    return shown != shown_now or one.versions != other.versions


def _unpacked(store: Store, key: bytes, row: bytes) -> tuple[Record, int]:
    return rows.unpack(row, key, store.origins.by_number)


TRANSACTIONS: Final[Table] = {
    b"MULTI": Command(Role.READONLY, 1, 1, _multi, at_once=True),
    b"EXEC": Command(Role.READONLY, 1, None, _exec, writes=True, at_once=True),
    b"DISCARD": Command(Role.READONLY, 1, 1, _discard, at_once=True),
    b"WATCH": Command(Role.READONLY, 2, None, _watch, first=1, last=-1, step=1, at_once=True),
    b"UNWATCH": Command(Role.READONLY, 1, 1, _unwatch),
}
