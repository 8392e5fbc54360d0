"""Recent events of a node, for its page.

Events come in a thread of their own, thousands a second when a node catches up. They are taken from
there as they are, and put into words when the page is next told of them. Rounds with one peer that
follow each other are one happening, which grows; a connection or an error like one before is that
one again: a quiet cluster, whose nodes say hello now and then, does not push out what matters.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from typing import Any, Literal

from replicator.core.record import Version
from replicator.events import EVENTS
from replicator.faces.handle import Replica
from replicator.faces.http.limits import (
    HAPPENING_MERGE_SECONDS,
    HAPPENINGS_MAX,
    HAPPENINGS_WAITING_MAX,
)
from replicator.faces.http.shown import Shown, shown
from replicator.peers.journal import printable
from replicator.status import Round

Kind = Literal["connect", "connection", "round", "conflict", "difference", "error", "settled"]


@dataclass(frozen=True, slots=True)
class Happening:
    """One line of the page's list.

    Attributes:
        id: counts up; one that grew keeps its own.
        at_ms: when, the last time; milliseconds since the epoch.
        text: for people; no key and no value.
        key: of a conflict; only for those who may see data.
        times: how many events it stands for.
    """

    id: int
    at_ms: int
    kind: Kind
    text: str
    key: Shown | None = None
    times: int = 1


@dataclass(slots=True)
class _Rounds:
    """The happening of the last rounds with one peer."""

    id: int
    at_ms: int
    records: int
    changed: int
    times: int
    is_full: bool


class Happenings:
    """Keeps the last `HAPPENINGS_MAX`. `note` is for any thread, the rest for one."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[int, str, tuple[Any, ...]]] = deque(
            maxlen=HAPPENINGS_WAITING_MAX
        )
        self._kept: dict[int, Happening] = {}
        self._rounds: dict[str, _Rounds] = {}
        self._ids = count(1)
        self.conflicting: deque[bytes] = deque(maxlen=HAPPENINGS_WAITING_MAX)
        """Keys of conflicts that arose, for whoever lists those; taken from the left."""

    @contextmanager
    def following(self, replica: Replica) -> Iterator[None]:
        """Note all events of a handle while the context is open."""
        callbacks: dict[str, Callable[..., None]] = {
            name: partial(self.note, name) for name in EVENTS
        }
        for name, callback in callbacks.items():
            replica.on(name, callback)
        try:
            yield
        finally:
            for name, callback in callbacks.items():
                replica.off(name, callback)

    def note(self, name: str, *arguments: Any) -> None:
        """An event has happened; see `replicator.events.EVENTS`. Also "settled": who, key."""
        self._waiting.append((time.time_ns() // 1_000_000, name, arguments))
        if name == "conflict":
            self.conflicting.append(arguments[0])

    def take(self) -> list[Happening]:
        """Put into words what has come; the happenings that are new or have grown."""
        touched: dict[int, Happening] = {}
        while self._waiting:
            at_ms, name, arguments = self._waiting.popleft()
            happening = self._told(at_ms, name, arguments)
            self._kept.pop(happening.id, None)
            self._kept[happening.id] = touched[happening.id] = happening
        while len(self._kept) > HAPPENINGS_MAX:
            del self._kept[next(iter(self._kept))]
        return list(touched.values())

    def all(self) -> list[Happening]:
        """All that are kept, the newest last."""
        return list(self._kept.values())

    def _told(self, at_ms: int, name: str, arguments: tuple[Any, ...]) -> Happening:
        match name, arguments:
            case "round", (Round() as found,):
                return self._round(at_ms, found)
            case (("connect" | "connection"), (host, port)):
                # The port of whoever dialled is another one each time.
                text = f"dialled {host}:{port}" if name == "connect" else f"was dialled by {host}"
                return self._again(at_ms, name, printable(text))
            case "conflict", (key, versions):
                return self._conflict(at_ms, key, versions)
            case "difference", (node, origin):
                text = f"data differs from that of {printable(str(node))} ({printable(origin)})"
                return self._new(at_ms, "difference", text)
            case "settled", (who, key):
                text = f"a conflict was settled here by {printable(str(who))}"
                return replace(self._new(at_ms, "settled", text), key=shown(key))
            case _, (error, *_):
                return self._again(at_ms, "error", printable(str(error)))
        return self._again(at_ms, "error", printable(name))

    def _again(self, at_ms: int, kind: Any, text: str) -> Happening:
        """One like this that is kept already, or a new one."""
        for one in self._kept.values():
            if (one.kind, one.text) == (kind, text):
                return replace(one, at_ms=at_ms, times=one.times + 1)
        return self._new(at_ms, kind, text)

    def _new(self, at_ms: int, kind: Any, text: str) -> Happening:
        return Happening(next(self._ids), at_ms, kind, text)

    def _conflict(self, at_ms: int, key: bytes, versions: list[Version]) -> Happening:
        happening = self._new(at_ms, "conflict", f"{len(versions)} versions of a key met")
        return replace(happening, key=shown(key))

    def _round(self, at_ms: int, found: Round) -> Happening:
        last = self._rounds.get(found.origin)
        is_apart = last is None or last.id not in self._kept
        if last is None or is_apart or at_ms - last.at_ms > HAPPENING_MERGE_SECONDS * 1000:
            if len(self._rounds) >= HAPPENINGS_MAX:
                self._rounds.clear()
            last = self._rounds[found.origin] = _Rounds(next(self._ids), at_ms, 0, 0, 0, False)
        last.at_ms = at_ms
        last.records += found.records
        last.changed += found.changed
        last.times += 1
        last.is_full |= found.full
        how = ", all keys compared" if last.is_full else ""
        text = (
            f"caught up with {printable(found.name)}: {last.records:,} "
            f"record{'' if last.records == 1 else 's'}, {last.changed:,} news{how}"
        )
        return Happening(last.id, at_ms, "round", text, times=last.times)
