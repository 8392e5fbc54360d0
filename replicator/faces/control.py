"""Runs the requests of the daemon's clients, whoever sends them.

The command line uses this on a directory that no daemon has open, too, so both ways answer alike.

Error replies begin with a code: ``ERR`` for what was asked wrongly, ``STORAGE`` for LevelDB and
the disk, ``PEER``, ``TIMEOUT`` and ``NOREPLICAS`` for other nodes, ``CLOSING``, ``INTERNAL``.
"""

import logging
from collections import deque
from itertools import islice
from typing import Final

import plyvel

from replicator.config import RESP_REPLY_BYTES
from replicator.errors import (
    ClosedError,
    GateClosedError,
    NotReplicated,
    PeerError,
    ReplicatorError,
    StorageError,
)
from replicator.faces.commands import COMMANDS
from replicator.faces.handle import Replica
from replicator.faces.leveldb import words_of
from replicator.faces.resp import Failure, Reply, Request, encode
from replicator.faces.stepwise import CommandError, Session

logger = logging.getLogger("replicator")

_CODES: Final[tuple[tuple[tuple[type[Exception], ...], str], ...]] = (
    ((ClosedError, GateClosedError), "CLOSING"),
    ((StorageError,), "STORAGE"),
    ((NotReplicated,), "NOREPLICAS"),
    ((TimeoutError,), "TIMEOUT"),
    ((PeerError,), "PEER"),
    ((ReplicatorError,), "ERR"),
)


def answer(replica: Replica, session: Session, requests: deque[Request]) -> bytes:
    """Run requests in order until there are no more, the client quits, or enough is gathered.

    Runs in any thread; calls for one session come one after the other.

    Args:
        requests: what is run is taken from the left.

    Returns:
        The replies.
    """
    parts: list[bytes] = []
    size = 0
    while requests and size < RESP_REPLY_BYTES and not session.closing:
        part = encode(execute(replica, session, requests.popleft()), session.protocol)
        parts.append(part)
        size += len(part)
    return b"".join(parts)


def execute(replica: Replica, session: Session, request: Request) -> Reply:
    """Run one request. Never raises: what goes wrong is the reply."""
    name, *arguments = request
    command = COMMANDS.get(name.upper())
    if command is None:
        return _unknown(name, arguments)
    most = len(arguments) if command.arguments_max is None else command.arguments_max
    if not command.arguments_min <= len(arguments) <= most:
        return Failure("ERR", f"wrong number of arguments for '{_text(name).lower()}' command")
    try:
        return command.run(replica, session, arguments)
    except Exception as error:
        return failure(error)


def failure(error: Exception) -> Failure:
    """The error reply for what a command raised; what should not happen is logged."""
    if isinstance(error, CommandError):
        code, _, text = str(error).partition(" ")
        return Failure(code, text)
    if isinstance(error, plyvel.Error):
        return Failure("STORAGE", words_of(error))
    for kinds, code in _CODES:
        if isinstance(error, kinds):
            return Failure(code, str(error))
    logger.error("a command failed", exc_info=error)
    return Failure("INTERNAL", f"{type(error).__name__}: {error}; the log says where")


def _unknown(name: bytes, arguments: list[bytes]) -> Failure:
    """Redis's own words, which some clients look for."""
    begin = " ".join(f"'{_text(argument)}'" for argument in islice(arguments, 8))
    return Failure("ERR", f"unknown command '{_text(name)}', with args beginning with: {begin}")


def _text(argument: bytes) -> str:
    return argument[:128].decode(errors="backslashreplace")
