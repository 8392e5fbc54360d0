"""One client of the server: what it has sent, what it is to be sent, and what it has set."""

import logging
import socket
import ssl
import time
from collections import deque
from contextlib import suppress

import trio

from replicator.faces.access import Role
from replicator.faces.redis.limits import RESP_READ_BYTES, RESP_SENT_BYTES_MAX
from replicator.faces.redis.table import Slices
from replicator.faces.resp import Request, RequestReader
from replicator.faces.stepwise import Session

logger = logging.getLogger("replicator")

STRANGER = 1
"""It has not logged in."""
GATHERS = 2
"""It gathers a transaction: MULTI without EXEC."""
LISTENS = 4
"""It has subscribed and speaks RESP2, where little else is allowed."""

_TLS_RECORD_BYTES = 16 << 10
"""More at once is no progress to be seen until all of it is taken."""


class Client(Session):
    """A connected client. For the thread of the server.

    Args:
        number: by which people tell it from others, never used again.
        connection: accepted, non-blocking; a TLS socket shakes hands with its first read.
        address: where it comes from, for people.
        role: what it may do from the start; None until it logs in.

    Attributes:
        requests: read and not yet run.
        parts: replies that the turn has made; they are sent behind its commit.
        waiting_bytes: replies and messages that the kernel has not yet taken.
        is_ready: whether the server has it in one of its queues.
        is_busy: whether a command of it goes on in slices, or waits in a thread.
        is_stuffed: whether so much waits for it to read that nothing more is run for it.
        is_gone: whether it left; the server forgets it.
        is_at_end: whether it sends nothing more, but may read.
        mode: which of the modes above it is in, added up; 0 for none, which is the usual.
        slices: the command that goes on in slices; with `has_begun` some of its reply was given.
        scope: the command that waits in the loop; it is cancelled where the client leaves.
        events: what the server waits for on its socket.
        queue: the requests of a transaction; None where it gathers none. With `is_dirty` one of
            them was refused.
        watched: keys and their index rows when they were watched.
        channels, patterns: what it has subscribed to.
        name, library, library_version: what it says of itself.
        since, active: monotonic seconds at which it came, sent its last request.
    """

    def __init__(
        self, number: int, connection: socket.socket, address: str, role: Role | None
    ) -> None:
        super().__init__()
        self.number = number
        self.connection = connection
        self._tls = connection if isinstance(connection, ssl.SSLSocket) else None
        self.descriptor = connection.fileno()
        self.address = address
        self.role = role
        self.user = ""
        self.reader = RequestReader()
        self.requests: deque[Request] = deque()
        self.parts: list[bytes] = []
        self.waiting: deque[memoryview] = deque()
        self.waiting_bytes = 0
        self.moved = self.since = self.active = time.monotonic()
        self.is_ready = self.is_busy = self.is_stuffed = self.is_gone = self.is_at_end = False
        self.mode = STRANGER if role is None else 0
        self.slices: Slices | None = None
        self.scope: trio.CancelScope | None = None
        self.has_begun = False
        self.events = 0
        self.queue: list[Request] | None = None
        self.is_dirty = False
        self.watched: dict[bytes, bytes | None] = {}
        self.channels: set[bytes] = set()
        self.patterns: set[bytes] = set()
        self.name = self.library = self.library_version = b""
        self.last_command = b""

    def read(self) -> bytes | None:
        """What has come; empty where nothing more will, None where nothing is there now.

        Raises:
            OSError: the connection broke.
        """
        try:
            return self.connection.recv(RESP_READ_BYTES)
        except (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return None

    @property
    def has_more(self) -> bool:
        """Whether TLS has decrypted more than was read: the kernel does not tell of that."""
        return self._tls is not None and self._tls.pending() > 0

    @property
    def is_stranger(self) -> bool:
        """Whether it has not logged in, or not yet shaken hands."""
        return bool(self.mode & STRANGER) or (self._tls is not None and self._tls.version() is None)

    def send(self) -> int:
        """Give the kernel what waits, and what was added to `parts`, as far as it takes it, up to
        some `RESP_SENT_BYTES_MAX` of what has waited.

        Returns:
            How many bytes that were.

        Raises:
            OSError: the connection broke.
        """
        total = 0
        if self.parts:
            parts = self.parts
            data = b"".join(parts) if len(parts) > 1 else parts[0]
            parts.clear()
            if not self.waiting:
                if self._tls is None or len(data) <= _TLS_RECORD_BYTES:
                    total = self._sent(data)
                if total == len(data):
                    return total
                self.moved = time.monotonic()
            self.waiting.append(memoryview(data)[total:])
            self.waiting_bytes += len(data) - total
        while self.waiting and total < RESP_SENT_BYTES_MAX:
            first = self.waiting[0]
            sent = self._sent(first if self._tls is None else first[:_TLS_RECORD_BYTES])
            if sent == 0:
                break
            self.moved = time.monotonic()
            total += sent
            self.waiting_bytes -= sent
            if sent == len(first):
                self.waiting.popleft()
            else:
                self.waiting[0] = first[sent:]
                if self._tls is None:  # the kernel has no room for more
                    break
        return total

    def _sent(self, data: bytes | memoryview) -> int:
        try:
            return self.connection.send(data)
        except (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return 0

    def disconnect(self) -> None:
        """Hang up and give up what goes on. Idempotent; never raises."""
        self.is_gone = True
        self.requests.clear()
        self.waiting.clear()
        self.parts.clear()
        self.waiting_bytes = 0
        if self.scope is not None:
            self.scope.cancel()
        try:
            if self.slices is not None:
                self.slices.close()
                self.slices = None
            self.close()
        except Exception:
            logger.exception("a command could not be given up")
        with suppress(OSError, ValueError):
            if self._tls is not None and self._tls.version() is not None:
                self._tls.unwrap()  # says goodbye, so that nobody takes the end for a cut
        self.connection.close()

    def set_mode(self, mode: int, is_on: bool) -> None:
        """Enter or leave one of the modes."""
        self.mode = self.mode | mode if is_on else self.mode & ~mode
