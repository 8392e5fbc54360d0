"""Applying what a peer sends (R2, R3, R9): local writes in between, contradictions, forks."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

from replicator.config import VALUE_BYTES_MAX
from replicator.core import rows
from replicator.core.chunk import Chunk
from replicator.core.dots import Dot
from replicator.core.known import KnownSet
from replicator.core.record import Record, Version
from replicator.errors import (
    ClosedError,
    CommitError,
    ForkedContentsError,
    ForkError,
    ProtocolError,
)
from replicator.store import apply as apply_module
from replicator.store.apply import Applier
from replicator.store.store import Store

from .checker import check_shown, check_store
from .history import History
from .places import Failing, Place, contents, live, memory, patient, records
from .rounds import FullRound, Round, collect, exchange, join, pull

A, B = 0xAAAA, 0xBBBB


@pytest.fixture
def place(directory: Path) -> Iterator[Place]:
    place = Place(directory / "a", settings=patient())
    yield place
    place.close()


@pytest.fixture
def store(place: Place) -> Store:
    return place.open()


@pytest.fixture
def peer(directory: Path) -> Iterator[Store]:
    with Place(directory / "peer", settings=patient()) as store:
        yield store


@pytest.fixture
def third(directory: Path) -> Iterator[Store]:
    with Place(directory / "third", settings=patient()) as store:
        yield store


def version(
    value: bytes | None,
    origin: int,
    seq: int,
    *,
    clock: int = 0,
    timestamp: int = 1,
    key: bytes = b"k",
) -> Version:
    checksum = 0 if value is None else crc32(value)
    return Version(key, Dot(origin, seq), clock, timestamp, value is None, value, None, checksum)


def chunk_of(*found: tuple[bytes, Record]) -> Chunk:
    """A chunk as a peer would send it; its numbers are not this store's."""
    origins = sorted({origin for _, record in found for origin in record.context})
    numbers = {origin: 1000 + index for index, origin in enumerate(origins)}
    chunk = Chunk(origins={number: origin for origin, number in numbers.items()})
    for key, record in found:
        values = [one.value for one in record.versions if one.value is not None]
        chunk.append(key, rows.pack(record, numbers.__getitem__), values)
    return chunk


def single(value: bytes | None, origin: int, seq: int, key: bytes = b"k") -> tuple[bytes, Record]:
    return key, Record((version(value, origin, seq, key=key),), {origin: seq})


class Between:
    """Does something of a user's between the planning and the commit of an apply."""

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        act: Callable[[], object],
        *,
        when: str = "behind the plan",
    ) -> None:
        self.plans = 0
        for name in ("_plan", "_plan_full"):
            self._wrap(monkeypatch, name, act, when)

    def _wrap(
        self, monkeypatch: pytest.MonkeyPatch, name: str, act: Callable[[], object], when: str
    ) -> None:
        original = getattr(Applier, name)

        def planned(applier: Applier, *args: Any) -> Any:
            self.plans += 1
            first = self.plans == 1
            if first and when == "before the plan":
                act()
            plan = original(applier, *args)
            if first and when == "behind the plan":
                act()
            return plan

        monkeypatch.setattr(Applier, name, planned)


def _rounds() -> list[Callable[[Store, Store], object]]:
    return [
        lambda store, peer: Round(store, peer).whole(),
        lambda store, peer: list(Round(store, peer).steps()),
        lambda store, peer: list(FullRound(store, peer).steps()),
    ]


