"""Keyspace notifications: messages about changed keys, as Redis sends them, off by default.

https://redis.io/docs/latest/develop/use/keyspace-notifications/

Which there are says a word of letters: ``K`` for messages to ``__keyspace@0__:KEY``, ``E`` for
those to ``__keyevent@0__:EVENT``, and which events: ``g`` of any key (del, expire, persist,
rename_from, rename_to), ``$`` of strings (set, setrange, incrby, incrbyfloat, append), ``x``
expired; ``A`` for all.

What a command of this server has done is told by its name and by what it wrote: so commands know
nothing of notifications, and where these are off they cost nothing. What peers have written is told
by the store's feed, as ``set`` and ``del``; what has expired by the sweeper.
"""

from collections import deque
from collections.abc import Callable, Iterator
from time import perf_counter
from typing import Final

from replicator.faces.redis.flags import (
    ALL,
    GENERIC,
    KEYEVENT,
    KEYSPACE,
    STRING,
    parse_flags,
)
from replicator.faces.redis.hub import Hub
from replicator.faces.redis.limits import RESP_NOTIFICATIONS_MAX
from replicator.faces.redis.turn import Written
from replicator.faces.resp import Request

Event = tuple[str, bytes, bytes]
"""A class of events, the event, the key."""

_DEL: Final = b"del"
_STRINGS: Final = {
    b"INCR": b"incrby",
    b"DECR": b"incrby",
    b"INCRBY": b"incrby",
    b"DECRBY": b"incrby",
    b"INCRBYFLOAT": b"incrbyfloat",
    b"APPEND": b"append",
    b"SETRANGE": b"setrange",
}
_MOVING: Final = frozenset({b"RENAME", b"RENAMENX"})
_EXPIRING: Final = frozenset({b"EXPIRE", b"PEXPIRE", b"EXPIREAT", b"PEXPIREAT"})
_LIFETIMES: Final = frozenset({b"EX", b"PX", b"EXAT", b"PXAT"})


class Notifications:
    """Makes notifications of events, and publishes them by and by. For the thread of the server.

    Args:
        hub: where they are published.

    Attributes:
        flags: which there are; empty where none.
        on_change: called after the flags have changed.
        dropped: how many events were dropped because they came too fast.
    """

    def __init__(self, hub: Hub) -> None:
        self.flags = ""
        self.on_change: Callable[[], object] = lambda: None
        self.dropped = 0
        self._hub = hub
        self._classes = ""
        self._queue: deque[Event] = deque()

    def set_flags(self, text: str) -> None:
        """Choose which notifications there are. Raises as `parse_flags`."""
        flags = parse_flags(text)
        classes = ALL if "A" in flags else flags
        is_any = bool(set(flags) & {KEYSPACE, KEYEVENT} and set(classes) & set(ALL))
        self.flags, self._classes = flags, classes if is_any else ""
        self.on_change()

    @property
    def are_on(self) -> bool:
        """Whether there are any."""
        return bool(self._classes)

    @property
    def waits(self) -> bool:
        """Whether there is something for `publish_some`."""
        return bool(self._queue)

    def wants(self, kind: str) -> bool:
        """Whether there are notifications of a class of events."""
        return kind in self._classes

    def add(self, event: Event) -> None:
        """Something has happened, and is committed."""
        if event[0] not in self._classes or self._hub.is_empty:
            return
        if len(self._queue) >= RESP_NOTIFICATIONS_MAX:
            self._queue.popleft()
            self.dropped += 1
        self._queue.append(event)

    def publish_some(self, until: float) -> None:
        """Publish what waits, in its order, until then (`perf_counter`)."""
        queue = self._queue
        while queue:
            self._publish(queue.popleft())
            if perf_counter() > until:
                return

    def _publish(self, event: Event) -> None:
        _, name, key = event
        if KEYSPACE in self.flags:
            self._hub.publish(b"__keyspace@0__:" + key, name)
        if KEYEVENT in self.flags:
            self._hub.publish(b"__keyevent@0__:" + name, key)


def events_of(name: bytes, request: Request, written: list[Written]) -> Iterator[Event]:
    """The events of a command that was run.

    Args:
        name: of the command, in capitals.
        written: what it wrote, in that order.
    """
    if name in _MOVING:  # whatever is written first
        written = sorted(written, key=lambda one: one[1] is not None)
    for key, value, expiry_ms in written:
        yield from _events_of(name, request, key, value, expiry_ms)


def _events_of(
    name: bytes, request: Request, key: bytes, value: bytes | None, expiry_ms: int | None
) -> Iterator[Event]:
    if name in _MOVING:
        yield GENERIC, b"rename_from" if value is None else b"rename_to", key
    elif value is None:
        yield GENERIC, _DEL, key
    elif name == b"COPY":
        yield GENERIC, b"copy_to", key
    elif name in _EXPIRING:
        yield GENERIC, b"expire", key
    elif name == b"PERSIST":
        yield GENERIC, b"persist", key
    elif name == b"GETEX":
        yield GENERIC, b"persist" if expiry_ms is None else b"expire", key
    else:
        yield STRING, _STRINGS.get(name, b"set"), key
        if expiry_ms is not None and _gives_lifetime(name, request):
            yield GENERIC, b"expire", key


def _gives_lifetime(name: bytes, request: Request) -> bool:
    """Whether a write of a value that expires has set that, rather than kept it."""
    if name in (b"SETEX", b"PSETEX") or name.startswith(b"REPL."):
        return True
    return any(word.upper() in _LIFETIMES for word in request[3:])
