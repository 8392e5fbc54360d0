"""Reading one snapshot: by the log in reverse, or by the index in key order (R4)."""

import random

import pytest

from replicator.core import rows
from replicator.core.chunk import Chunk
from replicator.core.known import KnownSet
from replicator.errors import ClosedError, CorruptionError
from replicator.store import source as source_module
from replicator.store.keyspace import INDEX, log_key
from replicator.store.store import Store

from .places import Place, records
from .rounds import Round


@pytest.fixture
def mixed(place: Place, peer: Store) -> Store:
    """Single records, siblings, tombstones, contexts of two origins, an empty key."""
    store = place.open()
    chance = random.Random(4)
    for _ in range(3):
        for one in (store, peer):
            for _ in range(25):
                key = b"" if chance.random() < 0.05 else b"%d" % chance.randrange(30)
                if chance.random() < 0.2:
                    one.delete(key)
                else:
                    one.put(key, chance.randbytes(chance.randrange(9)))
        Round(store, peer).whole()
    return store


def _records(chunks: list[Chunk]) -> dict[bytes, object]:
    """Key → versions and context; no key twice."""
    found: dict[bytes, object] = {}
    for chunk in chunks:
        assert len(chunk)
        assert chunk.size_bytes == sum(map(len, chunk.keys + chunk.rows + chunk.values)) + (
            source_module.RECORD_OVERHEAD_BYTES * len(chunk)
        )
        used = set()
        for key, record in chunk.records():
            assert key not in found
            found[key] = (record.versions, dict(record.context))
            used |= set(record.context)
        assert set(chunk.origins.values()) == used, "the table names the origins in use, no others"
    return found


@pytest.mark.parametrize("chunk_records", [1, 3, 500])
@pytest.mark.parametrize("scan_min", [1, 10**9], ids=["scan", "walk"])
@pytest.mark.parametrize("seed", range(6))
def test_exactly_the_records_of_the_dots_lacked(
    mixed: Store, monkeypatch: pytest.MonkeyPatch, chunk_records: int, scan_min: int, seed: int
) -> None:
    monkeypatch.setattr(source_module, "CHUNK_RECORDS_MAX", chunk_records)
    monkeypatch.setattr(source_module, "SCAN_DOTS_MIN", scan_min)
    monkeypatch.setattr(source_module, "SCAN_FACTOR", 10**9)
    chance = random.Random(seed)
    everything = records(mixed)
    dots = [version.dot for versions, _ in everything.values() for version in versions]
    lack = KnownSet.of(*(dot for dot in mixed.known().dots() if chance.random() < 0.3))
    if seed == 0:
        lack = mixed.known()
    source = mixed.open_source()
    found = _records(list(source.read(lack)))
    source.close()
    wanted = {
        key: record
        for key, record in everything.items()
        if any(version.dot in lack for version in record[0])
    }
    assert dots and found == wanted


def test_newest_first_per_origin(place: Place) -> None:
    store = place.open()
    for index in range(20):
        store.put(b"%02d" % index, b"v")
    source = store.open_source()
    (chunk,) = source.read(KnownSet({store.origin: [3, 6, 9, 21]}))
    assert chunk.keys == [b"%02d" % (seq - 1) for seq in [*range(20, 8, -1), 5, 4, 3]]
    source.close()


def test_all_in_key_order(mixed: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_module, "CHUNK_RECORDS_MAX", 4)
    monkeypatch.setattr(source_module, "SKIPPED_VALUES_MAX", 2)
    source = mixed.open_source()
    chunks = list(source.read_all())
    keys = [key for chunk in chunks for key in chunk.keys]
    assert keys == sorted(keys)
    assert _records(chunks) == records(mixed)
    source.close()


