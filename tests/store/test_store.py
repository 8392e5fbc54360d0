"""The store as a whole: what it tells, sync points, closing, forked processes."""

import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from replicator.core.known import KnownSet
from replicator.errors import ClosedError, CommitError, FormatError
from replicator.store import filling
from replicator.store.store import Store

from .checker import check_store
from .places import Failing, Place, contents, memory, patient
from .rounds import Round, exchange


class TestChanges:
    """`on_change`: once, then again after `rearm`."""

    def test_once_until_rearmed(self, store: Store, peer: Store) -> None:
        told: list[int] = []
        store.on_change = lambda: told.append(store.seq)
        store.put(b"k", b"v")
        assert told == []
        store.rearm()
        store.put(b"k", b"w")
        store.put(b"k", b"x")
        assert len(told) == 1
        store.rearm()
        peer.put(b"k", b"theirs")
        Round(store, peer).whole()
        assert len(told) == 2
        store.rearm()
        store.show(1)
        store.sync_point()
        assert len(told) == 2, "nothing that a peer would ask for"

    def test_what_it_raises_undoes_no_commit(
        self, store: Store, peer: Store, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A node that has ended may raise; the dot is issued all the same, and only once."""

        def fail() -> None:
            raise RuntimeError("the loop is over")

        store.on_change = fail
        store.rearm()
        with caplog.at_level(logging.ERROR):
            store.put(b"k", b"v")
        assert "the loop is over" in caplog.text
        store.rearm()
        store.put(b"l", b"v")
        peer.put(b"m", b"v")
        store.rearm()
        Round(store, peer).whole()
        check_store(store)
        assert set(contents(store)) == {b"k", b"l", b"m"}


class TestSyncPoints:
    def test_they_note_the_known_set(self, store: Store, peer: Store, place: Place) -> None:
        assert store.durable_known() == KnownSet()
        store.put(b"k", b"v")
        peer.put(b"l", b"v")
        exchange(store, peer)
        store.sync_point()
        assert store.durable_known() == store.known()
        assert store.counters().sync_points == 1
        store.sync_point()
        assert store.counters().sync_points == 1
        known = store.known()
        store.put(b"k", b"w")
        assert store.durable_known() == known
        check_store(store)
        assert place.reopen().durable_known() == known

    def test_a_failed_one_calls_nothing_durable(self, store: Store) -> None:
        store.put(b"k", b"v")
        with Failing(store, lambda: CommitError("full")), pytest.raises(CommitError):
            store.sync_point()
        assert store.durable_known() == KnownSet()
        check_store(store)
        store.sync_point()
        assert store.durable_known() == store.known()

    def test_they_never_go_back(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        """Two at a time: the one that began earlier does not end later with less."""
        store.put(b"k", b"v")
        sync = store.level.sync
        first = threading.Event()

        def slow() -> None:
            sync()
            if threading.current_thread() is not threading.main_thread() and not first.is_set():
                first.set()
                time.sleep(0.1)

        monkeypatch.setattr(store.level, "sync", slow)
        thread = threading.Thread(target=store.sync_point)
        thread.start()
        first.wait(10)
        store.put(b"l", b"v")
        store.sync_point()
        thread.join(10)
        assert store.durable_known() == store.known()
        check_store(store)

    def test_with_writers(self, store: Store) -> None:
        """What is called durable is known, at every moment."""
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

        def look() -> None:
            durable = store.durable_known()
            assert store.known().issuperset(durable)

        numbers = iter(range(10**9))
        threads = [
            guarded(lambda: store.put(b"%d" % (next(numbers) % 99), b"v")),
            guarded(store.sync_point),
            guarded(store.sync_point),
            guarded(look),
        ]
        stop.wait(0.3)
        stop.set()
        for thread in threads:
            thread.join(10)
        assert not errors
        check_store(store)


class TestShown:
    def test_it_lasts_and_never_goes_back(self, store: Store, place: Place) -> None:
        for _ in range(9):
            store.put(b"k", b"v")
        store.show(4)
        store.show(2)
        assert store.shown == 4
        check_store(store)
        place.kill()
        assert place.open().shown == 4

    def test_from_many_threads(self, store: Store) -> None:
        """Whoever shows less and comes later writes nothing."""
        store.write([(b"%d" % index, b"v") for index in range(800)])

        def show(first: int) -> None:
            for seq in range(first, 800, 4):
                store.show(seq)

        threads = [threading.Thread(target=show, args=(first,)) for first in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert store.shown == 799
        check_store(store)

    def test_only_what_was_issued(self, store: Store) -> None:
        store.show(5)
        assert store.shown == 0
        store.put(b"k", b"v")
        store.show(5)
        assert store.shown == 1
        check_store(store)


class TestReads:
    def test_absent_keys(self, store: Store) -> None:
        assert store.versions(b"k") == [] and store.record(b"k").versions == ()
        assert store.versions(b"\xff\xff\xff\xffmformat") == []
        assert not store.has_data()

    def test_has_data(self, store: Store) -> None:
        store.delete(b"k")
        assert store.has_data()

    def test_known_is_a_copy(self, store: Store) -> None:
        store.put(b"k", b"v")
        store.known().add(7, 7)
        store.durable_known().add(7, 7)
        assert (7, 7) not in store.known() and not store.durable_known()

    def test_conflicts_in_key_order(self, store: Store, peer: Store) -> None:
        for key in (b"b", b"a", b"", b"c"):
            store.put(key, b"ours")
            peer.put(key, b"ours" if key == b"c" else b"theirs")
        Round(store, peer).whole()
        assert [key for key, _ in store.conflicts()] == [b"", b"a", b"b"]
        found = store.conflicts()
        next(found)
        store.put(b"a", b"decided meanwhile")
        assert [key for key, _ in found] == [b"a", b"b"], "as of the first step"

    def test_counters(self, store: Store, peer: Store) -> None:
        store.write([(b"a", b"1"), (b"b", b"1"), (b"a", b"2")])
        peer.put(b"a", b"theirs")
        Round(store, peer).whole()
        counters = store.counters()
        assert (counters.writes, counters.applied, counters.conflicts) == (2, 1, 1)
        assert (counters.commit_failures, counters.resolver_faults, counters.forks) == (0, 0, 0)


class TestClosing:
    def _calls(self, store: Store) -> dict[str, Callable[[], object]]:
        return {
            "put": lambda: store.put(b"k", b"v"),
            "put of a known key": lambda: store.put(b"there", b"v"),
            "delete": lambda: store.delete(b"k"),
            "write": lambda: store.write([(b"k", b"v")]),
            "update": lambda: store.update(b"k", lambda versions: b"v"),
            "record": lambda: store.record(b"there"),
            "versions": lambda: store.versions(b"there"),
            "conflicts": lambda: list(store.conflicts()),
            "digest": store.digest,
            "show": lambda: store.show(1),
            "sync_point": store.sync_point,
            "open_source": store.open_source,
            "fork": store.fork,
            "adopt_cluster": lambda: store.adopt_cluster(b"c" * 16),
        }

    def test_everything_is_refused_afterwards(self, store: Store, place: Place) -> None:
        """Before LevelDB is touched: it may be closed by then, or closing."""
        store.put(b"there", b"v")
        store.close()
        store.close()
        before = dict(place.db or {})
        for name, call in self._calls(store).items():
            with pytest.raises(ClosedError):
                call()
            assert dict(place.db or {}) == before, name
        place.close()
        for name, call in self._calls(store).items():
            with pytest.raises(ClosedError):
                call()
                raise AssertionError(name)

    def test_it_is_marked_clean(self, store: Store, place: Place) -> None:
        store.put(b"k", b"v")
        before = memory(store)
        place.close()
        assert place.rows()[b"\xff\xff\xff\xffmidentity"].endswith(b"\xc3")
        assert memory(place.open()) == before
        place.kill()
        assert place.rows()[b"\xff\xff\xff\xffmidentity"].endswith(b"\xc2")

    def test_it_waits_for_an_apply(self, place: Place, store: Store, peer: Store) -> None:
        peer.put(b"k", b"v")
        one = Round(store, peer)
        begun, done = threading.Event(), threading.Event()

        def slow(*_: object) -> bool:
            begun.set()
            time.sleep(0.1)
            return True

        store.settler.resolver = slow
        store.put(b"k", b"ours")

        def apply() -> None:
            one.whole()
            done.set()

        thread = threading.Thread(target=apply)
        thread.start()
        begun.wait(10)
        place.close()
        assert done.wait(10)
        thread.join()
        assert len(place.open().versions(b"k")) == 2

    def test_the_leveldb_stays_open(self, store: Store, place: Place) -> None:
        store.put(b"k", b"v")
        store.close()
        assert place.db is not None and place.db.get(b"k") == b"v"
        Store.open(place.db, settings=patient()).close()


class TestForkedProcess:
    def test_the_child_is_refused_and_waits_for_nothing(self, store: Store, place: Place) -> None:
        """Even where another thread of the parent held the locks at that moment."""
        store.put(b"k", b"v")
        held, release = threading.Event(), threading.Event()

        def hold() -> None:
            with store.apply_mutex, store.level.lock:
                held.set()
                release.wait(30)

        thread = threading.Thread(target=hold)
        thread.start()
        held.wait(10)
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            status = b"wrong"
            try:
                for call in (
                    lambda: store.put(b"k", b"child"),
                    lambda: store.versions(b"k"),
                    lambda: store.show(1),
                    store.sync_point,
                    store.open_source,
                    store.fork,
                ):
                    try:
                        call()
                    except ClosedError as error:
                        assert "forked" in str(error)
                    else:
                        raise AssertionError
                store.known()
                store.close()
                status = b"right"
            finally:
                os.write(writing, status)
                os._exit(0)
        os.close(writing)
        release.set()
        thread.join()
        assert os.read(reading, 10) == b"right"
        os.close(reading)
        os.waitpid(child, 0)
        store.put(b"k", b"parent")
        check_store(store)
        place.reopen()
        check_store(place.store)


class TestFilter:
    """The filter of absent keys over an index that is read in the background."""

    def test_a_large_index(
        self, place: Place, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        keys = [b"%d" % index for index in range(3000)]
        store.write([(key, b"v") for key in keys])
        monkeypatch.setattr(filling, "FILTER_KEYS_AT_OPEN", 10)
        monkeypatch.setattr(filling, "FILTER_PAUSE_SECONDS", 0)
        store = place.reopen()
        for key in keys[::-7]:
            store.put(key, b"w")
        while not store.absent.ready:
            time.sleep(0.001)
        for key in keys[::-5]:
            store.put(key, b"x")
        check_store(store)

    @pytest.mark.parametrize("count", [9, 10, 11, 1010, 1011])
    def test_the_last_key_is_in_it(
        self, place: Place, store: Store, monkeypatch: pytest.MonkeyPatch, count: int
    ) -> None:
        store.write([(b"%04d" % index, b"v") for index in range(count)])
        monkeypatch.setattr(filling, "FILTER_KEYS_AT_OPEN", 10)
        monkeypatch.setattr(filling, "FILTER_PAUSE_SECONDS", 0)
        store = place.reopen()
        while not store.absent.ready:
            time.sleep(0.001)
        check_store(store)

    def test_closing_while_it_is_being_filled(
        self, place: Place, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store.write([(b"%d" % index, b"v") for index in range(5000)])
        monkeypatch.setattr(filling, "FILTER_KEYS_AT_OPEN", 1)
        monkeypatch.setattr(filling, "FILTER_PAUSE_SECONDS", 0)
        place.reopen()
        place.close()
        names = [thread.name for thread in threading.enumerate()]
        assert "replicator filter" not in names

    def test_closing_before_it_is_filled(
        self, place: Place, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Programs that open, look and close do not wait for it to begin."""
        store.write([(b"%d" % index, b"v") for index in range(10)])
        monkeypatch.setattr(filling, "FILTER_KEYS_AT_OPEN", 1)
        monkeypatch.setattr(filling, "FILTER_PAUSE_SECONDS", 3600)
        store = place.reopen()
        assert not store.absent.ready
        closing = threading.Thread(target=place.close, daemon=True)
        closing.start()
        closing.join(30)
        assert not closing.is_alive()


def test_opening_that_fails_leaves_nothing_behind(directory: Path) -> None:
    """No thread, no claim on the prefix."""
    place = Place(directory / "a", settings=patient())
    db = place.open_leveldb()
    db.put(b"\xff\xff\xff\xffx", b"theirs")
    before = threading.active_count()
    with pytest.raises(FormatError):
        Store.open(db)
    assert threading.active_count() == before
    assert dict(db) == {b"\xff\xff\xff\xffx": b"theirs"}
    place.close()
