"""A store in memory: the rules on top of `Disk`, one commit a batch, nothing else remembered.

It has the interface that conversations drive (write, open_source, apply, finish, apply_full,
show, fork, sync_point …) and follows R1–R3, R6, R8, R9 and R11–R13 in the shortest way, so that
each rule is one place to read and one to break (`planted`). Records are stored whole: a batch
leaves every key that it names consistent, whatever older batch a power cut took.

Rows: ``bytes`` → `Entry` of that key; ``"origin"``, ``"shown"``, ``"cluster"``, ``"known"`` (own
seqs included), ``"floor"``, ``"durable"``, ``"full"`` (what peers of full-state
rounds knew that began here and were not completed), ``"closed"``, ``"want full"`` (this node was
forgotten and has to begin with a full-state round), ``("member", origin)``.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Protocol
from zlib import crc32

from replicator.core import ranges, rows
from replicator.core.chunk import Chunk
from replicator.core.clock import HybridClock
from replicator.core.compare import Part, Piece, Stretch
from replicator.core.dots import Dot
from replicator.core.known import KnownSet, within_known
from replicator.core.members import Member, Watermark
from replicator.core.merge import Seen, counted_as_seen, merge, next_clock, raise_context
from replicator.core.merge import write as write_record
from replicator.core.record import ABSENT, Context, Record, Version
from replicator.core.resolve import Resolver, ResolverMode, resolve
from replicator.errors import ClusterChangedError, CommitError, ForkError
from replicator.protocol.effects import AdoptCluster
from tests.comparing import answers, fingerprint, inside, scan

from .disk import Batch, Disk

SKEW_MAX_MS = 3_600_000


class Ledger(Protocol):
    """Who keeps the books outside of the system: `oracle.Oracle`."""

    def issued(
        self,
        node: str,
        version: Version,
        seen: Iterable[Version],
        *,
        unseen: Iterable[Version] = (),
        is_again: bool = False,
    ) -> None:
        """A write that has seen these, and not those, is about to be committed at `node`; perhaps
        an earlier one under a new dot."""

    def withdrawn(self, version: Version) -> None:
        """It was not committed."""

    def reissued(self, version: Version, old: Version, shown: int) -> None:
        """`version` is about to be committed: `old` under a new dot (R13)."""

    def may_collect(self, record: Record) -> bool:
        """Whether nothing outside of the cluster, such as an old copy, stands in the way."""

    def collected(self, record: Record) -> None:
        """A record of tombstones was dropped."""

    def moment_ms(self) -> int:
        """As of which moment digests are compared."""


@dataclass(frozen=True, slots=True)
class Entry:
    """The row of one key: its record and the value it shows, None where it shows nothing."""

    record: Record
    visible: bytes | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one apply did: records looked at, records changed, conflicts among them."""

    records: int
    changed: int
    conflicts: int


@dataclass(frozen=True, slots=True)
class Lost:
    """A record that is damaged.

    Attributes:
        key: whose.
        intact: the versions that can still be read; None where not even the index row decodes.
        value: then what the key shows, if that can be read.
    """

    key: bytes
    intact: tuple[Version, ...] | None
    value: bytes | None


@dataclass(slots=True)
class Habits:
    """What a store is given from outside.

    Attributes:
        node: the node's name.
        random: makes origins.
        wall_ms: this node's wall clock.
        resolver, mode: how siblings are settled.
        chunk_records: the most records of one chunk.
        resolver_name: by which a store remembers the resolver, where that changes; empty where it
            does not.
    """

    node: str
    random: Random
    wall_ms: Callable[[], int]
    resolver: Resolver
    mode: ResolverMode
    chunk_records: int
    resolver_name: str = ""


