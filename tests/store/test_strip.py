"""Strip: what remains is the plain LevelDB, with the visible values."""

import random
from pathlib import Path

import plyvel
import pytest

from replicator.errors import FormatError, UsageError
from replicator.store import strip as strip_module
from replicator.store.store import Store
from replicator.store.strip import strip

from .places import Place, contents, patient
from .rounds import Round


def _lived(directory: Path, prefix: bytes | None = None) -> tuple[Place, dict[bytes, bytes]]:
    """A store with everything in it: siblings, tombstones, a floor, gaps. And what it shows."""
    place = Place(directory / "a", prefix=prefix, settings=patient())
    chance = random.Random(1)
    with Place(directory / "peer", settings=patient()) as peer:
        store = place.open()
        for index in range(60):
            store.put(b"%02d" % index, chance.randbytes(20))
            peer.put(b"%02d" % (index + 30), chance.randbytes(20))
        peer.put(b"", b"empty")
        store.delete(b"03")
        next(iter(Round(store, peer).steps()))
        Round(store, peer).whole()
        store.sync_point()
        shown = contents(store)
        place.close()
    return place, shown


@pytest.mark.parametrize("prefix", [None, b"ns/"])
def test_the_plain_leveldb_remains(directory: Path, prefix: bytes | None) -> None:
    place, shown = _lived(directory, prefix)
    with place.open_leveldb() as db:
        db.put(b"\x01beside", b"v")
    if prefix is not None:
        shown = {prefix + key: value for key, value in shown.items()}
    told: list[int] = []
    before = len(place.rows())
    removed = strip(place.path, told.append)
    assert place.rows() == {**shown, b"\x01beside": b"v"}
    assert told[-1] == removed
    assert 0 <= before - len(shown) - 1 - removed <= 2, "the format row and the registry aside"


def test_several_wraps_at_once(directory: Path) -> None:
    place = Place(directory / "a")
    db = place.open_leveldb()
    for prefix in (b"a/", b"b/"):
        store = Store.open(db.prefixed_db(prefix), settings=patient())
        store.put(b"k", prefix)
        store.close()
    db.close()
    strip(place.path)
    assert place.rows() == {b"a/k": b"a/", b"b/k": b"b/"}


def test_again_it_is_a_new_store(directory: Path) -> None:
    place, shown = _lived(directory)
    strip(place.path)
    store = place.open()
    assert contents(store) == shown
    assert all(len(store.versions(key)) == 1 for key in shown)
    place.close()


@pytest.mark.parametrize("cut_at", [3, 50, 120])
@pytest.mark.parametrize("prefix", [None, b"ns/"])
def test_cut_refused_and_finished(
    directory: Path, monkeypatch: pytest.MonkeyPatch, cut_at: int, prefix: bytes | None
) -> None:
    """Half stripped it is no store: opened as one it would have an empty index and a full known
    set, and never ask for what it lost."""
    monkeypatch.setattr(strip_module, "ROWS_PER_COMMIT", 3)
    place, shown = _lived(directory, prefix)
    if prefix is not None:
        shown = {prefix + key: value for key, value in shown.items()}

    def interrupt(removed: int) -> None:
        if removed >= cut_at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        strip(place.path, interrupt)
    with pytest.raises(FormatError, match="strip was cut"):
        place.open()
    strip(place.path)
    assert place.rows() == shown


def test_the_registry_goes_last_and_behind_a_sync(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut that kept its removal and lost others' would leave rows that nothing explains:
    at that moment no log holds a removal (compacting made tables of them)."""
    place, _ = _lived(directory)
    seen: list[bool] = []
    original = plyvel.DB

    class Watched:
        def __init__(self, path: str) -> None:
            self._db = original(path)

        def delete(self, key: bytes, *, sync: bool) -> None:
            if key == b"\xff\xff\xff\xffR":
                logs = [log for log in place.path.glob("*.log") if log.stat().st_size]
                seen.append(not logs)
            self._db.delete(key, sync=sync)

        def __getattr__(self, name: str) -> object:
            return getattr(self._db, name)

    monkeypatch.setattr(strip_module.plyvel, "DB", Watched)
    strip(place.path)
    assert seen == [True]


def test_nothing_of_ours(directory: Path) -> None:
    place = Place(directory / "a")
    with place.open_leveldb() as db:
        db.put(b"k", b"v")
    with pytest.raises(FormatError, match="nothing of the replicator"):
        strip(place.path)
    assert place.rows() == {b"k": b"v"}


def test_no_leveldb_at_all(directory: Path) -> None:
    with pytest.raises(UsageError, match="no LevelDB"):
        strip(directory)
    (directory / "CURRENT").write_text("rubbish")
    with pytest.raises(FormatError, match="no LevelDB"):
        strip(directory)


def test_in_use(directory: Path) -> None:
    place = Place(directory / "a", settings=patient())
    place.open().put(b"k", b"v")
    with pytest.raises(UsageError, match="stop the program"):
        strip(place.path)
    place.close()
