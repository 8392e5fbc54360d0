"""Exit codes, the same for every command."""

from enum import IntEnum

from replicator.errors import (
    PeerError,
    RefusedError,
    ReplicatorError,
    StorageError,
    UnreachableError,
)


class Exit(IntEnum):
    """What a script can tell from the exit status."""

    OK = 0
    NO = 1
    """The answer is no: the key is not there, the digests differ."""
    USAGE = 2
    STORAGE = 3
    UNREACHABLE = 4
    INTERRUPTED = 130
    PIPE_CLOSED = 141


_EXIT_OF_CODE = {
    "STORAGE": Exit.STORAGE,
    "INTERNAL": Exit.STORAGE,
    "PEER": Exit.UNREACHABLE,
    "TIMEOUT": Exit.UNREACHABLE,
    "CLOSING": Exit.UNREACHABLE,
    "NOREPLICAS": Exit.NO,
}


def exit_of(error: ReplicatorError) -> Exit:
    """The exit code that an error stands for."""
    match error:
        case RefusedError():
            return _EXIT_OF_CODE.get(error.code, Exit.USAGE)
        case StorageError():
            return Exit.STORAGE
        case UnreachableError() | PeerError():
            return Exit.UNREACHABLE
    return Exit.USAGE
