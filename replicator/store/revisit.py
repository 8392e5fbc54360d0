"""Showing what another resolver makes of the conflicts that there are (R6).

What a key shows is a function of its versions *and* of the resolver. So the store remembers which
resolver the shown values stand for (the meta row ``resolver``), and where it is opened with another
one, every key in conflict is looked at again, in key order, by a thread of its own: in bounded
commits, each of which rewrites its keys whole and moves the cursor (the meta row ``revisit``). A
killed process goes on at the cursor; after a machine crash, which may have lost any of the commits,
it begins again. No dot is issued and no record changes, so peers see nothing of it.

The resolver runs without the write lock. A key whose versions have changed in between is left as it
is: whoever changed them asked the new resolver.
"""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from replicator.config import (
    REVISIT_BYTES_MAX,
    REVISIT_KEYS_MAX,
    REVISIT_RETRY_SECONDS,
    REVISIT_ROWS_MAX,
)
from replicator.core import rows
from replicator.core.record import Record
from replicator.core.resolve import Resolution, is_conflict
from replicator.core.resolvers import by_name, resolver_name
from replicator.errors import (
    ClosedError,
    CommitError,
    ConfigError,
    CorruptionError,
    FormatError,
)
from replicator.store.keyspace import INDEX, after, meta_key, pack_meta, unpack_meta
from replicator.store.resolving import Settler
from replicator.store.state import State

logger = logging.getLogger("replicator")

_RESOLVER = meta_key("resolver")
_CURSOR = meta_key("revisit")

PAUSE_SECONDS_MAX = 0.1


@dataclass(frozen=True, slots=True)
class RevisitStatus:
    """How far looking at conflicts again is.

    Attributes:
        keys: looked at so far, those without a conflict included.
        changed: of them show something else now.
        share: of the whole work, roughly; from 0 to 1.
    """

    keys: int
    changed: int
    share: float


@dataclass(frozen=True, slots=True)
class _Found:
    """A key in conflict: its index row as read, what that says, and what the key ought to show."""

    key: bytes
    row: bytes
    visible: int
    record: Record
    resolution: Resolution


