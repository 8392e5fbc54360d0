"""The CLIENT command: what the server knows of its clients, as Redis tells it."""

import socket
import time
from collections.abc import Callable
from functools import partial
from typing import Final

from replicator.faces.access import Role
from replicator.faces.redis.client import GATHERS, MUTE, MUTE_ONCE, Client
from replicator.faces.redis.limits import RESP_WORK_AT_ONCE
from replicator.faces.redis.naming import check_name
from replicator.faces.redis.shared import client_of
from replicator.faces.redis.subcommands import Subcommand, Subcommands
from replicator.faces.redis.table import OK, Command, Slices, Table, Work
from replicator.faces.redis.turn import Turn
from replicator.faces.resp import Reply, Request, Several, encode
from replicator.faces.stepwise import CommandError, Session

Chooses = Callable[[Client], bool]


def _id(_turn: Turn, session: Session, _request: Request) -> Reply:
    return client_of(session).number


def _get_name(_turn: Turn, session: Session, _request: Request) -> Reply:
    return client_of(session).name or None


def _set_name(_turn: Turn, session: Session, request: Request) -> Reply:
    check_name(request[2], "Client names")
    client_of(session).name = request[2]
    return OK


def _set_info(_turn: Turn, session: Session, request: Request) -> Reply:
    client, attribute, value = client_of(session), request[2].lower(), request[3]
    if attribute == b"lib-name":
        check_name(value, "lib-name")
        client.library = value
    elif attribute == b"lib-ver":
        check_name(value, "lib-ver")
        client.library_version = value
    else:
        shown = request[2][:128].decode(errors="backslashreplace")
        raise CommandError(f"ERR Unrecognized option '{shown}'")
    return OK


def _info(_turn: Turn, session: Session, _request: Request) -> Reply:
    return _line(client_of(session), time.monotonic())


def _list(_turn: Turn, session: Session, request: Request) -> Work:
    client, words = client_of(session), request[2:]
    chooses = _everybody
    if words:
        option = words[0].upper()
        if option == b"TYPE" and len(words) == 2:
            chooses = partial(_is_of_type, words[1].lower())
        elif option == b"ID" and len(words) > 1:
            chooses = partial(_is_among, frozenset(map(_number, words[1:])))
        else:
            raise CommandError("ERR syntax error")
    if words and words[0].upper() == b"TYPE":
        _check_type(words[1])
    return Work(_listed(list(client.shared.clients), chooses, client.protocol))


def _listed(clients: list[Client], chooses: Chooses, protocol: int) -> Slices:
    now, lines = time.monotonic(), []
    for place, client in enumerate(clients):
        if not client.is_gone and chooses(client):
            lines.append(_line(client, now))
        if place % RESP_WORK_AT_ONCE == 0:
            yield b""
    yield encode("".join(lines), protocol)


def _line(client: Client, now: float) -> str:
    """One client, in the form that Redis has."""
    flags = "N"
    if client.channels or client.patterns:
        flags = "P"
    elif client.mode & GATHERS:
        flags = "x"
    fields = {
        "id": client.number,
        "addr": _address(client),
        "laddr": _own_address(client),
        "fd": client.descriptor,
        "name": client.name.decode(),
        "age": int(now - client.since),
        "idle": int(now - client.active),
        "flags": flags,
        "db": 0,
        "sub": len(client.channels),
        "psub": len(client.patterns),
        "ssub": 0,
        "multi": -1 if client.queue is None else len(client.queue),
        "watch": len(client.watched),
        "qbuf": client.reader.held,
        "multi-mem": client.queue_bytes,
        "omem": client.waiting_bytes,
        "cmd": client.last_command.decode(errors="backslashreplace").lower(),
        "user": client.user or "default",
        "redir": -1,
        "resp": client.protocol,
        "lib-name": client.library.decode(),
        "lib-ver": client.library_version.decode(),
    }
    return " ".join(f"{name}={value}" for name, value in fields.items()) + "\n"


def _address(client: Client) -> str:
    """One word, as lists need it."""
    return client.address.replace(" ", "-")


def _own_address(client: Client) -> str:
    if client.connection.family == socket.AF_UNIX:
        return _address(client)
    try:
        host, port = client.connection.getsockname()[:2]
    except OSError:
        return ""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


# Ending others


def _kill(_turn: Turn, session: Session, request: Request) -> Reply:
    client, words = client_of(session), request[2:]
    if len(words) == 1:
        address = words[0].decode(errors="backslashreplace")
        if not _kill_all(client, [lambda one: _address(one) == address], spares_itself=False):
            raise CommandError("ERR No such client")
        return OK
    if len(words) % 2:
        raise CommandError("ERR syntax error")
    spares_itself = True
    filters: list[Chooses] = []
    for option, value in zip(words[::2], words[1::2], strict=True):
        if option.upper() == b"SKIPME":
            if value.lower() not in (b"yes", b"no"):
                raise CommandError("ERR syntax error")
            spares_itself = value.lower() == b"yes"
        else:
            filters.append(_filter(option.upper(), value))
    return _kill_all(client, filters, spares_itself=spares_itself)


