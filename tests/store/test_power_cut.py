"""R11: a power cut loses nothing that was promised, and the store claims nothing that it lost."""

import os
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import plyvel
import pytest

from replicator.core.known import KnownSet
from replicator.errors import StoreFailedError
from replicator.store.level import Level
from replicator.store.store import Store

from .checker import check_shown, check_store
from .clocks import START_MS, Clocks
from .history import History
from .places import Failing, Place, contents, live, patient
from .power import Power, copy_as_of_now
from .rounds import FullRound, Round, exchange

KEYS = [b"a", b"b", b"c", b"d"]
WORLDS = int(os.environ.get("STORE_SEEDS", "40"))
SMALL_MEMTABLE = {"write_buffer_size": 1 << 16, "compression": None}


@pytest.fixture
def power(monkeypatch: pytest.MonkeyPatch) -> Power:
    return Power(monkeypatch)


def _big(chance: random.Random) -> bytes:
    return chance.randbytes(chance.choice([10, 3000, 20_000]))


def _writes(store: Store, chance: random.Random, count: int, history: History) -> None:
    for _ in range(count):
        keys = chance.sample(KEYS, chance.randint(1, 3))
        history.write(
            store, [(key, None if chance.random() < 0.15 else _big(chance)) for key in keys]
        )


def test_the_trap_is_there(tmp_path: Path, power: Power) -> None:
    """What R11 is about: LevelDB's own synced write leaves older logs unsynced. Where this fails,
    LevelDB has changed and the rest of this file tests little."""
    place = Place(tmp_path / "a", leveldb=SMALL_MEMTABLE, settings=patient())
    store = place.open()
    for index in range(100):
        store.put(b"%d" % index, os.urandom(3000))
    for _ in range(5000):
        place.db.put(b"k", os.urandom(3000), sync=True)  # type: ignore[union-attr]
        if power.unsynced(place) > 1:
            break
    else:
        raise AssertionError("never were there two logs that nobody has synced")
    place.close()


def _until_two_logs(place: Place, write: Callable[[], object]) -> None:
    """Write until a full memtable is on its way into a table: the moment that R11 is about."""
    for _ in range(5000):
        write()
        if len(list(place.path.glob("*.log"))) > 1:
            return
    raise AssertionError("LevelDB never had two logs")


@pytest.mark.parametrize("seed", range(WORLDS))
def test_what_was_promised_is_there(seed: int, tmp_path: Path, power: Power) -> None:
    """Random writes, rounds, sync points, cuts; then everybody converges on what survived."""
    chance = random.Random(seed)
    history = History()
    places = [Place(tmp_path / name, leveldb=SMALL_MEMTABLE, settings=patient()) for name in "ab"]
    a, b = places
    for place in places:
        place.open()
    _writes(b.store, chance, 3, history)
    for _ in range(3):
        promised = _some_life(a, b, chance, history)
        origin = a.store.origin
        clean = chance.random() < 0.2
        if clean:
            a.close()
            promised = history.all_covered(a.open())
            origin = a.store.origin
        elif chance.random() < 0.6:
            _until_two_logs(a, lambda: _writes(a.store, chance, 1, history))
        power.cut(a, chance)
        store = a.open()
        assert store.origin != origin
        check_store(store)
        history.check_after_loss(store, promised)
        history.forget_lost(*(place.store for place in places))
    exchange(a.store, b.store)
    history.check_quiet(a.store, b.store)
    for place in places:
        check_store(place.store)
        place.close()


class _OlderLogGone(random.Random):
    """Of two logs the older one keeps what was synced, the newer one everything."""

    def __init__(self) -> None:
        super().__init__(0)
        self.hows = ["truncate", "keep"]

    def choice(self, seq: Any) -> Any:
        return self.hows.pop(0)

    def randint(self, a: int, b: int) -> int:
        return a


@pytest.mark.parametrize("back", [False, True], ids=["sweep", "comes back"])
def test_a_sweep_outlives_the_write_of_what_it_swept(
    tmp_path: Path, power: Power, clocks: Clocks, back: bool
) -> None:
    """The value before, which was synced, stood in the user's row alone: the sweep must not take it
    along (keyspace module: whoever changes the user's row writes the whole key again)."""
    for attempt in range(50):
        place = Place(tmp_path / str(attempt), leveldb=SMALL_MEMTABLE, settings=patient())
        store = place.open()
        store.put(b"k", b"before", sync=True)
        store.put_with(b"k", b"expires", expiry_ms=START_MS + 5)
        if back:
            clocks.set(5, store)
        _until_two_logs(place, lambda store=store: store.put(b"other", os.urandom(20_000)))
        clocks.set(0 if back else 5, store)
        if len(list(place.path.glob("*.log"))) == 2:
            power.cut(place, _OlderLogGone())
            store = place.open()
            check_store(store)
            values = {version.value for version in store.versions(b"k")}
            place.close()
            if values == {b"expires"}:
                return  # the sweep is there and the write is not: it was whole
            assert values == {b"before"}
        place.close()
    raise AssertionError("never was the sweep in the newer of two logs")