def test_chunks_are_bounded_in_bytes(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_module, "CHUNK_BYTES", 1000)
    store = place.open()
    for index in range(30):
        store.put(b"%d" % index, b"v" * 300)
    source = store.open_source()
    chunks = list(source.read(store.known()))
    assert sum(map(len, chunks)) == 30
    assert all(chunk.size_bytes < 1000 + 400 for chunk in chunks)
    source.close()


def test_a_snapshot_stays_what_it_was(mixed: Store) -> None:
    before, known = records(mixed), mixed.known()
    source = mixed.open_source()
    mixed.put(b"later", b"v")
    for key in before:
        mixed.delete(key)
    assert source.known == known
    assert _records(list(source.read_all())) == before
    assert _records(list(source.read(known))) == before
    source.close()
    source.close()


def test_nothing_lacked_nothing_read(mixed: Store) -> None:
    source = mixed.open_source()
    assert list(source.read(KnownSet())) == []
    assert list(source.read(KnownSet({0xDEAD: [1, 50]}))) == [], "an origin never met"
    source.close()


def test_a_closed_store_opens_none(place: Place) -> None:
    store = place.open()
    place.close()
    with pytest.raises(ClosedError):
        store.open_source()


class TestContradictions:
    """Something else wrote to the LevelDB: said by name, nothing invented."""

    @pytest.fixture(params=["walk", "scan"])
    def store(
        self,
        place: Place,
        peer: Store,
        request: pytest.FixtureRequest,
        monkeypatch: pytest.MonkeyPatch,
    ) -> Store:
        if request.param == "scan":
            monkeypatch.setattr(source_module, "SCAN_DOTS_MIN", 1)
        store = place.open()
        store.put(b"k", b"ours")
        store.put(b"single", b"v")
        peer.put(b"k", b"theirs")
        Round(store, peer).whole()
        return store

    def _read(self, store: Store) -> list[Chunk]:
        source = store.open_source()
        try:
            return list(source.read(store.known()))
        finally:
            source.close()

    def test_a_value_is_missing(self, store: Store) -> None:
        store.db.delete(b"single")
        with pytest.raises(CorruptionError, match="single"):
            self._read(store)

    def test_a_value_aside_is_missing(self, store: Store) -> None:
        for key, _ in store.db.iterator(prefix=b"\xff\xff\xff\xffv"):
            store.db.delete(key)
        with pytest.raises(CorruptionError, match="has no value"):
            self._read(store)

    def test_the_log_names_an_absent_key(self, store: Store) -> None:
        store.db.delete(INDEX + b"single")
        source = store.open_source()
        with pytest.raises(CorruptionError, match="no index row"):
            list(source._walk(store.known()))
        source.close()

    def test_the_log_names_a_dot_that_is_not_live(self, store: Store) -> None:
        store.learnt.add(store.origins.by_number[2], 9)
        store.db.put(log_key(2, 9), b"k")
        source = store.open_source()
        with pytest.raises(CorruptionError, match="not live"):
            list(source._walk(KnownSet.of((store.origins.by_number[2], 9))))
        source.close()


def test_new_origins_while_scanning(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another round meets an origin never seen before: the scan is not disturbed."""
    monkeypatch.setattr(source_module, "SCAN_DOTS_MIN", 1)
    store = place.open()
    store.put(b"k", b"v")

    class Meeting(KnownSet):
        def bounds(self, origin: int) -> list[int]:
            store.origins.intern(len(store.origins.numbers) + 1)
            return super().bounds(origin)

    source = store.open_source()
    lack = Meeting(dict(store.known().items()))
    assert [chunk.keys for chunk in source.read(lack)] == [[b"k"]]
    assert len(store.origins.numbers) > 1
    source.close()


def test_rows_travel_as_they_lie(mixed: Store) -> None:
    source = mixed.open_source()
    for chunk in source.read_all():
        for key, row in zip(chunk.keys, chunk.rows, strict=True):
            assert mixed.db.get(INDEX + key) == row
            assert row[0] in (rows.SINGLE, rows.GENERAL)
    source.close()
