"""Commands about the server as a whole: TIME, ROLE, WAIT, SHUTDOWN."""

import time
from functools import partial
from typing import Final

from replicator.config import MEMBERS_MAX
from replicator.core.known import KnownSet
from replicator.errors import NotReplicated
from replicator.faces.access import Role
from replicator.faces.redis.client import Client
from replicator.faces.redis.limits import RESP_WAIT_ASK_SECONDS
from replicator.faces.redis.shared import client_of
from replicator.faces.redis.table import OK, Awaited, Command, Table
from replicator.faces.redis.turn import Turn
from replicator.faces.resp import Reply, Request
from replicator.faces.stepwise import CommandError, Session

_DIGITS_MAX = 12


def _time(_turn: Turn, _session: Session, _request: Request) -> Reply:
    seconds, microseconds = divmod(time.time_ns() // 1000, 1_000_000)
    return [str(seconds), str(microseconds)]


def _role(_turn: Turn, session: Session, _request: Request) -> Awaited:
    return Awaited(partial(_tell_role, client_of(session)))


async def _tell_role(client: Client) -> Reply:
    """Every node is a master; its replicas are the peers it talks to, each with how far it is."""
    shared = client.shared
    offset = shared.store.seq
    replicas: list[Reply] = []
    for peer in shared.replica.status().peers:
        if peer.connected:
            host, _, port = peer.address.rpartition(":")
            behind = peer.lag_entries or 0
            replicas.append([host, port, str(max(0, offset - behind))])
    return [b"master", offset, replicas]


def _wait(_turn: Turn, session: Session, request: Request) -> Awaited:
    replicas, timeout_ms = _whole(request[1], "value"), _whole(request[2], "timeout")
    if timeout_ms < 0:
        raise CommandError("ERR timeout is negative")
    return Awaited(partial(_until_held, client_of(session), replicas, timeout_ms))


async def _until_held(client: Client, replicas: int, timeout_ms: int) -> Reply:
    """On how many peers' disks all is that this client has written, once these are enough or the
    time is over; 0 has no end."""
    shared = client.shared
    timeout = timeout_ms / 1000 if timeout_ms else None
    if replicas <= 0:  # nobody waits, but those that are there are asked
        replicas = max(1, sum(peer.connected for peer in shared.replica.status().peers))
        timeout = RESP_WAIT_ASK_SECONDS
    try:
        waits_for = shared.replica._engine.node.replicated
        await waits_for.until(_written_by(client), min(replicas, MEMBERS_MAX), timeout)
    except NotReplicated as error:
        return len(error.durable_at)
    return replicas


def _written_by(client: Client) -> KnownSet:
    """The dots from the first that this client has written up to the last; those of others in
    between are waited for with them."""
    first, last = client.first_dots, client.last_dots
    if first is None or last is None:
        return KnownSet()
    if first[0] != last[0]:  # the node took a new origin meanwhile
        return KnownSet({first[0]: [first[1], first[2] + 1], last[0]: [1, last[2] + 1]})
    return KnownSet({first[0]: [first[1], last[2] + 1]})


def _shutdown(_turn: Turn, session: Session, request: Request) -> Reply:
    words = {word.upper() for word in request[1:]}
    if words == {b"ABORT"}:
        raise CommandError("ERR No shutdown in progress.")
    if not words <= {b"SAVE", b"NOSAVE", b"NOW", b"FORCE"} or {b"SAVE", b"NOSAVE"} <= words:
        raise CommandError("ERR syntax error")
    client = client_of(session)
    stop = client.shared.stop
    if stop is None:
        raise CommandError("ERR nothing here ends the server on request")
    client.closing = True
    stop()
    return OK


def _whole(word: bytes, what: str) -> int:
    if not word.removeprefix(b"-").isdigit() or len(word) > _DIGITS_MAX:
        raise CommandError(f"ERR {what} is not an integer or out of range")
    return int(word)


SERVING: Final[Table] = {
    b"TIME": Command(Role.READONLY, 1, 1, _time),
    b"ROLE": Command(Role.READONLY, 1, 1, _role, alone=True),
    b"WAIT": Command(Role.READONLY, 3, 3, _wait, alone=True),
    b"SHUTDOWN": Command(Role.ADMIN, 1, 4, _shutdown, alone=True),
}
