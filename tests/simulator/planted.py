"""Bugs put in on purpose, each a rule broken in a few lines: the simulator must find them all.

A simulator that finds nothing may be blind. `BUGS` names each bug, with the rule that it breaks
and the parts of a cluster that have it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from replicator.config import PROTOCOL_VERSION
from replicator.core.chunk import Chunk
from replicator.core.clock import to_ms
from replicator.core.compare import EQUAL, SPLIT, Part
from replicator.core.known import KnownSet
from replicator.core.members import Member, Roster, Watermark
from replicator.core.merge import merge
from replicator.core.record import Context, Record
from replicator.core.resolve import resolve
from replicator.protocol.conversation import Conversation
from replicator.protocol.effects import Effect
from replicator.protocol.effects import Lost as StreamLost
from replicator.protocol.messages import Message
from replicator.protocol.pulls import ConversationId, Pulls
from tests.comparing import inside

from .backups import Backups
from .cluster import Parts
from .disk import Batch, Disk
from .membership import Membership
from .model_store import Entry, Habits, Ledger, Lost, ModelStore, Outcome, Source, is_over
from .planted_promises import PROMISES

ClaimAndFloor = tuple[KnownSet, Mapping[int, int]]


class ClaimsScannedRange(ModelStore):
    """R3: whatever lies above the last record read counts as known."""

    def learn(self, known: KnownSet, record: Record) -> None:
        super().learn(known, record)
        for version in record.versions:
            origin, seq = version.dot
            known.add_range(origin, seq, self.scanned.highest(origin) + 1)

    def finish(
        self,
        chunk: Chunk,
        remote_known: KnownSet,
        claim: KnownSet | None,
        floor: Mapping[int, int],
        full: bool = False,
    ) -> Outcome:
        self.scanned = remote_known
        return super().finish(chunk, remote_known, claim, floor, full)

    scanned: KnownSet = KnownSet()


class DropsContexts(ModelStore):
    """R1, R2: a record keeps no trace of what it superseded."""

    def entry(self, record: Record) -> Entry | None:
        live = {version.dot.origin: version.dot.seq for version in record.versions}
        return super().entry(Record(record.versions, live))


class ForgetsKnownOnMerge(ModelStore):
    """R2: what only the peer's known set says to be superseded stays."""

    def merge(self, ours: Record, theirs: Record, remote_known: KnownSet) -> Record:
        return super().merge(ours, theirs, KnownSet())


class DiscardsLosers(ModelStore):
    """R6: whoever loses a conflict is thrown away at once."""

    def entry(self, record: Record) -> Entry | None:
        if len(record.versions) > 1:
            shown = resolve(record.versions, self.habits.resolver, self.habits.mode).visible
            winners = tuple(version for version in record.versions if version is shown)
            record = Record(winners or record.versions, record.context)
        return super().entry(record)


class SavesCursorFirst(ModelStore):
    """R3: the claim is committed before the records it speaks of."""

    def finish(
        self,
        chunk: Chunk,
        remote_known: KnownSet,
        claim: KnownSet | None,
        floor: Mapping[int, int],
        full: bool = False,
    ) -> Outcome:
        if claim is not None:
            super().finish(Chunk(), remote_known, claim, floor)
        return super().finish(chunk, remote_known, claim, floor, full)


class LeavesFloorBehind(ModelStore):
    """R3: a claim comes without the purge floor that goes with it."""

    def finish(
        self,
        chunk: Chunk,
        remote_known: KnownSet,
        claim: KnownSet | None,
        floor: Mapping[int, int],
        full: bool = False,
    ) -> Outcome:
        return super().finish(chunk, remote_known, claim, {}, full)


class CatchesUpByLogOnly(ModelStore):
    """R9: nobody is ever found to lie below the purge floor."""

    def open_source(self) -> Source:
        source = super().open_source()
        source.floor = {}
        return source


class DoesNotRaiseContexts(ModelStore):
    """R9: records of a full-state round come with the contexts that they have."""

    def raised(self, record: Record, floor: Context) -> Record:
        return record


class MergesByClosedDots(ModelStore):
    """R10: a closed dot counts as known where records are merged."""

    def merge(self, ours: Record, theirs: Record, remote_known: KnownSet) -> Record:
        closed = self.closed_now()
        known = self.known_now().union(closed)
        return merge(ours, known, theirs, remote_known.union(closed))


