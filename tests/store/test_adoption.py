"""R14: what was in a LevelDB before it was wrapped."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from replicator.config import VALUE_BYTES_MAX
from replicator.errors import CommitError, ReservedKeyError
from replicator.store import adoption
from replicator.store.level import Level

from .checker import check_store
from .places import Place, contents, patient
from .rounds import exchange

DATA = {b"%03d" % index: b"value %d" % index for index in range(50)} | {b"": b"empty", b"\xff": b""}


@pytest.fixture(params=[None, b"", b"ns/"], ids=["whole", "empty prefix", "prefix"])
def place(directory: Path, request: pytest.FixtureRequest) -> Iterator[Place]:
    place = Place(directory / "a", prefix=request.param, settings=patient())
    with place.open_leveldb() as db:
        for key, value in DATA.items():
            db.put((request.param or b"") + key, value)
    yield place
    place.close()


def test_every_key_is_a_version_of_clock_and_timestamp_zero(place: Place) -> None:
    store = place.open()
    assert contents(store) == DATA
    for index, key in enumerate(sorted(DATA), 1):
        (version,) = store.versions(key)
        assert (version.clock, version.timestamp, version.dot) == (0, 0, (store.origin, index))
    assert store.cluster_id is not None
    check_store(store)
    store.put(b"001", b"new")
    assert store.versions(b"001")[0].clock == 1
    check_store(store)


@pytest.mark.parametrize("step", [1, 4, 13, 52, 1000])
def test_progress(place: Place, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    monkeypatch.setattr(adoption, "KEYS_PER_COMMIT", step)
    told: list[int] = []
    place.options["adoption_progress"] = told.append
    store = place.open()
    assert told[-1] == len(DATA) and told == sorted(told)
    check_store(store)
    told.clear()
    check_store(place.reopen())
    assert told == [], "it is done once"


@pytest.mark.parametrize("nth", range(1, 14))
def test_cut_and_gone_on_with(place: Place, monkeypatch: pytest.MonkeyPatch, nth: int) -> None:
    monkeypatch.setattr(adoption, "KEYS_PER_COMMIT", 7)
    commit, left = Level.commit, [nth]

    def failing(self: Level, batch: object) -> None:
        left[0] -= 1
        if left[0] <= 0:
            raise CommitError("cut")
        commit(self, batch)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(Level, "commit", failing)
        with pytest.raises(CommitError):
            place.open()
    adopted = []
    place.options["adoption_progress"] = adopted.append
    store = place.open()
    check_store(store)
    assert contents(store) == DATA
    assert store.known().count() == len(DATA)
    if nth > 8:
        assert adopted[-1] < len(DATA), "it went on instead of beginning again"


def test_cut_by_its_own_progress_callback(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adoption, "KEYS_PER_COMMIT", 10)

    def interrupt(done: int) -> None:
        if done >= 30:
            raise KeyboardInterrupt

    place.options["adoption_progress"] = interrupt
    with pytest.raises(KeyboardInterrupt):
        place.open()
    place.options["adoption_progress"] = None
    check_store(place.open())


def test_a_cut_adoption_of_a_copied_directory(
    place: Place, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes on under the copy's own origin."""
    monkeypatch.setattr(adoption, "KEYS_PER_COMMIT", 10)

    def interrupt(done: int) -> None:
        if done >= 30:
            raise KeyboardInterrupt

    place.options["adoption_progress"] = interrupt
    with pytest.raises(KeyboardInterrupt):
        place.open()
    place.options["adoption_progress"] = None
    copy = place.copy(directory / "b")
    with copy as store:
        check_store(store)
        assert contents(store) == DATA
        origins = {version.dot.origin for key in DATA for version in store.versions(key)}
        assert len(origins) == 2 and store.origin in origins
    check_store(place.open())


def test_equal_values_on_several_nodes_are_no_conflict(place: Place, directory: Path) -> None:
    other = Place(directory / "other", prefix=place.prefix, settings=patient())
    with other.open_leveldb() as db:
        for key, value in DATA.items():
            db.put((place.prefix or b"") + key, value if key != b"007" else b"different")
    store, second = place.open(), other.open()
    exchange(store, second)
    assert contents(store) == contents(second)
    for one in (store, second):
        assert [key for key, _ in one.conflicts()] == [b"007"]
        assert len(one.versions(b"001")) == 2
        check_store(one)
    assert store.digest() == second.digest()
    store.put(b"001", b"wins over both")
    exchange(store, second)
    assert contents(second)[b"001"] == b"wins over both"
    assert len(second.versions(b"001")) == 1
    other.close()


def test_what_is_too_large_to_travel_is_refused(directory: Path) -> None:
    """At once and by name: as a version it would stop replication at every peer."""
    place = Place(directory / "a", settings=patient())
    with place.open_leveldb() as db:
        db.put(b"small", b"v")
        db.put(b"large", os.urandom(VALUE_BYTES_MAX + 1))
    with pytest.raises(ReservedKeyError, match="large"):
        place.open()
    with place.open_leveldb() as db:
        db.put(b"large", b"smaller now")
    with place as store:
        check_store(store)
        assert contents(store) == {b"small": b"v", b"large": b"smaller now"}
