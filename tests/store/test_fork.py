"""R13: copied, restored, rolled-back and cloned directories; kill -9. A dot is issued once."""

import os
import random
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from replicator.errors import (
    ClosedError,
    CommitError,
    ForkedContentsError,
    ForkError,
    StoreFailedError,
)
from replicator.store import fork as fork_module
from replicator.store.store import Store

from .checker import check_shown, check_store
from .places import Failing, Place, contents, live, memory, patient, records
from .rounds import FullRound, Round, exchange, pull

ROOT = Path(__file__).parents[2]


def _fill(store: Store, count: int, value: bytes = b"v") -> None:
    for index in range(count):
        store.put(b"%02d" % index, value + b"%d" % index)


class Snapshot:
    """The contents of a directory's files, put back in place: the inodes stay."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._files = {entry.name: entry.read_bytes() for entry in path.iterdir()}

    def put_back(self) -> None:
        for entry in self._path.iterdir():
            if entry.name not in self._files:
                entry.unlink()
        for name, data in self._files.items():
            with (self._path / name).open("r+b" if (self._path / name).exists() else "wb") as file:
                file.write(data)
                file.truncate()


class TestCopies:
    @pytest.mark.parametrize("how", ["closed", "killed"])
    def test_a_copy_takes_a_new_origin_and_passes_on_everything(
        self, place: Place, directory: Path, peer: Store, how: str
    ) -> None:
        """Its own writes of before included: the copy may be all that is left of them."""
        store = place.open()
        _fill(store, 12)
        _fill(store, 5, b"again ")
        store.delete(b"07")
        old, before = store.origin, contents(store)
        if how == "closed":
            place.close()
        else:
            place.kill()
        copy = place.copy(directory / "b")
        shutil.rmtree(place.path)
        store = copy.open()
        assert store.origin != old
        assert contents(store) == before
        check_store(store)
        if how == "closed":
            assert store.known().bounds(old) == [1, 19]
        pull(peer, store)
        assert contents(peer) == before
        assert peer.known() == store.known()
        store.put(b"07", b"back")
        exchange(store, peer)
        assert contents(peer) == contents(store) == {**before, b"07": b"back"}
        for one in (store, peer):
            check_store(one)
        copy.close()

    def test_copy_and_original_side_by_side(
        self, place: Place, directory: Path, peer: Store
    ) -> None:
        store = place.open()
        _fill(store, 3)
        exchange(store, peer)
        place.close()
        copy = place.copy(directory / "b")
        store, twin = place.open(), copy.open()
        assert store.origin != twin.origin
        store.put(b"00", b"original")
        twin.put(b"00", b"copy")
        twin.put(b"01", b"copy")
        exchange(store, twin, peer)
        assert contents(store) == contents(twin) == contents(peer)
        assert {version.value for version in peer.versions(b"00")} == {b"original", b"copy"}
        for one in (store, twin, peer):
            check_store(one)
        copy.close()

    def test_a_copy_of_a_copy_of_an_open_store(self, place: Place, directory: Path) -> None:
        _fill(place.open(), 6)
        first = place.copy(directory / "b")
        origins = {place.store.origin, first.open().origin}
        second = first.copy(directory / "c")
        third = second.open()
        origins.add(third.origin)
        assert len(origins) == 3
        assert contents(third) == contents(place.store)
        check_store(third)
        second.close()
        first.close()

    def test_an_older_copy_moved_over_it(self, place: Place, directory: Path, peer: Store) -> None:
        """Restored from a backup: what was written since comes back from the peers."""
        store = place.open()
        _fill(store, 4)
        place.close()
        place.copy(directory / "backup")
        store = place.open()
        store.put(b"00", b"since")
        store.put(b"new", b"since")
        exchange(store, peer)
        before, old = contents(store), store.origin
        place.close()
        shutil.rmtree(place.path)
        (directory / "backup").rename(place.path)
        store = place.open()
        assert store.origin != old and b"new" not in contents(store)
        store.put(b"01", b"after the restore")
        exchange(store, peer)
        assert contents(store) == contents(peer) == {**before, b"01": b"after the restore"}
        for one in (store, peer):
            check_store(one)


class TestRolledBack:
    """The same inodes, the same machine: only a peer can tell."""

    def _rolled_back(self, place: Place, peer: Store) -> Store:
        """4 writes shown before the snapshot, 2 unshown in it, 2 shown after it."""
        store = place.open()
        _fill(store, 4)
        exchange(store, peer)
        store.put(b"unshown", b"in the snapshot")
        store.put(b"00", b"in the snapshot")
        place.close()
        snapshot = Snapshot(place.path)
        store = place.open()
        store.put(b"01", b"lost timeline")
        store.put(b"02", b"lost timeline")
        exchange(store, peer)
        place.close()
        snapshot.put_back()
        return place.open()

    def test_a_peer_shows_it(self, place: Place, peer: Store) -> None:
        store = self._rolled_back(place, peer)
        old = store.origin
        store.put(b"03", b"this timeline, dot 7")
        before = records(store)
        with pytest.raises(ForkError):
            Round(store, peer).whole()
        assert records(store) == before
        store.fork()
        check_store(store)
        assert store.origin != old and store.seq == 3 and store.shown == 0
        assert store.known().highest(old) == 4
        assert store.counters().forks == 1
        exchange(store, peer)
        assert contents(store) == contents(peer)
        assert contents(store)[b"01"] == b"lost timeline"
        assert contents(store)[b"03"] == b"this timeline, dot 7"
        assert contents(store)[b"unshown"] == b"in the snapshot"
        for one in (store, peer):
            check_store(one)
            check_shown(one)
            assert not list(one.conflicts()), "what is equal on both timelines is no conflict"

    def test_nobody_has_seen_the_lost_timeline(self, place: Place, peer: Store) -> None:
        """Then its dots never were: issued again, no harm."""
        store = place.open()
        _fill(store, 3)
        place.close()
        snapshot = Snapshot(place.path)
        store = place.open()
        store.put(b"lost", b"v")
        place.close()
        snapshot.put_back()
        store = place.open()
        store.put(b"again", b"v")
        exchange(store, peer)
        assert contents(peer) == contents(store)
        assert live(store, b"again") == {(store.origin, 4)}

    def test_both_timelines_served_peers(self, place: Place, peer: Store, directory: Path) -> None:
        """Equal dots with different contents: replication with that peer stops, and nothing is
        overwritten on either side."""
        other = Place(directory / "other", settings=patient())
        store, fresh = self._rolled_back(place, peer), other.open()
        store.put(b"01", b"this timeline, dot 7")
        store.put(b"here", b"this timeline, dot 8")
        exchange(store, fresh)
        before = records(peer), records(fresh)
        # Each knows all dots of the other: what shows it is a full-state round, or a round that
        # sends the key for another version's sake.
        for target, source in ((peer, fresh), (fresh, peer)):
            with pytest.raises(ForkedContentsError):
                list(FullRound(target, source).steps())
        assert (records(peer), records(fresh)) == before
        third = Place(directory / "third", settings=patient())
        third.open().put(b"01", b"by somebody else")
        pull(fresh, third.store)
        held = records(peer)
        with pytest.raises(ForkedContentsError):
            Round(peer, fresh).whole()
        assert records(peer) == held
        third.close()
        for one in (store, fresh, peer):
            check_store(one)
        other.close()

    def test_a_dot_of_two_keys_on_the_two_timelines(
        self, place: Place, peer: Store, directory: Path
    ) -> None:
        other = Place(directory / "other", settings=patient())
        store, fresh = self._rolled_back(place, peer), other.open()
        store.put(b"x", b"this timeline, dot 7")
        store.put(b"y", b"this timeline, dot 8")
        exchange(store, fresh)
        origin = store.origin
        assert live(peer, b"01") == {(origin, 7)} and live(fresh, b"x") == {(origin, 7)}
        # Each knows all dots of the other, so a round sends nothing: a full-state round shows it.
        for target, source in ((peer, fresh), (fresh, peer)):
            held = records(target)
            with pytest.raises(ForkedContentsError):
                list(FullRound(target, source).steps())
            assert records(target) == held
        other.close()


class TestMending:
    def test_siblings_and_contexts(self, place: Place, peer: Store) -> None:
        """Only the own unshown version is issued again; others, and what it superseded, stay."""
        store = place.open()
        store.put(b"shown", b"1")
        peer.put(b"k", b"theirs")
        peer.put(b"seen", b"theirs")
        exchange(store, peer)
        store.put(b"k", b"ours")
        store.put(b"seen", b"supersedes theirs")
        store.delete(b"gone")
        peer.put(b"k", b"theirs again")
        one = Round(store, peer)
        one.whole()
        old = store.origin
        assert store.shown == 1
        versions = {key: store.versions(key) for key in (b"k", b"seen", b"gone")}
        store.fork()
        check_store(store)
        check_shown(store)
        fresh = store.origin
        for key, before in versions.items():
            after = store.versions(key)
            assert {(one.value, one.clock, one.timestamp) for one in after} == {
                (one.value, one.clock, one.timestamp) for one in before
            }
            assert {one.dot.origin for one in after} <= {fresh, peer.origin}
            assert store.record(key).context.get(old, 0) <= 1
        assert store.record(b"seen").context[peer.origin] == 2
        exchange(store, peer)
        assert contents(store) == contents(peer)

    def test_the_floor_of_the_old_origin(self, place: Place) -> None:
        store = place.open()
        _fill(store, 5)
        store.show(2)
        store.floor[store.origin] = 4
        old = store.origin
        batch = store.db.write_batch()
        batch.put(b"\xff\xff\xff\xfff" + store.number.to_bytes(4), (4).to_bytes(8))
        batch.write()
        store.fork()
        assert store.floor == {old: 2}
        check_store(store)

    def test_a_store_that_never_wrote(self, place: Place) -> None:
        store = place.open()
        old = store.origin
        store.fork()
        assert store.origin != old and store.seq == 0
        check_store(store)
        store.put(b"k", b"v")
        assert live(store, b"k") == {(store.origin, 1)}

    def test_many_keys_in_bounded_commits(
        self, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(fork_module, "KEYS_PER_COMMIT", 3)
        store = place.open()
        _fill(store, 20)
        before = contents(store)
        store.fork()
        assert contents(store) == before and store.seq == 20
        check_store(store)
        state = memory(store)
        assert memory(place.reopen()) == state

    @pytest.mark.parametrize("nth", range(1, 12))
    def test_cut_anywhere_and_finished_at_the_next_open(
        self, place: Place, peer: Store, monkeypatch: pytest.MonkeyPatch, nth: int
    ) -> None:
        monkeypatch.setattr(fork_module, "KEYS_PER_COMMIT", 2)
        store = place.open()
        _fill(store, 4)
        exchange(store, peer)
        for index in range(2, 12):
            store.put(b"%02d" % index, b"unshown")
        before, old = contents(store), store.origin
        with Failing(store, lambda: CommitError("cut"), nth), suppress(OSError):
            store.fork()
        assert contents(store) == before
        if store.level.failed is not None:
            for refused in (
                lambda: store.put(b"k", b"v"),
                lambda: Round(store, peer).whole(),
                store.fork,
            ):
                with pytest.raises(StoreFailedError):
                    refused()
        elif store.origin == old:  # it had not begun
            check_store(store)
            store.fork()
        place.kill()
        store = place.open()
        check_store(store)
        assert store.origin != old
        assert contents(store) == before
        assert store.known().highest(old) == 4
        mine = [seq for key in before for origin, seq in live(store, key) if origin == store.origin]
        assert sorted(mine) == list(range(1, 11))
        exchange(store, peer)
        assert contents(peer) == before
        assert peer.known() == store.known()

    @pytest.mark.parametrize("nth", range(3, 8))
    def test_cut_and_then_copied(
        self, place: Place, directory: Path, monkeypatch: pytest.MonkeyPatch, nth: int
    ) -> None:
        """Yet another origin comes in between: it finishes the work under that one."""
        monkeypatch.setattr(fork_module, "KEYS_PER_COMMIT", 2)
        store = place.open()
        _fill(store, 8)
        store.show(3)
        before, old = contents(store), store.origin
        with Failing(store, lambda: CommitError("cut"), nth), pytest.raises(StoreFailedError):
            store.fork()
        place.kill()
        copy = place.copy(directory / "b")
        store = copy.open()
        check_store(store)
        assert contents(store) == before
        assert store.known().highest(old) <= 3
        for key in before:
            assert store.record(key).context.get(old, 0) <= 3
        copy.close()

    def test_showing_waits_for_it(self, place: Place) -> None:
        """A seq of the old origin, shown too late, says nothing about the new one."""
        store = place.open()
        _fill(store, 5)
        store.fork()
        store.put(b"one more", b"v")
        store.show(1000)
        assert store.shown == store.seq == 6
        store.show(3)
        assert store.shown == 6
        check_store(store)

    def test_a_sync_point_across_a_fork(
        self, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What the fork gave up is not called durable by one that began before it."""
        store = place.open()
        _fill(store, 6)
        store.show(2)
        old = store.origin
        sync = store.level.sync

        def forked() -> None:
            sync()
            monkeypatch.setattr(store.level, "sync", sync)
            store.fork()

        monkeypatch.setattr(store.level, "sync", forked)
        store.sync_point()
        assert store.durable_known().highest(old) <= 2
        check_store(store)
        store.sync_point()
        assert store.durable_known() == store.known()
        check_store(store)

    def test_after_close(self, place: Place) -> None:
        store = place.open()
        place.close()
        with pytest.raises(ClosedError):
            store.fork()