class RaisesContextsOverClosedDots(ModelStore):
    """R9, R10: contexts are raised to a floor that only closed dots reach."""

    def vouched(self, floor: Mapping[int, int], remote_known: KnownSet) -> dict[int, int]:
        return dict(floor)


class KeepsClosedVersions(ModelStore):
    """R10: a live version of a closed dot is not issued again."""

    def reissue_closed(self) -> int:
        return 0


class ReusesDots(ModelStore):
    """R11, R13: after a power cut the node goes on under its origin."""

    @classmethod
    def open(
        cls, disk: Disk, habits: Habits, ledger: Ledger, *, lost_power: bool, copied: bool
    ) -> ModelStore:
        store = cls(disk, habits, ledger)
        if not lost_power or "origin" not in disk.rows:
            return super().open(disk, habits, ledger, lost_power=lost_power, copied=copied)
        store.recover()
        store.catch_up_clock()
        return store


class CopyKeepsOrigin(ModelStore):
    """R13: a copied directory goes on under the origin of the one it was copied from."""

    @classmethod
    def open(
        cls, disk: Disk, habits: Habits, ledger: Ledger, *, lost_power: bool, copied: bool
    ) -> ModelStore:
        return super().open(disk, habits, ledger, lost_power=lost_power, copied=False)


class TrustsKnownAfterPowerCut(ModelStore):
    """R11: the known set survives a power cut, whatever became of its data."""

    def recover(self) -> None:
        pass


class TrustsFloorAfterPowerCut(ModelStore):
    """R11: a purge floor survives a power cut although the claim that it came with did not."""

    def recover(self) -> None:
        floor = self.floor()
        super().recover()
        self.commit({"floor": floor})


class SyncsNewestLogOnly(ModelStore):
    """R11: the durable row is on disk before what it speaks of, in older logs, is."""

    def sync_point(self) -> None:
        self.commit({"durable": self.known()})
        self.disk.sync_newest()


class GoesOnBehindTornCommit(ModelStore):
    """R12: after a failed commit the log is not rotated."""

    def commit_failed(self) -> None:
        pass


class SeesNoForks(ModelStore):
    """R13: nothing that a peer knows is ever held against it."""

    @property
    def shown(self) -> int:
        return 2**62


class LooksForIssuedOnly(ModelStore):
    """R13: a fork is seen only where a peer knows more than was *issued*, not than was shown."""

    @property
    def shown(self) -> int:
        return max(super().shown, self.seq)


class ForkKeepsDurableRow(ModelStore):
    """R11, R13: a fork takes its dots back from the known set, and not from the durable row."""

    def fork(self, was_forgotten: bool = False) -> None:
        durable = self.durable_known()
        super().fork(was_forgotten)
        self.commit({"durable": durable})


class MendsByKnown(ModelStore):
    """R16: mending consults what this node knows."""

    def mended(self, ours: Record, theirs: Record, known: KnownSet) -> Record:
        return merge(ours, known, theirs, known)


class ComparesCountsOnly(ModelStore):
    """R9, R16: a range in which both hold as many records counts as equal."""

    def open_source(self) -> Source:
        source = super().open_source()
        source.answer = partial(self._answer, source.answer)  # type: ignore[method-assign]
        return source

    def _answer(
        self, answer: Callable[..., Iterator[bytes | Chunk]], parts: Sequence[Part], *rest: object
    ) -> Iterator[bytes | Chunk]:
        """The peer is told what it wants to hear where the counts agree."""
        records = self.records()
        for part in parts:
            after = part.after
            for one in part.ranges:
                if len(inside(records, after, one.upto)) == one.count:
                    yield bytes([EQUAL])
                else:
                    yield from answer([Part(after, (one,))], *rest)
                after = one.upto


class AppliesRangesWithoutAbsence(ModelStore):
    """R9: of a range that differs, only the records that the peer has are merged."""

    def apply_full(
        self,
        chunk: Chunk,
        remote_known: KnownSet,
        floor: Mapping[int, int],
        after: bytes | None,
        upto: bytes | None,
    ) -> Outcome:
        remote = dict(chunk.records())
        batch, outcome = self.merged(remote, sorted(remote), remote_known, floor)
        self.commit(batch)
        return outcome


