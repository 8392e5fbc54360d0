"""What a client has written, to be found again at another daemon.

With every write a client asks the daemon for the token of its own writes; together they are the
session's. A *mark* counts how often that has grown: a daemon is settled up to a mark when it is
known to hold all that the session had by then. Thread-safe.
"""

import threading

from replicator.core.known import KnownSet
from replicator.core.token import read_token, write_token
from replicator.faces.client.limits import CLIENT_TOKENS_MAX


class Written:
    """The tokens of one client."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known = KnownSet()
        self._latest: set[bytes] = set()
        self.mark = 0

    def note(self, token: bytes) -> int:
        """Take in the token of a daemon's own writes; the mark from now on."""
        with self._lock:
            self._latest.add(token)
            if len(self._latest) > CLIENT_TOKENS_MAX:
                self._merge()
            self.mark += 1
            return self.mark

    def token(self) -> tuple[str | None, int]:
        """The token of everything, None for nothing, and the mark it stands for."""
        with self._lock:
            self._merge()
            return (write_token(self._known) if self._known else None), self.mark

    def after_fork(self) -> None:
        """In a forked child: whoever held the lock is not here."""
        self._lock = threading.Lock()

    def _merge(self) -> None:
        for token in self._latest:
            self._known = self._known.union(read_token(token))
        self._latest.clear()
