"""What commands that go on in slices do beside the loop.

They read in a few threads of their own: where a range of keys was deleted, LevelDB's next step
leads over all that is left of them, a third of a second for a million, and nothing ends it. A read
is a batch that takes a fraction of a millisecond. For so long the loop waits, which costs less than
to have the thread fight for the interpreter; where a batch takes longer, the loop goes on with its
turns.
"""

from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Final, ParamSpec, TypeVar

from replicator.faces.redis.client import Client
from replicator.faces.redis.limits import (
    RESP_ASIDE_SECONDS,
    RESP_ASIDE_THREADS_MAX,
    RESP_WRITES_PAUSE_BYTES,
)
from replicator.faces.redis.turn import NotingTurn, Turn
from replicator.faces.resp import Request
from replicator.faces.stepwise import Session
from replicator.store.pace import Pace

P = ParamSpec("P")
T = TypeVar("T")

_KEYS_PER_WRITE: Final = 4
_WRITE_BYTES: Final = 150
"""A write takes so much in LevelDB: the key and its row, the log entry, and the old one's end."""

_threads: Final = ThreadPoolExecutor(RESP_ASIDE_THREADS_MAX, thread_name_prefix="replicator-aside")


def begun(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
    """Begin a call in one of the threads."""
    return _threads.submit(call, *args, **kwargs)


def ended(future: Future[T]) -> Generator[bytes, None, T]:
    """Wait for it, to be had with ``yield from``.

    Raises:
        What the call raises.
    """
    while True:
        try:
            return future.result(RESP_ASIDE_SECONDS)
        except TimeoutError:
            if future.done():
                raise
        yield b""


class Commits:
    """The commits of a command that goes on in slices. For the thread of the server.

    Args:
        first: the turn in which it began.
        session: who has sent it.
        request: where its writes are to be notified of.
    """

    def __init__(self, first: Turn, session: Session, request: Request | None = None) -> None:
        self._first = first
        self._session = session
        self._request = request
        self._pace = Pace(first.store.level)
        self._bytes = 0

    @contextmanager
    def turn(self) -> Generator[Turn]:
        """A turn that is one commit, at the end.

        Raises:
            What `Turn.commit` raises.
        """
        turn = self._first.another()
        try:
            yield turn
            dots = turn.commit()
        finally:
            turn.abandon()
        if not turn.writes:
            return
        client = self._session
        if isinstance(client, Client):
            client.note_commit(dots, turn.store.origin)
            client.shared.counts.commits += 1
            client.shared.counts.writes += len(turn.writes)
        if isinstance(turn, NotingTurn) and self._request is not None:
            turn.tell(self._request, turn.written)
        for key, value in turn.writes.items():
            self._bytes += _KEYS_PER_WRITE * len(key) + _WRITE_BYTES + len(value or b"")

    def step(self) -> Generator[bytes]:
        """The end of a step, to be had with ``yield from``: others go first where LevelDB lags."""
        yield b""
        if self._bytes >= RESP_WRITES_PAUSE_BYTES:
            written, self._bytes = self._bytes, 0
            yield from ended(begun(self._pace.give_way, written))

    def end(self) -> Generator[bytes]:
        """Before the reply: wait for the disk, where every write does.

        Raises:
            StorageError: the disk failed to sync.
        """
        store = self._first.store
        if store.settings.sync:
            yield from ended(begun(store.level.sync))
