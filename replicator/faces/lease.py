"""Leases: how `close` waits for the calls in flight without making a call dearer.

To close a LevelDB while another thread is inside it crashes the process: plyvel gives the GIL
away inside LevelDB and guards against nothing. So a call holds the handle's lease in a local
variable for as long as it is inside. `close` first gives the handle a `Shut` lease, which later
calls find, and then waits until nobody holds the open one. To take and to leave a lease is one
load and one store: the interpreter's reference count is the count of calls in flight, and an
exception in an unlucky place (Ctrl-C) cannot leave it wrong.

Two rules follow. A frame that holds a lease names it ``lease`` and deletes it in a ``finally``,
because a traceback keeps the variables of its frames. And nobody passes a lease on.
"""

import functools
import logging
import sys
import threading
import weakref
from collections.abc import Callable
from types import FrameType
from typing import Any, ParamSpec, Protocol, TypeVar

from replicator.errors import ClosedError
from replicator.store.store import Store

CLOSED = "Database is closed"
ITERATOR_CLOSED = "Database or iterator is closed"
"""plyvel's words."""

WARNING_SECONDS = 10.0
"""How often a `close` that still waits for calls in flight says so in the log."""

P = ParamSpec("P")
T = TypeVar("T")

logger = logging.getLogger("replicator")


class Lease:
    """What a call holds while it is inside LevelDB, and what it needs there.

    Attributes:
        get: the wrapped handle's own ``get``.
        store: the store behind the handle.
        is_open: False for a `Shut` one.
    """

    __slots__ = ("__weakref__", "get", "store")

    is_open = True
    get: Callable[..., Any]
    store: Store


class Closable(Protocol):
    """What holds something of LevelDB's until it is closed."""

    def close(self) -> None:
        """Let go of it."""


class Shut(Lease):
    """The lease of a closed handle: whatever a call needs raises ClosedError.

    Args:
        why: the error's words.
    """

    __slots__ = ("_dropped", "_is_closing", "why")

    is_open = False

    def __init__(self, why: str) -> None:
        self.why = why
        self._is_closing = True
        self._dropped: set[Closable] = set()

    def __getattr__(self, name: str) -> Any:
        raise ClosedError(self.why)

    def drop(self, holder: Closable) -> None:
        """Close what holds a native snapshot, or keep it until LevelDB is closed: to let go of a
        snapshot takes a while, without the GIL."""
        if self._is_closing:
            self._dropped.add(holder)
        else:
            holder.close()

    def closed(self) -> None:
        """LevelDB is closed, or stays open for others."""
        self._is_closing = False
        self._dropped.clear()


def lend(get: Callable[..., Any], store: Store) -> Lease:
    """An open lease."""
    lease = Lease()
    lease.get = get
    lease.store = store
    return lease


def leased(method: Callable[P, T]) -> Callable[P, T]:
    """Make a method hold the lease in ``self._lease`` while it runs.

    The method raises ClosedError where that is a `Shut` one.
    """

    @functools.wraps(method)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        lease: Lease = args[0]._lease  # type: ignore[attr-defined]  # self of any such class
        try:
            lease.store  # noqa: B018 — raises where it is shut
            return method(*args, **kwargs)
        finally:
            del lease

    return call


class Recall:
    """Waits until nobody holds a lease any more.

    Args:
        lease: from now on its handle has another one; the caller must not hold it either.
    """

    def __init__(self, lease: Lease) -> None:
        self._returned = threading.Event()
        self._watch = weakref.ref(lease, self._return)

    def _return(self, _: object) -> None:
        self._returned.set()

    def wait(self, name: object) -> None:
        """Return when every call that began before is over."""
        while not self._returned.wait(WARNING_SECONDS):
            logger.warning("closing %r still waits for calls in other threads to return", name)


def is_held_here(lease: Lease) -> bool:
    """Whether this thread is inside a call that holds `lease`: a callback or a signal handler."""
    frame = sys._getframe(1).f_back
    while frame is not None:
        if "lease" in frame.f_code.co_varnames and _variable(frame, "lease") is lease:
            return True
        frame = frame.f_back
    return False


def _variable(frame: FrameType, name: str) -> object:
    """A local variable of a running call, without leaving a reference to it behind."""
    variables = frame.f_locals
    value = variables.get(name)
    if type(variables) is dict:  # before Python 3.13: a copy, which the frame keeps
        variables.clear()
    return value
