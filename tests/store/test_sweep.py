"""Time to live in the store (R17): what expires goes out of the user's keys and comes back with the
clock; losers never come up; every row is right at every moment."""

import logging
import random
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from replicator.config import SWEEP_BATCH_KEYS
from replicator.core.known import KnownSet
from replicator.core.record import Record, Version
from replicator.core.rows import EXPIRY_MS_MAX
from replicator.errors import ClosedError, CommitError, UsageError
from replicator.store import keyspace
from replicator.store import store as store_module
from replicator.store import sweep as sweep_module
from replicator.store.plan import Plan
from replicator.store.store import Store
from replicator.store.sweep import Sweeper

from .checker import check_shown, check_store
from .chunks import A, B, chunk_of, version
from .clocks import START_MS, Clocks, sweep
from .places import Failing, Place, contents, live, patient
from .rounds import FullRound, Round, exchange
from .test_watching import Comparison


def put(store: Store, key: bytes, value: bytes, ms: int) -> None:
    """A put that expires so many milliseconds after `START_MS`."""
    store.put_with(key, value, expiry_ms=START_MS + ms)


class TestOneNode:
    def test_a_value_goes_when_its_moment_has_come(self, store: Store, clocks: Clocks) -> None:
        put(store, b"k", b"v", 1000)
        store.put(b"stays", b"v")
        check_store(store)
        clocks.set(999, store)
        assert contents(store) == {b"k": b"v", b"stays": b"v"}
        before = store.known(), store.record(b"k"), store.seq
        clocks.set(1000, store)
        assert contents(store) == {b"stays": b"v"}
        assert (store.known(), store.record(b"k"), store.seq) == before, "expiry issues no dot"
        assert store.counters().swept == 1
        check_store(store)
        check_shown(store)

    def test_a_clock_that_goes_back_shows_it_again(self, store: Store, clocks: Clocks) -> None:
        for index in range(5):
            put(store, b"%d" % index, b"v", 1000 * index)
        clocks.set(10_000, store)
        assert contents(store) == {}
        check_store(store)
        clocks.set(2500, store)
        assert sorted(contents(store)) == [b"3", b"4"]
        check_store(store)
        check_shown(store)
        clocks.set(3000, store)
        assert sorted(contents(store)) == [b"4"]
        check_store(store)

    def test_expired_when_it_is_written(self, store: Store, clocks: Clocks) -> None:
        put(store, b"k", b"v", 0)
        assert contents(store) == {}
        check_store(store)
        clocks.set(-1, store)
        assert contents(store) == {b"k": b"v"}
        check_store(store)

    @pytest.mark.parametrize("is_swept", [False, True])
    def test_a_later_write_takes_the_expiry_away(
        self, store: Store, clocks: Clocks, is_swept: bool
    ) -> None:
        for key in (b"put", b"delete", b"batch", b"again"):
            put(store, key, b"v", 1000)
        if is_swept:
            clocks.set(1000, store)
        store.put(b"put", b"w")
        store.delete(b"delete")
        store.write([(b"batch", b"w")])
        put(store, b"again", b"w", 3000)
        check_store(store)
        clocks.set(2000, store)
        assert contents(store) == {b"put": b"w", b"batch": b"w", b"again": b"w"}
        clocks.set(3000, store)
        assert contents(store) == {b"put": b"w", b"batch": b"w"}
        check_store(store)

    def test_a_batch(self, store: Store, clocks: Clocks) -> None:
        store.put(b"b", b"old")
        operations = [(b"a", b"1"), (b"b", b"2"), (b"c", b"3")]
        store.write(operations, expiries={b"a": START_MS + 5, b"b": START_MS + 5})
        check_store(store)
        assert sorted(dot.seq for key in b"abc" for dot in live(store, bytes([key]))) == [2, 3, 4]
        clocks.set(5, store)
        assert contents(store) == {b"c": b"3"}
        check_store(store)

    def test_an_expiry_that_never_comes(self, store: Store, clocks: Clocks) -> None:
        store.put_with(b"k", b"v", expiry_ms=EXPIRY_MS_MAX)
        check_store(store)
        clocks.set(EXPIRY_MS_MAX - 1 - START_MS, store)
        assert contents(store) == {b"k": b"v"}
        clocks.set(EXPIRY_MS_MAX - START_MS, store)
        assert contents(store) == {}
        check_store(store)

    def test_set_expiry(self, store: Store, clocks: Clocks) -> None:
        assert not store.set_expiry(b"k", START_MS + 1) and not store.set_expiry(b"k", None)
        store.put(b"k", b"v")
        assert not store.set_expiry(b"k", None) and store.seq == 1
        assert store.remaining_ms(b"k") is None
        assert store.set_expiry(b"k", START_MS + 1000)
        assert store.remaining_ms(b"k") == 1000
        assert store.set_expiry(b"k", None)
        clocks.set(1000, store)
        assert contents(store) == {b"k": b"v"} and store.seq == 3
        assert store.set_expiry(b"k", START_MS + 2000)
        clocks.set(2000, store)
        assert store.remaining_ms(b"k") == 0
        assert not store.set_expiry(b"k", None), "what has expired does not come back"
        assert store.seq == 4
        store.delete(b"k")
        assert store.remaining_ms(b"k") == 0 == store.remaining_ms(b"absent")
        check_store(store)

    def test_update_does_not_see_what_has_expired(self, store: Store, clocks: Clocks) -> None:
        put(store, b"k", b"7", 1000)
        seen: list[Version] = []

        def count(versions: list[Version]) -> bytes:
            seen[:] = versions
            return b"%d" % (int(versions[0].value or b"0") + 1)

        clocks.set(999, store)
        store.update_with(b"k", count, expiry_ms=START_MS + 2000)
        assert store.db.get(b"k") == b"8" and seen[0].value == b"7"
        clocks.set(2000, store)
        store.update(b"k", count)
        assert store.db.get(b"k") == b"1" and seen[0].is_delete
        assert store.versions(b"k")[0].clock == 2
        check_store(store)

    def test_many_at_once_let_writers_in(
        self, store: Store, clocks: Clocks, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Between any two commits of a sweep another thread may write."""
        monkeypatch.setattr(sweep_module, "SWEEP_PAUSE_SECONDS", 0.0)
        count = SWEEP_BATCH_KEYS * 5 + 3
        store.write(
            [(b"%04d" % index, b"v") for index in range(count)],
            expiries={b"%04d" % index: START_MS + 1 + index % 2 for index in range(count)},
        )
        sizes = []
        commit = store.level.commit

        def counted(batch: object) -> None:
            sizes.append(batch.approximate_size())  # type: ignore[attr-defined]
            commit(batch)  # type: ignore[arg-type]
            if len(sizes) == 2:
                threading.Thread(target=store.put, args=(b"new", b"v")).start()

        monkeypatch.setattr(store.level, "commit", counted)
        clocks.set(5, store)
        monkeypatch.undo()
        assert len(sizes) >= 6
        while b"new" not in contents(store):
            pass
        assert contents(store) == {b"new": b"v"}

    def test_large_values_in_small_commits(
        self, store: Store, clocks: Clocks, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sweep_module, "SWEEP_BATCH_BYTES", 1000)
        monkeypatch.setattr(sweep_module, "SWEEP_KEY_BYTES", 0)
        for index in range(10):
            put(store, b"%d" % index, b"v" * 600, 1)
        commits = []
        commit = store.level.commit
        monkeypatch.setattr(store.level, "commit", lambda b: (commits.append(1), commit(b))[1])
        clocks.set(1, store)
        assert len(commits) == 5
        assert contents(store) == {}

    def test_a_commit_of_values_to_be_written_again_holds_fewer(
        self, store: Store, clocks: Clocks, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Each of them takes longer, and local writers wait."""
        count = SWEEP_BATCH_KEYS * 2
        commits = []
        commit = store.level.commit
        for ms, is_durable, most in ((1, False, 64), (2, True, SWEEP_BATCH_KEYS)):
            keys = [b"%d %d" % (ms, index) for index in range(count)]
            store.write([(key, b"v") for key in keys], expiries=dict.fromkeys(keys, START_MS + ms))
            if is_durable:
                store.sync_point()
            commits.clear()
            monkeypatch.setattr(store.level, "commit", lambda b: (commits.append(1), commit(b))[1])
            clocks.set(ms, store)
            monkeypatch.setattr(store.level, "commit", commit)
            assert contents(store) == {}
            assert len(commits) >= count / most
            assert (len(commits) == count / SWEEP_BATCH_KEYS) is is_durable

    def test_a_pass_that_stops_early_is_gone_on_with(
        self, store: Store, clocks: Clocks, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(store_module, "SWEEP_BATCHES_MAX", 1)
        monkeypatch.setattr(sweep_module, "SWEEP_BATCH_KEYS", 3)
        for index in range(8):
            put(store, b"%d" % index, b"v", 1)
        for step, left in enumerate((8, 5, 2, 0)):
            assert len(contents(store)) == left, step
            clocks._now[store.level.path] = START_MS + 1
            assert store.due.is_now(store.wall_ms()) or not left
            store.sweep()
            check_store(store)
        clocks._now[store.level.path] = START_MS
        for shown in (3, 6, 8):
            store.sweep()
            assert len(contents(store)) == shown
            check_store(store)

    @pytest.mark.parametrize("nth", range(1, 4))
    def test_a_commit_fails(
        self, store: Store, clocks: Clocks, monkeypatch: pytest.MonkeyPatch, nth: int
    ) -> None:
        monkeypatch.setattr(sweep_module, "SWEEP_BATCH_KEYS", 2)
        for index in range(6):
            put(store, b"%d" % index, b"v", 1)
        with Failing(store, lambda: CommitError("full"), nth), pytest.raises(CommitError):
            clocks.set(1, store)
        assert len(contents(store)) == 6 - 2 * (nth - 1)
        check_store(store)
        sweep(store)
        assert contents(store) == {}
        check_store(store)

    def test_a_clock_that_is_set_back_amid_a_pass(
        self, store: Store, clocks: Clocks, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What that pass has not put back is left to the next one, not forgotten."""
        for index in range(1, 4):
            put(store, b"%d" % index, b"v", index)
        clocks.set(3, store)
        rows_of = Sweeper._rows

        def set_back(sweeper: Sweeper, start: bytes, *rest: Any) -> list[bytes]:
            found = rows_of(sweeper, start, *rest)
            if start >= keyspace.swept_key(START_MS + 3, b""):
                clocks._now[store.level.path] = START_MS + 1
            return found

        monkeypatch.setattr(Sweeper, "_rows", set_back)
        clocks.set(2, store)
        assert sorted(contents(store)) == [b"2", b"3"]
        check_store(store)

    def test_a_closed_store_is_left_alone(self, place: Place, clocks: Clocks) -> None:
        store = place.open()
        put(store, b"k", b"v", 1)
        place.close()
        with pytest.raises(ClosedError):
            store.sweep()

    def test_a_damaged_value_expires_too(
        self, store: Store, clocks: Clocks, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Something else wrote to the LevelDB: no reason to show what has expired for ever."""
        put(store, b"k", b"v", 1)
        put(store, b"l", b"v", 1)
        store.db.put(keyspace.value_key(store.number, 1), b"damaged")
        with caplog.at_level(logging.WARNING, "replicator"):
            clocks.set(1, store)
        assert contents(store) == {}
        assert "not the one written" in caplog.text
        assert store.db.get(keyspace.value_key(store.number, 1)) == b"damaged"
        clocks.set(0, store)
        assert contents(store) == {b"l": b"v"}


class TestValuesOnTheDisk:
    """What a sync point has covered is not written again by the sweep that takes it out."""

    @staticmethod
    def written(store: Store, clocks: Clocks, ms: int) -> int:
        """Bytes of the batches of a sweep."""
        sizes = []
        commit = store.level.commit

        def counted(batch: Any) -> None:
            sizes.append(batch.approximate_size())
            commit(batch)

        store.level.commit = counted  # type: ignore[method-assign]
        try:
            clocks.set(ms, store)
        finally:
            store.level.commit = commit  # type: ignore[method-assign]
        return sum(sizes)

    def test_it_is_swept_and_comes_back(self, store: Store, clocks: Clocks) -> None:
        large = b"v" * 5000
        put(store, b"a", large, 1)
        put(store, b"b", large, 2)
        put(store, b"c", large, 3)
        store.sync_point()
        put(store, b"d", large, 3)
        assert self.written(store, clocks, 2) < 1000
        check_store(store)
        check_shown(store)
        assert sorted(contents(store)) == [b"c", b"d"] and store.counters().swept == 2
        assert 5000 < self.written(store, clocks, 3) < 6000, "d may be lost by a power cut"
        check_store(store)
        assert contents(store) == {} and store.counters().swept == 4
        assert self.written(store, clocks, 0) > 4 * 2 * 5000
        assert contents(store) == dict.fromkeys([b"a", b"b", b"c", b"d"], large)
        check_store(store)
        assert self.written(store, clocks, 1) < 1000, "and goes again"
        check_store(store)

    def test_a_row_that_does_not_fit_its_record_is_not_taken_at_its_word(
        self, store: Store, clocks: Clocks
    ) -> None:
        """As a power cut may leave it."""
        put(store, b"k", b"v", 1000)
        store.sync_point()
        stale = keyspace.expiry_key(START_MS + 1, b"k")
        store.db.put(stale, b"")
        store.due.note_row(stale)
        clocks.set(1, store)
        assert contents(store) == {b"k": b"v"} and store.db.get(stale) is None
        check_store(store)

    def test_of_another_origin(self, store: Store, peer: Store, clocks: Clocks) -> None:
        """With gaps in what is known of it: what lies behind one is written again."""
        large = b"v" * 5000
        for index in range(3):
            put(peer, b"%d" % index, large, 1)
        Round(store, peer, KnownSet({peer.origin: [2, 3]})).whole()
        store.sync_point()
        assert 5000 < self.written(store, clocks, 1) < 6000
        assert contents(store) == {} and len(store.versions(b"2")) == 1
        check_store(store)

    def test_a_mend_is_not_on_the_disk_although_its_dots_are_durable(
        self, store: Store, peer: Store, clocks: Clocks
    ) -> None:
        large = b"v" * 5000
        put(store, b"k", large, 1)
        put(store, b"l", large, 1)
        exchange(store, peer)
        for one in (store, peer):
            one.sync_point()
        record = store.record(b"k")
        batch = store.db.write_batch()
        store.remove(batch, b"k", record)
        batch.write()
        Comparison(store, peer, mends_ms=START_MS).run()
        assert store.record(b"k") == record
        check_store(store)
        assert self.written(store, clocks, 1) > 2 * 5000
        clocks.set(0, store)
        store.sync_point()
        assert self.written(store, clocks, 1) < 1000, "now it is"
        check_store(store)


class TestOpening:
    def test_what_expired_while_it_was_down_is_gone_at_once(
        self, place: Place, clocks: Clocks
    ) -> None:
        store = place.open()
        for index in range(SWEEP_BATCH_KEYS * 2):
            put(store, b"%d" % index, b"v", 1000)
        put(store, b"later", b"v", 3000)
        place.close()
        clocks._now[store.level.path] = START_MS + 1000
        store = place.open()
        assert contents(store) == {b"later": b"v"}
        check_store(store)
        assert store.due.next_ms == START_MS + 3000
        place.kill()
        clocks._now[store.level.path] = START_MS + 500
        store = place.open()
        assert len(contents(store)) == SWEEP_BATCH_KEYS * 2 + 1, "the clock is right again"
        check_store(store)

    def test_nothing_to_do_costs_nothing(self, place: Place, clocks: Clocks) -> None:
        store = place.open()
        store.put(b"k", b"v")
        assert store.due.next_ms is None and not store.due.is_now(1 << 62)
        store = place.reopen()
        assert store.due.next_ms is None and not store.due.is_now(1 << 62)


class TestReplicated:
    def test_it_is_sent_as_any_other_before_and_after(
        self, store: Store, peer: Store, third: Store, clocks: Clocks
    ) -> None:
        put(store, b"k", b"v", 1000)
        exchange(store, peer)
        assert contents(peer) == {b"k": b"v"}
        clocks.set(1000, store, peer, third)
        assert contents(store) == contents(peer) == contents(third) == {}
        exchange(store, peer, third)
        for one in (store, peer, third):
            assert one.record(b"k") == store.record(b"k")
            assert contents(one) == {}
            check_store(one)
        clocks.set(0, third)
        assert contents(third) == {b"k": b"v"}
        check_store(third)

    def test_a_full_state_round_and_a_scan_send_what_was_swept(
        self, store: Store, peer: Store, clocks: Clocks
    ) -> None:
        put(store, b"a", b"1", 1000)
        put(store, b"b", b"2", 9000)
        store.put(b"c", b"3")
        clocks.set(1000, store)
        list(FullRound(peer, store).steps())
        assert peer.record(b"a") == store.record(b"a")
        assert contents(peer) == {b"a": b"1", b"b": b"2", b"c": b"3"}, "by its own clock"
        check_store(peer)

    def test_an_expired_winner_hides_the_losers(
        self, store: Store, peer: Store, clocks: Clocks
    ) -> None:
        store.put(b"k", b"loser")
        peer.put(b"k", b"x")
        put(peer, b"k", b"winner", 1000)
        exchange(store, peer)
        assert contents(store) == contents(peer) == {b"k": b"winner"}
        for one in (store, peer):
            check_store(one)
            clocks.set(1000, one)
            assert contents(one) == {}
            assert len(one.versions(b"k")) == 2
            check_store(one)
            check_shown(one)
        clocks.set(0, store)
        assert contents(store) == {b"k": b"winner"}

    def test_an_expired_loser_changes_nothing(
        self, store: Store, peer: Store, clocks: Clocks
    ) -> None:
        put(store, b"k", b"loser", 1000)
        peer.put(b"k", b"x")
        peer.put(b"k", b"winner")
        exchange(store, peer)
        clocks.set(5000, store, peer)
        for one in (store, peer):
            assert contents(one) == {b"k": b"winner"}
            check_store(one)

    def test_a_write_that_saw_the_winner_only_brings_up_the_loser_as_a_sibling(
        self, store: Store, peer: Store, clocks: Clocks
    ) -> None:
        store.put(b"k", b"loser")
        peer.put(b"k", b"x")
        put(peer, b"k", b"winner", 1000)
        exchange(store, peer)
        clocks.set(1000, store)
        store.put_with(b"k", None, seen=live(peer, b"k") - {(store.origin, 1)})
        assert {one.value for one in store.versions(b"k")} == {b"loser", None}
        check_store(store)

    def test_a_merge_at_a_node_whose_clock_is_ahead(
        self, store: Store, peer: Store, clocks: Clocks
    ) -> None:
        """An expired winner arrives, or a winner that hides what was shown."""
        store.put(b"k", b"shown so far")
        peer.put(b"k", b"x")
        put(peer, b"k", b"winner", 1000)
        clocks.set(1000, store)
        Round(store, peer).whole()
        assert contents(store) == {}
        check_store(store)
        check_shown(store)

    @pytest.mark.parametrize("swept", [False, True])
    def test_digests_are_equal_whatever_is_shown(
        self, store: Store, peer: Store, clocks: Clocks, swept: bool
    ) -> None:
        put(store, b"k", b"v", 1000)
        store.put(b"l", b"v")
        exchange(store, peer)
        clocks.set(1000 if swept else 0, store)
        for moment in (0, START_MS + 999, START_MS + 1000):
            assert store.digest(moment) == peer.digest(moment)
        assert store.digest(START_MS + 999) != store.digest(START_MS + 1000)

    def test_expiries_travel_in_chunks_made_by_hand(self, store: Store, clocks: Clocks) -> None:
        """Beyond 63 bits, and on a delete: no peer of ours sends that; it never comes."""
        odd = replace(version(b"v", A, 1, key=b"a"), expiry_ms=1 << 63)
        gone = replace(version(None, B, 1, key=b"b"), expiry_ms=5)
        store.apply(
            chunk_of((b"a", Record((odd,), {A: 1})), (b"b", Record((gone,), {B: 1}))),
            KnownSet.of((A, 1), (B, 1)),
        )
        check_store(store)
        assert contents(store) == {b"a": b"v"} and store.due.next_ms is None
        store.put(b"a", b"w")
        store.put(b"b", b"w")
        check_store(store)


def both(a: Version, b: Version) -> bytes:
    """A resolver that merges."""
    return b"+".join(sorted({a.value or b"", b.value or b""}))


class TestMerged:
    @pytest.fixture
    def merging(self, directory: Path, clocks: Clocks) -> Iterator[Store]:
        with Place(directory / "merging", settings=patient(), resolver=both) as store:
            yield store

    def test_it_expires_with_the_last_of_its_parts(
        self, merging: Store, peer: Store, clocks: Clocks
    ) -> None:
        put(merging, b"k", b"a", 1000)
        put(peer, b"k", b"b", 2000)
        exchange(merging, peer)
        assert contents(merging) == {b"k": b"a+b"}
        assert merging.remaining_ms(b"k") == 2000
        check_store(merging)
        for ms in (1000, 1999):
            clocks.set(ms, merging)
            assert contents(merging) == {b"k": b"a+b"}
            check_store(merging)
        clocks.set(2000, merging)
        assert contents(merging) == {} and merging.remaining_ms(b"k") == 0
        check_store(merging)
        clocks.set(0, merging)
        assert contents(merging) == {b"k": b"a+b"}
        merging.put(b"k", b"c")
        check_store(merging)

    def test_it_never_expires_where_a_part_does_not(
        self, merging: Store, peer: Store, clocks: Clocks
    ) -> None:
        put(merging, b"k", b"a", 1000)
        peer.put(b"k", b"b")
        exchange(merging, peer)
        clocks.set(1000, merging)
        assert contents(merging) == {b"k": b"a+b"} and merging.remaining_ms(b"k") is None
        assert merging.set_expiry(b"k", START_MS + 3000)
        clocks.set(3000, merging)
        assert contents(merging) == {}
        check_store(merging)

    def test_a_write_while_the_resolver_is_asked(
        self, merging: Store, peer: Store, clocks: Clocks
    ) -> None:
        """What was resolved is out of date: the next pass looks again."""
        put(merging, b"k", b"a", 1000)
        put(peer, b"k", b"b", 1000)
        exchange(merging, peer)
        resolve = merging.settler.resolve

        def interrupted(versions: list[Version]) -> object:
            merging.settler.resolve = resolve  # type: ignore[method-assign]
            put(merging, b"k", b"newer", 500)
            return resolve(versions)

        clocks.set(1000, merging)
        assert contents(merging) == {}
        merging.settler.resolve = interrupted  # type: ignore[method-assign,assignment]
        clocks.set(0, merging)
        assert contents(merging) == {b"k": b"newer"}
        check_store(merging)

    def test_a_visit_without_the_resolver_leaves_a_merged_value(
        self, directory: Path, peer: Store, clocks: Clocks
    ) -> None:
        """Until all parts have expired: then it shows nothing, whoever settles it."""
        place = Place(directory / "visited", settings=patient(), resolver=both)
        store = place.open()
        put(store, b"k", b"a", 1000)
        put(peer, b"k", b"b", 2000)
        exchange(store, peer)
        place.close()
        place.options = {"settings": patient(), "visiting": True}
        for ms, shown in ((1500, {b"k": b"a+b"}), (2000, {}), (1500, {})):
            clocks._now[store.level.path] = START_MS + ms
            visited = place.open()
            assert visited.revisit.is_foreign
            assert contents(visited) == shown
            place.close()
        place.options = {"settings": patient(), "resolver": both}
        store = place.open()
        assert contents(store) == {b"k": b"a+b"}, "by a clock that was put back"
        check_store(store)
        place.close()


class TestFork:
    def test_what_expires_is_issued_again_with_its_expiry(
        self, store: Store, peer: Store, clocks: Clocks
    ) -> None:
        put(store, b"k", b"v", 1000)
        put(store, b"swept", b"v", 10)
        clocks.set(10, store)
        store.fork()
        check_store(store)
        assert contents(store) == {b"k": b"v"}
        exchange(store, peer)
        clocks.set(1000, store, peer)
        assert contents(store) == contents(peer) == {}
        for one in (store, peer):
            check_store(one)


def test_a_sweep_between_a_plan_and_its_commit(
    store: Store, peer: Store, clocks: Clocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has looked and found nothing: the commit says again when to look."""
    put(peer, b"k", b"v", 1000)
    original = Plan.commit

    def late(plan: Plan, *arguments: Any) -> list[bytes]:
        store.due.restart()  # what a pass does that finds no rows
        return original(plan, *arguments)

    monkeypatch.setattr(Plan, "commit", late)
    Round(store, peer).whole()
    assert store.due.next_ms == START_MS + 1000
    clocks.set(1000, store)
    assert contents(store) == {}
    check_store(store)


@pytest.mark.parametrize("seed", range(20))
def test_random_clocks(seed: int, directory: Path, clocks: Clocks) -> None:
    """Two stores, clocks that jump, kills: with equal clocks both show the same."""
    chance = random.Random(seed)
    resolver = chance.choice([None, both])
    places = [Place(directory / name, settings=patient(), resolver=resolver) for name in "ab"]
    stores = [place.open() for place in places]
    try:
        for _ in range(60):
            index = chance.randrange(2)
            store = stores[index]
            key = chance.choice([b"a", b"b", b"c"])
            step = chance.randrange(8)
            if step < 3:
                put(store, key, chance.choice([b"x", b"y", b"z"]), chance.randint(-50, 300))
            elif step == 3:
                store.put_with(
                    key,
                    chance.choice([None, b"n"]),
                    seen=[dot for dot in live(store, key) if chance.random() < 0.5],
                )
            elif step == 4:
                Round(store, stores[1 - index]).whole()
            elif step == 5:
                with suppress(UsageError):
                    store.set_expiry(key, chance.choice([None, START_MS + chance.randint(0, 300)]))
                if chance.random() < 0.5:
                    store.sync_point()
            elif step == 6:
                clocks.set(chance.randint(-100, 400), store)
                check_shown(store)
            else:
                places[index].kill() if chance.random() < 0.5 else places[index].close()
                stores[index] = store = places[index].open()
                check_shown(store)
            check_store(store)
        exchange(*stores)
        for ms in (200, 0, 400, 100):
            clocks.set(ms, *stores)
            assert contents(stores[0]) == contents(stores[1])
            for store in stores:
                check_store(store)
                check_shown(store)
    finally:
        for place in places:
            place.close()
