"""Commands about the connection itself, as Redis has them."""

from collections.abc import Callable
from functools import partial
from typing import Final

import trio

from replicator.faces.access import Role
from replicator.faces.redis.client import LISTENS, STRANGER, Client
from replicator.faces.redis.limits import RESP_LOGINS_WRONG_MAX
from replicator.faces.redis.naming import check_name
from replicator.faces.redis.shared import client_of
from replicator.faces.redis.table import OK, Awaited, Command, Table
from replicator.faces.redis.transactions import end
from replicator.faces.redis.turn import Turn
from replicator.faces.resp import Reply, Request, Status
from replicator.faces.stepwise import CommandError, Session
from replicator.release import software_version

PONG: Final = Status("PONG")


# Who it is


def _hello(_turn: Turn, session: Session, request: Request) -> "Reply | Awaited":
    protocol, login, name = _options(request)
    if not isinstance(session, Client):
        return _introduce(session, protocol)
    if name is not None:
        check_name(name, "Client names")
    if login is None:
        if session.mode & STRANGER:
            raise CommandError(
                "NOAUTH HELLO must be called with the client already authenticated, otherwise the "
                "HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client "
                "and select the RESP protocol version at the same time"
            )
        return _greet(session, protocol, name)
    return _log_in(session, *login, lambda: _greet(session, protocol, name))


def _options(request: Request) -> tuple[int | None, tuple[bytes, bytes] | None, bytes | None]:
    """The protocol, the user with the password, and the name that HELLO asks for."""
    if len(request) == 1:
        return None, None, None
    if not request[1].lstrip(b"-").isdigit():
        raise CommandError("ERR Protocol version is not an integer or out of range")
    if request[1] not in (b"2", b"3"):
        raise CommandError("NOPROTO unsupported protocol version")
    login = name = None
    place = 2
    while place < len(request):
        option = request[place].upper()
        if option == b"AUTH" and place + 2 < len(request):
            login = request[place + 1], request[place + 2]
            place += 3
        elif option == b"SETNAME" and place + 1 < len(request):
            name = request[place + 1]
            place += 2
        else:
            shown = request[place][:128].decode(errors="backslashreplace")
            raise CommandError(f"ERR Syntax error in HELLO option '{shown}'")
    return int(request[1]), login, name


def _greet(client: Client, protocol: int | None, name: bytes | None) -> Reply:
    if name is not None:
        client.name = name
    reply = _introduce(client, protocol)
    client.shared.hub.settle(client)
    return {**reply, "id": client.number}


def _introduce(session: Session, protocol: int | None) -> dict[str, Reply]:
    session.protocol = protocol or session.protocol
    return {
        "server": "replicator",
        "version": software_version(),
        "proto": session.protocol,
        "mode": "standalone",
        "role": "master",
        "modules": [],
    }


def _auth(_turn: Turn, session: Session, request: Request) -> "Reply | Awaited":
    client = client_of(session)
    if len(request) > 3:
        raise CommandError("ERR syntax error")
    if len(request) == 3:
        return _log_in(client, request[1], request[2], lambda: OK)
    if not client.shared.access().has_password:
        raise CommandError(
            "ERR AUTH <password> called without any password configured for the default user. "
            "Are you sure your configuration is correct?"
        )
    return _log_in(client, None, request[1], lambda: OK)


def _log_in(
    client: Client, user: bytes | None, password: bytes, then: Callable[[], Reply]
) -> "Reply | Awaited":
    """Judge a password, after a while where there were wrong ones; `then` gives the reply."""
    seconds = client.shared.logins.wait_seconds(client)
    judge = partial(_judge, client, user, password, then)
    return Awaited(partial(_after, seconds, judge)) if seconds else judge()


async def _after(seconds: float, judge: Callable[[], Reply]) -> Reply:
    await trio.sleep(seconds)
    return judge()


def _judge(client: Client, user: bytes | None, password: bytes, then: Callable[[], Reply]) -> Reply:
    access = client.shared.access()
    if access.has_password:
        role = access.login(user, password)
    else:  # as Redis's default user without a password
        role = access.default_role if user == b"default" else None
    if role is None:
        client.shared.logins.failed(client)
        client.closing = client.wrong_logins >= RESP_LOGINS_WRONG_MAX
        raise CommandError("WRONGPASS invalid username-password pair or user is disabled.")
    client.role = role
    client.user = role.name.lower()
    client.set_mode(STRANGER, False)
    return then()


# The rest


def _ping(_turn: Turn, session: Session, request: Request) -> Reply:
    if isinstance(session, Client) and session.mode & LISTENS:
        return [b"pong", request[1] if len(request) > 1 else b""]
    return request[1] if len(request) > 1 else PONG


def _echo(_turn: Turn, _session: Session, request: Request) -> Reply:
    return request[1]


def _select(_turn: Turn, _session: Session, request: Request) -> Reply:
    if not request[1].lstrip(b"-").isdigit():
        raise CommandError("ERR value is not an integer or out of range")
    if int(request[1]) != 0:
        raise CommandError("ERR DB index is out of range")
    return OK


def _quit(_turn: Turn, session: Session, _request: Request) -> Reply:
    session.closing = True
    return OK


def _reset(_turn: Turn, session: Session, _request: Request) -> Reply:
    client = client_of(session)
    end(client)
    client.protocol = 2
    client.shared.hub.forget(client)
    client.mode = 0
    client.name = b""
    client.user, client.role = "", client.first_role
    client.set_mode(STRANGER, client.role is None)
    return Status("RESET")


CONNECTION: Final[Table] = {
    b"HELLO": Command(None, 1, None, _hello, alone=True),
    b"AUTH": Command(None, 2, None, _auth, alone=True),
    b"PING": Command(Role.READONLY, 1, 2, _ping),
    b"ECHO": Command(Role.READONLY, 2, 2, _echo),
    b"SELECT": Command(Role.READONLY, 2, 2, _select),
    b"QUIT": Command(None, 1, 1, _quit, at_once=True),
    b"RESET": Command(None, 1, 1, _reset, at_once=True),
}
