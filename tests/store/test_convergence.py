"""Two to four real stores, random schedules, cuts everywhere: they converge on what causality
says, and every row of every store is right at every moment."""

import os
import random
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from replicator.core.known import KnownSet
from replicator.store import source as source_module
from replicator.store.store import Store

from .checker import check_shown, check_store
from .history import History
from .places import Place, contents, live, memory, patient, records
from .rounds import FullRound, Round, collect, exchange

KEYS = [b"", b"a", b"b", b"c", b"\xff\xff\xff", b"long" * 20]
SEEDS = int(os.environ.get("STORE_SEEDS", "40"))
STEPS = 40


class World:
    """Stores, rounds under way between them, and the oracle."""

    def __init__(self, path: Path, seed: int, least: int = 2) -> None:
        self.random = random.Random(seed)
        prefixes = [None, b"", b"ns/"]
        self.places = [
            Place(path / str(index), prefix=self.random.choice(prefixes), settings=patient())
            for index in range(self.random.randint(least, 4))
        ]
        for place in self.places:
            place.open()
        self.history = History()
        self.rounds: list[tuple[Store, Store, Iterator[object]]] = []
        self.claims: list[Round] = []

    def step(self) -> None:
        action = self.random.choices(
            [self.write, self.begin, self.proceed, self.whole, self.full, self.claim, self.restart],
            [30, 15, 40, 10, 4, 4, 3],
        )[0]
        action()

    def write(self) -> None:
        store = self.random.choice(self.places).store
        if self.random.random() < 0.2:
            key = self.random.choice(KEYS)
            seen = [dot for dot in live(store, key) if self.random.random() < 0.5]
            self.history.write_what_saw(store, key, self.value(), seen)
            return self.check(store)
        count = self.random.choice([1, 1, 1, 2, 4])
        self.history.write(store, [(self.random.choice(KEYS), self.value()) for _ in range(count)])
        return self.check(store)

    def value(self) -> bytes | None:
        kind = self.random.random()
        if kind < 0.2:
            return None
        return self.random.choice([b"", b"same", b"x", self.random.randbytes(5)])

    def pair(self) -> tuple[Store, Store]:
        target, source = self.random.sample(self.places, 2)
        return target.store, source.store

    def begin(self) -> None:
        """A round in chunks; with some luck parts of it are withheld."""
        target, source = self.pair()
        withheld = KnownSet()
        if self.random.random() < 0.3:
            for dot in source.known().difference(target.known()).dots():
                if self.random.random() < 0.4:
                    withheld.add(*dot)
        one = Round(target, source, withheld)
        self.rounds.append((target, source, one.steps()))
        if withheld:
            self.claims.append(one)

    def whole(self) -> None:
        target, source = self.pair()
        Round(target, source).whole()
        self.check(target)

    def full(self) -> None:
        """R9: while it is open nothing from another peer is applied; it may be cut."""
        target, source = self.pair()
        for count, _ in enumerate(FullRound(target, source).steps()):
            self.check(target)
            if self.random.random() < 0.3:
                self.random.choice([self.write, lambda: None])()
            if count and self.random.random() < 0.2:
                break

    def proceed(self) -> None:
        """One more step of some round, or its cut."""
        if not self.rounds:
            return
        one = self.random.choice(self.rounds)
        target, _, steps = one
        if self.random.random() < 0.1 or next(steps, None) is None:
            self.rounds.remove(one)
        self.check(target)

    def claim(self) -> None:
        if self.claims:
            one = self.random.choice(self.claims)
            if one.done and one.claim():
                self.claims.remove(one)
                self.check(one.target)

    def restart(self) -> None:
        """Memory and disk say the same."""
        place = self.random.choice(self.places)
        before, held = memory(place.store), records(place.store)
        old = place.store
        if self.random.random() < 0.5:
            place.kill()
        store = place.reopen()
        assert memory(store) == before
        assert records(store) == held
        self.rounds = [one for one in self.rounds if old not in one]
        self.claims = [one for one in self.claims if one.target is not old]
        self.check(store)

    def check(self, store: Store) -> None:
        check_store(store)
        self.history.check(store)

    def settle(self) -> None:
        stores = [place.store for place in self.places]
        exchange(*stores)
        self.history.check_quiet(*stores)
        for store in stores:
            check_store(store)
            check_shown(store)

    def close(self) -> None:
        for place in self.places:
            place.close()


@pytest.mark.parametrize("seed", range(SEEDS))
def test_random_schedules(seed: int, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_module, "CHUNK_RECORDS_MAX", 1 + seed % 3)
    if seed % 2:
        monkeypatch.setattr(source_module, "SCAN_DOTS_MIN", 1)
    world = World(directory, seed)
    try:
        for _ in range(STEPS):
            world.step()
        world.settle()
    finally:
        world.close()


@pytest.mark.parametrize("seed", range(SEEDS // 2))
def test_one_that_was_away_returns(
    seed: int, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R8, R9: the others have collected deletes meanwhile. Nothing deleted comes back, what it
    wrote while it was away is there, and all are equal; through cuts and restarts."""
    monkeypatch.setattr(source_module, "CHUNK_RECORDS_MAX", 1 + seed % 3)
    world = World(directory, seed, least=3)
    try:
        for _ in range(STEPS // 2):
            world.step()
        away = world.places.pop()
        world.rounds, world.claims = [], []
        for _ in range(STEPS // 2):
            world.step()
            if world.random.random() < 0.2:
                here, world.places = world.places, [away]
                world.write()
                world.places = here
        stores = [place.store for place in world.places]
        exchange(*stores)
        deleted = [
            key
            for key, (versions, _) in records(stores[0]).items()
            if all(version.is_delete for version in versions)
        ]
        for key in deleted:
            for store in stores:
                collect(store, key)
        for _ in range(3):
            source = world.random.choice(stores)
            for _ in islice(FullRound(away.store, source).steps(), world.random.randrange(5)):
                check_store(away.store)
            if world.random.random() < 0.5:
                away.kill()
                away.open()
        exchange(away.store, *stores)
        for store in (away.store, *stores):
            check_store(store)
            assert store.known() == stores[0].known()
            assert store.digest(0) == stores[0].digest(0)
            assert contents(store) == contents(stores[0])
            for key, pasts in world.history.pasts.items():
                superseded = frozenset().union(*pasts.values())
                puts = {version.dot for version in store.record(key).versions if version.value}
                assert not puts & superseded, f"{key!r} came back"
    finally:
        world.close()
        away.close()
