"""One open LevelDB: what a sync promises, and what follows from a commit that failed."""

import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import plyvel
import pytest

from replicator.errors import CommitError, FormatError, StoreFailedError, UsageError
from replicator.store import level as level_module
from replicator.store.level import Level, check_comparator, split
from replicator.store.store import Store

from .checker import check_store
from .places import Place, contents, patient
from .workers import in_threads

SMALL_MEMTABLE = {"write_buffer_size": 1 << 16, "compression": None}


@pytest.fixture
def place(directory: Path) -> Iterator[Place]:
    place = Place(directory / "a", leveldb=SMALL_MEMTABLE, settings=patient())
    yield place
    place.close()


class Watch:
    """Records commits and syncs in their order: ("commit", log), ("sync", log), ("directory",)."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, level: Level) -> None:
        self.events: list[tuple[str, ...]] = []
        self.lock = threading.Lock()
        commit, fdatasync, fsync = level.commit, os.fdatasync, os.fsync

        def watched_commit(batch: Any) -> None:
            commit(batch)
            self.note("commit", str(max(level.log_names())))

        def watched_fdatasync(descriptor: int) -> None:
            self.note("begin", os.path.basename(_path(descriptor)))  # noqa: PTH119
            fdatasync(descriptor)
            self.note("sync", os.path.basename(_path(descriptor)))  # noqa: PTH119

        def watched_fsync(descriptor: int) -> None:
            fsync(descriptor)
            self.note("directory")

        monkeypatch.setattr(level, "commit", watched_commit)
        monkeypatch.setattr(os, "fdatasync", watched_fdatasync)
        monkeypatch.setattr(os, "fsync", watched_fsync)

    def note(self, *event: str) -> None:
        with self.lock:
            self.events.append(event)

    def take(self) -> list[tuple[str, ...]]:
        events, self.events = self.events, []
        return [event for event in events if event[0] != "begin"]


def _path(descriptor: int) -> str:
    return str(Path(f"/proc/self/fd/{descriptor}").readlink()).removesuffix(" (deleted)")


class TestSync:
    """R11: LevelDB's own synced write leaves older logs alone."""

    def test_every_log_then_the_directory(
        self, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store = place.open()
        watch = Watch(monkeypatch, store.level)
        while len(store.level.log_names()) < 2:
            store.put(os.urandom(8), os.urandom(3000))
        logs = sorted(store.level.log_names())
        watch.take()
        store.level.sync()
        synced = watch.take()
        # The oldest may have become a table meanwhile, which LevelDB syncs itself.
        assert synced in (
            [*(("sync", log) for log in logs), ("directory",)],
            [*(("sync", log) for log in logs[1:]), ("directory",)],
        )

    def test_the_directory_only_where_files_came(
        self, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store = place.open()
        store.put(b"k", b"v", sync=True)
        watch = Watch(monkeypatch, store.level)
        store.put(b"k", b"w", sync=True)
        assert [event[0] for event in watch.take()] == ["commit", "sync"]

    def test_a_sync_point_syncs_before_and_behind_its_row(
        self, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store = place.open()
        store.put(b"k", b"v")
        watch = Watch(monkeypatch, store.level)
        store.sync_point()
        assert [event[0] for event in watch.take()] == ["sync", "commit", "sync"]
        store.sync_point()
        assert [event[0] for event in watch.take()] == ["sync"], "nothing new: no row"

    def test_a_log_switched_between_the_two_syncs(
        self, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """R11, "looks again": the durable row may lie in another log than what it speaks of."""
        store = place.open()
        store.put(b"k", b"v")
        watch = Watch(monkeypatch, store.level)
        commit = store.level.commit

        def switching(batch: Any) -> None:
            if watch.events[-1][0] != "commit":
                before = store.level.log_names()
                while store.level.log_names() == before:
                    place.db.put(os.urandom(8), os.urandom(3000))  # type: ignore[union-attr]
            commit(batch)

        monkeypatch.setattr(store.level, "commit", switching)
        store.sync_point()
        events = watch.take()
        row = events.index(("commit", max(store.level.log_names())))
        assert ("sync", events[row][1]) in events[row:]
        assert ("directory",) in events[row:]

    def test_calls_from_many_threads_are_grouped(
        self, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Each acknowledged commit lies in a log whose sync began after it; fewer syncs than
        commits."""
        store = place.open()
        store.put(b"first", b"v")
        watch = Watch(monkeypatch, store.level)
        slow = os.fdatasync

        def fdatasync(descriptor: int) -> None:
            threading.Event().wait(0.002)
            slow(descriptor)

        monkeypatch.setattr(os, "fdatasync", fdatasync)
        acknowledged: list[int] = []

        def write(number: int) -> None:
            for index in range(10):
                store.put(b"%d-%d" % (number, index), b"v" * 500)
                with watch.lock:
                    watch.events.append(("mine", f"{number}-{index}"))
                store.level.sync()
                with watch.lock:
                    watch.events.append(("acknowledged", f"{number}-{index}"))
                    acknowledged.append(index)

        in_threads(write, 8)
        events = watch.events
        assert len(acknowledged) == 80
        for place_of, event in enumerate(events):
            if event[0] == "mine":
                end = events.index(("acknowledged", event[1]))
                between = events[place_of:end]
                begun = [one[1] for one in between if one[0] == "begin"]
                done = [one[1] for one in between if one[0] == "sync"]
                assert any(log in done[done.index(log) :] for log in begun if log in done), event
        assert sum(event[0] == "sync" for event in events) < 80
        check_store(store)

    def test_put_with_sync_returns_behind_the_sync(
        self, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store = place.open()
        store.put(b"first", b"v")
        watch = Watch(monkeypatch, store.level)
        store.put(b"k", b"v", sync=True)
        store.delete(b"k", sync=True)
        store.write([(b"a", b"1"), (b"b", None)], sync=True)
        store.update(b"a", lambda versions: b"2", sync=True)
        assert [event[0] for event in watch.take()] == ["commit", "sync"] * 4

    def test_settings_sync_is_the_default(
        self, directory: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        place = Place(directory / "b", settings=patient(sync=True))
        store = place.open()
        store.put(b"first", b"v")
        watch = Watch(monkeypatch, store.level)
        store.put(b"k", b"v")
        store.put(b"k", b"w", sync=False)
        assert [event[0] for event in watch.take()] == ["commit", "sync", "commit"]
        place.close()

    def test_an_interrupted_sync_acknowledges_nobody(
        self, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Ctrl-C in the thread that syncs for others too: one of those syncs in its place."""
        store = place.open()
        store.put(b"k", b"v")
        store.level.sync()
        begun, go_on = threading.Event(), threading.Event()
        fdatasync, happened = os.fdatasync, []

        def watched(descriptor: int) -> None:
            happened.append("begin")
            if happened.count("begin") == 1:
                begun.set()
                go_on.wait(10)
            elif happened.count("begin") == 2:
                raise KeyboardInterrupt
            fdatasync(descriptor)

        monkeypatch.setattr(os, "fdatasync", watched)

        def sync() -> None:
            try:
                store.level.sync()
            except KeyboardInterrupt:
                happened.append("interrupted")
            else:
                happened.append("acknowledged")

        threads = [threading.Thread(target=sync) for _ in range(3)]
        threads[0].start()
        begun.wait(10)
        for thread in threads[1:]:
            thread.start()
        _until_waiting(store.level)
        go_on.set()
        for thread in threads:
            thread.join(10)
        # The first one for itself; then the leader of the other two, interrupted; then the last.
        assert happened.count("begin") == 3 and happened.count("interrupted") == 1
        assert happened.count("acknowledged") == 2 and happened[-1] == "acknowledged"

    def test_a_failed_sync_fails_the_store(
        self, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The kernel forgets what it could not write: there is no second try."""
        store = place.open()
        store.put(b"k", b"v")

        def failing(descriptor: int) -> None:
            raise OSError(5, "Input/output error")

        with monkeypatch.context() as patch:
            patch.setattr(os, "fdatasync", failing)
            with pytest.raises(StoreFailedError, match=r"failed to sync.*open it again"):
                store.put(b"k", b"w", sync=True)
        with pytest.raises(StoreFailedError):
            store.put(b"k", b"x")
        with pytest.raises(StoreFailedError):
            store.sync_point()
        store = place.reopen()
        store.put(b"k", b"y", sync=True)
        check_store(store)


def _until_waiting(level: Level) -> None:
    """Until two threads wait for the one that syncs."""
    for _ in range(1000):
        if len(level._sync_turn._waiters) >= 2:  # type: ignore[attr-defined]
            return
        threading.Event().wait(0.01)
    raise AssertionError("nobody waits")


class Torn:
    """A batch whose commit leaves a torn record, as LevelDB's would on a full disk."""

    def write(self) -> None:
        raise plyvel.IOError(b"No space left on device")


class TestFailedCommit:
    """R12; what a disk really does is in the tests of full disks."""

    def test_the_log_is_rotated_and_commits_go_on(self, place: Place) -> None:
        store = place.open()
        store.put(b"k", b"v")
        before = store.level._newest_log()
        with store.level.lock, pytest.raises(CommitError, match="No space"):
            store.level.commit(Torn())  # type: ignore[arg-type]
        assert store.level._newest_log() > before
        assert store.counters().commit_failures == 1
        store.put(b"k", b"w")
        check_store(store)

    @pytest.mark.parametrize("what", ["no rotation", "the directory cannot be read"])
    def test_where_rotating_fails_the_level_does(
        self, place: Place, monkeypatch: pytest.MonkeyPatch, what: str
    ) -> None:
        store = place.open()
        store.put(b"k", b"v")
        with monkeypatch.context() as patch:
            if what == "no rotation":
                patch.setattr(store.level, "_newest_log", lambda: 7)
            else:
                patch.setattr(level_module.os, "scandir", _failing)
            with store.level.lock, pytest.raises(StoreFailedError, match="open it again"):
                store.level.commit(Torn())  # type: ignore[arg-type]
        for refused in (
            lambda: store.put(b"k", b"w"),
            lambda: store.delete(b"k"),
            lambda: store.write([(b"k", b"w")]),
            lambda: store.update(b"k", lambda versions: b"w"),
            lambda: store.show(1),
            store.sync_point,
            store.fork,
        ):
            with pytest.raises(StoreFailedError):
                refused()
        assert store.versions(b"k")[0].value == b"v", "reads go on"
        store = place.reopen()
        assert contents(store) == {b"k": b"v"}
        store.put(b"k", b"w")
        check_store(store)

    def test_a_failed_level_stays_failed_when_its_handle_is_wrapped_again(
        self, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Its log still ends in a torn record: only opening the LevelDB again helps."""
        db = place.open_leveldb()
        store = Store.open(db, settings=patient())
        store.put(b"k", b"v")
        with monkeypatch.context() as patch:
            patch.setattr(store.level, "_newest_log", lambda: 7)
            with store.level.lock, pytest.raises(StoreFailedError):
                store.level.commit(Torn())  # type: ignore[arg-type]
        store.close()
        with pytest.raises(StoreFailedError):
            Store.open(db, settings=patient())
        with pytest.raises(StoreFailedError):
            Store.open(db, settings=patient())
        assert place.reopen().versions(b"k")

    def test_it_concerns_all_stores_of_the_leveldb(
        self, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        db = place.open_leveldb()
        stores = [Store.open(db.prefixed_db(name), settings=patient()) for name in (b"a", b"b")]
        for store in stores:
            store.put(b"k", b"v")
        with monkeypatch.context() as patch:
            patch.setattr(stores[0].level, "_newest_log", lambda: 7)
            with stores[0].level.lock, pytest.raises(StoreFailedError):
                stores[0].level.commit(Torn())  # type: ignore[arg-type]
        with pytest.raises(StoreFailedError):
            stores[1].put(b"k", b"w")
        with pytest.raises(StoreFailedError):
            Store.open(db.prefixed_db(b"c"), settings=patient())
        for store in stores:
            store.close()

    def test_entering_the_registry_is_a_commit_like_any_other(self, place: Place) -> None:
        db = place.open_leveldb()
        store = Store.open(db.prefixed_db(b"a"), settings=patient())
        store.level.failed = "it failed before"
        before = dict(db)
        with pytest.raises(StoreFailedError):
            Store.open(db.prefixed_db(b"b"), settings=patient())
        assert dict(db) == before
        store.level.failed = None
        store.close()


def _failing(*_: object) -> None:
    raise OSError(24, "Too many open files")


class TestHandles:
    def test_closed_handles_are_forgotten(self, place: Place) -> None:
        place.open()
        place.close()
        assert not any(level.path == place.path for level in level_module._open_levels.values())

    def test_a_level_that_was_never_released(self, place: Place, directory: Path) -> None:
        """Its LevelDB was closed behind its back: whoever opens the next one finds no trace."""
        store = place.open()
        store.level.db.close()
        store.abandon("its LevelDB is closed")
        other = Place(directory / "other")
        other.open()
        assert not any(level.path == place.path for level in level_module._open_levels.values())
        other.close()

    def test_root_and_prefix(self, place: Place) -> None:
        db = place.open_leveldb()
        assert split(db) == (db, b"")
        assert split(db.prefixed_db(b"a").prefixed_db(b"b")) == (db, b"ab")
        db.close()
        with pytest.raises(UsageError):
            split(db.prefixed_db(b"a"))


@pytest.mark.parametrize("damage", ["no CURRENT", "CURRENT names nothing", "empty", "bytes"])
def test_what_is_no_leveldb(place: Place, damage: str) -> None:
    place.open()
    place.close()
    check_comparator(place.path)
    current = place.path / "CURRENT"
    manifest = place.path / current.read_text().strip()
    if damage == "no CURRENT":
        current.unlink()
    elif damage == "CURRENT names nothing":
        current.write_text("MANIFEST-999999\n")
    elif damage == "empty":
        manifest.write_bytes(b"")
    else:
        current.write_bytes(b"\xff\xfe\xfd")
    with pytest.raises(FormatError, match="no LevelDB"):
        check_comparator(place.path)
    shutil.rmtree(place.path)


def test_commits_are_timed_while_somebody_asks(place: Place) -> None:
    store = place.open()
    level = store.level
    times: list[float] = []
    store.put(b"k", b"1")
    level.on_commit = times.append
    store.put(b"k", b"2")
    store.write([(b"l", b"3"), (b"m", b"4")])
    level.on_commit = None
    store.put(b"k", b"5")
    assert len(times) == 2
    assert all(seconds > 0 for seconds in times)


def test_a_commit_that_fails_is_not_timed(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    store = place.open()
    store.put(b"k", b"1")
    level = store.level
    times: list[float] = []
    level.on_commit = times.append

    class Refused:
        def write(self) -> None:
            raise OSError("no room")

    with level.lock, pytest.raises(CommitError):
        level.commit(Refused())  # type: ignore[arg-type]
    assert times == []
