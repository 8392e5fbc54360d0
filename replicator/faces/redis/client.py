"""One client of the server: what it has sent, what it is to be sent, and what it has set."""

import logging
import socket
import ssl
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

import trio

from replicator.core.known import KnownSet
from replicator.faces.access import Role
from replicator.faces.redis.limits import (
    RESP_READ_BYTES,
    RESP_SENT_BYTES_MAX,
    RESP_STRANGER_READ_BYTES,
)
from replicator.faces.redis.table import Slices
from replicator.faces.resp import Request, RequestReader
from replicator.faces.stepwise import Session

if TYPE_CHECKING:
    from replicator.faces.redis.shared import Shared

logger = logging.getLogger("replicator")

STRANGER = 1
"""It has not logged in."""
GATHERS = 2
"""It gathers a transaction: MULTI without EXEC."""
LISTENS = 4
"""It has subscribed and speaks RESP2, where little else is allowed."""
MUTE = 8
"""It wants no replies: CLIENT REPLY OFF."""
MUTE_ONCE = 16
"""It wants no reply to the request that comes: CLIENT REPLY SKIP."""

_TLS_RECORD_BYTES = 16 << 10
"""More at once is no progress to be seen until all of it is taken."""


class Client(Session):
    """A connected client. For the thread of the server.

    Args:
        shared: what it shares with all others.
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
        first_role: what it was when it came.
        queue: the requests of a transaction, of so many bytes and words; None where it gathers
            none. With `is_dirty` one of them was refused.
        is_mute: whether what goes on has no reply: CLIENT REPLY was asked for before.
        is_executing: whether its transaction is being run.
        watched: keys, with their index rows when they were watched, and whether they showed
            anything.
        first_dots, last_dots: the own dots of the first and the last commit that its replies stood
            on: origin, first seq, last seq.
        channels, patterns: what it has subscribed to, in that order.
        is_touched: whether a message was given to it that may not have been sent.
        pushed_bytes: messages given to it since nothing waited for it to read.
        wrong_logins: how often it has shown a wrong password.
        name, library, library_version: what it says of itself.
        since, active: monotonic seconds at which it came, sent its last request.
    """

    def __init__(
        self,
        shared: "Shared",
        number: int,
        connection: socket.socket,
        address: str,
        role: Role | None,
    ) -> None:
        super().__init__()
        self.shared = shared
        self.number = number
        self.connection = connection
        self._tls = connection if isinstance(connection, ssl.SSLSocket) else None
        self.descriptor = connection.fileno()
        self.address = address
        self.role = self.first_role = role
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
        self.queue_bytes = self.queue_words = 0
        self.is_dirty = self.is_executing = False
        self.watched: dict[bytes, tuple[bytes | None, bool]] = {}
        self.first_dots: tuple[int, int, int] | None = None
        self.last_dots: tuple[int, int, int] | None = None
        self.channels: dict[bytes, None] = {}
        self.patterns: dict[bytes, None] = {}
        self.is_touched = self.is_mute = False
        self.pushed_bytes = 0
        self.held_back: list[bytes] = []
        self.wrong_logins = 0
        self.name = self.library = self.library_version = b""
        self.last_command = b""

    def read(self) -> bytes | None:
        """What has come; empty where nothing more will, None where nothing is there now.

        Raises:
            OSError: the connection broke.
        """
        most = RESP_STRANGER_READ_BYTES if self.mode & STRANGER else RESP_READ_BYTES
        try:
            return self.connection.recv(most)
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

    @property
    def is_idle(self) -> bool:
        """Whether it has nothing going on: no request, no subscription."""
        return not (self.is_busy or self.requests or self.channels or self.patterns)

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

    def answer(self, part: bytes) -> None:
        """Put a piece of the reply of what goes on among those to be sent."""
        if not self.is_mute:
            self.parts.append(part)

    def resume(self) -> None:
        """What went on is over."""
        self.is_busy = self.is_mute = False
        if self.closing:
            self.requests.clear()
        if self.held_back:
            self.parts += self.held_back
            self.held_back.clear()

    def push(self, message: bytes) -> None:
        """Put an encoded message among the replies, and never into the middle of one."""
        self.pushed_bytes += len(message)
        if self.slices is None:
            self.parts.append(message)
        else:
            self.held_back.append(message)

    def disconnect(self) -> None:
        """Hang up and give up what goes on. Idempotent; never raises."""
        self.is_gone = True
        self.requests.clear()
        self.waiting.clear()
        self.parts.clear()
        self.waiting_bytes = 0
        self.shared.hub.forget(self)
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

    def note_commit(self, dots: KnownSet, origin: int) -> None:
        """A reply of it stands on a commit.

        Args:
            dots: what was committed.
            origin: this node's.
        """
        first, stop = dots.bounds(origin)
        self.last_dots = origin, first, stop - 1
        self.first_dots = self.first_dots or self.last_dots