class Revisit:
    """Looks at all conflicts of one store again, when there is a reason to.

    Attributes:
        is_foreign: whether the resolver that the shown values stand for is not at hand: the store
            is visited by a command, and another program has the function.
    """

    def __init__(self, state: State, settler: Settler) -> None:
        self._state = state
        self._settler = settler
        self._thread: threading.Thread | None = None
        self._turn = threading.Lock()
        self._stopping = threading.Event()
        self._over = threading.Event()
        self._over.set()
        self._again = False
        self._is_complete = True
        self._cursor: bytes | None = None
        self._keys = self._changed = 0
        self.is_foreign = False

    # At opening

    def take_up(self, *, is_new: bool, crashed: bool, visiting: bool, mends: bool) -> None:
        """Compare the resolver with the one that the shown values stand for.

        Args:
            is_new: whether the store was made just now.
            crashed: whether commits may have been lost (R11).
            visiting: whether this is a command's visit, which looks at nothing again and takes the
                resolver that the store remembers, where it is a ready-made one.
            mends: whether a fork's mending is about to be finished.
        """
        db = self._state.db
        row = db.get(_RESOLVER)
        if visiting and row is not None:
            self._borrow(row)
        now = pack_meta([resolver_name(self._settler.resolver), self._settler.mode])
        under_way = db.get(_CURSOR)
        restarts = (
            (under_way is not None and crashed)
            or (self.is_foreign and mends)
            or (row != now and not is_new and not visiting)
        )
        changes: dict[bytes, bytes] = {}
        if restarts:
            changes[_CURSOR] = pack_meta(None)
        if row != now and (is_new or not visiting):
            changes[_RESOLVER] = now
        self._write(changes)
        self._is_complete = not restarts and under_way is None
        if row not in (None, now) and not visiting:
            logger.info("another resolver than before: conflicts are looked at again")

    def _borrow(self, row: bytes) -> None:
        try:
            name, mode = unpack_meta("resolver", row)
            self._settler.resolver, self._settler.mode = by_name(name), mode
        except (AttributeError, ConfigError, FormatError, TypeError, ValueError):
            self.is_foreign = True  # a program's own, or what no replicator wrote

    def begin(self) -> None:
        """Go on in the background, where there is something left to do."""
        if not self._is_complete:
            self._start()

    # Later

    def force(self) -> None:
        """Look at all conflicts again, from the first key.

        Raises:
            ClosedError, StorageError: nothing has changed.
        """
        with self._turn:
            self._again = True  # before: from now on nobody moves the cursor that is set back here
            self._write({_CURSOR: pack_meta(None)})
            self._is_complete = False
            if not self.is_foreign and self._over.is_set():
                self._start()

    def foresee(self) -> None:
        """A resolver that the shown values do not stand for is about to be used."""
        if self.is_foreign:
            self._write({_CURSOR: pack_meta(None)})

    def wait(self, timeout: float | None) -> bool:
        """Wait until it is over; returns whether it is complete.

        Args:
            timeout: seconds; None has no limit.
        """
        self._over.wait(timeout)
        return self._is_complete

    def status(self) -> RevisitStatus | None:
        """How far it is; None where there is nothing to do."""
        if self._is_complete:
            return None
        return RevisitStatus(self._keys, self._changed, self._share())

    def counts(self) -> tuple[int, int]:
        """Keys looked at, and changed, by the last pass."""
        return self._keys, self._changed

    def stop(self) -> None:
        """Stop behind the key at work, and wait for that. The store is closed already."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def _start(self) -> None:
        self._over = over = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(over,), name="replicator revisit", daemon=True
        )
        self._thread.start()

    def _run(self, over: threading.Event) -> None:
        try:
            while not self._pass_over():
                pass
        except ClosedError:
            pass  # it goes on when the store is opened again
        except Exception:
            logger.exception("looking at conflicts again failed; the next opening goes on")
        finally:
            over.set()

    def _pass_over(self) -> bool:
        """Go through the keys behind the cursor, then end; False where it was asked for again."""
        with self._turn:
            self._again = False
            row = self._state.db.get(_CURSOR)
        self._cursor = None if row is None else _read_cursor(row)
        self._keys = self._changed = 0
        is_last = False
        while not is_last:
            started = time.monotonic()
            try:
                is_last = self._step()
            except CommitError as error:
                logger.warning("looking at conflicts again is held up: %s", error)
                self._pause(REVISIT_RETRY_SECONDS)
            # Half of the time belongs to local writers.
            self._pause(min(time.monotonic() - started, PAUSE_SECONDS_MAX))
            if self._again:
                return False
        self._state.level.sync()  # before: a power cut may keep what comes now and lose the rest
        with self._turn:
            if self._again:
                return False
            with self._state.level.lock:
                batch = self._state.db.write_batch()
                batch.delete(_CURSOR)
                self._state.commit_quietly(batch)
            self._is_complete = True
            self._over.set()
        logger.info("conflicts looked at again: %d keys show something else", self._changed)
        return True

    def _pause(self, seconds: float) -> None:
        if self._stopping.wait(seconds):
            raise ClosedError("the store is closed")

    def _step(self) -> bool:
        """One commit's worth; returns whether it reached the last key."""
        found: list[_Found] = []
        count, size, last = 0, 0, self._cursor
        start = INDEX if last is None else INDEX + last + b"\0"
        is_last = True
        with (
            self._state.db.snapshot() as snapshot,
            snapshot.iterator(start=start, stop=after(INDEX)) as index,
        ):
            for row_key, row in index:
                if (
                    count >= REVISIT_ROWS_MAX
                    or len(found) >= REVISIT_KEYS_MAX
                    or size >= REVISIT_BYTES_MAX
                ):
                    is_last = False
                    break
                last = row_key[len(INDEX) :]
                count += 1
                if row[0] != rows.SINGLE:
                    for one in self._look(last, row, snapshot.get):
                        found.append(one)
                        size += sum(len(v.value or b"") for v in one.record.versions)
        self._show(found, last)
        self._cursor = last
        self._keys += count
        return is_last

    def _look(self, key: bytes, row: bytes, get: object) -> Iterator[_Found]:
        """What there is to see to of one key: nothing, or itself."""
        record, visible = rows.unpack(row, key, self._state.origins.by_number)
        if len(record.versions) < 2:
            return
        try:
            record = self._state.load(record, get)  # type: ignore[arg-type]
        except CorruptionError as error:
            logger.warning("passed over: %s", error)
            return
        if is_conflict(record.versions):
            self._pause(0)
            yield _Found(key, row, visible, record, self._settler.resolve(record.versions))

    def _show(self, found: list[_Found], cursor: bytes | None) -> None:
        """Let the keys show what they ought to, and remember how far this is."""
        state = self._state
        changed = 0
        with state.level.lock:
            state.refuse_closed()
            batch = state.db.write_batch()
            for one in found:
                record = self._as_it_is_now(one)
                if record is not None:
                    state.install(batch, one.key, record, record, one.resolution)
                    changed += 1
            if not self._again:  # else the cursor has been set back already
                batch.put(_CURSOR, pack_meta(cursor))
            state.commit_quietly(batch)
        self._changed += changed

    def _as_it_is_now(self, one: _Found) -> Record | None:
        """The record, where it still has the versions it was read with, and shows something else
        than it ought to. Its context may have shrunk meanwhile (R8)."""
        state, record, visible = self._state, one.record, one.visible
        row = state.db.get(INDEX + one.key)
        if row != one.row:
            if row is None:
                return None
            now, visible = rows.unpack(row, one.key, state.origins.by_number)
            if [version.dot for version in now.versions] != [v.dot for v in record.versions]:
                return None
            record = Record(record.versions, now.context)
        shown = one.resolution.visible
        if one.resolution.merged:
            is_right = visible == rows.MERGED and state.db.get(one.key) == shown.value
        else:
            is_right = visible == record.versions.index(shown)
        return None if is_right else record

    def _share(self) -> float:
        state, cursor = self._state, self._cursor
        if cursor is None:
            return 0.0
        first = state.prefix + INDEX
        ends = [(first, first + cursor), (first, state.prefix + after(INDEX))]
        with suppress(RuntimeError):  # it is being closed
            done, all_of_it = state.level.db.approximate_sizes(*ends)
            return min(1.0, done / all_of_it) if all_of_it else 0.0
        return 0.0

    def _write(self, changes: dict[bytes, bytes]) -> None:
        if not changes:
            return
        with self._state.level.lock:
            batch = self._state.db.write_batch()
            for row_key, row in changes.items():
                batch.put(row_key, row)
            self._state.commit_quietly(batch)


def _read_cursor(row: bytes) -> bytes | None:
    """The last key looked at; None, the beginning, also where the row is malformed."""
    with suppress(FormatError):
        cursor = unpack_meta("revisit", row)
        return cursor if isinstance(cursor, bytes) else None
    return None
