"""A feed of what is written, local and replicated alike, that a reader resumes with a token.

It is made of what is there anyway, and costs no row: the log has one entry for each live version.
A reader's *position* is a known set. What is known here beyond it is walked, origin by origin, each
in its order; a version that was superseded has no entry, its superseder comes in its own turn. So
of every key the reader gets the latest state, at least once. Between two batches no snapshot is
held.

The log cannot tell everything. The feed then says `RESET` and gives all keys, as a full-state
round does (R9), where

- the position lies below the purge floor: deletes that the reader has not seen may be collected;
- the reader knows what this node does not: a power cut took it, a fork gave it up (R13), the
  directory was restored, or the token is of a node that knows more. What the reader holds of it may
  never come here.

Neither expiry (R17) nor a change of the resolver is a write: the feed tells of neither. When a
value expires is told with it, so that a reader's copy can let it go by itself.
"""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

from plyvel._plyvel import Snapshot

from replicator.config import FEED_BATCH_BYTES, FEED_BATCH_ITEMS, FEED_LOOKED_AT_MAX
from replicator.core import ranges, rows
from replicator.core.dots import Dot
from replicator.core.feeding import Position, behind, can_go_on
from replicator.core.known import KnownSet
from replicator.core.token import write_token
from replicator.store.expiry import shown_until_ms
from replicator.store.keyspace import INDEX, RESERVED, after, log_key, number_seq
from replicator.store.state import State

ChangeKind = Literal["change", "reset", "key", "complete"]


@dataclass(frozen=True, slots=True)
class Change:
    """One item of a feed.

    Attributes:
        kind: "change": a write, with the state of its key. "reset": forget all that the feed told
            you; "key"s follow, one for each key that shows a value, in key order, and "complete"
            when that was all.
        key, value: the key and what it shows now, None for nothing: delete it in a copy.
        dot: which write a "change" is about.
        is_local: whether it was written at this node, under its present origin.
        expiry_ms: when that value expires, wall clock in milliseconds since the epoch: nobody
            writes then, so nothing is told. None for never.
    """

    kind: ChangeKind
    key: bytes = b""
    value: bytes | None = None
    dot: Dot | None = None
    is_local: bool = False
    expiry_ms: int | None = None
    _position: Position = field(default_factory=Position, repr=False, compare=False)
    _walked: KnownSet = field(default_factory=KnownSet, repr=False, compare=False)

    @property
    def is_delete(self) -> bool:
        """Whether it is a change after which the key shows nothing."""
        return self.kind == "change" and self.value is None

    @property
    def token(self) -> str:
        """Where to go on once this item is dealt with.

        Raises:
            UsageError: see `write_token`.
        """
        if self.dot is None:
            return write_token(self._position)
        known = behind(self._position.known, self._walked, *self.dot)
        return write_token(replace(self._position, known=known))


