"""The causal oracle for real stores: who wrote what, having seen what.

Causality needs nothing of the system: the past of a write is every write of that key that the
writer's live versions are, or had in their past.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

from replicator.core.dots import Dot
from replicator.store.local import NO_EXPIRIES
from replicator.store.store import Store

from .places import contents, live

Dots = frozenset[tuple[int, int]]


class History:
    """All writes of a cluster; `check` after any step of a store, `check_quiet` at the end."""

    def __init__(self) -> None:
        self.pasts: dict[bytes, dict[tuple[int, int], Dots]] = {}
        self.key_of: dict[tuple[int, int], bytes] = {}
        self._covered: dict[tuple[Path, bytes], Dots] = {}

    def covered(self, store: Store, key: bytes) -> Dots:
        """The writes of a key that the store holds or holds as superseded."""
        pasts = self.pasts.get(key, {})
        found: set[tuple[int, int]] = set()
        for dot in live(store, key):
            found |= {dot, *pasts[dot]}
        return frozenset(found)

    def write(
        self,
        store: Store,
        operations: Iterable[tuple[bytes, bytes | None]],
        expiries: Mapping[bytes, int] = NO_EXPIRIES,
    ) -> None:
        """Write through the store and remember."""
        folded = dict(operations)
        pasts = {key: self.covered(store, key) for key in folded}
        store.write(list(folded.items()), expiries=expiries)
        for key, past in pasts.items():
            self.note(store, key, past)

    def write_what_saw(
        self, store: Store, key: bytes, value: bytes | None, seen: Iterable[tuple[int, int]]
    ) -> None:
        """A write that has seen only these live versions."""
        dots = frozenset(seen)
        pasts = self.pasts.get(key, {})
        dot = store.put_with(key, value, seen=dots)
        self.note(store, key, dots.union(*(pasts[one] for one in dots)), dot)

    def note(
        self, store: Store, key: bytes, past: Dots, dot: tuple[int, int] | None = None
    ) -> None:
        """Remember a write that was made, having seen `past`; it stands alone unless named."""
        if dot is None:
            (dot,) = live(store, key)
        assert dot not in self.key_of, f"{Dot(*dot)} was issued twice"
        self.pasts.setdefault(key, {})[dot] = past
        self.key_of[dot] = key

    def check(self, store: Store) -> None:
        """R3: whatever is known has its effect here; and nothing held is ever lost."""
        known = store.known()
        for key, pasts in self.pasts.items():
            covered = self.covered(store, key)
            for dot in pasts:
                assert dot not in known or dot in covered, f"{Dot(*dot)} is known and not held"
            before = self._covered.get((store.level.path, key), frozenset())
            assert before <= covered, f"{key!r}: lost {before - covered}"
            self._covered[store.level.path, key] = covered

    def check_quiet(self, *stores: Store) -> None:
        """After full exchange: live versions are the causally maximal writes; all is equal."""
        for store in stores:
            self.check(store)
            for key, pasts in self.pasts.items():
                superseded = frozenset().union(*pasts.values())
                assert live(store, key) == set(pasts) - superseded, key
        first = stores[0]
        for store in stores[1:]:
            assert store.known() == first.known()
            assert store.digest(0) == first.digest(0)
            assert contents(store) == contents(first)

    def all_covered(self, store: Store) -> dict[bytes, Dots]:
        """What the store covers, by key."""
        return {key: self.covered(store, key) for key in self.pasts}

    def check_after_loss(self, store: Store, promised: dict[bytes, Dots]) -> None:
        """After a power cut: what was promised is covered, what is known is covered (R11)."""
        self._covered = {
            (place, key): covered
            for (place, key), covered in self._covered.items()
            if place != store.level.path
        }
        for key, covered in promised.items():
            assert covered <= self.covered(store, key), f"{key!r}: promised and lost"
        self.check(store)

    def forget_lost(self, *stores: Store) -> None:
        """Writes that no store covers any more have never been."""
        for key, pasts in self.pasts.items():
            kept = frozenset().union(*(self.covered(store, key) for store in stores))
            self.pasts[key] = {dot: past & kept for dot, past in pasts.items() if dot in kept}