class ForgetsSplits(ModelStore):
    """R9: a range that is too large to be sent counts as equal."""

    def open_source(self) -> Source:
        source = super().open_source()
        source.answer = partial(self._answer, source.answer)  # type: ignore[method-assign]
        return source

    def _answer(
        self, answer: Callable[..., Iterator[bytes | Chunk]], *arguments: object
    ) -> Iterator[bytes | Chunk]:
        for item in answer(*arguments):
            is_verdict = isinstance(item, bytes)
            yield item.replace(bytes([SPLIT]), bytes([EQUAL])) if is_verdict else item


class CollectsWithoutWatermark(ModelStore):
    """R8: a tombstone is dropped once this node has it."""

    def collect(self, watermark: Watermark) -> int:
        return super().collect(Watermark.of([self.known()]))


class CollectsWithoutKnowing(ModelStore):
    """R8: a watermark is used before what the acknowledgements knew is known here."""

    def collect(self, watermark: Watermark) -> int:
        return super().collect(Watermark(watermark.covered, KnownSet()))


class CollectsBesideLivePut(ModelStore):
    """R8: a tombstone under the watermark is dropped although a put lives beside it."""

    def collect(self, watermark: Watermark) -> int:
        for key, record in sorted(self.records().items()):
            covered = watermark.covered
            puts = tuple(version for version in record.versions if not version.is_delete)
            if puts and all(seq <= covered.get(o, 0) for o, seq in record.context.items()):
                self.commit({key: self.entry(Record(puts, record.context))})
        return super().collect(watermark)


class ShowsLosers(ModelStore):
    """R17: where the winner has expired, the best of the others comes up."""

    def shows(self, record: Record) -> bytes | None:
        left = [v for v in record.versions if (v.expiry_ms or 1 << 63) > self.now_ms()]
        return super().shows(Record(tuple(left), record.context)) if left else None


class ExpiresByHybridClock(ModelStore):
    """R17: expiries are compared with the hybrid clock."""

    def now_ms(self) -> int:
        return max(to_ms(self._clock.last), super().now_ms())


class SweepsForGood(ModelStore):
    """R17: what was swept does not come back when the clock was wrong."""

    def sweep(self) -> int:
        count = 0
        for key, record in sorted(self.records().items()):
            entry = self.entry(record)
            if entry is not None and entry.visible is None and entry != self.disk.rows[key]:
                self.commit({key: entry})
                count += 1
        return count


class DropsExpiredEarly(ModelStore):
    """R8, R17: what has expired by this node's clock counts as deleted."""

    def disposable(self, record: Record) -> bool:
        return is_over(record, self.habits.wall_ms())


class ClaimsAlthoughWithheld(Pulls):
    """R5: a claim does not wait for the dots that were withheld."""

    def pend(
        self, claim: KnownSet, floor: Mapping[int, int], withheld: KnownSet, now: float
    ) -> None:
        super().pend(claim, floor, KnownSet(), now)


class ClaimsCompleteEachOther(Pulls):
    """R5: what another pending claim claims counts as known."""

    def ripe(self, known: KnownSet) -> list[ClaimAndFloor]:
        for pending in self._pending:
            known = known.union(pending.claim.difference(pending.withheld))
        return super().ripe(known)


class AppliesDuringFullRound(Pulls):
    """R9: while a full-state round is open, records of other peers are applied too."""

    def begin_apply(self, conversation_id: ConversationId) -> bool:
        return True

    def exclusive(self, conversation_id: ConversationId) -> bool:
        return True


class AcknowledgesKnown(Membership):
    """R7: a node acknowledges what it knows, durable or not."""

    def acknowledgement(self) -> KnownSet:
        return self.node.store.known()


class WatermarkOfNeighbours(Membership):
    """R7: the watermark covers the nodes that this one has talked to, and no others."""

    def watermark(self) -> Watermark:
        acknowledged = [m.known for m in self.roster.members() if m.origin in self.met]
        return Watermark.of([self.node.store.durable_known(), *acknowledged])


class TakesWhatComesLast(Roster):
    """R7: an older account takes the place of a newer one."""

    def take(self, account: Member) -> bool:
        if not self.is_forgotten(account.origin) and self.revision(account.origin) > 0:
            del self._accounts[account.origin]
        return super().take(account)


