"""A store of 0.1.0 and stores of this version exchange what they hold, whatever was done to them.

The store of the version before is its own code, imported aside; chunks pass as bytes through both
codecs. So whatever this version puts into a record, the version before has to merge, keep and pass
on, to the dot.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from random import Random
from typing import Any

import plyvel
import pytest

from replicator.core.chunk import Chunk
from replicator.core.known import below_floor
from replicator.protocol.messages import Records
from replicator.store.store import Store
from tests.store.checker import check_store
from tests.store.places import Place, patient
from tests.store.rounds import collect
from tests.upgrades.aside import from_earlier, package, to_earlier, translated_to_ours
from tests.upgrades.aside import translated_to_theirs as to_theirs
from tests.upgrades.making import FAR_MS, describe

SEEDS = range(20)
KEYS = [b"a", b"b", b"c"]


class Side:
    """A store of this version.

    Attributes:
        store: the open store.
    """

    is_before = False

    def __init__(self, path: Path, stack: ExitStack) -> None:
        self.place = Place(path, settings=patient())
        self.store: Any = self.place.open()
        stack.callback(self.place.close)

    def send(self) -> tuple[Any, list[Chunk], Any]:
        """A snapshot for a round: all its records, as ours."""
        source = self.store.open_source()
        self.store.show(source.known.highest(self.store.origin))
        chunks = [self._passed_on(chunk) for chunk in source.read_all()]
        known, floor = translated_to_ours(source.known), dict(source.floor)
        source.close()
        return known, chunks, floor

    def _passed_on(self, chunk: Chunk) -> Chunk:
        return chunk

    def _taken(self, chunk: Chunk) -> Any:
        return chunk

    def _known(self, known: Any) -> Any:
        return known

    def pull(self, other: "Side") -> None:
        """A round from the other: a full-state round where its floor asks for it (R9)."""
        known, chunks, floor = other.send()
        theirs = self._known(known)
        if below_floor(translated_to_ours(self.store.known()), floor):
            last = None
            for chunk in chunks:
                taken = self._taken(chunk)
                self.store.apply_full(taken, theirs, floor, last, chunk.keys[-1])
                last = chunk.keys[-1]
            self.store.apply_full(self._taken(Chunk({})), theirs, floor, last, None)
        else:
            for chunk in chunks:
                self.store.apply(self._taken(chunk), theirs)
        self.store.finish(self._taken(Chunk({})), theirs, theirs, floor)

    def act(self, chance: Random) -> None:
        """What a program or a person may do."""
        key = chance.choice(KEYS)
        match chance.randrange(6):
            case 0:
                self.store.delete(key)
            case 1 if not self.is_before:
                expiry = chance.choice([1000, FAR_MS, FAR_MS + 1])
                self.store.put_with(key, chance.randbytes(3), expiry_ms=expiry)
            case 2 if not self.is_before:
                dots = [version.dot for version in self.store.versions(key)]
                seen = chance.sample(dots, chance.randint(0, len(dots)))
                self.store.put_with(key, chance.randbytes(3), seen=seen)
            case _:
                self.store.put(key, chance.randbytes(3))


class Before(Side):
    """A store of 0.1.0."""

    is_before = True

    def __init__(self, path: Path, stack: ExitStack) -> None:
        self.path = path
        self.db = plyvel.DB(str(path), create_if_missing=True)
        settings = package()["config"].Settings(join_timeout=0.0)
        self.store = package()["store.store"].Store.open(self.db, settings=settings)
        stack.callback(self.close)

    def close(self) -> None:
        self.store.close()
        self.db.close()

    def _passed_on(self, chunk: Any) -> Chunk:
        message = from_earlier(package()["protocol.messages"].Records(1, chunk))
        assert isinstance(message, Records)
        return message.chunk

    def _taken(self, chunk: Chunk) -> Any:
        return to_earlier(Records(1, chunk)).chunk if len(chunk) else to_theirs(chunk)

    def _known(self, known: Any) -> Any:
        return to_theirs(known)


def held(side: Side) -> dict[str, Any]:
    """What has to be equal on all of them."""
    found = describe(side.store)
    puts = {
        key: versions
        for key, (versions, _) in found["records"].items()
        if any(value is not None for _, _, _, value, _ in versions)
    }
    return {"puts": puts, "known": found["known"]}


def exchange(sides: list[Side]) -> None:
    for _ in range(len(sides)):
        for one in sides:
            for other in sides:
                if one is not other:
                    one.pull(other)


@pytest.fixture
def sides(directory: Path) -> Iterator[list[Side]]:
    with ExitStack() as stack:
        yield [
            Before(directory / "old 1", stack),
            Side(directory / "new 1", stack),
            Before(directory / "old 2", stack),
            Side(directory / "new 2", stack),
        ]


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_one_does_the_other_can_hold(seed: int, sides: list[Side]) -> None:
    chance = Random(seed)
    for _ in range(chance.randint(5, 60)):
        one, other = chance.sample(sides, 2)
        match chance.randrange(10):
            case 0 | 1 | 2:
                one.pull(other)
            case 3:
                collect_some(sides, chance)
            case _:
                one.act(chance)
        if not one.is_before:
            check_store(one.store)
    exchange(sides)
    first, *others = map(held, sides)
    for found in others:
        assert found == first
    for one, other in (sides[::2], sides[1::2]):
        assert one.store.digest() == other.store.digest(), "digests are of one version"
    upgraded = sides[0]
    assert isinstance(upgraded, Before)
    before = describe(upgraded.store)
    upgraded.close()
    with Place(upgraded.path, settings=patient()) as store:
        found = describe(store)
        # What had expired is not shown any more (R17).
        assert found.pop("shown").items() <= before.pop("shown").items()
        assert found == before
        check_store(store)


def collect_some(sides: list[Side], chance: Random) -> None:
    """This version collects a tombstone that everyone holds (R8); 0.1.0 keeps its own."""
    exchange(sides)
    collecting = chance.choice([side for side in sides if not side.is_before])
    store: Store = collecting.store
    for key in KEYS:
        record = store.record(key)
        if record.versions and all(version.is_delete for version in record.versions):
            collect(store, key)
