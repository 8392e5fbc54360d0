"""R8: what may go goes, in steps of bounded size; what somebody may still need stays."""

import random
from pathlib import Path
from typing import Any

import pytest

from replicator.core import rows
from replicator.core.dots import Dot
from replicator.core.known import KnownSet
from replicator.core.members import Watermark
from replicator.core.record import Record, Version
from replicator.errors import CommitError
from replicator.store import collect as collect_module
from replicator.store.keyspace import INDEX
from replicator.store.store import Store

from .checker import Rows, check_store
from .chunks import A, B, chunk_of, single, version
from .places import Failing, Place, contents, live, memory, patient
from .power import Power
from .rounds import FullRound, exchange, pull

NEVER = 10**15
"""A wall clock far in the future."""


def at_rest(*stores: Store, said_ms: int = 0) -> Watermark:
    """The watermark of a cluster of these, everything synced and acknowledged."""
    for store in stores:
        store.sync_point()
    return Watermark.of([store.durable_known() for store in stores], said_ms=said_ms)


def sweep(store: Store, watermark: Watermark) -> tuple[int, int]:
    """A pass. Returns the records dropped and the contexts shrunk."""
    dropped = shrunk = 0
    last = None
    while True:
        step = store.collect(watermark, store.origin, last)
        dropped += step.dropped
        shrunk += step.shrunk
        last = step.last
        if last is None:
            return dropped, shrunk


def rows_of_keys(store: Store) -> dict[bytes, bytes]:
    """All rows that belong to one key or another."""
    reserved = b"\xff\xff\xff\xff"
    return {key: row for key, row in store.db if key < reserved or key[4] in b"ilvx"}


def merges(a: Version, b: Version) -> bytes:
    return b"+".join(sorted((a.value or b"", b.value or b"")))