class Source:
    """One snapshot to serve a round from."""

    def __init__(self, snapshot: Batch, known: KnownSet, floor: dict[int, int], most: int) -> None:
        self.known = known
        self.floor = floor
        self._most = most
        self._numbers: dict[int, int] = {}
        self._records: dict[bytes, Record] = {
            key: row.record for key, row in snapshot.items() if type(key) is bytes
        }

    def read(self, lack: KnownSet) -> Iterator[Chunk]:
        """The records of the live dots in `lack`: each origin's log in reverse, a key once."""
        log = {v.dot: key for key, record in self._records.items() for v in record.versions}
        keys: dict[bytes, None] = {}
        for origin, bounds in sorted(lack.items()):
            for start, stop in reversed(list(ranges.pairs(bounds))):
                for seq in range(stop - 1, start - 1, -1):
                    key = log.get(Dot(origin, seq))
                    if key is not None:
                        keys[key] = None
        return self._chunks(list(keys))

    def read_all(self) -> Iterator[Chunk]:
        """All records in key order."""
        return self._chunks(sorted(self._records))

    def answer(self, parts: Sequence[Part], moment_ms: int | None) -> Iterator[bytes | Chunk]:
        """What this snapshot says to ranges of a peer."""
        return answers(self._records, parts, moment_ms, self._chunks)

    def _chunks(self, keys: Sequence[bytes]) -> Iterator[Chunk]:
        for place in range(0, len(keys), self._most):
            chunk = Chunk()
            for key in keys[place : place + self._most]:
                record = self._records[key]
                values = [v.value for v in record.versions if v.value is not None]
                chunk.append(key, rows.pack(record, self._number_of), values)
            chunk.origins = {number: origin for origin, number in self._numbers.items()}
            yield chunk

    def _number_of(self, origin: int) -> int:
        """The same in all chunks of this source."""
        return self._numbers.setdefault(origin, len(self._numbers) + 1)


