"""What is in the directory, whose it is, and what is refused."""

import shutil
import subprocess
import sys
from pathlib import Path

import msgpack
import plyvel
import pytest

from replicator.errors import DoubleWrapError, FormatError, UsageError
from replicator.store import keyspace
from replicator.store.store import Store

from .checker import check_store
from .places import Place, memory, patient, records
from .rounds import Round


def _write(place: Place, rows: dict[bytes, bytes]) -> None:
    with place.open_leveldb() as db:
        for key, value in rows.items():
            db.put(key, value)


def test_an_empty_store_has_no_cluster_and_issues_nothing(place: Place) -> None:
    store = place.open()
    assert store.cluster_id is None and not store.has_data() and not store.known()
    check_store(store)


def test_everything_is_found_again(place: Place) -> None:
    store = place.open()
    for index in range(30):
        store.put(b"%d" % (index % 7), b"value %d" % index)
    store.show(20)
    store.sync_point()
    before, held = memory(store), records(store)
    store = place.reopen()
    assert (memory(store), records(store)) == (before, held)
    check_store(store)
    assert store.clock.last >= max(version.timestamp for version in store.versions(b"1"))


def test_a_newer_format_is_refused(place: Place) -> None:
    place.open()
    place.close()
    _write(place, {keyspace.meta_key("format"): msgpack.packb(keyspace.FORMAT_VERSION + 1)})
    before = place.rows()
    with pytest.raises(FormatError, match=r"newer replicator.*install the newer version"):
        place.open()
    assert place.rows() == before


@pytest.mark.parametrize("format_row", [b"\xc1", msgpack.packb("one"), b""])
def test_an_unknown_format_is_refused(place: Place, format_row: bytes) -> None:
    place.open()
    place.close()
    _write(place, {keyspace.meta_key("format"): format_row})
    with pytest.raises(FormatError):
        place.open()


@pytest.mark.parametrize(
    "key", [b"\xff\xff\xff\xff", b"\xff\xff\xff\xff\x00", b"\xff\xff\xff\xffikey", b"\xff" * 12]
)
def test_foreign_data_in_the_reserved_range(place: Place, key: bytes) -> None:
    _write(place, {b"k": b"v", key: b"theirs"})
    before = place.rows()
    with pytest.raises(FormatError, match=r"reserved.*move those keys"):
        place.open()
    assert place.rows() == before


def test_foreign_data_where_the_registry_lies(place: Place) -> None:
    _write(place, {keyspace.ROOT: b"theirs"})
    with pytest.raises(FormatError, match="foreign data"):
        place.open()


def test_foreign_data_behind_a_prefix_concerns_that_prefix_alone(directory: Path) -> None:
    place = Place(directory / "a", prefix=b"p", settings=patient())
    _write(place, {b"p\xff\xff\xff\xffx": b"theirs", b"q": b"v"})
    with pytest.raises(FormatError, match="move those keys"):
        place.open()
    place.prefix = b"q"
    assert place.open().versions(b"")[0].value == b"v"
    place.close()


def _reverse(a: bytes, b: bytes) -> int:
    return (a < b) - (a > b)


@pytest.mark.parametrize("name", [b"upside.down", b"x" * 200])
def test_a_custom_comparator_is_refused(place: Place, name: bytes) -> None:
    db = plyvel.DB(
        str(place.path), create_if_missing=True, comparator=_reverse, comparator_name=name
    )
    db.put(b"k", b"v")
    with pytest.raises(FormatError, match="custom comparator"):
        Store.open(db)
    assert list(db) == [(b"k", b"v")]
    db.close()


def test_what_is_no_open_handle(place: Place) -> None:
    with pytest.raises(UsageError, match="expected an open"):
        Store.open("a path")  # type: ignore[arg-type]
    db = place.open_leveldb()
    db.close()
    with pytest.raises(UsageError, match="closed"):
        Store.open(db)


def test_a_directory_in_use_by_another_process(place: Place) -> None:
    """LevelDB's own lock: whoever opens it says what to do; nothing is touched."""
    place.open().put(b"k", b"v")
    code = f"import plyvel; plyvel.DB({str(place.path)!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "LOCK" in done.stderr
    check_store(place.store)


def test_a_first_open_that_was_cut_after_the_registry(place: Place) -> None:
    """The store stays empty: it adopts whatever cluster it meets (R15)."""
    _write(place, {keyspace.ROOT: msgpack.packb([b""])})
    store = place.open()
    assert store.cluster_id is None
    check_store(store)


def test_existing_data_has_a_cluster_id(place: Place) -> None:
    _write(place, {b"k": b"v"})
    store = place.open()
    assert store.cluster_id is not None and len(store.cluster_id) == 16
    check_store(store)


MALFORMED = {
    "origin": (keyspace.ORIGIN + b"\0\0\0\1", b"short"),
    "origin key": (keyspace.ORIGIN + b"\0", b"12345678"),
    "floor": (keyspace.floor_key(1), b"short"),
    "floor of nobody": (keyspace.floor_key(77), b"12345678"),
    "known": (keyspace.known_key(1, 1), b"short"),
    "known of nobody": (keyspace.known_key(77, 1), b"12345678"),
    "known key": (keyspace.KNOWN + b"xx", b"12345678"),
    "identity": (keyspace.meta_key("identity"), msgpack.packb([1, 2])),
    "identity of text": (keyspace.meta_key("identity"), msgpack.packb(["a"] * 6)),
    "identity bytes": (keyspace.meta_key("identity"), b"\xc1"),
    "durable": (keyspace.meta_key("durable"), msgpack.packb([1])),
    "shown": (keyspace.meta_key("shown"), msgpack.packb("many")),
    "fork": (keyspace.meta_key("fork"), msgpack.packb([1])),
    "fork of nobody": (keyspace.meta_key("fork"), msgpack.packb([77, 1, 1])),
    "adopt": (keyspace.meta_key("adopt"), msgpack.packb(5)),
}


