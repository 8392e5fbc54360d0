"""Publishing and subscribing, as Redis has it, among the clients of this node."""

from collections.abc import Callable
from typing import Final

from replicator.faces.access import Role
from replicator.faces.failures import failure
from replicator.faces.redis.client import Client
from replicator.faces.redis.globs import glob
from replicator.faces.redis.hub import Hub
from replicator.faces.redis.limits import RESP_SUBSCRIPTIONS_MAX, RESP_WORK_AT_ONCE
from replicator.faces.redis.shared import client_of
from replicator.faces.redis.subcommands import Subcommand, Subcommands
from replicator.faces.redis.table import Command, Slices, Table, Work
from replicator.faces.redis.turn import Turn
from replicator.faces.resp import Push, Reply, Request, Several, encode
from replicator.faces.stepwise import CommandError, Session

Change = Callable[[Client, bytes], None]
"""Subscribes a client to a channel or pattern, or ends that."""


def _subscribe(_turn: Turn, session: Session, request: Request) -> "Reply | Work":
    client = client_of(session)
    _check_room(client, request)
    return _told(client, request, client.shared.hub.subscribe)


def _psubscribe(_turn: Turn, session: Session, request: Request) -> "Reply | Work":
    client = client_of(session)
    _check_room(client, request)
    return _told(client, request, client.shared.hub.subscribe_pattern)


def _unsubscribe(_turn: Turn, session: Session, request: Request) -> "Reply | Work":
    client = client_of(session)
    names = request[1:] or list(client.channels)
    return _told(client, [request[0], *names], client.shared.hub.unsubscribe)


def _punsubscribe(_turn: Turn, session: Session, request: Request) -> "Reply | Work":
    client = client_of(session)
    names = request[1:] or list(client.patterns)
    return _told(client, [request[0], *names], client.shared.hub.unsubscribe_pattern)


def _check_room(client: Client, request: Request) -> None:
    if _count(client) + len(request) - 1 > RESP_SUBSCRIPTIONS_MAX:
        raise CommandError(
            f"ERR one client subscribes to {RESP_SUBSCRIPTIONS_MAX} channels and patterns at most: "
            "take a pattern for many of them"
        )


def _told(client: Client, request: Request, change: Change) -> "Reply | Work":
    """Do it for each name, and tell of each with the number of subscriptions then."""
    if len(request) == 1:
        return Push([request[0].lower(), None, _count(client)])
    if len(request) > RESP_WORK_AT_ONCE:
        return Work(_told_by_and_by(client, request, change))
    return Several([_one(client, request[0], name, change) for name in request[1:]])


def _told_by_and_by(client: Client, request: Request, change: Change) -> Slices:
    for place in range(1, len(request), RESP_WORK_AT_ONCE):
        some = request[place : place + RESP_WORK_AT_ONCE]
        told = [_one(client, request[0], name, change) for name in some]
        yield encode(Several(told), client.protocol)


def _one(client: Client, word: bytes, name: bytes, change: Change) -> Reply:
    try:
        change(client, name)
    except CommandError as error:
        return failure(error)
    return Push([word.lower(), name, _count(client)])


def _count(client: Client) -> int:
    return len(client.channels) + len(client.patterns)


def _publish(_turn: Turn, session: Session, request: Request) -> Reply:
    client = client_of(session)
    # In a transaction it happens with the rest of it, or not at all.
    is_bound = client.is_executing
    return client.shared.hub.publish(request[1], request[2], is_bound=is_bound)


def _pubsub_channels(_turn: Turn, session: Session, request: Request) -> Work:
    return Work(_channels(list(client_of(session).shared.hub.channels()), *request[2:]))


def _numsub(_turn: Turn, session: Session, request: Request) -> Work:
    client = client_of(session)
    return Work(_counted(client.shared.hub, request))


def _counted(hub: Hub, request: Request) -> Slices:
    yield b"*%d\r\n" % (2 * (len(request) - 2))
    for place in range(2, len(request), RESP_WORK_AT_ONCE):
        some = request[place : place + RESP_WORK_AT_ONCE]
        told = [item for name in some for item in (name, hub.count(name))]
        yield encode(Several(told), 2)


def _numpat(_turn: Turn, session: Session, _request: Request) -> Reply:
    return client_of(session).shared.hub.pattern_count


def _channels(names: list[bytes], pattern: bytes = b"*") -> Slices:
    wanted, found = glob(pattern), []
    for place, name in enumerate(names):
        if wanted.is_matched(name):
            found.append(name)
        if place % RESP_WORK_AT_ONCE == 0:
            yield b""
    yield encode(found, 2)


_LOOKING: Final = Subcommands(
    "PUBSUB",
    {
        b"CHANNELS": Subcommand(
            _pubsub_channels,
            2,
            3,
            ("[<pattern>]", "The channels that have subscribers at this node, those that match."),
        ),
        b"NUMPAT": Subcommand(_numpat, 2, 2, ("", "How many patterns have subscribers here.")),
        b"NUMSUB": Subcommand(
            _numsub, 2, None, ("[<channel> ...]", "How many have subscribed to each channel here.")
        ),
    },
)

PUBSUB: Final[Table] = {
    b"SUBSCRIBE": Command(Role.READONLY, 2, None, _subscribe, alone=True),
    b"PSUBSCRIBE": Command(Role.READONLY, 2, None, _psubscribe, alone=True),
    b"UNSUBSCRIBE": Command(Role.READONLY, 1, None, _unsubscribe, alone=True),
    b"PUNSUBSCRIBE": Command(Role.READONLY, 1, None, _punsubscribe, alone=True),
    b"PUBLISH": Command(Role.APPLICATION, 3, 3, _publish),
    b"PUBSUB": Command(Role.READONLY, 2, None, _LOOKING.run, alone=True),
}