class ModelStore:
    """One open store.

    Attributes:
        origin: who issues this store's writes.
        touched: keys whose row changed since whoever looks here last cleared it.
        former: the origin that a crash of the machine took; 0 for none.
    """

    def __init__(self, disk: Disk, habits: Habits, ledger: Ledger) -> None:
        self.disk = disk
        self.habits = habits
        self.ledger = ledger
        self.touched: dict[bytes, None] = {}
        self.former = 0
        self._reissues = 0
        self._clock = HybridClock(SKEW_MAX_MS)

    # Opening

    @classmethod
    def open(
        cls, disk: Disk, habits: Habits, ledger: Ledger, *, lost_power: bool, copied: bool
    ) -> "ModelStore":
        """Open what lies on the disk.

        Args:
            lost_power: the machine went down since the last open (R11).
            copied: the directory is not the one it was (R13).
        """
        store = cls(disk, habits, ledger)
        if lost_power:
            store.recover()
            if not copied:
                store.former = disk.rows.get("origin", 0)
        if lost_power or copied or "origin" not in disk.rows:
            store.take_new_origin()
        store.catch_up_clock()
        store.meet_resolver(lost_power)
        if not habits.resolver_name:
            store.sweep()
        disk.sync()
        return store

    def meet_resolver(self, lost_power: bool) -> None:
        """Look at everything again where the resolver is another one; from the beginning where a
        power cut may have taken some of that (R6)."""
        name = self.habits.resolver_name
        if name and (lost_power or self.disk.rows.get("resolver") != name):
            self.disk.commit({"resolver": name, "revisit": b""})

    def revisit(self, keys_max: int) -> int:
        """Let some keys show what the resolver makes of them. Returns how many; 0 at the end."""
        after = self.disk.rows.get("revisit")
        if after is None:
            return 0
        keys = sorted(key for key in self.records() if key > after)[:keys_max]
        batch: Batch = {key: self.entry(self.record(key)) for key in keys}
        self.commit({**batch, "revisit": keys[-1] if keys else None})
        return len(keys)

    def recover(self) -> None:
        """After a power cut, know what the durable row says and what is live (R11).

        The floor says nothing beyond what is known: one that was raised with a claim that is
        lost would, raised into the contexts of a full-state round, deny what is not known here.
        """
        known = _recovered(self.disk.rows)
        held = known.union(self.closed_now())
        floor = {
            origin: min(seq, held.contiguous(origin))
            for origin, seq in self.floor().items()
            if held.contiguous(origin)
        }
        self.disk.commit({"known": known, "floor": floor})

    def repair(self, losses: Sequence[Lost]) -> None:
        """What `replicator verify --repair` does before it opens the store, which is stopped, as
        after a power cut: see `replicator.store.verify.repair`."""
        durable = self.still_known(losses)
        fresh = self.habits.random.getrandbits(64) or 1
        former = [
            account.forgotten() for account in self.members() if account.origin == self.origin
        ]
        self.disk.commit({"origin": fresh, "shown": 0, "durable": durable})
        self.disk.sync()
        for lost in losses:
            self.disk.commit({lost.key: self.entry(self._again(lost, fresh))})
        self.disk.commit({("member", account.origin): account for account in former})
        self.disk.sync()

    def still_known(self, losses: Sequence[Lost]) -> KnownSet:
        """What the durable row is to say: with the live dots it makes the known set."""
        known, floor = self.known(), self.floor()
        lost = KnownSet()
        doubtful: set[int] = set()
        for one in losses:
            record = self.record(one.key)
            live = [version.dot for version in record.versions]
            lost.update(KnownSet.of(*live))
            if one.intact is None:
                doubtful.update(known.origins())
            else:
                doubtful.update(record.context, floor)
                lost.update(KnownSet.of(*record.context.items()))
        for origin in doubtful:
            known.discard_above(origin, floor.get(origin, 0))
        return known.difference(lost)

    def _again(self, lost: Lost, fresh: int) -> Record:
        """What is left of a record, issued again: it knows nothing of what was before."""
        if lost.intact is not None:
            left = list(lost.intact)
        elif lost.value is not None:
            left = [Version(lost.key, Dot(fresh, 1), 0, 0, False, lost.value, None, 0)]
        else:
            left = []
        versions = []
        for version in left:
            self._reissues += 1
            checksum = 0 if version.value is None else crc32(version.value)
            again = replace(version, dot=Dot(fresh, self._reissues), checksum=checksum)
            self.ledger.issued(self.habits.node, again, (), is_again=True)
            versions.append(again)
        return Record(tuple(versions), {fresh: self._reissues} if versions else {})

    def take_new_origin(self) -> None:
        origin = self.habits.random.getrandbits(64) or 1
        self.disk.commit({"origin": origin, "shown": 0})

    def catch_up_clock(self) -> None:
        for record in self.records().values():
            for version in record.versions:
                self._clock.observe(version.timestamp, self.habits.wall_ms())

    # Reads

    @property
    def origin(self) -> int:
        return self.disk.rows["origin"]  # type: ignore[no-any-return]

    @property
    def seq(self) -> int:
        """The last own seq."""
        return self.known_now().highest(self.origin)

    @property
    def shown(self) -> int:
        return self.disk.rows["shown"]  # type: ignore[no-any-return]

    @property
    def cluster_id(self) -> bytes | None:
        return self.disk.rows.get("cluster")

    @property
    def in_full_round(self) -> bool:
        """Whether records were dropped for what is not known yet: a full-state round is open, or
        was cut and nobody has said since what its peer knew."""
        return "full" in self.disk.rows

    def closed_now(self) -> KnownSet:
        """The closed set itself (R10); never to be changed."""
        return self.disk.rows.get("closed") or KnownSet()

    @property
    def wants_full(self) -> bool:
        """Whether this node was forgotten and has had no full-state round since (R10)."""
        return "want full" in self.disk.rows

    def unexplained(self) -> KnownSet:
        """What was known where the records lacked that made this store drop some of its own."""
        return self.disk.rows.get("full") or KnownSet()

    def inherit(self, unexplained: KnownSet) -> None:
        """A full-state round comes from a store that has dropped records so: what it lacks makes
        this one drop them, too."""
        if not self.known_now().issuperset(unexplained):
            self.commit({"full": unexplained.union(self.unexplained())})

    def known_now(self) -> KnownSet:
        """The known set itself; never to be changed."""
        return self.disk.rows.get("known") or KnownSet()

    def known(self) -> KnownSet:
        """A copy of the known set, own seqs included."""
        return self.known_now().copy()

    def durable_known(self) -> KnownSet:
        """A copy of the known set as of the last sync point."""
        return (self.disk.rows.get("durable") or KnownSet()).copy()

    def safe_known(self) -> KnownSet:
        """What this store would know after a power cut that takes all that it can."""
        return _recovered(self.disk.safe_rows())

    def members(self) -> list[Member]:
        """What was stored of the members."""
        return [row for key, row in self.disk.rows.items() if type(key) is tuple]

    def save_members(self, members: Iterable[Member]) -> None:
        """Store what is known of some members; not synced.

        Raises:
            CommitError: it did not happen.
        """
        self.commit({("member", member.origin): member for member in members})

    def floor(self) -> dict[int, int]:
        return dict(self.disk.rows.get("floor", {}))

    def records(self) -> dict[bytes, Record]:
        """All records, in no order."""
        return {key: row.record for key, row in self.disk.rows.items() if type(key) is bytes}

    def record(self, key: bytes) -> Record:
        entry = self.disk.rows.get(key)
        return ABSENT if entry is None else entry.record

    def visible(self) -> dict[bytes, bytes]:
        """What users see."""
        return {
            key: row.visible
            for key, row in self.disk.rows.items()
            if type(key) is bytes and row.visible is not None
        }

    def has_data(self) -> bool:
        return any(type(key) is bytes for key in self.disk.rows)

    def digest(self) -> frozenset[tuple[bytes, tuple[Version, ...]]]:
        """What R16's digest covers: records with a put that has not expired, their live versions,
        values included."""
        moment_ms = self.ledger.moment_ms()
        return frozenset(
            (key, row.record.versions)
            for key, row in self.disk.rows.items()
            if type(key) is bytes and not is_over(row.record, moment_ms)
        )

    # Local writes

    def write(
        self,
        operations: Sequence[tuple[bytes, bytes | None]],
        seen: Sequence[Version] | None = None,
        expiries: Mapping[bytes, int] | None = None,
    ) -> list[Version]:
        """One batch, folded to the last operation per key; None deletes (R1).

        Args:
            seen: what the user had read, of a single key; None is all there is.
            expiries: when what is put expires, of some keys (R17).

        Raises:
            CommitError: it did not happen.
        """
        known = self.known()
        batch: Batch = {"known": known}
        versions = []
        for key, value in dict(operations).items():
            record = self.record(key)
            dot = Dot(self.origin, known.highest(self.origin) + 1)
            saw = None if seen is None else self.saw(record, {one.dot for one in seen})
            clock = next_clock(record, saw)
            version = _version(key, dot, clock, self._clock.tick(self.habits.wall_ms()), value)
            if expiries and key in expiries and value is not None:
                version = replace(version, expiry_ms=expiries[key])
            past = [one for one in record.versions if saw is None or one.dot in saw]
            past += [one for one in seen or () if one.dot in known]
            unseen = [one for one in record.versions if saw is not None and one.dot not in saw]
            self.ledger.issued(self.habits.node, version, past, unseen=unseen)
            known.add(*dot)
            batch[key] = self.entry(self.written(record, version, saw))
            versions.append(version)
        self._commit_issued(batch, versions)
        return versions

    def saw(self, record: Record, seen: set[Dot]) -> Collection[tuple[int, int]]:
        return counted_as_seen(record, seen, self.durable_known(), self.habits.wall_ms())

    def written(self, record: Record, version: Version, seen: Seen) -> Record:
        return write_record(record, version, seen)

    def _commit_issued(self, batch: Batch, versions: Sequence[Version]) -> None:
        """Commit a batch with own writes; their dots are free again where it fails."""
        try:
            self.commit(batch)
        except CommitError:
            for version in versions:
                self.ledger.withdrawn(version)
            raise

    def commit(self, batch: Batch) -> None:
        """Write one batch."""
        self.touched.update((key, None) for key in batch if type(key) is bytes)
        try:
            self.disk.commit(batch)
        except CommitError:
            self.commit_failed()
            raise

    def commit_failed(self) -> None:
        """What must happen before the next commit (R12)."""
        self.disk.rotate()

    def entry(self, record: Record) -> Entry | None:
        """The row of a record; none for one without versions."""
        if not record.versions:
            return None
        return Entry(record, self.shows(record))

    def shows(self, record: Record) -> bytes | None:
        """What a key of these versions shows now: the winner, unless that has expired (R17)."""
        shown = resolve(record.versions, self.habits.resolver, self.habits.mode).visible
        is_over = shown.expiry_ms is not None and shown.expiry_ms <= self.now_ms()
        return None if is_over else shown.value

    def now_ms(self) -> int:
        """What expiries are compared with."""
        return self.habits.wall_ms()

    def sweep(self) -> int:
        """Show what the wall clock says; no dot is issued. Returns how many keys changed."""
        count = 0
        for key, record in sorted(self.records().items()):
            entry = self.entry(record)
            if entry != self.disk.rows[key]:
                self.commit({key: entry})
                count += 1
        return count

    # Replication

    def show(self, seq: int) -> None:
        """Remember that own seqs up to `seq` were sent to a peer (R13)."""
        if seq > self.shown:
            self.commit({"shown": seq})

    def open_source(self) -> Source:
        return Source(self.disk.rows, self.known(), self.floor(), self.habits.chunk_records)

    def apply(self, chunk: Chunk, remote_known: KnownSet) -> Outcome:
        """A piece of a larger round: the live dots of its records become known (R3)."""
        return self.finish(chunk, remote_known, None, {})

    def finish(
        self,
        chunk: Chunk,
        remote_known: KnownSet,
        claim: KnownSet | None,
        floor: Mapping[int, int],
        full: bool = False,
    ) -> Outcome:
        """The last or only piece, with the claim and the floor that goes with it (R3).

        Args:
            full: whether a full-state round is complete with that.
        """
        self.refuse_fork(remote_known)
        remote = dict(chunk.records())
        batch, outcome = self.merged(remote, list(remote), remote_known, {})
        if claim is not None:
            self.refuse_fork(claim)
            batch["known"].update(claim)
            batch["floor"] = _maximum(self.floor(), floor)
            if batch["known"].issuperset(self.unexplained()):
                batch["full"] = None
        if full:
            batch["want full"] = None
        self.commit(batch)
        return outcome

    def apply_full(
        self,
        chunk: Chunk,
        remote_known: KnownSet,
        floor: Mapping[int, int],
        after: bytes | None,
        upto: bytes | None,
    ) -> Outcome:
        """A stretch of a full-state round: all keys of both sides, absence counting (R9)."""
        self.refuse_fork(remote_known)
        remote = dict(chunk.records())
        keys = sorted({*remote, *self.records()})
        stretch = [
            key for key in keys if (after is None or key > after) and (upto is None or key <= upto)
        ]
        assert set(remote) <= set(stretch), "a record lies outside of its stretch"
        within = self.vouched(floor, remote_known)
        batch, outcome = self.merged(remote, stretch, remote_known, within)
        batch["full"] = remote_known.union(self.unexplained())
        self.commit(batch)
        return outcome

    def apply_ranges(
        self,
        pieces: Sequence[Piece],
        remote_known: KnownSet,
        floor: Mapping[int, int],
        mends_ms: int | None,
    ) -> Outcome:
        """Ranges of keys, one after the other, or what differs in them is mended (R16)."""
        done = [
            self.mend(piece.chunk, piece.after, piece.upto, mends_ms)
            if mends_ms is not None
            else self.apply_full(piece.chunk, remote_known, floor, piece.after, piece.upto)
            for piece in pieces
        ]
        return Outcome(
            sum(one.records for one in done),
            sum(one.changed for one in done),
            sum(one.conflicts for one in done),
        )

    def mend(
        self, chunk: Chunk, after: bytes | None, upto: bytes | None, moment_ms: int
    ) -> Outcome:
        """A version goes only where the context of the other side covers it (R16)."""
        remote = dict(chunk.records())
        keys = sorted({*remote, *inside(self.records(), after, upto)})
        known = self.known()
        batch: Batch = {"known": known}
        for key in keys:
            ours, theirs = self.record(key), remote.get(key, ABSENT)
            both = (*ours.versions, *theirs.versions)
            if not any(version.is_live_put(moment_ms) for version in both):
                continue
            record = self.mended(ours, theirs, known)
            if record.versions and record != ours:
                batch[key] = self.entry(record)
            self.learn(known, theirs)
        self.commit(batch)
        return Outcome(len(keys), len(batch) - 1, 0)

    def mended(self, ours: Record, theirs: Record, known: KnownSet) -> Record:
        """Both records, without asking what either side knows."""
        return merge(ours, KnownSet(), theirs, KnownSet())

    def scan(
        self, stretches: Sequence[Stretch], moment_ms: int | None
    ) -> tuple[tuple[Part, ...], tuple[Stretch, ...]]:
        """Own keys, cut into ranges; small ones, so that a few keys make many."""
        return scan(self.records(), stretches, moment_ms, step=2, ranges_max=2)

    def take_digest(self, moment_ms: int) -> tuple[KnownSet, KnownSet, bytes, bool]:
        """The digest as of a moment, its known and closed sets, and whether it says something
        (R16)."""
        records = self.records()
        _, digest = fingerprint(records, sorted(records), moment_ms)
        return self.known(), self.closed_now(), digest, not self.in_full_round

    def vouched(self, floor: Mapping[int, int], remote_known: KnownSet) -> dict[int, int]:
        """How far a peer's floor may be raised into contexts: as far as it knows without gaps.
        Closed dots do not count, for a live version of one may yet turn up (R10)."""
        return within_known(floor, remote_known)

    def merged(
        self,
        remote: Mapping[bytes, Record],
        keys: Iterable[bytes],
        remote_known: KnownSet,
        floor: Context,
    ) -> tuple[Batch, Outcome]:
        """The batch that merges `remote` into the store (R2), with what becomes known (R3)."""
        known = self.known()
        batch: Batch = {"known": known}
        dropped: dict[int, int] = {}
        changed = conflicts = count = 0
        for key in keys:
            count += 1
            theirs = remote.get(key, ABSENT)
            if theirs.context.get(self.origin, 0) > self.shown:
                raise ForkError(f"the context of {key!r} holds own dots that were never shown")
            ours = self.record(key)
            record = self.merge(ours, self.raised(theirs, floor), remote_known)
            if record != ours:
                batch[key] = self.entry(record)
                changed += 1
                conflicts += len(record.versions) > 1
                if not record.versions:
                    dropped = _maximum(dropped, ours.context)
            self.learn(known, theirs)
        if dropped:
            batch["floor"] = _maximum(self.floor(), dropped)
        return batch, Outcome(count, changed, conflicts)

    def raised(self, record: Record, floor: Context) -> Record:
        """The record as a full-state round sends it (R9); an absent one has no context."""
        return raise_context(record, floor) if record.versions else record

    def merge(self, ours: Record, theirs: Record, remote_known: KnownSet) -> Record:
        return merge(ours, self.known_now(), theirs, remote_known)

    def learn(self, known: KnownSet, record: Record) -> None:
        """The dots of an applied record's live versions become known, and no others (R3)."""
        for version in record.versions:
            known.add(*version.dot)
            self._clock.observe(version.timestamp, self.habits.wall_ms())

    def refuse_fork(self, remote_known: KnownSet) -> None:
        """Nobody can know own dots that were never shown (R13)."""
        if remote_known.highest(self.origin) > self.shown:
            raise ForkError("a peer knows own dots that were never shown")

    def adopt_cluster(self, effect: AdoptCluster) -> None:
        if not effect.is_forced and self.cluster_id != effect.expected:
            raise ClusterChangedError("taken meanwhile")
        self.commit({"cluster": effect.cluster_id})

    def fork(self, was_forgotten: bool = False) -> None:
        """Take a new origin; issue again what was never shown (R13), in one batch. Who was
        forgotten has to begin with a full-state round (R10).

        The durable row and the floor forget the dots above `shown` too: what those numbers
        stand for is the other fork's.
        """
        old, shown = self.origin, self.shown
        new = self.habits.random.getrandbits(64) or 1
        known, durable = self.known(), self.durable_known()
        known.discard_above(old, shown)
        durable.discard_above(old, shown)
        floor = self.floor()
        if old in floor:
            floor[old] = min(floor[old], shown)
            if not shown:
                del floor[old]
        batch: Batch = {
            "origin": new,
            "shown": 0,
            "known": known,
            "durable": durable,
            "floor": floor,
        }
        if was_forgotten:
            batch["want full"] = True
        again: list[Version] = []
        for key, record in sorted(self.records().items()):
            if record.context.get(old, 0) > shown:
                batch[key] = self.entry(self._reissue(record, old, new, known, again))
        self._commit_issued(batch, again)
        self.disk.sync()

    def _reissue(
        self, record: Record, old: int, new: int, known: KnownSet, issued: list[Version]
    ) -> Record:
        context = {**record.context, old: self.shown}
        if not self.shown:
            del context[old]
        versions = []
        for version in record.versions:
            if version.dot.origin == old and version.dot.seq > self.shown:
                again = replace(version, dot=Dot(new, known.highest(new) + 1))
                self.ledger.reissued(again, version, self.shown)
                issued.append(again)
                known.add(*again.dot)
                context[new] = again.dot.seq
                version = again
            versions.append(version)
        return Record(tuple(sorted(versions, key=lambda version: version.dot)), context)

    # Closed sets

    def close(self, dots: KnownSet) -> None:
        """These count as known where it is asked how far a known set is contiguous (R10). On disk
        before they are used: a purge floor may rely on them."""
        if not self.closed_now().issuperset(dots):
            self.commit({"closed": self.closed_now().union(dots)})
            self.disk.sync()

    def closed_versions(self) -> list[Version]:
        """Live versions of closed dots, which have to be issued again."""
        closed = self.closed_now()
        versions = [v for record in self.records().values() for v in record.versions] * bool(closed)
        return [v for v in versions if v.dot in closed and v.dot.origin != self.origin]

    def reissue_closed(self) -> int:
        """Issue live versions of closed dots again (R10). Returns how many there were."""
        closed = self.closed_now()
        known = self.known()
        batch: Batch = {"known": known}
        again: list[Version] = []
        for key, record in sorted(self.records().items()):
            versions = list(record.versions)
            context = dict(record.context)
            for place, version in enumerate(versions):
                if version.dot in closed and version.dot.origin != self.origin:
                    dot = Dot(self.origin, known.highest(self.origin) + 1)
                    versions[place] = replace(version, dot=dot)
                    self.ledger.issued(self.habits.node, versions[place], [version], is_again=True)
                    again.append(versions[place])
                    known.add(*dot)
                    context[dot.origin] = dot.seq
            if tuple(versions) != record.versions:
                versions.sort(key=lambda version: version.dot)
                batch[key] = self.entry(Record(tuple(versions), context))
        if again:
            self._commit_issued(batch, again)
        return len(again)

    # Durability and collecting

    def sync_point(self) -> None:
        """Make everything so far survive a power cut, then say so in a synced row (R11)."""
        known = self.known()
        self.disk.sync()
        self.commit({"durable": known})
        self.disk.sync()

    def collect(self, watermark: Watermark) -> int:
        """Drop tombstones and shrink contexts that every member has (R8).

        Returns:
            How many records were dropped or shrunk.
        """
        if not self.known_now().issuperset(watermark.needs):
            return 0
        self.said_ms = watermark.said_ms
        count = 0
        for key, record in sorted(self.records().items()):
            covered = watermark.covered
            if all(seq <= covered.get(origin, 0) for origin, seq in record.context.items()):
                count += self._collect(key, record)
        return count

    def _collect(self, key: bytes, record: Record) -> bool:
        live: dict[int, int] = {}
        for version in record.versions:
            live[version.dot.origin] = version.dot.seq
        if self.disposable(record):
            live = {}
        removed = {o: seq for o, seq in record.context.items() if live.get(o) != seq}
        if not removed or not self.ledger.may_collect(record):
            return False
        batch: Batch = {"floor": _maximum(self.floor(), removed)}
        if live:
            batch[key] = self.entry(Record(record.versions, live))
        else:
            batch[key] = None
            self.ledger.collected(record)
        self.commit(batch)
        return True

    def disposable(self, record: Record) -> bool:
        """Whether a record under the watermark goes as a whole: what every member's clock has seen
        expire counts as deleted (R17)."""
        return is_over(record, self.said_ms)

    said_ms = 0


def _version(key: bytes, dot: Dot, clock: int, timestamp: int, value: bytes | None) -> Version:
    checksum = 0 if value is None else crc32(value)
    return Version(key, dot, clock, timestamp, value is None, value, None, checksum)


def _recovered(found: Batch) -> KnownSet:
    """What is known after a power cut that left these rows: what the durable row says and what is
    live (R11)."""
    known = (found.get("durable") or KnownSet()).copy()
    for key, row in found.items():
        if type(key) is bytes:
            for version in row.record.versions:
                known.add(*version.dot)
    return known


def _all_deletes(record: Record) -> bool:
    return all(version.is_delete for version in record.versions)


def _maximum(a: Mapping[int, int], b: Mapping[int, int]) -> dict[int, int]:
    result = dict(a)
    for origin, seq in b.items():
        result[origin] = max(seq, result.get(origin, 0))
    return result


def is_over(record: Record, moment_ms: int) -> bool:
    """Whether a record holds deletes only, and puts that expire before a moment (R8)."""
    return all(
        version.is_delete or (version.expiry_ms is not None and version.expiry_ms < moment_ms)
        for version in record.versions
    )
