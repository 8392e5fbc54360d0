"""The steps of a repair: what is doubted, the mark, and the mending of one fault."""

from dataclasses import dataclass, field, replace
from zlib import crc32

from plyvel._plyvel import WriteBatch

from replicator.core import rows
from replicator.core.dots import Dot
from replicator.core.known import KnownSet
from replicator.core.record import ABSENT, Record, Version
from replicator.core.resolve import Resolution
from replicator.store.expiry import expiry_row_of, keeps_aside
from replicator.store.identity import Identity, Surroundings
from replicator.store.keyspace import (
    INDEX,
    META,
    SEQ,
    meta_key,
    origin_key,
    pack_known,
    pack_meta,
)
from replicator.store.resolving import Settler
from replicator.store.state import State
from replicator.store.verify.faults import Fault, Kind
from replicator.store.verify.remains import Remains, remains_of
from replicator.store.verify.tables import Ground

ROW_GOES = frozenset({Kind.FOREIGN, Kind.MEMBER, Kind.CLOSED, Kind.FLOOR, Kind.EXPIRY})

MARKED_BOOT = "replicator verify --repair"
"""In the place of the kernel's boot id: no machine has run under it, so the store counts as one
whose machine went down."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a fault.

    Attributes:
        done: in words.
        lost: versions that are gone here: they come back where a peer has them.
    """

    done: str
    lost: tuple[Dot, ...] = ()


@dataclass(slots=True)
class Doubts:
    """What may not stay known, because versions are lost here.

    Of an origin that may have written a lost record only the dots that are live in other records
    stay known, and those below the purge floor: what was collected is known without any other
    trace, and forgotten it would come back and stand beside what was written since. Dots that are
    seen to be lost go from there, too.

    Attributes:
        origins: whose dots are in doubt.
        lost: dots that are lost, wherever they lie.
        untold: keys whose index rows do not decode, and which the log has not named yet.
    """

    origins: set[int] = field(default_factory=set)
    lost: KnownSet = field(default_factory=KnownSet)
    untold: set[bytes] = field(default_factory=set)

    def __bool__(self) -> bool:
        return bool(self.origins) or bool(self.lost)

    def add(self, fault: Fault, remains: Remains, ground: Ground) -> None:
        """Note a fault by which a version may be lost; those of the index come before the log's."""
        if fault.kind is Kind.LOG_LOST:
            assert fault.dot is not None
            self.untold.discard(fault.key)
            self.lost.add(*fault.dot)
            self.origins.update(ground.known.origins())
        elif remains.record is None:
            self.untold.add(fault.key)
            self.origins.update(ground.known.origins())
        elif not remains.is_whole or fault.kind is Kind.DOT_TWICE:
            record = remains.record
            # A context names the newest write of each origin to the key, unless it has shrunk:
            # what was removed from it lies under the floor (R8).
            for origin, seq in record.context.items():
                self.lost.add(origin, seq)
            for version in record.versions:
                self.lost.add(*version.dot)
            self.origins.update(record.context, ground.floor)

    def still_known(self, ground: Ground) -> KnownSet:
        """What the durable row is to say: with the live dots it makes the known set (R11).

        Where nobody can tell what a lost record was, the floor protects nothing."""
        if self.untold:
            return KnownSet()
        known = (ground.durable if ground.lost_commits else ground.known).copy()
        for origin in self.origins:
            known.discard_above(origin, ground.floor.get(origin, 0))
        return known.difference(self.lost)


def mark(
    batch: WriteBatch,
    ground: Ground,
    here: Surroundings,
    fresh: tuple[int, int],
    durable: KnownSet,
) -> None:
    """Put into `batch` what makes the next open recover, from this durable row (R11).

    Args:
        fresh: a number that no row uses, and an origin that nobody has: for what is issued again.
    """
    number, origin = fresh
    identity = ground.identity
    is_copy = identity is not None and identity.was_copied(here)
    then = identity.surroundings if is_copy and identity else replace(here, boot=MARKED_BOOT)
    batch.put(origin_key(number), SEQ.pack(origin))
    batch.put(meta_key("identity"), pack_meta(Identity(origin, then, clean=False).row()))
    batch.put(meta_key("durable"), pack_known(durable))
    batch.put(meta_key("shown"), pack_meta(0))