@pytest.mark.parametrize("seed", range(WORLDS))
def test_what_expires(seed: int, tmp_path: Path, power: Power, clocks: Clocks) -> None:
    """Sweeps of values that are on the disk, and of others; clocks that go back; cuts. Every key is
    whole, and what a sync point has covered is there, swept or not."""
    chance = random.Random(seed)
    place = Place(tmp_path / "a", leveldb=SMALL_MEMTABLE, settings=patient())
    store = place.open()
    for _ in range(4):
        promised: dict[bytes, set[tuple[int, int]]] = {}
        for _ in range(chance.randint(3, 25)):
            key, kind = chance.choice(KEYS), chance.randrange(8)
            if kind < 3:
                expiry_ms = START_MS + chance.randint(-20, 300)
                store.put_with(key, _big(chance), expiry_ms=expiry_ms)
            elif kind == 3:
                store.write([(key, chance.choice([None, _big(chance)]))])
            elif kind < 6:
                clocks.set(chance.randint(-50, 400), store)
            else:
                store.sync_point()
                promised = {key: live(store, key) for key in KEYS}
        if chance.random() < 0.5:
            _until_two_logs(place, partial(store.put, b"other", chance.randbytes(20_000)))
            clocks.set(chance.randint(-50, 400), store)
        power.cut(place, chance)
        store = place.open()
        check_store(store)
        check_shown(store)
        for key, dots in promised.items():
            assert all(seq <= store.record(key).context.get(origin, 0) for origin, seq in dots)
        clocks.set(-100, store)
        check_store(store)
        check_shown(store)
    place.close()


def _some_life(
    a: Place, b: Place, chance: random.Random, history: History
) -> dict[bytes, frozenset[tuple[int, int]]]:
    """Things happen at `a`. Returns what it has promised to keep."""
    promised: dict[bytes, frozenset[tuple[int, int]]] = {}
    for _ in range(chance.randint(1, 12)):
        kind = chance.random()
        if kind < 0.5:
            _writes(a.store, chance, 1, history)
        elif kind < 0.6:
            key = chance.choice(KEYS)
            past = history.covered(a.store, key)
            a.store.put(key, _big(chance), sync=True)
            history.note(a.store, key, past)
            promised = history.all_covered(a.store)
        elif kind < 0.7:
            a.store.sync_point()
            promised = history.all_covered(a.store)
        elif kind < 0.85:
            _writes(b.store, chance, 2, history)
            if chance.random() < 0.2:
                for _ in FullRound(a.store, b.store).steps():
                    pass
            else:
                for _ in islice(Round(a.store, b.store).steps(), chance.randint(1, 9)):
                    pass
        else:
            Round(b.store, a.store).whole()
    return promised


def test_a_synced_put_after_a_lost_log(tmp_path: Path, power: Power) -> None:
    """The trap by name: puts over two logs, the last one synced: all are there."""
    place = Place(tmp_path / "a", leveldb=SMALL_MEMTABLE, settings=patient())
    place.open()
    for seed in range(10):
        _until_two_logs(place, lambda: place.store.put(os.urandom(2), os.urandom(3000)))
        place.store.put(b"last", b"synced", sync=True)
        before = contents(place.store)
        power.cut(place, random.Random(seed))
        assert contents(place.open()) == before
        check_store(place.store)
    place.close()


def test_a_clean_close_promises_everything(tmp_path: Path, power: Power) -> None:
    """Also what LevelDB has in older logs; so the mark goes last, behind a sync of the rest."""
    place = Place(tmp_path / "a", leveldb=SMALL_MEMTABLE, settings=patient())
    store = place.open()
    for index in range(60):
        store.put(b"%d" % index, os.urandom(3000))
    before, origin = contents(store), store.origin
    store.close()
    unsynced = power.unsynced(place)
    power.cut(place, random.Random(1))
    assert unsynced == 0
    store = place.open()
    assert (contents(store), store.origin) == (before, origin)
    check_store(store)
    place.close()


