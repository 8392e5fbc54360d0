"""Siblings in the store: what is shown follows all of them, whatever the resolver does (R6)."""

import threading
from pathlib import Path
from typing import Any

import pytest

from replicator.core.record import Version
from replicator.store.store import Store

from .checker import check_shown, check_store
from .places import Place, contents, patient
from .rounds import Round, exchange


class TestConflicts:
    """R6 in the store: what is shown follows the whole sibling set."""

    def test_equal_values_are_none(self, store: Store, peer: Store) -> None:
        store.put(b"k", b"same")
        peer.put(b"k", b"same")
        applied = Round(store, peer).whole()
        assert applied.conflicts == () and applied.changed == 1
        assert len(store.versions(b"k")) == 2 and not list(store.conflicts())
        check_store(store)

    def test_they_are_reported_once_winner_first(self, store: Store, peer: Store) -> None:
        store.put(b"k", b"ours")
        peer.put(b"k", b"x")
        peer.put(b"k", b"theirs")
        applied = Round(store, peer).whole()
        (conflict,) = applied.conflicts
        assert conflict.key == b"k"
        assert [one.value for one in conflict.versions] == [b"theirs", b"ours"]
        ((key, versions),) = store.conflicts()
        assert key == b"k" and [one.value for one in versions] == [b"theirs", b"ours"]
        peer.put(b"l", b"v")
        assert Round(store, peer).whole().conflicts == ()
        assert store.counters().conflicts == 1
        check_store(store)

    def test_a_tombstone_against_a_put(self, store: Store, peer: Store) -> None:
        store.put(b"k", b"seen by both")
        exchange(store, peer)
        store.delete(b"k")
        store.delete(b"k")
        peer.put(b"k", b"concurrent")
        exchange(store, peer)
        for one in (store, peer):
            assert contents(one) == {}, "the higher clock wins"
            assert [version.is_delete for version in one.versions(b"k")] == [True, False]
            assert len(list(one.conflicts())) == 1
            check_store(one)
        peer.put(b"k", b"decided")
        exchange(store, peer)
        assert contents(store) == {b"k": b"decided"} and not list(store.conflicts())

    def test_the_row_changes_with_the_winner(self, store: Store, peer: Store, third: Store) -> None:
        store.put(b"k", b"1")
        for _ in range(2):
            peer.put(b"k", b"2")
        for _ in range(3):
            third.put(b"k", b"3")
        for source, shown in ((peer, b"2"), (third, b"3")):
            Round(store, source).whole()
            assert contents(store) == {b"k": shown}
            check_store(store)
            check_shown(store)
        assert len(store.versions(b"k")) == 3

    def test_a_merging_resolver(self, directory: Path) -> None:
        """The merged value is nobody's write: shown, not replicated; the same on all nodes."""
        options: dict[str, Any] = {
            "settings": patient(),
            "resolver": lambda a, b: bytes(max(a.value, b.value) + min(a.value, b.value)),
        }
        places = [Place(directory / str(index), **options) for index in range(3)]
        stores = [place.open() for place in places]
        for index, one in enumerate(stores):
            one.put(b"k", b"%d" % index)
        exchange(*stores)
        shown = contents(stores[0])[b"k"]
        assert sorted(shown) == sorted(b"012")
        for place, one in zip(places, stores, strict=True):
            assert contents(one)[b"k"] == shown
            check_store(one)
            check_shown(one)
            assert {version.value for version in one.versions(b"k")} == {b"0", b"1", b"2"}
            again = place.reopen()
            assert contents(again)[b"k"] == shown
            check_store(again)
        stores = [place.store for place in places]
        stores[0].put(b"k", b"seen all")
        exchange(*stores)
        for place in places:
            assert contents(place.store) == {b"k": b"seen all"}
            check_store(place.store)
            place.close()

    def test_equal_clock_mode(self, directory: Path) -> None:
        """A higher clock wins by itself; the resolver settles the rest."""
        asked = []

        def smaller(a: Version, b: Version) -> bool:
            asked.append((a, b))
            return a.value < b.value  # type: ignore[operator]

        options: dict[str, Any] = {
            "settings": patient(),
            "resolver": smaller,
            "resolver_mode": "equal-clock",
        }
        with (
            Place(directory / "a", **options) as a,
            Place(directory / "b", **options) as b,
        ):
            a.put(b"equal", b"2")
            b.put(b"equal", b"1")
            a.put(b"higher", b"1")
            b.put(b"higher", b"x")
            b.put(b"higher", b"9")
            exchange(a, b)
            for one in (a, b):
                assert contents(one) == {b"equal": b"1", b"higher": b"9"}
                check_store(one)
            assert all(first.clock == second.clock for first, second in asked)

    @pytest.mark.parametrize("how", ["raises", "nonsense", "slow", "ends its thread"])
    def test_a_resolver_that_fails(self, directory: Path, peer: Store, how: str) -> None:
        """The default order decides for that key; logged, counted, reported."""
        release = threading.Event()

        def resolver(a: Version, b: Version) -> Any:
            if a.key != b"bad":
                return a.value > b.value  # type: ignore[operator]
            if how == "raises":
                raise LookupError("no idea")
            if how == "nonsense":
                return "text"
            if how == "ends its thread":
                raise SystemExit
            release.wait(10)
            return True

        place = Place(directory / "x", settings=patient(resolver_timeout=0.05), resolver=resolver)
        with place as store:
            for key in (b"bad", b"good"):
                store.put(key, b"z")
                for _ in range(2):
                    peer.put(key, b"a")
            applied = Round(store, peer).whole()
            faults = {one.key: one.fault for one in applied.conflicts}
            assert faults[b"good"] is None and isinstance(faults[b"bad"], Exception)
            assert contents(store) == {b"bad": b"a", b"good": b"z"}
            assert store.counters().resolver_faults == 1
            check_store(store)
            release.set()