KILLED = """
import os, sys
sys.path.insert(0, {root!r})
import plyvel
from replicator.store.store import Store
from replicator.config import Settings
db = plyvel.DB({path!r}, create_if_missing=True)
store = Store.open(db, settings=Settings(join_timeout=0.0))
index = 0
while True:
    index += 1
    kind = index % 4
    if kind == 0:
        store.write([(b"%s%d" % (name, index % 50), b"%d" % index) for name in (b"a", b"b")])
    elif kind == 1:
        store.delete(b"a%d" % (index % 50))
    elif kind == 2:
        store.update(b"count", lambda versions: b"%d" % index)
    else:
        store.put(b"c%d" % index, os.urandom(200))
    os.write(1, b"%d\\n" % index)
"""


@pytest.mark.processes
def test_kill_9_loses_nothing(place: Place) -> None:
    """Every write that was acknowledged to a process's caller is there; the origin goes on."""
    chance = random.Random(3)
    origin = None
    for _ in range(3):
        code = KILLED.format(root=str(ROOT), path=str(place.path))
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        assert process.stdout is not None
        read = bytearray()
        enough = chance.randint(1000, 20_000)
        while len(read) < enough:
            read += os.read(process.stdout.fileno(), 4096)
        process.kill()
        read += process.stdout.read()
        process.stdout.close()
        process.wait()
        last = int(bytes(read[: read.rindex(b"\n")]).rsplit(b"\n", 1)[-1])
        store = place.open()
        check_store(store)
        assert int(store.versions(b"count")[0].value or 0) >= last - 4
        shown = contents(store)
        kept = [index for index in range(1, last + 1) if index % 4 == 3]
        assert all(b"c%d" % index in shown for index in kept)
        assert origin in (None, store.origin)
        origin = store.origin
        place.kill()