class TestDropping:
    def test_a_tombstone_that_everybody_has_goes_without_a_trace(
        self, store: Store, place: Place
    ) -> None:
        store.put(b"k", b"v")
        store.put(b"stays", b"v")
        store.delete(b"k")
        assert sweep(store, at_rest(store)) == (1, 0)
        assert set(Rows(store).by_tag["i"]) == {b"stays"}
        assert contents(store) == {b"stays": b"v"}
        assert store.floor == {store.origin: 3}
        assert store.counters().tombstones_collected == 1
        check_store(store)
        before = memory(store)
        again = place.reopen()
        assert memory(again) == before
        again.put(b"k", b"later")
        assert live(again, b"k") == {(again.origin, 4)}
        check_store(again)

    def test_the_newest_own_seq_is_not_used_again(self, store: Store, place: Place) -> None:
        store.delete(b"k")
        sweep(store, at_rest(store))
        store = place.reopen()
        store.put(b"k", b"v")
        assert live(store, b"k") == {(store.origin, 2)}

    def test_what_a_member_lacks_stays(self, store: Store, peer: Store) -> None:
        store.put(b"k", b"v")
        exchange(store, peer)
        late = at_rest(store, peer)
        store.delete(b"k")
        store.sync_point()
        step = store.collect(late, store.origin, None)
        assert (step.dropped, step.tombstones) == (0, 1)
        exchange(store, peer)
        assert sweep(store, late) == (0, 0)
        assert sweep(store, at_rest(store, peer)) == (1, 0)
        assert sweep(peer, at_rest(store, peer)) == (1, 0)
        check_store(store)
        check_store(peer)

    def test_a_tombstone_over_what_a_member_lacks_stays(self, store: Store) -> None:
        """Its dot lies under the watermark, what it supersedes does not."""
        record = Record((version(None, A, 1),), {A: 1, B: 3})
        known = KnownSet({A: [1, 2], B: [1, 4]})
        store.finish(chunk_of((b"k", record)), known, known, {})
        store.sync_point()
        lacking = KnownSet({A: [1, 2], B: [1, 3]})
        assert sweep(store, Watermark.of([store.durable_known(), lacking])) == (0, 0)
        assert sweep(store, at_rest(store)) == (1, 0)
        assert store.floor == {A: 1, B: 3}

    def test_a_watermark_is_of_no_use_before_what_it_was_taken_from_is_known(
        self, store: Store, peer: Store
    ) -> None:
        store.delete(b"k")
        exchange(store, peer)
        peer.put(b"other", b"of which the store does not know yet")
        early = at_rest(store, peer)
        assert sweep(store, early) == (0, 0)
        pull(store, peer)
        assert sweep(store, early) == (1, 0)

    def test_a_fork_makes_a_watermark_void(self, store: Store) -> None:
        store.delete(b"k")
        watermark, origin = at_rest(store), store.origin
        store.fork()
        assert store.collect(watermark, origin, None).last is None
        assert live(store, b"k")

    def test_a_tombstone_beside_a_live_put_stays(self, store: Store) -> None:
        record = Record((version(None, A, 1), version(b"v", B, 1)), {A: 1, B: 1})
        known = KnownSet({A: [1, 2], B: [1, 2]})
        store.finish(chunk_of((b"k", record)), known, known, {})
        assert sweep(store, at_rest(store)) == (0, 0)
        assert live(store, b"k") == {(A, 1), (B, 1)}

    def test_several_deletes_of_one_key_go_together(self, store: Store) -> None:
        record = Record((version(None, A, 1), version(None, B, 2)), {A: 1, B: 2})
        known = KnownSet({A: [1, 2], B: [1, 3]})
        store.finish(chunk_of((b"k", record)), known, known, {})
        assert sweep(store, at_rest(store)) == (1, 0)
        assert store.floor == {A: 1, B: 2}
        assert not Rows(store).by_tag["l"]
        check_store(store)

    @pytest.mark.parametrize(("said_ms", "dropped"), [(1000, 0), (1001, 1)])
    def test_an_expired_put_counts_as_deleted_once_all_clocks_are_past_it(
        self, store: Store, said_ms: int, dropped: int
    ) -> None:
        """R17."""
        one = Version(b"k", Dot(A, 1), 0, 1, False, b"", 1000, 0)
        known = KnownSet({A: [1, 2]})
        store.finish(chunk_of((b"k", Record((one,), {A: 1}))), known, known, {})
        assert sweep(store, at_rest(store, said_ms=said_ms)) == (dropped, 0)
        assert bool(live(store, b"k")) is not bool(dropped)
        assert not (dropped and Rows(store).by_tag["x"])

    def test_a_put_without_an_expiry_beside_an_expired_one_stays(self, store: Store) -> None:
        expired = Version(b"k", Dot(A, 1), 0, 1, False, b"", 1000, 0)
        record = Record((expired, version(b"v", B, 1)), {A: 1, B: 1})
        known = KnownSet({A: [1, 2], B: [1, 2]})
        store.finish(chunk_of((b"k", record)), known, known, {})
        assert sweep(store, at_rest(store, said_ms=NEVER)) == (0, 0)

    def test_a_local_write_that_comes_before_the_commit(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        record = Record((version(None, A, 1, key=b"w"),), {A: 1, B: 1})
        known = KnownSet({A: [1, 2], B: [1, 2]})
        store.finish(chunk_of((b"w", record)), known, known, {})
        store.delete(b"k")
        watermark = at_rest(store)
        monkeypatch.setattr(
            store._collector._pace,
            "give_way",
            lambda _: store.write([(b"k", b"back"), (b"w", b"back")]),
        )
        assert sweep(store, watermark) == (0, 0)
        assert contents(store) == {b"k": b"back", b"w": b"back"}
        check_store(store)

    def test_a_store_in_a_prefix(self, directory: Path) -> None:
        with Place(directory / "p", prefix=b"of us ", settings=patient()) as store:
            store.put(b"k", b"v")
            store.delete(b"k")
            store.put(b"l", b"v")
            assert sweep(store, at_rest(store)) == (1, 0)
            check_store(store)
            assert contents(store) == {b"l": b"v"}


class TestShrinking:
    def test_a_context_shrinks_to_the_live_dots(self, store: Store, peer: Store) -> None:
        peer.put(b"k", b"theirs")
        pull(store, peer)
        store.put(b"k", b"ours")
        exchange(store, peer)
        assert len(store.record(b"k").context) == 2
        assert sweep(store, at_rest(store, peer)) == (0, 1)
        assert store.record(b"k").context == {store.origin: 1}
        assert store.db.get(INDEX + b"k")[0] == rows.SINGLE  # type: ignore[index]
        assert store.floor == {peer.origin: 1}
        assert store.counters().contexts_shrunk == 1
        assert sweep(store, at_rest(store, peer)) == (0, 0)
        check_store(store)

    def test_siblings_keep_their_values_and_what_the_key_shows(self, directory: Path) -> None:
        with Place(directory / "m", resolver=merges, settings=patient()) as store:
            record = Record((version(b"a", A, 2), version(b"b", B, 2)), {A: 2, B: 2, 0xC: 1})
            known = KnownSet({A: [1, 3], B: [1, 3], 0xC: [1, 2]})
            store.finish(chunk_of((b"k", record)), known, known, {})
            assert contents(store) == {b"k": b"a+b"}
            assert sweep(store, at_rest(store)) == (0, 1)
            assert contents(store) == {b"k": b"a+b"}
            assert store.record(b"k").context == {A: 2, B: 2}
            check_store(store)

    def test_two_writes_of_one_origin_side_by_side(self, store: Store) -> None:
        record = Record((version(b"a", A, 2), version(b"b", A, 5)), {A: 7, B: 1})
        known = KnownSet({A: [1, 8], B: [1, 2]})
        store.finish(chunk_of((b"k", record)), known, known, {})
        assert sweep(store, at_rest(store)) == (0, 1)
        assert store.record(b"k").context == {A: 5}
        assert live(store, b"k") == {(A, 2), (A, 5)}
        check_store(store)

    def test_the_batch_is_whole_for_its_key(self, store: Store) -> None:
        """R11: a power cut may lose the batch before and keep this one."""
        record = Record((version(b"a", A, 2), version(b"b", B, 2)), {A: 2, B: 2, 0xC: 1})
        known = KnownSet({A: [1, 3], B: [1, 3], 0xC: [1, 2]})
        store.finish(chunk_of((b"k", record)), known, known, {})
        watermark = at_rest(store)
        written: list[Any] = []
        commit = store.level.commit
        store.level.commit = lambda batch: (written.append(batch), commit(batch))[1]  # type: ignore
        sweep(store, watermark)
        before = rows_of_keys(store)
        for key in before:
            store.db.delete(key)
        (batch,) = written
        batch.write()
        assert rows_of_keys(store) == before


class TestSteps:
    def test_each_commit_is_bounded(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(collect_module, "COLLECT_RECORDS_MAX", 10)
        monkeypatch.setattr(collect_module, "COLLECT_ROWS_MAX", 25)
        store.write([(b"%03d" % index, b"v") for index in range(100)])
        store.write([(b"%03d" % index, None) for index in range(0, 100, 2)])
        watermark = at_rest(store)
        steps, last = [], None
        while not steps or last is not None:
            steps.append(store.collect(watermark, store.origin, last))
            last = steps[-1].last
        assert max(step.dropped for step in steps) == 10
        assert max(step.rows for step in steps) <= 25
        assert sum(step.dropped for step in steps) == 50
        assert sum(step.rows for step in steps) == 100
        check_store(store)

    def test_wide_records_bound_a_step_too(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(collect_module, "COLLECT_SHRUNK_MAX", 3)
        known = KnownSet({A: [1, 11], B: [1, 2]})
        found = [
            (b"%d" % seq, Record((version(b"v", A, seq, key=b"%d" % seq),), {A: seq, B: 1}))
            for seq in range(1, 11)
        ]
        store.finish(chunk_of(*found), known, known, {})
        watermark = at_rest(store)
        assert store.collect(watermark, store.origin, None).shrunk == 3
        assert sweep(store, watermark) == (0, 7)

    def test_what_stays_is_counted(self, store: Store) -> None:
        store.delete(b"a")
        early = at_rest(store)
        store.delete(b"b")
        record = Record((version(b"v", A, 1),), {A: 1, B: 1})
        known = KnownSet({A: [1, 2], B: [1, 2]})
        store.finish(chunk_of((b"k", record)), known, known, {})
        step = store.collect(early, store.origin, None)
        assert (step.rows, step.dropped, step.tombstones, step.wide) == (3, 1, 1, 1)

    def test_a_delete_that_is_being_committed_is_not_overlooked(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It is noted before its commit, under the lock: so under the lock a pass takes the note
        away before it looks: in between it would not see the delete, nor would anybody later."""
        taken = []

        def note(noted: Store, value: bool) -> None:
            if not value:
                taken.append(noted.level.lock.locked())
            noted.__dict__["is_littered"] = value

        store.delete(b"k")
        is_littered = property(lambda noted: noted.__dict__["is_littered"], note)
        monkeypatch.setattr(Store, "is_littered", is_littered, raising=False)
        assert sweep(store, at_rest(store)) == (1, 0)
        assert taken == [True]

    def test_a_full_disk(self, store: Store) -> None:
        store.put(b"stays", b"v")
        store.delete(b"k")
        watermark = at_rest(store)
        before = memory(store)
        with (
            Failing(store, lambda: CommitError("no space left")),
            pytest.raises(CommitError, match="no space"),
        ):
            sweep(store, watermark)
        assert memory(store) == before
        assert live(store, b"k")
        assert store.counters().tombstones_collected == 0
        assert sweep(store, watermark) == (1, 0)
        check_store(store)


class TestAmongPeers:
    def test_who_was_away_brings_nothing_back(
        self, store: Store, peer: Store, third: Store
    ) -> None:
        """A year-old replica, forgotten by then, comes back: to one that has collected (R9)."""
        store.write([(b"%d" % index, b"v") for index in range(5)])
        exchange(store, peer, third)
        store.write([(b"%d" % index, None) for index in range(4)])
        third.put(b"own", b"written far away")
        exchange(store, peer)
        watermark = at_rest(store, peer)
        assert sweep(store, watermark) == (4, 0)
        exchange(store, third)
        exchange(store, peer, third)
        for one in (store, peer, third):
            assert contents(one) == {b"4": b"v", b"own": b"written far away"}
            check_store(one)

    def test_between_the_pieces_of_a_round(self, store: Store, peer: Store) -> None:
        """A snapshot from before that is still being received denies nothing and revives
        nothing."""
        store.write([(b"%d" % index, b"v") for index in range(5)])
        exchange(store, peer)
        old = FullRound(store, peer)
        store.write([(b"%d" % index, None) for index in range(5)])
        exchange(store, peer)
        assert sweep(store, at_rest(store, peer)) == (5, 0)
        list(old.steps())
        assert contents(store) == {}
        check_store(store)


@pytest.mark.parametrize("seed", range(12))
def test_power_cuts(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Drops survive a power cut, or do not, whatever became of the batches before; nothing that was
    deleted comes back and nothing that was durable is lost."""
    power = Power(monkeypatch)
    chance = random.Random(seed)
    place = Place(tmp_path / "a", leveldb={"write_buffer_size": 1 << 16}, settings=patient())
    store = place.open()
    keys = [b"%d" % index for index in range(40)]
    for number in range(4):
        store.write([(key, chance.randbytes(700)) for key in keys])
        store.write([(key, None) for key in chance.sample(keys, 25)])
        theirs = single(chance.randbytes(3000), A, 7 * number + 1)
        store.apply(chunk_of(theirs), KnownSet())
        watermark = at_rest(store)
        durable = contents(store)
        for key in chance.sample(keys, 5):
            store.put(key, chance.randbytes(2000))
        sweep(store, watermark)
        for key in chance.sample(keys, 5):
            store.put(key, chance.randbytes(2000))
        gone = {key for key in keys if not store.record(key).versions}
        power.cut(place, chance)
        store = place.open()
        check_store(store)
        assert not gone & set(contents(store))
        assert set(durable) <= set(contents(store))
        known = store.known()
        assert all(known.contiguous(origin) >= seq for origin, seq in store.floor.items())
    place.close()
