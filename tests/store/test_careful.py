"""Writes that saw only some of the versions, and writes with an expiry."""

import pytest

from replicator.core.record import Version
from replicator.core.rows import EXPIRY_MS_MAX
from replicator.errors import CommitError, ReservedKeyError, UsageError
from replicator.store.store import Store

from .checker import check_shown, check_store
from .places import Failing, Place, contents, live
from .rounds import exchange


class TestSeen:
    def test_what_was_not_seen_stays(self, store: Store, peer: Store) -> None:
        mine = store.put_with(b"k", b"mine")
        peer.put(b"k", b"theirs")
        peer.put(b"k", b"theirs again")
        exchange(store, peer)
        dot = store.put_with(b"k", b"newer", seen=[mine])
        assert dot == (store.origin, 2)
        assert live(store, b"k") == {dot, (peer.origin, 2)}
        assert {one.clock for one in store.versions(b"k")} == {1}
        assert store.record(b"k").context == {store.origin: 2, peer.origin: 2}
        for one in (store, peer):
            exchange(store, peer)
            check_store(one)
            check_shown(one)
        assert contents(store) == contents(peer)
        assert live(peer, b"k") == live(store, b"k")

    def test_own_versions_that_were_not_seen_stay_everywhere(
        self, store: Store, peer: Store, third: Store
    ) -> None:
        """The context of the new version covers the seq of the old one, which lives."""
        first = store.put_with(b"k", b"first")
        exchange(store, peer)
        second = store.put_with(b"k", b"second", seen=[])
        exchange(store, peer, third)
        for one in (store, peer, third):
            assert live(one, b"k") == {first, second}
            check_store(one)
        dot = third.put_with(b"k", None, seen=[first])
        exchange(store, peer, third)
        for one in (store, peer, third):
            assert live(one, b"k") == {second, dot}
            check_store(one)
        peer.put(b"k", b"all seen")
        exchange(store, peer, third)
        assert contents(store) == contents(peer) == contents(third) == {b"k": b"all seen"}

    def test_seen_in_full_or_of_an_absent_key_is_a_plain_write(self, store: Store) -> None:
        first = store.put_with(b"k", b"v", seen=[(7, 7)])
        assert store.versions(b"k")[0].clock == 0
        second = store.put_with(b"k", bytearray(b"w"), seen={first})
        (version,) = store.versions(b"k")
        assert (version.dot, version.clock, version.value) == (second, 1, b"w")
        assert store.put_with(b"k", None) == (store.origin, 3)
        assert contents(store) == {} and live(store, b"k") == {(store.origin, 3)}
        check_store(store)

    def test_the_clock_is_above_what_was_seen_and_is_gone(self, store: Store) -> None:
        store.put(b"k", b"v")
        dot = store.put_with(b"k", b"w", seen=[], seen_clock=6)
        assert {one.dot: one.clock for one in store.versions(b"k")}[dot] == 7
        assert store.db.get(b"k") == b"w"
        check_store(store)

    def test_a_delete_that_may_be_collected_elsewhere_does_not_stay(self, store: Store) -> None:
        """Everybody may have it, and somebody may have dropped it (R8)."""
        store.put(b"k", b"v")
        tombstone = store.put_with(b"k", None)
        beside = store.put_with(b"k", b"w", seen=[])
        assert live(store, b"k") == {tombstone, beside}, "no acknowledgement of ours has it"
        store.put_with(b"l", None)
        store.put_with(b"m", b"v", expiry_ms=1)
        store.sync_point()
        alone = [store.put_with(key, b"w", seen=[]) for key in (b"l", b"m")]
        assert live(store, b"l") | live(store, b"m") == set(alone)
        assert store.versions(b"l")[0].clock == 1, "above what it supersedes"
        check_store(store)

    def test_a_sync_point_under_way_counts(self, store: Store) -> None:
        """What it makes durable is acknowledged without what is written meanwhile."""
        tombstone = store.put_with(b"k", None)
        sync = store.level.sync
        dots = []

        def write_meanwhile() -> None:
            sync()
            if not dots:
                dots.append(store.put_with(b"k", b"w", seen=[]))

        store.level.sync = write_meanwhile  # type: ignore[method-assign]
        store.sync_point()
        assert tombstone in store.durable and dots[0] not in store.durable
        assert live(store, b"k") == {dots[0]}

    def test_the_resolver_says_what_is_shown(self, place: Place) -> None:
        def longest(a: Version, b: Version) -> bytes:
            return max(a.value or b"", b.value or b"", key=len) + b"!"

        place.options["resolver"] = longest
        store = place.open()
        store.put(b"k", b"long enough")
        store.put_with(b"k", b"short", seen=[])
        assert store.db.get(b"k") == b"long enough!"
        check_store(store)

    def test_what_failed_did_not_happen(self, store: Store) -> None:
        dot = store.put_with(b"k", b"v")
        with Failing(store, lambda: CommitError("full")), pytest.raises(CommitError):
            store.put_with(b"k", b"w", seen=[])
        assert live(store, b"k") == {dot}
        assert store.put_with(b"k", b"w", seen=[]) == (store.origin, 2)
        check_store(store)

    def test_several_own_versions_are_issued_again_after_a_fork(
        self, store: Store, peer: Store
    ) -> None:
        """R13: each under a dot of its own."""
        store.put(b"k", b"shown")
        exchange(store, peer)
        store.put_with(b"k", b"second", seen=[])
        store.put_with(b"k", b"third", seen=[])
        store.put(b"other", b"v")
        store.fork()
        check_store(store)
        assert {one.value for one in store.versions(b"k")} == {b"shown", b"second", b"third"}
        assert sorted(dot for dot in live(store, b"k") if dot[0] == store.origin) == [
            (store.origin, 1),
            (store.origin, 2),
        ]
        exchange(store, peer)
        assert contents(store) == contents(peer)
        assert live(store, b"k") == live(peer, b"k")


class TestRefusals:
    def test_malformed(self, store: Store) -> None:
        with pytest.raises(TypeError):
            store.put_with("k", b"v")  # type: ignore[arg-type]
        with pytest.raises(ReservedKeyError):
            store.put_with(b"\xff\xff\xff\xffk", b"v")
        with pytest.raises(UsageError, match="deletes do not expire"):
            store.put_with(b"k", None, expiry_ms=5)
        for expiry_ms in (-1, EXPIRY_MS_MAX + 1):
            with pytest.raises(UsageError, match="out of range"):
                store.put_with(b"k", b"v", expiry_ms=expiry_ms)
        assert store.seq == 0

    def test_an_expiry_travels(self, store: Store, peer: Store) -> None:
        store.put_with(b"k", b"v", expiry_ms=EXPIRY_MS_MAX)
        exchange(store, peer)
        (version,) = peer.versions(b"k")
        assert version.expiry_ms == EXPIRY_MS_MAX
        for one in (store, peer):
            check_store(one)
