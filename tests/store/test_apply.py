"""Applying what a peer sends (R2, R3), local writes in between included."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from replicator.core.chunk import Chunk
from replicator.core.known import KnownSet
from replicator.core.record import Record
from replicator.errors import (
    ClosedError,
    CommitError,
)
from replicator.store import learning as learning_module
from replicator.store.apply import Applier
from replicator.store.store import Store

from .checker import check_shown, check_store
from .chunks import A, B, chunk_of, version
from .history import History
from .places import Failing, Place, contents, live, memory, records
from .rounds import FullRound, Round, exchange, join


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
        monkeypatch.setattr(learning_module.time, "time_ns", lambda: 10**18)
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