class Mender:
    """Mends one fault after the other, each key whole in one batch.

    Args:
        state: of the stopped store; not open.
        settler: what keys of several versions show.
        origin: who issues again what is left of damaged records; 0 where nothing is to be.
    """

    def __init__(self, state: State, settler: Settler, origin: int) -> None:
        self._state = state
        self._settler = settler
        self._origin = origin
        self._seq = 0
        origins = state.origins
        for number in sorted(origins.by_number, reverse=True):  # of two numbers the first stays
            origins.numbers[origins.by_number[number]] = number

    def mend(self, fault: Fault) -> Outcome | None:
        """Mend a fault; None where opening the store does it.

        Raises:
            CommitError, StoreFailedError: it was not done.
        """
        batch = self._state.db.write_batch()
        outcome = self._into(batch, fault)
        with self._state.level.lock:
            self._state.level.commit(batch)
        return outcome

    def _into(self, batch: WriteBatch, fault: Fault) -> Outcome | None:
        key = fault.key
        match fault.kind:
            case kind if kind in ROW_GOES:
                batch.delete(key)
            case Kind.META:
                self._meta(batch, key)
            case Kind.INDEX_FORM:
                return self._rewritten(batch, key)
            case Kind.EXPIRY_MISSING:
                self._expiry(batch, key)
            case Kind.INDEX:
                return self._existing_data(batch, key, self._remains(key, decodes=False), fault)
            case Kind.LOG_LOST:
                return self._logged(batch, key, fault)
            case Kind.DOT_TWICE:
                return self._again(batch, key, self._remains(key))
            case Kind.ASIDE_LOST | Kind.CHANGED | Kind.REMOVED:
                return self._restored(batch, key)
            case Kind.ADDED:
                batch.delete(key)
            case _:
                return None
        return Outcome("done")

    def _remains(self, key: bytes, *, decodes: bool = True) -> Remains:
        state = self._state
        return remains_of(key, state.db.get, state.origins.by_number, decodes=decodes)

    def _meta(self, batch: WriteBatch, row_key: bytes) -> None:
        """Of the others the mark writes what stands there."""
        name = row_key[len(META) :]
        if name in (b"adopt", b"revisit"):
            batch.put(row_key, pack_meta(None))
        elif name in (b"cluster", b"fork", b"resolver"):
            batch.delete(row_key)

    def _rewritten(self, batch: WriteBatch, key: bytes) -> Outcome:
        remains = self._remains(key)
        record = remains.record
        if record is None or not record.versions:
            return Outcome("mended with another fault of the key")
        if keeps_aside(record) and remains.is_whole:
            self._install(batch, key, record, remains)
        else:
            number = self._state.origins.number
            visible = remains.visible if len(record.versions) > 1 else 0
            batch.put(INDEX + key, rows.pack(record, number, visible))
        return Outcome("written anew")

    def _expiry(self, batch: WriteBatch, key: bytes) -> None:
        remains = self._remains(key)
        if remains.record is not None and remains.record.versions:
            is_shown = remains.value is not None
            row_key = expiry_row_of(key, remains.record, remains.visible, is_shown)
            if row_key is not None:
                batch.put(row_key, b"")

    def _restored(self, batch: WriteBatch, key: bytes) -> Outcome:
        remains = self._remains(key)
        if remains.record is None:
            return Outcome("mended with another fault of the key")
        if not remains.is_whole:
            return self._again(batch, key, remains)
        if remains.record.versions:
            self._install(batch, key, remains.record, remains)
        return Outcome("taken from where it is kept")

    def _install(self, batch: WriteBatch, key: bytes, record: Record, remains: Remains) -> None:
        """All rows of a key whose versions can all be read."""
        versions = remains.intact
        if remains.visible == rows.MERGED:
            shown = self._settler.resolve(versions)
        else:
            shown = Resolution(versions[remains.visible], merged=False, conflict=False)
        self._state.install(batch, key, record, Record(versions, record.context), shown)

    def _logged(self, batch: WriteBatch, key: bytes, fault: Fault) -> Outcome:
        """A version of which only the log entry is left, and perhaps what it shows."""
        remains = self._remains(key)
        if remains.record == ABSENT and remains.value is not None:
            return self._existing_data(batch, key, remains, fault)
        assert fault.dot is not None
        return Outcome("forgotten", (fault.dot,))

    def _existing_data(
        self, batch: WriteBatch, key: bytes, remains: Remains, fault: Fault
    ) -> Outcome:
        """What a key shows, of which nothing else is known (R14): it loses against everything."""
        lost = () if fault.dot is None else (fault.dot,)
        value = remains.value
        if value is None:
            batch.delete(INDEX + key)
            return Outcome("forgotten", lost)
        dot = self._next_dot()
        version = Version(key, dot, 0, 0, False, value, None, crc32(value))
        self._issue(batch, key, ABSENT, (version,))
        return Outcome(f"forgotten; the value shown is kept as existing data, {dot}", lost)

    def _again(self, batch: WriteBatch, key: bytes, remains: Remains) -> Outcome:
        """What can be read of a record, issued again: nothing of it is known any more."""
        record = remains.record
        if record is None or not record.versions:
            return Outcome("mended with another fault of the key")
        lost = tuple(remains.lost)
        if not remains.intact:
            self._state.remove(batch, key, record)
            return Outcome("forgotten", lost)
        versions = tuple(replace(version, dot=self._next_dot()) for version in remains.intact)
        self._issue(batch, key, record, versions)
        dots = ", ".join(str(version.dot) for version in versions)
        return Outcome(f"forgotten; what can be read is issued again as {dots}", lost)

    def _next_dot(self) -> Dot:
        self._seq += 1
        return Dot(self._origin, self._seq)

    def _issue(
        self, batch: WriteBatch, key: bytes, old: Record, versions: tuple[Version, ...]
    ) -> None:
        record = Record(versions, {self._origin: versions[-1].dot.seq})
        self._state.install(batch, key, old, record, self._settler.resolve(versions))