class Feed:
    """One reader's feed. For one thread at a time.

    Args:
        state: the store.
        position: where the reader stands.
        wanted: whether writes of an origin are wanted; None wants all.

    Attributes:
        position: where it stands once it has dealt with all that `read` gave.
    """

    def __init__(
        self, state: State, position: Position, wanted: Callable[[int], bool] | None = None
    ) -> None:
        self.position = position
        self._state = state
        self._wanted = wanted
        self._turn = -1

    def read(self) -> list[Change]:
        """The next items, from one snapshot; empty where there is nothing new.

        Raises:
            ClosedError: the store is closed.
            UsageError: called in a function that `update` runs.
        """
        state = self._state
        state.level.refuse_in_update()
        while True:
            with state.level.lock:
                state.refuse_closed()
                known, floor, closed = state.known_now(), dict(state.floor), state.closed_dots
                snapshot = state.db.snapshot()
            try:
                items = self._read(snapshot, known, floor, closed)
            finally:
                snapshot.close()
            if items is not None:
                return items

    def _part(self, known: KnownSet) -> KnownSet:
        """What of the known set is wanted."""
        if self._wanted is None:
            return known
        return KnownSet({origin: b for origin, b in known.items() if self._wanted(origin)})

    def _unwanted(self) -> KnownSet:
        """What of the position is about origins that are not wanted."""
        wanted, position = self._wanted, self.position.known
        return KnownSet(
            {} if wanted is None else {o: b for o, b in position.items() if not wanted(o)}
        )

    def _read(
        self, snapshot: Snapshot, known: KnownSet, floor: dict[int, int], closed: KnownSet
    ) -> list[Change] | None:
        """The next items; None where there are none in what was looked at, and there is more."""
        wanted = self._part(known)
        if not self._can_go_on(known, floor, closed):
            # Nothing of the old position is kept: whoever is cut from here on has given up its
            # copy, and the log may be able by then to tell what lies behind that position alone.
            self.position = Position(self._unwanted(), known, wanted)
            return [Change("reset", _position=self.position)]
        self.position = replace(self.position, shown=known)
        if self.position.listing is not None:
            return self._list(snapshot)
        lack = wanted.difference(self.position.known)
        if not lack:
            return []
        origins = sorted(lack.origins())
        self._turn = next((one for one in origins if one > self._turn), origins[0])
        return self._walk(snapshot, self._turn, lack.bounds(self._turn)) or None

    def _can_go_on(self, known: KnownSet, floor: dict[int, int], closed: KnownSet) -> bool:
        """See `replicator.core.feeding`; deletes by those who are not wanted are not told."""
        position = self.position
        if self._wanted is not None:
            position = replace(position, known=self._part(position.known))
            floor = {origin: seq for origin, seq in floor.items() if self._wanted(origin)}
        return can_go_on(position, known, floor, closed)

    # By the log

    def _walk(self, snapshot: Snapshot, origin: int, lack: ranges.Bounds) -> list[Change]:
        """What of one origin's log the reader lacks, ascending, as much as one batch holds."""
        items: list[Change] = []
        walked = KnownSet({origin: lack})
        size, upto = 0, lack[-1]
        for seq, key in self._entries(snapshot, origin, lack):
            if len(items) >= FEED_BATCH_ITEMS or size >= FEED_BATCH_BYTES:
                upto = seq
                break
            value = snapshot.get(key)
            size += len(key) + len(value or b"")
            items.append(
                Change(
                    "change",
                    key,
                    value,
                    Dot(origin, seq),
                    origin == self._state.origin,
                    None if value is None else self._expiry_ms(snapshot, key),
                    self.position,
                    walked,
                )
            )
        known = behind(self.position.known, walked, origin, upto - 1)
        self.position = replace(self.position, known=known)
        return items

    def _entries(
        self, snapshot: Snapshot, origin: int, lack: ranges.Bounds
    ) -> Iterator[tuple[int, bytes]]:
        number = self._state.origins.numbers.get(origin)
        if number is None:
            return
        for start, stop in ranges.pairs(lack):
            with snapshot.iterator(start=log_key(number, start), stop=log_key(number, stop)) as log:
                for row_key, key in log:
                    yield number_seq(row_key)[1], key

    def _expiry_ms(self, snapshot: Snapshot, key: bytes) -> int | None:
        """When the value that a key shows expires."""
        if not self._state.due.was_any:
            return None
        row = snapshot.get(INDEX + key)
        if row is None or row[0] == rows.SINGLE:
            return None
        return shown_until_ms(*rows.unpack(row, key, self._state.origins.by_number))

    # All keys

    def _list(self, snapshot: Snapshot) -> list[Change] | None:
        start, items, size = self.position, list[Change](), 0
        shown = self._shown_by(snapshot) if self._wanted else self._shown(snapshot)
        for looked_at, (key, value) in enumerate(shown):
            if (
                len(items) >= FEED_BATCH_ITEMS
                or size >= FEED_BATCH_BYTES
                or looked_at >= FEED_LOOKED_AT_MAX
            ):
                return items or None
            self.position = replace(start, after=key)
            if value is not None:
                size += len(key) + len(value)
                expiry_ms = self._expiry_ms(snapshot, key)
                items.append(
                    Change("key", key, value, expiry_ms=expiry_ms, _position=self.position)
                )
        self.position = start.completed()
        return [*items, Change("complete", _position=self.position)]

    def _shown(self, snapshot: Snapshot) -> Iterator[tuple[bytes, bytes | None]]:
        """Every key that shows something, behind the last one."""
        with snapshot.iterator(
            start=self.position.after, include_start=self.position.after is None, stop=RESERVED
        ) as found:
            yield from found

    def _shown_by(self, snapshot: Snapshot) -> Iterator[tuple[bytes, bytes | None]]:
        """Every key behind the last one, with what it shows where one of its live versions is of an
        origin that is wanted."""
        assert self._wanted is not None
        start = INDEX if self.position.after is None else INDEX + self.position.after + b"\0"
        with snapshot.iterator(start=start, stop=after(INDEX)) as index:
            for row_key, row in index:
                key = row_key[len(INDEX) :]
                record, _ = rows.unpack(row, key, self._state.origins.by_number)
                is_wanted = any(self._wanted(version.dot.origin) for version in record.versions)
                yield key, snapshot.get(key) if is_wanted else None


def chosen(state: State, origins: str | Collection[int] | None) -> Callable[[int], bool] | None:
    """Which origins a feed tells of.

    Args:
        origins: "local" for the present origin of this node, "remote" for all others, or some.
    """
    if origins is None:
        return None
    if origins == "local":
        return lambda origin: origin == state.origin
    if origins == "remote":
        return lambda origin: origin != state.origin
    some = frozenset(origins)
    return lambda origin: origin in some