class LetsForgottenIn(Roster):
    """R10: whom the cluster has forgotten is let in."""

    def is_forgotten(self, origin: int) -> bool:
        return False


class StaysThoughForgotten(Membership):
    """R10: a node that was forgotten goes on under its origin."""

    def was_forgotten(self) -> None:
        pass


class KeepsItsPlace(ModelStore):
    """R6: another change of the resolver amid the look at everything goes on at the place kept"""

    def meet_resolver(self, lost_power: bool) -> None:
        before = self.disk.rows.get("revisit")
        super().meet_resolver(lost_power)
        if before and not lost_power:
            self.disk.commit({"revisit": before})


class RevisitsInMemoryAlone(ModelStore):
    """R6: a process that is killed amid the look at everything has forgotten that"""

    def meet_resolver(self, lost_power: bool) -> None:
        super().meet_resolver(lost_power)
        self._place = self.disk.rows.get("revisit")
        self.disk.commit({"revisit": None})

    def revisit(self, keys_max: int) -> int:
        if self._place is None:
            return 0
        self.commit({"revisit": self._place})
        count = super().revisit(keys_max)
        self._place = self.disk.rows.get("revisit")
        self.commit({"revisit": None})
        return count


class IncrementWithoutAbsence(Backups):
    """R9: an increment says nothing of what was deleted and collected since its base."""

    def absence_counts(self, before: Batch, image: Batch) -> bool:
        return False


class IncrementOfOwnWrites(Backups):
    """R3: an increment knows what others wrote, and does not hold it."""

    def changed(self, before: Batch, image: Batch) -> Batch:
        return {
            key: entry
            for key, entry in super().changed(before, image).items()
            if any(version.dot.origin == image["origin"] for version in entry.record.versions)
        }


class RepairKeepsKnown(ModelStore):
    """R2, R3: a repair drops what is damaged and goes on knowing it."""

    def still_known(self, losses: Sequence[Lost]) -> KnownSet:
        return self.known()


class RepairForgetsLiveOnly(ModelStore):
    """R3: a repair forgets what was live in a damaged record, not what that had superseded."""

    def still_known(self, losses: Sequence[Lost]) -> KnownSet:
        known = self.known()
        for lost in losses:
            live = [version.dot for version in self.record(lost.key).versions]
            known = known.difference(KnownSet.of(*live))
        return known


class SpeaksNewest(Conversation):
    """Versions: what the peer said that it speaks is not looked at"""

    @property
    def version(self) -> int:
        return PROTOCOL_VERSION


class HearsNobodyOut(Conversation):
    """R10: who tells a peer that it was forgotten closes before that can say the same."""

    def receive(self, message: Message, now: float) -> list[Effect]:
        effects = super().receive(message, now)
        if self.states[0] == "parting":
            effects += self.handle(StreamLost("not waited for"), now)
        return effects


class RepairForgetsCollected(ModelStore):
    """R8: a repair forgets what was collected, and no context tells of any more."""

    def still_known(self, losses: Sequence[Lost]) -> KnownSet:
        return KnownSet()


@dataclass(frozen=True, slots=True)
class Bug:
    """A planted bug: which rule it breaks, in a sentence, and the parts that have it."""

    rule: str
    parts: Parts


def _rule(kind: type) -> str:
    return (kind.__doc__ or "").rstrip(".")


class AdoptsAnyClock(ModelStore):
    """R1: whatever timestamp a peer sends is adopted, however far ahead, and followed."""

    def __init__(self, disk: Disk, habits: Habits, ledger: Ledger) -> None:
        super().__init__(disk, habits, ledger)
        self._clock.skew_max_ms, self._clock.lead_max = 2**46, 2**62


class StaysAhead(ModelStore):
    """R1: timestamps stay ahead for ever when the own clock is set back."""

    def __init__(self, disk: Disk, habits: Habits, ledger: Ledger) -> None:
        super().__init__(disk, habits, ledger)
        self._clock.lead_max = 2**62


class FollowsEveryStepBack(ModelStore):
    """R1: timestamps go back with the own clock, however little that is set back."""

    def __init__(self, disk: Disk, habits: Habits, ledger: Ledger) -> None:
        super().__init__(disk, habits, ledger)
        self._clock.lead_max = 2**16


def _store(kind: type[ModelStore]) -> Bug:
    return Bug(_rule(kind), Parts(store=kind))