class LastCommit:
    """Notes for each commit of any level how many logs were unsynced at that moment."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, power: Power, place: Place) -> None:
        self.unsynced: list[int] = []
        commit = Level.commit

        def watched(level: Level, batch: object) -> None:
            self.unsynced.append(power.unsynced(place))
            commit(level, batch)  # type: ignore[arg-type]

        monkeypatch.setattr(Level, "commit", watched)


class TestWhatComesLast:
    """A row that says that something is complete is written when the rest is on the disk: a power
    cut may keep the row and lose older commits."""

    @pytest.fixture
    def place(self, tmp_path: Path) -> Iterator[Place]:
        place = Place(tmp_path / "a", settings=patient())
        yield place
        place.close()

    def test_the_clean_mark(
        self, place: Place, power: Power, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        place.open().put(b"k", b"v")
        commits = LastCommit(monkeypatch, power, place)
        place.store.close()
        assert commits.unsynced == [0]
        assert power.unsynced(place) == 0

    def test_the_end_of_an_adoption(
        self, place: Place, power: Power, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with place.open_leveldb() as db:
            db.put(b"k", b"v")
        commits = LastCommit(monkeypatch, power, place)
        place.open()
        assert len(commits.unsynced) > 3 and commits.unsynced[-1] == 0
        assert power.unsynced(place) == 0

    def test_the_end_of_a_fork(
        self, place: Place, power: Power, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store = place.open()
        for index in range(5):
            store.put(b"%d" % index, b"v")
        commits = LastCommit(monkeypatch, power, place)
        store.fork()
        assert len(commits.unsynced) > 3 and commits.unsynced[-1] == 0
        assert power.unsynced(place) == 0


def test_the_durable_row_is_not_on_the_disk_before_what_it_claims(
    tmp_path: Path, power: Power, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a write between the sync and the row is not claimed."""
    place = Place(tmp_path / "a", leveldb=SMALL_MEMTABLE, settings=patient())
    store = place.open()
    for index in range(60):
        store.put(b"%d" % index, os.urandom(3000))
    known = store.known()
    sync, unsynced = store.level.sync, []

    def synced() -> None:
        monkeypatch.setattr(store.level, "sync", sync)
        sync()
        unsynced.append(power.unsynced(place))
        store.put(b"late", b"v")

    monkeypatch.setattr(store.level, "sync", synced)
    store.sync_point()
    assert unsynced == [0]
    assert store.durable_known() == known != store.known()
    check_store(store)
    place.close()


def test_a_cut_within_recovery(tmp_path: Path, power: Power) -> None:
    """Recovery that is cut begins again, with yet another origin, and loses nothing."""
    place = Place(tmp_path / "a", settings=patient())
    store = place.open()
    for index in range(20):
        store.put(b"%d" % index, b"v")
    store.sync_point()
    before, known = contents(store), store.known()
    for nth in range(1, 5):
        power.cut(place, random.Random(nth))
        _cut_opening(place, nth)
    power.cut(place, random.Random(0))
    store = place.open()
    assert contents(store) == before
    assert store.known() == known
    check_store(store)
    place.close()


def _cut_opening(place: Place, nth: int) -> None:
    """Open and fail at the n-th commit."""
    commit, left = Level.commit, [nth]

    def failing(self: Level, batch: object) -> None:
        left[0] -= 1
        if left[0] <= 0:
            raise OSError("cut by a test")
        commit(self, batch)  # type: ignore[arg-type]

    Level.commit = failing  # type: ignore[method-assign,assignment]
    try:
        with pytest.raises(OSError, match="cut by a test"):
            place.open()
    finally:
        Level.commit = commit  # type: ignore[method-assign]


