"""Replies out of bytes, and which error an error reply stands for.

The command line reads with the same, beside the daemon and on a directory that it has opened.
"""

from collections.abc import Callable

import hiredis

from replicator.errors import (
    AccessError,
    NotReplicated,
    PeerError,
    RefusedError,
    ReplicatorError,
    StorageError,
    UsageError,
)

MORE = object()
"""What is given where a reply has not come whole: False is a reply."""

CHANGED = "CHANGED"
CLOSING = "CLOSING"
"""The code of a daemon that ends: what was asked has not happened."""

_ERRORS: dict[str, Callable[[str], ReplicatorError]] = {
    "ERR": UsageError,
    "STORAGE": StorageError,
    "PEER": PeerError,
    "NOREPLICAS": NotReplicated,
    "WRONGPASS": AccessError,
    "NOAUTH": AccessError,
    "NOPERM": AccessError,
}


class ReplyReader:
    """Replies out of a stream of bytes, cut anywhere. One per connection; not thread-safe."""

    def __init__(self) -> None:
        self._reader = hiredis.Reader(replyError=RefusedError, notEnoughData=MORE)

    def feed(self, data: bytes) -> None:
        """Take what came next.

        Raises:
            ConnectionError: it is no RESP.
        """
        self._reader.feed(data)

    def next(self) -> object:
        """The next reply, an error reply as a `RefusedError`; `MORE` where it is not all there.

        Raises:
            ConnectionError: it is no RESP.
        """
        try:
            return self._reader.gets()
        except hiredis.ProtocolError as error:
            raise ConnectionError(f"what it says is no RESP: {error}") from error


def error_of(refused: RefusedError) -> ReplicatorError:
    """The error that the library would have raised."""
    made = _ERRORS.get(refused.code)
    return refused if made is None else made(str(refused))