@pytest.mark.parametrize("one_round", _rounds(), ids=["whole", "chunks", "full"])
@pytest.mark.parametrize("when", ["before the plan", "behind the plan"])
class TestLocalWritesInBetween:
    """R2: the local record is read under the write lock, or looked at again there."""

    @pytest.mark.parametrize("act", ["put", "write", "update", "delete"])
    @pytest.mark.parametrize("before", ["absent", "known to both", "concurrent"])
    def test_of_the_same_key(
        self,
        store: Store,
        peer: Store,
        monkeypatch: pytest.MonkeyPatch,
        one_round: Callable[[Store, Store], object],
        when: str,
        act: str,
        before: str,
    ) -> None:
        history = History()
        history.write(store, [(b"k" if before != "absent" else b"z", b"first")])
        if before == "known to both":
            exchange(store, peer)
        history.write(peer, [(b"k", b"theirs"), (b"x", b"theirs")])
        actions: dict[str, Callable[[], object]] = {
            "put": lambda: store.put(b"k", b"ours"),
            "write": lambda: store.write([(b"k", b"ours"), (b"y", b"ours")]),
            "update": lambda: store.update(b"k", lambda versions: b"ours"),
            "delete": lambda: store.delete(b"k"),
        }

        def write() -> None:
            pasts = {key: history.covered(store, key) for key in (b"k", b"y")}
            actions[act]()
            history.note(store, b"k", pasts[b"k"])
            if act == "write":
                history.note(store, b"y", pasts[b"y"])

        between = Between(monkeypatch, write, when=when)
        one_round(store, peer)
        if when == "behind the plan":
            assert between.plans >= 2, "the plan was not made again"
        check_store(store)
        check_shown(store)
        history.check(store)
        monkeypatch.undo()
        exchange(store, peer)
        history.check_quiet(store, peer)

    def test_of_another_key_is_no_reason_to_plan_again(
        self,
        store: Store,
        peer: Store,
        monkeypatch: pytest.MonkeyPatch,
        one_round: Callable[[Store, Store], object],
        when: str,
    ) -> None:
        store.put(b"k", b"ours")
        peer.put(b"k", b"theirs")
        list(FullRound(peer, store).steps())
        peer.put(b"k", b"again")
        between = Between(monkeypatch, lambda: store.put(b"new", b"ours"), when=when)
        one_round(store, peer)
        assert between.plans <= 3
        assert contents(store)[b"new"] == b"ours"
        check_store(store)