class TestAdoption:
    """R14 under R11: adoption that lost some of its commits is done again."""

    @pytest.mark.parametrize("seed", range(15))
    def test_every_key_is_adopted(
        self, seed: int, tmp_path: Path, power: Power, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("replicator.store.adoption.KEYS_PER_COMMIT", 3)
        chance = random.Random(seed)
        place = Place(tmp_path / "a", leveldb=SMALL_MEMTABLE, settings=patient())
        data = {b"%03d" % index + os.urandom(1500): b"v" for index in range(60)}
        with plyvel.DB(str(place.path), create_if_missing=True) as db:
            for key, value in data.items():
                db.put(key, value)
        stop_at = chance.randint(1, 60)

        def progress(done: int) -> None:
            if done >= stop_at:
                raise KeyboardInterrupt

        place.options["adoption_progress"] = progress
        with suppress(KeyboardInterrupt):
            place.open()
        power.cut(place, chance)
        place.options["adoption_progress"] = None
        store = place.open()
        assert contents(store) == data
        assert {key for key in data if store.versions(key)} == set(data)
        check_store(store)
        place.close()


class TestForks:
    """R13 under R11: what a fork gave up is not known again after a power cut."""

    def test_the_durable_row_follows_a_fork(self, tmp_path: Path, power: Power) -> None:
        """A peer has seqs of the old origin that this store never issued under that meaning: it
        must still ask for them, and must not claim that they are superseded."""
        place = Place(tmp_path / "a", settings=patient())
        store = place.open()
        for index in range(10):
            store.put(b"%d" % index, b"mine")
        store.show(4)
        store.sync_point()
        old = store.origin
        store.fork()
        assert store.durable_known().highest(old) == 4
        check_store(store)
        power.cut(place, random.Random(0))
        store = place.open()
        assert store.known().highest(old) == 4
        assert contents(store) == {b"%d" % index: b"mine" for index in range(10)}
        check_store(store)
        place.close()

    @pytest.mark.parametrize("seed", range(16))
    def test_a_power_cut_within_a_fork(
        self, seed: int, tmp_path: Path, power: Power, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("replicator.store.fork.KEYS_PER_COMMIT", 2)
        chance = random.Random(seed)
        place = Place(tmp_path / "a", leveldb=SMALL_MEMTABLE, settings=patient())
        store = place.open()
        for index in range(12):
            store.put(b"%d" % index, os.urandom(9000))
        store.show(3)
        store.sync_point()
        before, old = contents(store), store.origin
        nth = chance.randint(1, 10)
        with Failing(store, lambda: StoreFailedError("cut by a test"), nth), suppress(OSError):
            store.fork()
        power.cut(place, chance)
        store = place.open()
        assert contents(store) == before
        check_store(store)
        if nth > 2:  # behind the new origin's row and the marker, which are synced at once
            assert store.known().highest(old) <= 3
            contexts = [store.record(key).context for key in before]
            assert all(context.get(old, 0) <= 3 for context in contexts)
        place.close()


def test_the_cluster_id_survives(tmp_path: Path, power: Power) -> None:
    """R15: data that survives belongs to the cluster it was written in."""
    place = Place(tmp_path / "a", settings=patient())
    store = place.open()
    store.adopt_cluster(b"c" * 16)
    assert power.unsynced(place) == 0
    store.put(b"k", b"v")
    place.close()


def test_a_copy_taken_while_the_store_was_open(
    tmp_path: Path, power: Power, monkeypatch: pytest.MonkeyPatch
) -> None:
    """File by file, at different moments: like a power cut, and what was durable there is no
    promise here either. The copy knows what it holds, no more, and gets the rest from a peer."""
    there = Place(tmp_path / "there", settings=patient())
    place = Place(tmp_path / "a", leveldb=SMALL_MEMTABLE, settings=patient())
    peer, store = there.open(), place.open()
    sync, logs = store.level.sync, []

    def write() -> None:
        for index in range(3):
            peer.put(b"%d" % index, os.urandom(4000))
        Round(store, peer).whole()

    monkeypatch.setattr(store.level, "sync", lambda: None)  # a copy sees the kernel's files
    while len(logs) < 2:
        _until_two_logs(place, write)
        store.sync_point()
        shutil.rmtree(tmp_path / "copy", ignore_errors=True)
        copy_as_of_now(place.path, tmp_path / "copy")
        logs = sorted((tmp_path / "copy").glob("*.log"))
    claimed = store.durable_known()
    monkeypatch.setattr(store.level, "sync", sync)
    place.close()
    older = logs[0].read_bytes()  # copied before the rest of it was written
    logs[0].write_bytes(older[: len(older) // 2])
    place.path = tmp_path / "copy"
    here = power.look_around(place.path)
    monkeypatch.setattr(
        "replicator.store.opening.look_around",
        lambda path: type(here)(here.machine, 2, 2, here.boot) if path == place.path else here,
    )
    copy = place.open()
    check_store(copy)
    held = KnownSet()
    for key in contents(copy):
        for version in copy.versions(key):
            held.add(*version.dot)
    assert copy.known() == held != claimed
    exchange(copy, peer)
    assert contents(copy) == contents(peer)
    assert copy.known() == peer.known()
    place.close()
    there.close()
