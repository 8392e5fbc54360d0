"""What went wrong with a request, as the reply that says so.

Error replies begin with a code: ``ERR`` for what was asked wrongly, ``STORAGE`` for LevelDB and
the disk, ``PEER``, ``TIMEOUT`` and ``NOREPLICAS`` for other nodes, ``CLOSING``, ``INTERNAL``.
"""

import logging
from itertools import islice
from typing import Final

import plyvel

from replicator.errors import (
    ClosedError,
    GateClosedError,
    NotReplicated,
    PeerError,
    ReplicatorError,
    StorageError,
)
from replicator.faces.leveldb import words_of
from replicator.faces.resp import Failure, Request
from replicator.faces.stepwise import CommandError

logger = logging.getLogger("replicator")

_CODES: Final[tuple[tuple[tuple[type[Exception], ...], str], ...]] = (
    ((ClosedError, GateClosedError), "CLOSING"),
    ((StorageError,), "STORAGE"),
    ((NotReplicated,), "NOREPLICAS"),
    ((TimeoutError,), "TIMEOUT"),
    ((PeerError,), "PEER"),
    ((ReplicatorError,), "ERR"),
)


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


def unknown(request: Request) -> Failure:
    """Redis's own words, which some clients look for."""
    begin = "".join(f"'{_text(argument)}' " for argument in islice(request, 1, 9))
    return Failure(
        "ERR", f"unknown command '{_text(request[0])}', with args beginning with: {begin}"
    )


def wrong_count(request: Request) -> Failure:
    """The same for a number of arguments that no command of this name takes."""
    return Failure("ERR", f"wrong number of arguments for '{_text(request[0]).lower()}' command")


def _text(argument: bytes) -> str:
    return argument[:128].decode(errors="backslashreplace")
