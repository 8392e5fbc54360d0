"""Stores compared range by range, and digests taken in steps (R9, R16)."""

from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

from replicator.config import COMPARE_BYTES, COMPARE_KEYS, COMPARE_KEYS_MAX, COMPARE_RANGES_MAX
from replicator.core.chunk import Chunk
from replicator.core.compare import (
    EQUAL,
    RECORDS,
    SPLIT,
    Key,
    Part,
    Piece,
    Stretch,
)
from replicator.core.dots import Dot
from replicator.core.known import KnownSet
from replicator.core.record import Record, Version
from replicator.errors import ClosedError, ForkedContentsError, ProtocolError
from replicator.store import apply as apply_module
from replicator.store import watching
from replicator.store.apply import Applier
from replicator.store.keyspace import MEMBER, META, ORIGIN, ROOT
from replicator.store.plan import Plan
from replicator.store.store import Store

from .checker import check_store
from .chunks import A, B, chunk_of
from .places import Place, contents, live, patient
from .rounds import collect, exchange

ALL = Stretch(None, None, COMPARE_KEYS)


class Comparison:
    """A round that compares, as a conversation drives it; nothing on the way but lists."""

    def __init__(self, target: Store, source: Store, mends_ms: int | None = None) -> None:
        self.target = target
        self.mends_ms = mends_ms
        self.source = source.open_source()
        source.show(self.source.known.highest(source.origin))
        self.records = 0
        self.ranges = 0

    def run(self, step: int = COMPARE_KEYS) -> "Comparison":
        todo: tuple[Stretch, ...] = (Stretch(None, None, step),)
        for _ in count():
            if not todo:
                break
            parts, left = self.target.watching.scan(todo, self.mends_ms)
            todo = (*self.judge(parts), *left)
        known, floor = self.source.known, self.source.floor
        if self.mends_ms is None:
            self.target.finish(Chunk(), known, known, floor)
        self.source.close()
        return self

    def judge(self, parts: tuple[Part, ...]) -> list[Stretch]:
        """Apply what differs; what is to be split comes back."""
        asked: list[tuple[Key, Key, int]] = []
        for part in parts:
            after = part.after
            for one in part.ranges:
                asked.append((after, one.upto, one.count))
                after = one.upto
        self.ranges += len(asked)
        splits: list[Stretch] = []
        run: list[Key] = []
        chunks: list[Chunk] = []

        def close_run() -> None:
            if run:
                self._apply(run[0], run[1], chunks)
                run.clear()
                chunks.clear()

        for item in self.source.answer(parts, self.mends_ms):
            if isinstance(item, Chunk):
                chunks.append(item)
                self.records += len(item)
                continue
            close_run()
            for verdict in item:
                after, upto, size = asked.pop(0)
                if verdict == SPLIT:
                    splits.append(Stretch(after, upto, max(1, size // 16)))
                elif verdict == RECORDS:
                    run[:] = [run[0] if run else after, upto]
                else:
                    assert verdict == EQUAL
        close_run()
        assert not asked
        return splits

    def _apply(self, after: Key, upto: Key, chunks: list[Chunk]) -> None:
        pieces = []
        for chunk in chunks[:-1]:
            pieces.append(Piece(chunk, after, chunk.keys[-1]))
            after = chunk.keys[-1]
        pieces.append(Piece(chunks[-1] if chunks else Chunk(), after, upto))
        known, floor = self.source.known, self.source.floor
        self.target.apply_ranges(pieces, known, floor, mends_ms=self.mends_ms)


def fill(store: Store, keys: int) -> None:
    store.write([(b"key%05d" % number, b"v" * 20) for number in range(keys)])


class TestScan:
    """`Watching.scan`"""

    def test_ranges_cover_every_key_once_and_no_message_is_too_large(self, store: Store) -> None:
        fill(store, 3000)
        store.write([(b"long%04d" % number + b"x" * 2000, b"") for number in range(300)])
        todo: tuple[Stretch, ...] = (Stretch(None, None, 7),)
        place: Key = None
        found = messages = 0
        while todo:
            (part,), todo = store.watching.scan(todo)
            assert part.after == place
            assert len(part.ranges) <= COMPARE_RANGES_MAX
            assert sum(one.count for one in part.ranges) <= COMPARE_KEYS_MAX + 7
            bounds = [one.upto or b"" for one in part.ranges]
            assert sum(map(len, bounds)) <= COMPARE_BYTES + 2010
            assert all(len(bound) < 20 for bound in bounds), "bounds are no longer than they must"
            place = part.ranges[-1].upto
            found += sum(one.count for one in part.ranges)
            messages += 1
        assert place is None
        assert found == 3300
        assert messages >= 3300 // 7 // COMPARE_RANGES_MAX

    def test_an_empty_store_is_one_empty_range(self, store: Store) -> None:
        (part,), left = store.watching.scan([ALL])
        assert (part.after, left) == (None, ())
        assert [(one.upto, one.count) for one in part.ranges] == [(None, 0)]

    def test_several_stretches_at_once(self, store: Store) -> None:
        fill(store, 100)
        stretches = [Stretch(b"key00010", b"key00020", 5), Stretch(b"key00050", None, 25)]
        parts, left = store.watching.scan(stretches)
        assert left == ()
        assert [part.after for part in parts] == [b"key00010", b"key00050"]
        assert [[one.count for one in part.ranges] for part in parts] == [[5, 5], [25, 24]]

    def test_a_closed_store_says_so(self, store: Store) -> None:
        store.close()
        with pytest.raises(ClosedError):
            store.watching.scan([ALL])
        with pytest.raises(ClosedError):
            store.watching.digest(0)


class TestComparison:
    """Full-state rounds range by range (R9)."""

    def test_equal_stores_send_nothing(self, store: Store, peer: Store) -> None:
        fill(peer, 2000)
        exchange(store, peer)
        comparison = Comparison(store, peer).run(100)
        assert comparison.records == 0
        assert comparison.ranges == 20

    def test_few_differences_cost_few_records(self, store: Store, peer: Store) -> None:
        fill(peer, 2000)
        exchange(store, peer)
        peer.put(b"key00700", b"theirs")
        peer.delete(b"key01700")
        store.put(b"key00007", b"ours")
        store.put(b"new", b"ours")
        comparison = Comparison(store, peer).run()
        assert 2 <= comparison.records <= 4 * 16
        expected = {b"key%05d" % number: b"v" * 20 for number in range(2000)}
        expected |= {b"key00700": b"theirs", b"key00007": b"ours", b"new": b"ours"}
        del expected[b"key01700"]
        assert contents(store) == expected
        assert store.known().issuperset(peer.known())
        check_store(store)

    def test_absence_counts_in_the_ranges_that_differ(self, store: Store, peer: Store) -> None:
        """The peer knows keys of which it holds nothing any more: they go here."""
        fill(peer, 1000)
        exchange(store, peer)
        for number in (0, 500, 501, 999):
            key = b"key%05d" % number
            batch = peer.db.write_batch()
            peer.remove(batch, key, peer.record(key))
            batch.write()
        Comparison(store, peer).run()
        assert len(contents(store)) == 996
        assert contents(store) == contents(peer)
        check_store(store)

    def test_who_has_nothing_is_sent_everything(self, store: Store, peer: Store) -> None:
        fill(peer, 3000)
        comparison = Comparison(store, peer).run()
        assert (comparison.ranges, comparison.records) == (1, 3000)
        assert contents(store) == contents(peer)
        check_store(store)

    def test_a_cut_round_begins_again_cheaply(self, store: Store, peer: Store) -> None:
        fill(peer, 2000)
        exchange(store, peer)
        peer.write([(b"key%05d" % number, b"new") for number in range(0, 2000, 10)])
        cut = Comparison(store, peer)
        parts, _ = store.watching.scan([Stretch(None, b"key00999", 50)])
        todo = cut.judge(parts)
        while todo:
            parts, left = store.watching.scan(todo)
            todo = [*cut.judge(parts), *left]
        cut.source.close()
        assert store.unexplained
        again = Comparison(store, peer).run(50)
        assert again.records <= cut.records * 1.5, "what was mended is equal now"
        assert not store.unexplained
        assert contents(store) == contents(peer)
        check_store(store)

    def test_a_cut_round_is_remembered(self, store: Store, peer: Store) -> None:
        peer.put(b"k", b"v")
        cut = Comparison(store, peer)
        parts, _ = store.watching.scan([ALL])
        cut.judge(parts)
        cut.source.close()
        scan = store.watching.digest(0)
        assert not scan.is_settled
        scan.close()
        Comparison(store, peer).run()
        scan = store.watching.digest(0)
        assert scan.is_settled
        scan.close()


class TestFresh:
    """Records of ranges of which this store holds nothing: written without making them first."""

    def test_it_comes_to_the_same(
        self,
        store: Store,
        peer: Store,
        third: Store,
        directory: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Puts, deletes, siblings, expiries, several origins; contexts above and below a floor."""
        fill(peer, 60)
        third.write([(b"third%03d" % number, b"w") for number in range(60)])
        for number in range(0, 60, 7):
            peer.put(b"both%03d" % number, b"peer")
            third.put(b"both%03d" % number, b"third")
        exchange(peer, third)
        peer.write([(b"key%05d" % number, None) for number in range(0, 60, 5)])
        peer.write([(b"expires", b"v")], expiries={b"expires": 1 << 42})
        third.put(b"key00007", b"over the peer's")
        exchange(peer, third)
        peer.delete(b"third011")
        collect(peer, b"third011")
        peer.delete(b"key00005")
        collect(peer, b"key00005")
        assert len(peer.floor) == 2
        Comparison(store, peer).run()
        monkeypatch.setattr(apply_module, "FRESH_RECORDS_MIN", 10**9)
        place = Place(directory / "another", settings=patient())
        another = place.open()
        Comparison(another, peer).run()
        keys = {*contents(peer), *(b"key%05d" % number for number in range(60))}
        for key in keys:
            assert store.record(key) == another.record(key)
            if store.record(key).versions:
                assert store.record(key).context.keys() >= peer.floor.keys()
        assert rows_of(store) == rows_of(another)
        assert store.known() == another.known() == peer.known()
        for one in (store, another):
            check_store(one)
            assert one.digest(0) == peer.digest(0)
        place.close()

    def test_a_local_write_in_between_is_merged_with(
        self, store: Store, peer: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fill(peer, 40)
        store.delete(b"a first write")
        collect(store, b"a first write")
        plan = Applier._plan_fresh

        def write_first(self: Applier, *arguments: Any) -> Plan:
            if not store.record(b"key00005").versions:
                store.put(b"key00005", b"ours")
                store.put(b"key00005 and more", b"ours")
            return plan(self, *arguments)

        monkeypatch.setattr(Applier, "_plan_fresh", write_first)
        Comparison(store, peer).run()
        assert len(store.versions(b"key00005")) == 2
        assert store.db.get(b"key00005 and more") == b"ours"
        assert len(contents(store)) == 41
        check_store(store)

    def test_records_outside_of_their_range_are_refused(self, store: Store, peer: Store) -> None:
        fill(peer, 40)
        source = peer.open_source()
        (chunk,) = source.read_all()
        source.close()
        for bounds in ((b"key00000", None), (None, b"key00038")):
            with pytest.raises(ProtocolError, match="outside of its stretch"):
                store.apply_ranges([Piece(chunk, *bounds)], KnownSet(), {})
        assert contents(store) == {}


def rows_of(store: Store) -> dict[bytes, bytes]:
    """What is on the disk, but for what tells one store from another."""
    own = (MEMBER, META, ORIGIN, ROOT)
    return {key: row for key, row in store.db if not key.startswith(own)}


def damage(store: Store, key: bytes) -> None:
    """Remove a record behind the store's back; what is known stays."""
    batch = store.db.write_batch()
    store.remove(batch, key, store.record(key))
    batch.write()


class TestMending:
    """R16: contexts alone."""

    def test_what_one_side_lost_comes_back(self, store: Store, peer: Store) -> None:
        fill(peer, 500)
        exchange(store, peer)
        damage(store, b"key00123")
        damage(peer, b"key00321")
        before = store.known()
        comparison = Comparison(store, peer, mends_ms=0).run()
        assert comparison.records < 100
        Comparison(peer, store, mends_ms=0).run()
        assert len(contents(store)) == 500
        assert store.digest(0) == peer.digest(0)
        assert store.known() == before
        check_store(store)
        check_store(peer)

    def test_what_was_superseded_goes(self, store: Store, peer: Store) -> None:
        """An older state of a key, brought back by a disk."""
        peer.put(b"k", b"old")
        exchange(store, peer)
        old = store.record(b"k")
        peer.put(b"k", b"new")
        exchange(store, peer)
        batch = store.db.write_batch()
        newer = store.record(b"k")
        store.install(batch, b"k", newer, old, store.settler.resolve(old.versions))
        batch.write()
        assert store.db.get(b"k") == b"old"
        Comparison(peer, store, mends_ms=0).run()
        assert contents(peer) == {b"k": b"new"}
        Comparison(store, peer, mends_ms=0).run()
        assert contents(store) == {b"k": b"new"}
        check_store(store)

    def test_a_delete_still_wins_over_what_it_has_seen(self, store: Store, peer: Store) -> None:
        peer.put(b"k", b"old")
        exchange(store, peer)
        old = store.record(b"k")
        peer.delete(b"k")
        exchange(store, peer)
        batch = store.db.write_batch()
        store.install(batch, b"k", store.record(b"k"), old, store.settler.resolve(old.versions))
        batch.write()
        Comparison(store, peer, mends_ms=0).run()
        assert contents(store) == {}
        assert store.digest(0) == peer.digest(0)

    def test_deletes_and_what_is_over_are_left_alone(self, store: Store) -> None:
        """R16: neither counts in a digest, and one side may have collected it."""
        over = Version(b"over", Dot(A, 1), 0, 1, False, b"v", 500, crc32(b"v"))
        gone = Version(b"gone", Dot(A, 2), 0, 1, True, None)
        for version in (over, gone):
            chunk = chunk_of((version.key, Record((version,), {A: version.dot.seq})))
            piece = Piece(chunk, None, None)
            store.apply_ranges([piece], KnownSet(), {}, mends_ms=500)
            assert live(store, version.key) == set()
        piece = Piece(chunk_of((b"over", Record((over,), {A: 1}))), None, None)
        store.apply_ranges([piece], KnownSet(), {}, mends_ms=499)
        assert live(store, b"over") == {(A, 1)}

    def test_what_nothing_would_be_left_of_is_left_alone(self, store: Store, peer: Store) -> None:
        """Two siblings, each of which one side has lost, and both contexts cover both."""
        one = Version(b"k", Dot(A, 1), 0, 1, False, b"a", None, crc32(b"a"))
        other = Version(b"k", Dot(B, 1), 0, 1, False, b"b", None, crc32(b"b"))
        context = {A: 1, B: 1}
        store.apply(chunk_of((b"k", Record((one,), context))), KnownSet())
        theirs = chunk_of((b"k", Record((other,), context)))
        store.apply_ranges([Piece(theirs, None, None)], KnownSet(), {}, mends_ms=0)
        assert live(store, b"k") == {(A, 1)}

    def test_equal_dots_with_different_contents_are_for_a_person(self, store: Store) -> None:
        """R13: nothing is overwritten."""
        one = Version(b"k", Dot(A, 1), 0, 1, False, b"a", None, crc32(b"a"))
        other = replace(one, value=b"b", checksum=crc32(b"b"))
        store.apply(chunk_of((b"k", Record((one,), {A: 1}))), KnownSet())
        piece = Piece(chunk_of((b"k", Record((other,), {A: 1}))), None, None)
        with pytest.raises(ForkedContentsError):
            store.apply_ranges([piece], KnownSet(), {}, mends_ms=0)
        assert store.db.get(b"k") == b"a"


def digests(store: Store, moment_ms: int) -> set[bytes | None]:
    """All that the steps of a digest return but the first ones."""
    scan = store.watching.digest(moment_ms)
    found: set[bytes | None] = {None}
    while found == {None}:
        found.add(scan.step())
    scan.close()
    return found - {None}


def test_a_digest_in_steps_is_of_its_snapshot(
    store: Store, peer: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(store, 2000)
    store.delete(b"key00003")
    exchange(store, peer)
    (whole,) = digests(peer, 1000)
    monkeypatch.setattr(watching, "DIGEST_STEP_ROWS", 512)
    scan = store.watching.digest(1000)
    store.put(b"later", b"is not in the snapshot any more")
    steps = 0
    while (digest := scan.step()) is None:
        steps += 1
    scan.close()
    assert steps >= 3
    assert scan.known.highest(store.origin) == 2001
    assert digest == whole
    store.delete(b"later")
    assert digests(store, 1000) == {whole}, "deletes are no part of it"
    store.put(b"later", b"is")
    assert digests(store, 1000) != {whole}
