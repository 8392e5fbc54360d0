"""The CONFIG command: settings as clients and tools of Redis ask for them.

Most of them say what holds here anyway, under Redis's name for it. What can be set holds until the
daemon ends; what is to hold longer stands in its configuration file.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from replicator.faces.access import Role
from replicator.faces.limits import CLIENTS_MOST
from replicator.faces.redis.globs import glob
from replicator.faces.redis.limits import (
    RESP_INLINE_BYTES_MAX,
    RESP_REQUEST_BYTES_MAX,
)
from replicator.faces.redis.shared import Shared, client_of
from replicator.faces.redis.subcommands import Subcommand, Subcommands
from replicator.faces.redis.table import OK, Command, Table
from replicator.faces.redis.turn import Turn
from replicator.faces.resp import Reply, Request
from replicator.faces.stepwise import CommandError, Session

_IDLE_SECONDS_MAX = 2**31 - 1

_WORDS_MAX: Final = 100
"""Of one request: nobody needs more, and others wait."""

_LEVELS: Final = {
    "debug": logging.DEBUG,
    "verbose": logging.INFO,
    "notice": logging.INFO,
    "warning": logging.WARNING,
}
"""Redis's log levels, as those of the daemon's log."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One setting.

    Attributes:
        get: what holds now.
        set: sets it; raises ValueError, with the reason, where the value is none. None where it
            cannot be set here.
    """

    get: Callable[[Shared], str]
    set: Callable[[Shared, str], None] | None = None


def _fixed(value: object) -> Parameter:
    return Parameter(lambda _shared: str(value))


def _set_clients_max(shared: Shared, text: str) -> None:
    shared.clients.clients_max = _whole(text, 1, CLIENTS_MOST)


def _set_idle(shared: Shared, text: str) -> None:
    shared.idle_seconds = _whole(text, 0, _IDLE_SECONDS_MAX)


def _set_flags(shared: Shared, text: str) -> None:
    try:
        shared.notifications.set_flags(text)
    except ValueError as error:
        raise ValueError("Invalid event class character. Use 'Ag$lshzxeKEtd'.") from error


def _level(_shared: Shared) -> str:
    level = logging.getLogger("replicator").getEffectiveLevel()
    return next((name for name, one in _LEVELS.items() if one >= level), "warning")


def _set_level(_shared: Shared, text: str) -> None:
    if text.lower() not in _LEVELS:
        raise ValueError(f"argument(s) must be one of the following: {', '.join(_LEVELS)}")
    logging.getLogger("replicator").setLevel(_LEVELS[text.lower()])


def _whole(text: str, least: int, most: int) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise ValueError("argument couldn't be parsed into an integer")
    if not least <= int(text) <= most:
        raise ValueError(f"argument must be between {least} and {most} inclusive")
    return int(text)


PARAMETERS: Final = {
    "appendfsync": Parameter(lambda shared: "always" if shared.store.settings.sync else "everysec"),
    "appendonly": _fixed("yes"),
    "cluster-enabled": _fixed("no"),
    "databases": _fixed(1),
    "loglevel": Parameter(_level, _set_level),
    "maxclients": Parameter(lambda shared: str(shared.clients.clients_max), _set_clients_max),
    "maxmemory": _fixed(0),
    "maxmemory-policy": _fixed("noeviction"),
    "notify-keyspace-events": Parameter(lambda shared: shared.notifications.flags, _set_flags),
    "proto-inline-max-size": _fixed(RESP_INLINE_BYTES_MAX),
    "proto-max-bulk-len": _fixed(RESP_REQUEST_BYTES_MAX),
    "save": _fixed(""),
    "tcp-keepalive": _fixed(300),
    "timeout": Parameter(lambda shared: str(shared.idle_seconds), _set_idle),
}
"""By their names. What Redis has beyond these means nothing here."""


def _get(_turn: Turn, session: Session, request: Request) -> Reply:
    shared = client_of(session).shared
    patterns = [glob(word.lower()) for word in request[2:]]
    return {
        name: parameter.get(shared)
        for name, parameter in PARAMETERS.items()
        if any(pattern.is_matched(name.encode()) for pattern in patterns)
    }


def _set(_turn: Turn, session: Session, request: Request) -> Reply:
    shared = client_of(session).shared
    words = [word.decode(errors="backslashreplace") for word in request[2:]]
    if len(words) % 2:
        raise CommandError("ERR wrong number of arguments for 'config|set' command")
    names = [name.lower() for name in words[::2]]
    for name in names:
        if name not in PARAMETERS:
            raise CommandError(
                f"ERR Unknown option or number of arguments for CONFIG SET - '{name[:128]}'"
            )
        if names.count(name) > 1:
            raise _failed(name, "duplicate parameter")
        if PARAMETERS[name].set is None:
            raise _failed(name, "can't set immutable config")
    done: list[tuple[str, str]] = []
    for name, value in zip(names, words[1::2], strict=True):
        before = PARAMETERS[name].get(shared)
        try:
            _apply(shared, name, value)
        except ValueError as error:
            for other, old in done:  # all or nothing
                _apply(shared, other, old)
            raise _failed(name, str(error)) from error
        done.append((name, before))
    return OK


def _apply(shared: Shared, name: str, value: str) -> None:
    change = PARAMETERS[name].set
    assert change is not None
    change(shared, value)


def _failed(name: str, why: str) -> CommandError:
    return CommandError(f"ERR CONFIG SET failed (possibly related to argument '{name}') - {why}")


def _reset_statistics(_turn: Turn, session: Session, _request: Request) -> Reply:
    client_of(session).shared.reset_statistics()
    return OK


_CONFIG: Final = Subcommands(
    "CONFIG",
    {
        b"GET": Subcommand(_get, 3, _WORDS_MAX, ("<pattern> ...", "Settings whose names match.")),
        b"RESETSTAT": Subcommand(
            _reset_statistics,
            2,
            2,
            ("", "Let the statistics of INFO begin anew."),
            needs=Role.ADMIN,
        ),
        b"SET": Subcommand(
            _set,
            4,
            _WORDS_MAX,
            ("<name> <value> ...", "Set them until the daemon ends."),
            needs=Role.ADMIN,
        ),
    },
)

PARAMETER_COMMANDS: Final[Table] = {b"CONFIG": Command(Role.READONLY, 2, None, _CONFIG.run)}
