"""The COMMAND command: what commands there are, for tools that complete and route them."""

from typing import Final

from replicator.faces.access import Role
from replicator.faces.redis.globs import glob
from replicator.faces.redis.shared import client_of
from replicator.faces.redis.subcommands import Subcommand, Subcommands
from replicator.faces.redis.table import Awaited, Command, Table, Work
from replicator.faces.redis.turn import Turn
from replicator.faces.resp import NullArray, Reply, Request, Status
from replicator.faces.stepwise import CommandError, Session

_WORDS_MAX: Final = 1000
"""Of one request: nobody needs more, and others wait."""


def _command(turn: Turn, session: Session, request: Request) -> "Reply | Work | Awaited | Command":
    if len(request) > 1:
        return _COMMAND.run(turn, session, request)
    return [_info(name, command) for name, command in _table(session).items()]


def _count(_turn: Turn, session: Session, _request: Request) -> Reply:
    return len(_table(session))


def _infos(_turn: Turn, session: Session, request: Request) -> Reply:
    table = _table(session)
    names = [name.upper() for name in request[2:]] or list(table)
    return [_info(name, table[name]) if name in table else NullArray() for name in names]


def _docs(_turn: Turn, session: Session, request: Request) -> Reply:
    table = _table(session)
    names = [name.upper() for name in request[2:]] or list(table)
    return {name.decode().lower(): _doc(table[name]) for name in names if name in table}


def _list(_turn: Turn, session: Session, request: Request) -> Reply:
    names = [name.lower() for name in _table(session)]
    if len(request) == 2:
        return names
    if len(request) != 5 or request[2].upper() != b"FILTERBY":
        raise CommandError("ERR syntax error")
    kind, word = request[3].upper(), request[4]
    if kind == b"PATTERN":
        wanted = glob(word.lower())
        return [name for name in names if wanted.is_matched(name)]
    if kind == b"ACLCAT":
        category = "@" + word.decode(errors="backslashreplace").lower()
        return [
            name.lower()
            for name, command in _table(session).items()
            if category in _categories(command)
        ]
    if kind == b"MODULE":
        return []
    raise CommandError("ERR syntax error")


def _table(session: Session) -> Table:
    return client_of(session).shared.table


def _info(name: bytes, command: Command) -> Reply:
    """As Redis tells it: name, how many words, flags, where keys are, categories; no tips, no key
    specifications, no subcommands."""
    count = command.least if command.least == command.most else -command.least
    return [
        name.lower(),
        count,
        [Status(flag) for flag in _flags(command)],
        command.first,
        command.last,
        command.step if command.first else 0,
        [Status(category) for category in _categories(command)],
        [],
        [],
        [],
    ]


def _flags(command: Command) -> list[str]:
    flags = []
    if command.writes and command.first:
        flags.append("write")
    elif command.first:
        flags.append("readonly")
    if command.needs is None:
        flags.append("no_auth")
    elif command.needs is Role.ADMIN:
        flags.append("admin")
    if command.run is None:
        flags.append("blocking")
    if command.run is None or command.alone:
        flags.append("no_multi")
    return flags


def _categories(command: Command) -> list[str]:
    categories = []
    if command.writes and command.first:
        categories.append("@write")
    elif command.first:
        categories.append("@read")
    if command.first:
        categories.append("@keyspace")
    if command.needs is None:
        categories.append("@connection")
    elif command.needs is Role.ADMIN:
        categories += ["@admin", "@dangerous"]
    if command.run is None:
        categories.append("@blocking")
    return categories


def _doc(command: Command) -> Reply:
    needs = {None: "anybody", Role.READONLY: "any user", Role.APPLICATION: "applications"}
    by_whom = needs.get(command.needs, "admins")
    return {"summary": f"For {by_whom}; docs/REDIS.md tells more.", "group": "generic"}


_COMMAND: Final = Subcommands(
    "COMMAND",
    {
        b"COUNT": Subcommand(_count, 2, 2, ("", "How many commands there are.")),
        b"DOCS": Subcommand(
            _docs,
            2,
            _WORDS_MAX,
            ("[<command-name> ...]", "What commands are, all by default."),
        ),
        b"INFO": Subcommand(
            _infos, 2, _WORDS_MAX, ("[<command-name> ...]", "What routes commands, all by default.")
        ),
        b"LIST": Subcommand(
            _list,
            2,
            5,
            ("[FILTERBY (MODULE <name>|ACLCAT <category>|PATTERN <pattern>)]", "Their names."),
        ),
    },
)

INTROSPECTION: Final[Table] = {
    b"COMMAND": Command(Role.READONLY, 1, None, _command, alone=True),
}