def _backups(kind: type[Backups]) -> Bug:
    return Bug(_rule(kind), Parts(backups=kind))


def _pulls(kind: type[Pulls]) -> Bug:
    return Bug(_rule(kind), Parts(pulls=kind))


def _conversation(kind: type[Conversation]) -> Bug:
    return Bug(_rule(kind), Parts(conversation=kind))


BUGS: Mapping[str, Bug] = {
    "scanned-range": _store(ClaimsScannedRange),
    "dropped-contexts": _store(DropsContexts),
    "known-ignored-in-merge": _store(ForgetsKnownOnMerge),
    "eager-discard": _store(DiscardsLosers),
    "cursor-before-data": _store(SavesCursorFirst),
    "claim-ignores-withheld": _pulls(ClaimsAlthoughWithheld),
    "claims-complete-each-other": _pulls(ClaimsCompleteEachOther),
    "floor-left-behind": _store(LeavesFloorBehind),
    "log-only-catch-up": _store(CatchesUpByLogOnly),
    "contexts-not-raised": _store(DoesNotRaiseContexts),
    "others-during-full-round": _pulls(AppliesDuringFullRound),
    "no-watermark": _store(CollectsWithoutWatermark),
    "watermark-at-once": _store(CollectsWithoutKnowing),
    "tombstone-beside-put": _store(CollectsBesideLivePut),
    "clock-adopted": _store(AdoptsAnyClock),
    "clock-stays-ahead": _store(StaysAhead),
    "clock-steps-back": _store(FollowsEveryStepBack),
    "mending-consults-known": _store(MendsByKnown),
    "counts-only": _store(ComparesCountsOnly),
    "ranges-without-absence": _store(AppliesRangesWithoutAbsence),
    "splits-forgotten": _store(ForgetsSplits),
    "closed-in-merge": _store(MergesByClosedDots),
    "closed-in-contexts": _store(RaisesContextsOverClosedDots),
    "closed-not-reissued": _store(KeepsClosedVersions),
    "expiry-shows-losers": _store(ShowsLosers),
    "expiry-by-hybrid-clock": _store(ExpiresByHybridClock),
    "swept-for-good": _store(SweepsForGood),
    "expired-dropped-early": _store(DropsExpiredEarly),
    "dot-reused": _store(ReusesDots),
    "copy-keeps-origin": _store(CopyKeepsOrigin),
    "known-survives-power-cut": _store(TrustsKnownAfterPowerCut),
    "floor-survives-power-cut": _store(TrustsFloorAfterPowerCut),
    "older-logs-unsynced": _store(SyncsNewestLogOnly),
    "torn-log-kept": _store(GoesOnBehindTornCommit),
    "no-fork-detection": _store(SeesNoForks),
    "fork-by-issued": _store(LooksForIssuedOnly),
    "repair-keeps-known": _store(RepairKeepsKnown),
    "repair-forgets-live-only": _store(RepairForgetsLiveOnly),
    "repair-forgets-collected": _store(RepairForgetsCollected),
    "fork-keeps-durable-row": _store(ForkKeepsDurableRow),
    "acknowledges-known": Bug(_rule(AcknowledgesKnown), Parts(membership=AcknowledgesKnown)),
    "watermark-of-neighbours": Bug(
        _rule(WatermarkOfNeighbours), Parts(membership=WatermarkOfNeighbours)
    ),
    "last-account-wins": Bug(_rule(TakesWhatComesLast), Parts(roster=TakesWhatComesLast)),
    "forgotten-comes-back": Bug(
        _rule(LetsForgottenIn), Parts(roster=LetsForgottenIn, membership=StaysThoughForgotten)
    ),
    "speaks-newest": _conversation(SpeaksNewest),
    "hears-nobody-out": _conversation(HearsNobodyOut),
    "revisit-keeps-its-place": _store(KeepsItsPlace),
    "revisit-in-memory": _store(RevisitsInMemoryAlone),
    "increment-without-absence": _backups(IncrementWithoutAbsence),
    "increment-of-own-writes": _backups(IncrementOfOwnWrites),
    **{name: Bug(_rule(kind), parts) for name, (kind, parts) in PROMISES.items()},
}
"""Name → bug, for ``python -m tests.simulator --bug NAME``."""
