"""Bugs in what programs are promised (`guarantees`); see `planted`."""

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from replicator.core.dots import Dot
from replicator.core.feeding import Position
from replicator.core.known import KnownSet, below_floor
from replicator.core.merge import Seen
from replicator.core.record import Record, Version
from replicator.core.token import write_token
from replicator.protocol.effects import MadeDurable, MakeDurable

from .cluster import Parts
from .guarantees import Guarantees, Reader
from .model_store import ModelStore

if TYPE_CHECKING:
    from .session import Session


class SaysDurableBeforeSync(Guarantees):
    """R11: what a peer waits for is called durable before the sync point"""

    def make_durable(self, session: "Session", effect: MakeDurable) -> None:
        self._later(lambda: session.tell(MadeDurable(effect.dots)))


class SupersedesTheUnseen(ModelStore):
    """R1: of what a write has not seen, only the versions of other origins stay"""

    def written(self, record: Record, version: Version, seen: Seen) -> Record:
        after = super().written(record, version, seen)
        kept = (one for one in after.versions if one.dot.origin != version.dot.origin)
        return Record(tuple(sorted((*kept, version), key=lambda one: one.dot)), after.context)


class LeavesCollectableUnseen(ModelStore):
    """R8: a delete that others may have collected stays beside a write that did not see it"""

    def saw(self, record: Record, seen: set[Dot]) -> Collection[tuple[int, int]]:
        return seen


class SkipsGaps(Reader):
    """A token stands for the highest seqs, so what is in a gap never comes"""

    def can_go_on(self, known: KnownSet, floor: dict[int, int], closed: KnownSet) -> bool:
        position = self.position.known
        return self.position.listing is not None or (
            all(position.highest(origin) <= known.highest(origin) for origin in position.origins())
            and not below_floor(position.union(closed), floor)
        )

    def advance(self, known: KnownSet, origin: int, seq: int) -> None:
        super().advance(known, origin, seq)
        position = self.position.known
        position.add_range(origin, 1, position.highest(origin) + 1)


class KeepsWhatWasLost(Reader):
    """R11, R13: a reader goes on although the node has lost what it was shown"""

    def can_go_on(self, known: KnownSet, floor: dict[int, int], closed: KnownSet) -> bool:
        position = self.position.known.union(closed)
        return self.position.listing is not None or not below_floor(position, floor)


class ForgetsWhatItShowed(Reader):
    """A token stands for what a reader has dealt with alone, not for what it was shown"""

    def showing(self, known: KnownSet) -> KnownSet:
        return self.position.listing or self.position.known


class ReadsBelowTheFloor(Reader):
    """R8: a reader goes on although deletes that it has not seen were collected"""

    def can_go_on(self, known: KnownSet, floor: dict[int, int], closed: KnownSet) -> bool:
        return super().can_go_on(known, {}, closed)


class ListsUnderTheOldToken(Reader):
    """A reader that is cut while it gets all keys goes on where it was before"""

    _before = Position()

    def reset(self, known: KnownSet) -> Position:
        self._before = self.position
        return super().reset(known)

    def token(self) -> str:
        return write_token(self.position if self.position.listing is None else self._before)


PROMISES: Mapping[str, tuple[type, Parts]] = {
    "durable-before-sync": (SaysDurableBeforeSync, Parts(guarantees=SaysDurableBeforeSync)),
    "unseen-own-superseded": (SupersedesTheUnseen, Parts(store=SupersedesTheUnseen)),
    "collectable-beside-unseen": (LeavesCollectableUnseen, Parts(store=LeavesCollectableUnseen)),
    "feed-skips-gaps": (SkipsGaps, Parts(reader=SkipsGaps)),
    "feed-keeps-what-was-lost": (KeepsWhatWasLost, Parts(reader=KeepsWhatWasLost)),
    "feed-forgets-what-it-showed": (ForgetsWhatItShowed, Parts(reader=ForgetsWhatItShowed)),
    "feed-below-the-floor": (ReadsBelowTheFloor, Parts(reader=ReadsBelowTheFloor)),
    "feed-list-under-old-token": (ListsUnderTheOldToken, Parts(reader=ListsUnderTheOldToken)),
}
"""Name → the class whose docstring says which rule is broken, and the parts that have it."""