class TestBetweenTwoReads:
    def test_a_local_write_between_index_row_and_value(
        self, store: Store, peer: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Planning reads without the lock: what does not fit together is read again, not called
        damaged."""
        store.put(b"k", b"ours")
        peer.put(b"k", b"theirs")
        load = store.load
        calls = []

        def interrupted(record: Record, get: Any) -> Record:
            calls.append(record)
            if len(calls) == 1:
                store.put(b"k", b"ours again")
            return load(record, get)

        monkeypatch.setattr(store, "load", interrupted)
        Round(store, peer).whole()
        assert len(calls) == 2
        assert {one.value for one in store.versions(b"k")} == {b"ours again", b"theirs"}
        check_store(store)

    def test_a_local_write_whose_commit_is_under_way_when_planning_begins(
        self, store: Store, peer: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It saw nobody plan, and the plan would see nothing of it: planning waits for it."""
        store.put(b"k", b"ours")
        peer.put(b"k", b"theirs")
        one = Round(store, peer)
        store.origins.intern(peer.origin)
        commit, writing, go_on = store.level.commit, threading.Event(), threading.Event()

        def slow(batch: Any) -> None:
            monkeypatch.setattr(store.level, "commit", commit)
            writing.set()
            go_on.wait(0.2)
            commit(batch)

        monkeypatch.setattr(store.level, "commit", slow)
        writer = threading.Thread(target=store.put, args=(b"k", b"ours again"))
        writer.start()
        writing.wait(10)
        plan = Applier._plan

        def planned(applier: Applier, *args: Any) -> Any:
            found = plan(applier, *args)
            go_on.set()
            writer.join(10)
            return found

        monkeypatch.setattr(Applier, "_plan", planned)
        one.whole()
        assert {version.value for version in store.versions(b"k")} == {b"ours again", b"theirs"}
        check_store(store)

    def test_writers_and_rounds_at_the_same_time(
        self, store: Store, peer: Store, third: Store
    ) -> None:
        """Threads: two that write the keys that two others pull, as fast as they can."""
        keys = [b"%d" % index for index in range(12)]
        stop = threading.Event()
        errors: list[BaseException] = []

        def guarded(work: Callable[[], None]) -> threading.Thread:
            def run() -> None:
                try:
                    while not stop.is_set():
                        work()
                except BaseException as error:
                    errors.append(error)

            thread = threading.Thread(target=run)
            thread.start()
            return thread

        counter = iter(range(10**9))

        def write(target: Store) -> Callable[[], None]:
            def work() -> None:
                number = next(counter)
                key = keys[number % len(keys)]
                if number % 5 == 0:
                    target.delete(key)
                elif number % 3 == 0:
                    target.write([(key, b"%d" % number), (keys[0], b"%d" % number)])
                else:
                    target.put(key, b"%d" % number)

            return work

        def pulls(target: Store, source: Store) -> Callable[[], None]:
            def work() -> None:
                if next(counter) % 7 == 0:
                    list(FullRound(target, source).steps())
                else:
                    list(Round(target, source).steps())

            return work

        threads = [
            guarded(write(store)),
            guarded(write(peer)),
            guarded(pulls(store, peer)),
            guarded(pulls(peer, store)),
            guarded(pulls(third, store)),
            guarded(pulls(store, third)),
        ]
        stop.wait(1.0)
        stop.set()
        for thread in threads:
            thread.join(30)
        assert not errors, errors
        for one in (store, peer, third):
            check_store(one)
            check_shown(one)
        exchange(store, peer, third)
        assert store.digest(0) == peer.digest(0) == third.digest(0)
        assert contents(store) == contents(peer) == contents(third)


class TestKnowing:
    """R3."""

    def test_only_live_versions_are_known_before_the_claim(self, store: Store, peer: Store) -> None:
        for _ in range(3):
            peer.put(b"k", b"v")
        peer.put(b"l", b"v")
        one = Round(store, peer)
        chunk = join(one.chunks)
        store.apply(chunk, one.known)
        assert store.known() == KnownSet.of((peer.origin, 3), (peer.origin, 4))
        check_store(store)
        store.finish(Chunk(), one.known, one.known, one.floor)
        assert store.known() == peer.known()
        check_store(store)

    def test_the_floor_rises_with_the_claim_and_only_then(self, store: Store) -> None:
        known = KnownSet({A: [1, 10], B: [1, 3]})
        store.finish(Chunk(), known, None, {A: 5})
        assert store.floor == {}
        store.finish(Chunk(), known, known, {A: 5})
        store.finish(Chunk(), known, known, {A: 3, B: 2})
        assert store.floor == {A: 5, B: 2}
        check_store(store)

    def test_siblings_that_become_one(self, store: Store) -> None:
        """The value of the one that stays is in the user's row alone from then on."""
        first, second = version(b"1", A, 1), version(b"2", B, 1)
        known = KnownSet({A: [1, 2], B: [1, 2]})
        store.apply(chunk_of((b"k", Record((first, second), {A: 1, B: 1}))), known)
        store.apply(chunk_of((b"k", Record((first,), {A: 1, B: 1}))), known)
        assert contents(store) == {b"k": b"1"}
        check_store(store)

    def test_a_failed_commit_is_as_if_nothing_had_come(self, store: Store, peer: Store) -> None:
        store.put(b"k", b"ours")
        peer.put(b"k", b"theirs")
        peer.put(b"l", b"theirs")
        one = Round(store, peer)
        chunk = join(one.chunks)
        store.apply(Chunk(origins=chunk.origins), one.known)  # the origins have numbers now
        before, held = memory(store), records(store)
        with Failing(store, lambda: CommitError("full")), pytest.raises(CommitError):
            store.finish(chunk, one.known, one.known, {peer.origin: 1})
        assert (memory(store), records(store)) == (before, held)
        check_store(store)
        store.finish(chunk, one.known, one.known, one.floor)
        check_store(store)
        assert contents(store)[b"l"] == b"theirs"

    def test_applying_twice_changes_nothing(self, store: Store, peer: Store) -> None:
        store.put(b"k", b"ours")
        peer.write([(b"k", b"theirs"), (b"l", None), (b"m", b"v")])
        one = Round(store, peer)
        chunk = join(one.chunks)
        assert store.finish(chunk, one.known, one.known, {}).changed == 3
        before = memory(store), records(store)
        applied = store.finish(chunk, one.known, one.known, {})
        assert (applied.records, applied.changed, applied.conflicts) == (3, 0, ())
        assert (memory(store), records(store)) == before
        check_store(store)

    def test_the_own_seqs_last_where_a_peer_superseded_the_newest(
        self, store: Store, peer: Store, place: Place
    ) -> None:
        """The log tells no own seq any more: a row does, or the dot would be issued again."""
        store.put(b"k", b"ours")
        exchange(store, peer)
        peer.put(b"k", b"theirs")
        exchange(store, peer)
        place.kill()
        store = place.open()
        assert store.seq == 1
        check_store(store)
        store.put(b"l", b"v")
        assert live(store, b"l") == {(store.origin, 2)}
        check_store(store)

    def test_timestamps_are_adopted_within_bounds(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(apply_module.time, "time_ns", lambda: 10**18)
        near, far = (10**12 + 1000) << 16, (10**12 + 10**9) << 16
        for index, stamp in enumerate((near, far), 1):
            key = b"%d" % index
            record = Record((version(b"v", A, index, timestamp=stamp, key=key),), {A: index})
            store.apply(chunk_of((key, record)), KnownSet({A: [1, index + 1]}))
        assert store.clock.last == near
        assert store.counters().skewed == 1
        check_store(store)

    def test_a_closed_store(self, store: Store, peer: Store, place: Place) -> None:
        peer.put(b"k", b"v")
        one = Round(store, peer)
        chunk = join(one.chunks)
        place.close()
        for refused in (
            lambda: store.apply(chunk, one.known),
            lambda: store.finish(chunk, one.known, one.known, {}),
            lambda: store.apply_full(chunk, one.known, {}, None, None),
        ):
            with pytest.raises(ClosedError):
                refused()


class TestRefusals:
    """What a peer gets wrong: an error of the peer's kind, and the store as it was."""

    @pytest.fixture(autouse=True)
    def _unchanged(self, store: Store) -> Iterator[None]:
        store.put(b"mine", b"v")
        store.apply(chunk_of(single(b"known", A, 1, b"theirs")), KnownSet({A: [1, 2]}))
        store.origins.intern(A, B)
        before = memory(store), records(store)
        yield
        assert (memory(store), records(store)) == before
        check_store(store)

    def _refused(
        self, store: Store, chunk: Chunk, known: KnownSet, match: str | None = None
    ) -> None:
        for refused in (
            lambda: store.apply(chunk, known),
            lambda: store.finish(chunk, known, known, {}),
            lambda: store.apply_full(chunk, known, {}, None, None),
        ):
            with pytest.raises(ProtocolError, match=match):
                refused()

    def test_a_dot_of_two_keys_in_one_chunk(self, store: Store) -> None:
        chunk = chunk_of(single(b"v", A, 2, b"j"), single(b"v", A, 2, b"k"))
        self._refused(store, chunk, KnownSet({A: [1, 3]}), "dot twice")

    def test_a_dot_of_two_keys_in_general_rows(self, store: Store) -> None:
        first, second = version(b"1", A, 2, key=b"j"), version(b"2", B, 1, key=b"j")
        chunk = chunk_of((b"j", Record((first, second), {A: 2, B: 1})), single(b"2", B, 1, b"k"))
        self._refused(store, chunk, KnownSet({A: [1, 3], B: [1, 2]}), "dot twice")

    def test_a_key_twice(self, store: Store) -> None:
        chunk = chunk_of(single(b"v", A, 2), single(b"v", A, 3))
        self._refused(store, chunk, KnownSet({A: [1, 4]}), "twice")

    def test_columns_of_different_lengths(self, store: Store) -> None:
        for spoil in (
            lambda chunk: chunk.rows.pop(),
            lambda chunk: chunk.keys.pop(),
            lambda chunk: chunk.values.pop(),
            lambda chunk: chunk.values.append(b"more"),
            lambda chunk: chunk.rows.append(chunk.rows[0]),
        ):
            chunk = chunk_of(single(b"v", A, 2, b"j"), single(b"v", A, 3, b"k"))
            spoil(chunk)
            self._refused(store, chunk, KnownSet({A: [1, 4]}))

    @pytest.mark.parametrize("key", [b"\xff\xff\xff\xffmformat", b"k" * ((1 << 20) + 1)])
    def test_a_reserved_or_large_key(self, store: Store, key: bytes) -> None:
        self._refused(store, chunk_of(single(b"v", A, 2, key)), KnownSet({A: [1, 3]}), "reserved")

    def test_a_large_value(self, store: Store) -> None:
        chunk = chunk_of(single(bytes(VALUE_BYTES_MAX + 1), A, 2))
        self._refused(store, chunk, KnownSet({A: [1, 3]}))

    def test_a_damaged_value(self, store: Store) -> None:
        for record in (
            single(b"v", A, 2),
            (b"k", Record((version(b"v", A, 2),), {A: 2, B: 7})),
        ):
            chunk = chunk_of(record)
            chunk.values[0] = b"w"
            self._refused(store, chunk, KnownSet({A: [1, 3], B: [1, 8]}), "damaged")

    def test_an_origin_that_no_table_explains(self, store: Store) -> None:
        chunk = chunk_of(single(b"v", A, 2))
        chunk.origins = {7: B}
        self._refused(store, chunk, KnownSet({A: [1, 3]}))

    @pytest.mark.parametrize(
        ("seq", "clock", "timestamp", "flags"),
        [
            (0, 0, 0, 0),
            (2**63, 0, 0, 0),
            (2, 2**63, 0, 0),
            (2, 0, 2**63, 0),
            (2, 0, 0, 2),
            (2, 0, 0, 4),
        ],
    )
    def test_numbers_out_of_range(
        self, store: Store, seq: int, clock: int, timestamp: int, flags: int
    ) -> None:
        chunk = Chunk(origins={1: A})
        row = rows.SINGLE_ROW.pack(rows.SINGLE, flags, 1, seq, clock, timestamp, crc32(b"v"))
        chunk.append(b"k", row, [b"v"])
        self._refused(store, chunk, KnownSet({A: [1, 3]}))

    def test_a_delete_with_a_checksum(self, store: Store) -> None:
        chunk = Chunk(origins={1: A})
        row = rows.SINGLE_ROW.pack(rows.SINGLE, rows.DELETE, 1, 2, 0, 0, 5)
        chunk.append(b"k", row, [])
        self._refused(store, chunk, KnownSet({A: [1, 3]}))

    def test_a_record_outside_of_its_stretch(self, store: Store) -> None:
        chunk = chunk_of(single(b"v", A, 2))
        known = KnownSet({A: [1, 3]})
        for after, upto in ((b"k", b"z"), (None, b"j")):
            with pytest.raises(ProtocolError, match="stretch"):
                store.apply_full(chunk, known, {}, after, upto)

    def test_a_record_that_contradicts_the_known_set(self, store: Store) -> None:
        """Only a full-state round may make a key vanish."""
        chunk = chunk_of((b"theirs", Record((version(b"v", B, 1, key=b"theirs"),), {A: 5, B: 1})))
        store.learnt.add(B, 1)
        try:
            with pytest.raises(ProtocolError, match="contradicts"):
                store.apply(chunk, KnownSet({A: [1, 6], B: [1, 2]}))
        finally:
            store.learnt.replace(B, [])

    def test_more_versions_than_a_row_holds(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(rows, "VERSIONS_MAX", 1)
        chunk = chunk_of(single(b"other", B, 1, b"theirs"))
        with pytest.raises(ProtocolError, match="more than 1 versions"):
            store.apply(chunk, KnownSet({B: [1, 2]}))
        monkeypatch.undo()

    def test_more_origins_than_anybody_has(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("replicator.store.origins.ORIGINS_MAX", 5)
        known = KnownSet({origin: [1, 2] for origin in range(100, 110)})
        with pytest.raises(ProtocolError, match="origins"):
            store.finish(Chunk(), known, known, {})

    def test_the_same_dot_with_other_contents(self, store: Store) -> None:
        """R13: stops, overwrites nothing."""
        known = KnownSet({A: [1, 2], B: [1, 2]})
        for record in (
            single(b"different", A, 1, b"theirs"),
            single(None, A, 1, b"theirs"),
            (b"theirs", Record((version(b"different", A, 1, key=b"theirs"),), {A: 1, B: 1})),
        ):
            for refused in (
                lambda record=record: store.apply(chunk_of(record), known),
                lambda record=record: store.apply_full(chunk_of(record), known, {}, None, None),
            ):
                with pytest.raises(ForkedContentsError, match="two forks"):
                    refused()

    def test_the_same_dot_as_a_write_of_another_key(self, store: Store) -> None:
        """R13: a dot names one write, of one key. Silence here would hide it for ever."""
        known = KnownSet({A: [1, 2], B: [1, 2]})
        for record in (
            single(b"known", A, 1, b"elsewhere"),
            (b"elsewhere", Record((version(b"v", A, 1, key=b"elsewhere"),), {A: 1, B: 1})),
            (b"mine", Record((version(b"v", A, 1, key=b"mine"),), {A: 1})),
        ):
            for refused in (
                lambda record=record: store.apply(chunk_of(record), known),
                lambda record=record: store.apply_full(chunk_of(record), known, {}, None, None),
            ):
                with pytest.raises(ForkedContentsError, match="two forks"):
                    refused()


class TestForksNoticed:
    """R13: a peer knows an own seq above `shown`."""

    @pytest.mark.parametrize("where", ["known", "claim", "floor", "row", "context"])
    def test_wherever_it_shows(self, store: Store, where: str) -> None:
        for _ in range(3):
            store.put(b"k", b"v")
        store.show(2)
        own = store.origin
        store.origins.intern(A)
        before = memory(store), records(store)
        harmless = KnownSet({own: [1, 3], A: [1, 2]})
        above = KnownSet({own: [1, 4], A: [1, 2]})
        calls: dict[str, Callable[[], object]] = {
            "known": lambda: store.apply(Chunk(), above),
            "claim": lambda: store.finish(Chunk(), harmless, above, {}),
            "floor": lambda: store.finish(Chunk(), harmless, harmless, {own: 3}),
            "row": lambda: store.apply(chunk_of(single(b"w", own, 3)), harmless),
            "context": lambda: store.apply(
                chunk_of((b"k", Record((version(b"w", A, 1),), {A: 1, own: 3}))), harmless
            ),
        }
        with pytest.raises(ForkError, match="rolled back or cloned"):
            calls[where]()
        assert (memory(store), records(store)) == before
        check_store(store)

    def test_what_was_shown_is_fine(self, store: Store) -> None:
        for _ in range(3):
            store.put(b"k", b"v")
        store.show(3)
        known = KnownSet({store.origin: [1, 4], A: [1, 2]})
        record = Record((version(b"w", A, 1),), {A: 1, store.origin: 3})
        store.finish(chunk_of((b"k", record)), known, known, {store.origin: 2})
        assert contents(store) == {b"k": b"w"}
        check_store(store)


class TestFullState:
    """R9."""

    def test_what_it_drops_raises_the_floor_at_once(
        self, store: Store, peer: Store, third: Store
    ) -> None:
        """R8, in the same batch. The peer has collected a delete and is then gone for good, amid
        the round: `third`, which has an older version, must still lose it, by a full-state
        round with the store that dropped the record. Without the floor it would claim that it
        knows what superseded its version, and keep it for ever."""
        third.put(b"k", b"oldest")
        for one in (store, peer):
            pull(one, third)
        third_late = third
        peer.put(b"k", b"newer")
        pull(store, peer)
        peer.delete(b"k")
        collect(peer, b"k")
        steps = FullRound(store, peer).steps()
        next(steps)
        assert contents(store) == {}
        assert store.floor == {peer.origin: 1, third.origin: 1}
        check_store(store)
        steps.close()  # type: ignore[attr-defined]
        exchange(store, third_late)
        assert contents(third_late) == contents(store) == {}
        assert store.known() == third_late.known()

    def test_a_local_write_survives_it(self, store: Store, peer: Store) -> None:
        peer.put(b"k", b"theirs")
        exchange(store, peer)
        store.put(b"k", b"ours, not seen there")
        store.put(b"new", b"ours")
        peer.delete(b"k")
        collect(peer, b"k")
        list(FullRound(store, peer).steps())
        assert contents(store) == {b"k": b"ours, not seen there", b"new": b"ours"}
        check_store(store)

    def test_many_keys_in_bounded_steps(
        self, store: Store, peer: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(apply_module, "CHUNK_RECORDS_MAX", 7)
        both = [b"b%03d" % index for index in range(40)]
        peer.write([(key, b"v") for key in both])
        exchange(store, peer)
        store.write([(b"s%03d" % index, b"v") for index in range(40)])
        store.write([(b"a%03d" % index, b"v") for index in range(40)])
        gone = both[::3]
        peer.write([(key, None) for key in gone])
        for key in gone:
            collect(peer, key)
        commits = store.level.commit
        count = []
        monkeypatch.setattr(
            store.level, "commit", lambda batch: (count.append(batch), commits(batch))[1]
        )
        list(FullRound(store, peer).steps())
        assert len(count) >= 120 // 7
        assert set(contents(store)) == (set(both) - set(gone)) | {
            b"%s%03d" % (name, index) for name in (b"a", b"s") for index in range(40)
        }
        check_store(store)

    def test_nothing_from_the_year_before_comes_back(
        self, store: Store, peer: Store, third: Store
    ) -> None:
        """A key deleted while a node was away, and the delete collected since."""
        for one in (store, peer, third):
            one.put(b"own " + bytes([one.prefix == b""]), b"v")
        peer.put(b"k", b"old")
        exchange(store, peer, third)
        peer.delete(b"k")
        exchange(store, peer)
        for one in (store, peer):
            collect(one, b"k")
        pull(third, store)
        assert b"k" not in contents(third)
        exchange(store, peer, third)
        for one in (store, peer, third):
            check_store(one)
            assert b"k" not in contents(one)
        assert store.digest(0) == peer.digest(0) == third.digest(0)


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