def _filter(option: bytes, value: bytes) -> Chooses:
    text = value.decode(errors="backslashreplace")
    match option:
        case b"ID":
            return partial(
                _is_among, frozenset({_number(value, "client-id should be greater than 0")})
            )
        case b"TYPE":
            _check_type(value)
            return partial(_is_of_type, value.lower())
        case b"ADDR":
            return lambda client: _address(client) == text
        case b"LADDR":
            return lambda client: _own_address(client) == text
        case b"USER":
            return lambda client: (client.user or "default") == text
    raise CommandError("ERR syntax error")


def _kill_all(client: Client, filters: list[Chooses], *, spares_itself: bool) -> int:
    """Disconnect whom all filters choose; how many those are."""
    count = 0
    for other in client.shared.clients:
        if not all(chooses(other) for chooses in filters):
            continue
        if other is client:
            if spares_itself:
                continue
            client.closing = True
        else:
            client.shared.clients.drop(other)
        count += 1
    return count


def _everybody(_client: Client) -> bool:
    return True


def _is_among(numbers: frozenset[int], client: Client) -> bool:
    return client.number in numbers


def _is_of_type(kind: bytes, client: Client) -> bool:
    is_subscriber = bool(client.channels or client.patterns)
    return kind == (b"pubsub" if is_subscriber else b"normal")


def _check_type(kind: bytes) -> None:
    if kind.lower() not in (b"normal", b"pubsub", b"master", b"replica", b"slave"):
        raise CommandError(
            f"ERR Unknown client type '{kind[:128].decode(errors='backslashreplace')}'"
        )


def _number(word: bytes, otherwise: str = "Invalid client ID") -> int:
    if not word.isdigit() or len(word) > 18 or int(word) < 1:
        raise CommandError(f"ERR {otherwise}")
    return int(word)


# How it is served


def _reply(_turn: Turn, session: Session, request: Request) -> Reply:
    client, word = client_of(session), request[2].upper()
    if word == b"ON":
        client.set_mode(MUTE | MUTE_ONCE, False)
        return OK
    if word == b"OFF":
        client.set_mode(MUTE, True)
    elif word == b"SKIP":
        if not client.mode & MUTE:
            client.set_mode(MUTE_ONCE, True)
    else:
        raise CommandError("ERR syntax error")
    return Several(())


def _switch(_turn: Turn, _session: Session, request: Request) -> Reply:
    """NO-EVICT and NO-TOUCH: nothing is ever evicted here, so both hold for all clients."""
    if request[2].upper() not in (b"ON", b"OFF"):
        raise CommandError("ERR syntax error")
    return OK


_CLIENT: Final = Subcommands(
    "CLIENT",
    {
        b"GETNAME": Subcommand(_get_name, 2, 2, ("", "The name of this connection.")),
        b"ID": Subcommand(_id, 2, 2, ("", "The number of this connection.")),
        b"INFO": Subcommand(_info, 2, 2, ("", "What is known of this connection.")),
        b"KILL": Subcommand(
            _kill,
            3,
            20,
            (
                "<ip:port> | (ID <id> | TYPE (NORMAL|PUBSUB) | ADDR <ip:port> | LADDR <ip:port> | "
                "USER <user> | SKIPME (YES|NO)) ...",
                "Disconnect clients.",
            ),
            needs=Role.ADMIN,
        ),
        b"LIST": Subcommand(
            _list,
            2,
            1000,
            ("[TYPE (NORMAL|PUBSUB)] [ID <id> ...]", "All clients, a line for each."),
        ),
        b"NO-EVICT": Subcommand(_switch, 3, 3, ("(ON|OFF)", "No client is ever evicted.")),
        b"NO-TOUCH": Subcommand(_switch, 3, 3, ("(ON|OFF)", "No command changes an access time.")),
        b"REPLY": Subcommand(_reply, 3, 3, ("(ON|OFF|SKIP)", "Whether replies are sent.")),
        b"SETINFO": Subcommand(
            _set_info, 4, 4, ("(LIB-NAME|LIB-VER) <text>", "Say which library this client uses.")
        ),
        b"SETNAME": Subcommand(_set_name, 3, 3, ("<name>", "Give this connection a name.")),
    },
)

CLIENTS: Final[Table] = {
    b"CLIENT": Command(Role.READONLY, 2, None, _CLIENT.run, alone=True),
}
