"""Replies that stand on a commit, withheld until it is certain."""

from collections.abc import Callable

from replicator.faces.failures import failure
from replicator.faces.redis.client import Client
from replicator.faces.resp import Reply, encode


class Promise:
    """What of one client stands on a commit: it has written, or has seen what was written.

    Attributes:
        client: whose it is.
        parts: its replies of the turn; those at `places` stand on the commit.
        begin: begins what its last request goes on with, or None; it stands on the commit, too,
            where `is_staked`.
    """

    __slots__ = ("begin", "client", "is_staked", "parts", "places")

    def __init__(self, client: Client) -> None:
        self.client = client
        self.parts = client.parts
        self.places: list[int] = []
        self.begin: Callable[[], None] | None = None
        self.is_staked = False

    def fail(self, error: Exception) -> None:
        """Let what stands on the commit be a failure."""
        if self.client.is_gone:
            return
        text = encode(failure(error), self.client.protocol)
        for place in self.places:
            self.parts[place] = text
        if self.is_staked:
            self.parts.append(text)
            self.begin = None

    def keep(self) -> None:
        """Give back what was withheld, and begin what goes on."""
        client = self.client
        client.is_busy = False
        if client.is_gone:
            return
        client.parts[:0] = self.parts
        if self.begin is not None:
            client.is_busy = True
            self.begin()


def encoded(reply: Reply, protocol: int) -> bytes:
    """A reply as bytes, or the failure to make it."""
    try:
        return encode(reply, protocol)
    except Exception as error:
        return encode(failure(error), protocol)