@pytest.mark.parametrize("which", MALFORMED)
def test_a_row_that_does_not_decode(place: Place, which: str) -> None:
    """One clear error, and the directory can be opened again as a LevelDB."""
    place.open().put(b"k", b"v")
    place.close()
    key, row = MALFORMED[which]
    _write(place, {key: row})
    with pytest.raises(FormatError):
        place.open()
    assert place.rows()[b"k"] == b"v"


def test_a_value_changed_behind_our_back_does_not_keep_the_store_shut(place: Place) -> None:
    """Its key is damaged and says so; putting it again mends it, as the message promises."""
    place.open().put(b"k", b"v")
    place.close()
    _write(place, {b"k": b"changed"})
    store = place.open()
    with pytest.raises(OSError, match="put the key again"):
        store.versions(b"k")
    store.put(b"k", b"mended")
    check_store(store)


def test_an_error_at_opening_leaves_the_handle_free(place: Place) -> None:
    """Whoever mends the cause can wrap the same handle again."""
    db = place.open_leveldb()
    db.put(b"\xff\xff\xff\xffx", b"theirs")
    with pytest.raises(FormatError):
        Store.open(db)
    db.delete(b"\xff\xff\xff\xffx")
    Store.open(db).close()


class TestWraps:
    """R15: every wrap registers its prefix; one store per key."""

    def test_the_same_handle_twice(self, place: Place) -> None:
        place.open()
        with pytest.raises(DoubleWrapError, match="wrapped already"):
            Store.open(place.db)  # type: ignore[arg-type]

    @pytest.mark.parametrize("second", [b"", b"a", b"ab", b"abc", b"abcd"])
    def test_containing_prefixes(self, place: Place, second: bytes) -> None:
        db = place.open_leveldb()
        store = Store.open(db.prefixed_db(b"abc"), settings=patient())
        with pytest.raises(DoubleWrapError, match="wrapped already"):
            Store.open(db.prefixed_db(second))
        store.close()

    @pytest.mark.parametrize("second", [b"", b"a", b"ab", b"abcd"])
    def test_containing_prefixes_of_an_earlier_process(self, place: Place, second: bytes) -> None:
        place.prefix = b"abc"
        place.open()
        place.close()
        db = place.open_leveldb()
        with pytest.raises(DoubleWrapError, match="holds a replicated store"):
            Store.open(db.prefixed_db(second) if second else db)
        Store.open(db.prefixed_db(b"abc"), settings=patient()).close()

    def test_a_prefix_inside_of_a_whole_wrap(self, place: Place) -> None:
        place.open()
        place.close()
        db = place.open_leveldb()
        with pytest.raises(DoubleWrapError, match="the whole LevelDB"):
            Store.open(db.prefixed_db(b"p"))

    @pytest.mark.parametrize(
        "prefix",
        [b"\xff", b"\xff\xff\xff", b"\xff\xff\xff\xff", keyspace.ROOT, b"\xff\xff\xff\xffzz"],
    )
    def test_a_prefix_that_meets_the_reserved_range(self, place: Place, prefix: bytes) -> None:
        """The registry row would lie among its keys, or it among another wrap's rows."""
        db = place.open_leveldb()
        with pytest.raises(UsageError, match="ff ff ff ff"):
            Store.open(db.prefixed_db(prefix))
        assert list(db) == []

    def test_disjoint_prefixes_are_stores_side_by_side(self, directory: Path) -> None:
        """Own origins, own known sets, own clusters; one hands the other's data to a third."""
        place = Place(directory / "a")
        db = place.open_leveldb()
        db.put(b"outside", b"plain")
        left = Store.open(db.prefixed_db(b"l/"), settings=patient())
        right = Store.open(db.prefixed_db(b"r/"), settings=patient())
        for store in left, right:
            for index in range(20):
                store.put(b"%d" % index, b"in both")
                store.put(b"mine", bytes(store.prefix))
        assert left.origin != right.origin and left.cluster_id != right.cluster_id
        Round(right, left).whole()
        assert len(right.versions(b"mine")) == 2
        left.delete(b"mine")
        for store in left, right:
            check_store(store)
        left.close()
        right.put(b"after", b"the other one closed")
        check_store(right)
        right.close()
        db.close()
        assert place.rows()[b"outside"] == b"plain"
        db = place.open_leveldb()
        again = Store.open(db.prefixed_db(b"r/"), settings=patient())
        assert again.versions(b"after")
        check_store(again)
        again.close()
        db.close()

    def test_registry_of_both(self, place: Place) -> None:
        db = place.open_leveldb()
        stores = [Store.open(db.prefixed_db(prefix)) for prefix in (b"r/", b"l/")]
        assert msgpack.unpackb(db.get(keyspace.ROOT)) == [b"l/", b"r/"]  # type: ignore[arg-type]
        for store in stores:
            store.close()


def test_a_moved_directory_is_the_same_store(place: Place, directory: Path) -> None:
    place.open().put(b"k", b"v")
    origin = place.store.origin
    place.close()
    shutil.move(place.path, directory / "b")
    place.path = directory / "b"
    assert place.open().origin == origin
