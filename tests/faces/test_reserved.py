"""No read of a handle shows what belongs to the replicator, and no write touches it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import plyvel
import pytest

from replicator.errors import ReservedKeyError
from replicator.faces.handle import Replica
from replicator.faces.library import replicate

LAST = b"\xff\xff\xff\xfe"
KEYS = [b"", b"a", b"\xff", b"\xff\xff", b"\xff\xff\xff", b"\xff\xff\xffz", LAST]
RESERVED_KEYS = [b"\xff\xff\xff\xff", b"\xff\xff\xff\xffR", b"\xff\xff\xff\xffik", b"\xff" * 9]


@pytest.fixture(params=["whole", "prefixed"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Replica]:
    """A handle with keys up to the very end of what a user may have, neighbours beside it."""
    root = plyvel.DB(str(tmp_path), create_if_missing=True)
    if request.param == "whole":
        db = root
    else:
        db = root.prefixed_db(b"m:")
        root.put(b"l", b"a neighbour")
        root.put(b"n", b"a neighbour")
    with replicate(db, port=None) as replica:
        for key in KEYS:
            replica.put(key, b"value")
        replica.put(b"gone", b"")
        replica.delete(b"gone")
        yield replica
    root.close()


def shown(items: Iterator[tuple[bytes, bytes]]) -> list[bytes]:
    return [key for key, _ in items]


@pytest.mark.parametrize(
    "read",
    [
        lambda db: db,
        lambda db: db.iterator(),
        lambda db: db.iterator(prefix=b""),
        lambda db: db.iterator(start=b""),
        lambda db: db.iterator(stop=b"\xff" * 20, include_stop=True),
        lambda db: db.iterator(start=b"", stop=b"\xff\xff\xff\xff", include_stop=True),
        lambda db: reversed(list(db.iterator(reverse=True))),
        lambda db: reversed(list(db.iterator(reverse=True, stop=b"\xff" * 9, include_stop=True))),
        lambda db: db.snapshot(),
        lambda db: db.snapshot().iterator(stop=b"\xff" * 9),
        lambda db: db.prefixed_db(b""),
        lambda db: db.prefixed_db(b"").snapshot(),
    ],
)
def test_whole_iterations(store: Replica, read: Callable[[Replica], Iterator]) -> None:
    assert shown(iter(read(store))) == KEYS


@pytest.mark.parametrize("length", [1, 2, 3])
@pytest.mark.parametrize("reverse", [False, True])
def test_prefixes_that_reach_into_it(store: Replica, length: int, reverse: bool) -> None:
    prefix = b"\xff" * length
    expected = [key for key in KEYS if key.startswith(prefix)]
    if reverse:
        expected.reverse()
    assert shown(store.iterator(prefix=prefix, reverse=reverse)) == expected
    within = store.prefixed_db(prefix)
    cut = [key[length:] for key in expected]
    assert shown(within.iterator(prefix=b"", reverse=reverse)) == cut
    assert shown(within.snapshot().iterator(prefix=b"", reverse=reverse)) == cut
    rest = b"\xff" * (4 - length)
    assert shown(within.iterator(prefix=rest, reverse=reverse)) == []
    assert within.get(rest) is None
    with pytest.raises(ReservedKeyError):
        within.put(rest, b"")


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("key", RESERVED_KEYS)
def test_ranges_within_it_are_empty(store: Replica, key: bytes, reverse: bool) -> None:
    for items in (
        store.iterator(start=key, reverse=reverse),
        store.iterator(prefix=key, reverse=reverse),
        store.iterator(start=key, stop=b"\xff" * 20, include_stop=True, reverse=reverse),
        store.snapshot().iterator(prefix=key, reverse=reverse),
        store.prefixed_db(key).iterator(reverse=reverse),
        store.prefixed_db(key).snapshot().iterator(reverse=reverse),
        store.prefixed_db(b"\xff\xff").iterator(start=key[2:], reverse=reverse),
    ):
        assert list(items) == []
        # Nor by turning round or by seeking in it.
        with pytest.raises(StopIteration):
            items.prev()
        for target in (b"", b"a", key, b"\xff" * 30):
            items.seek(target)
            assert list(items) == []
            items.seek(target)
            with pytest.raises(StopIteration):
                items.prev()


def test_seeking_behind_the_last_key(store: Replica) -> None:
    for key in (*RESERVED_KEYS, b"\xff" * 30):
        items = store.iterator(include_value=False)
        items.seek(key)
        assert list(items) == []
        items.seek(key)
        assert items.prev() == LAST
        items = store.iterator(reverse=True, include_value=False)
        items.seek(key)
        assert next(items) == LAST
        items.seek_to_stop()
        assert next(items) == LAST


def test_stepping_over_the_end_and_back(store: Replica) -> None:
    items = store.iterator(include_value=False)
    assert list(items) == KEYS
    assert [items.prev() for _ in KEYS] == KEYS[::-1]
    with pytest.raises(StopIteration):
        items.prev()
    assert list(items) == KEYS


@pytest.mark.parametrize("make", [lambda db: db, lambda db: db.snapshot()])
def test_raw_iterators(store: Replica, make: Callable[[Replica], Replica]) -> None:
    items = make(store).raw_iterator()
    items.seek_to_last()
    assert items.key() == LAST
    items.next()
    assert not items.valid()
    with pytest.raises(plyvel.IteratorInvalidError):
        items.prev()
    for key in (*RESERVED_KEYS, b"\xff" * 30):
        items.seek(key)
        assert not items.valid()
        with pytest.raises(plyvel.IteratorInvalidError):
            items.value()
    items.seek_to_first()
    seen = []
    while items.valid():
        seen.append(items.key())
        items.next()
    assert seen == KEYS
    items.seek_to_first()
    items.prev()
    assert not items.valid()


def test_raw_iterator_over_nothing(tmp_path: Path) -> None:
    root = plyvel.DB(str(tmp_path), create_if_missing=True)
    with (
        replicate(root.prefixed_db(b"a:"), port=None) as before,
        replicate(root.prefixed_db(b"b:"), port=None) as empty,
    ):
        before.put(b"k", b"v")
        items = empty.raw_iterator()
        for move in (items.seek_to_first, items.seek_to_last, lambda: items.seek(b"x")):
            move()
            assert not items.valid()
    root.close()


@pytest.mark.parametrize("key", RESERVED_KEYS)
def test_get(store: Replica, key: bytes) -> None:
    for view in (
        store,
        store.snapshot(),
        store.prefixed_db(b""),
        store.prefixed_db(b"").snapshot(),
    ):
        assert view.get(key) is None
        assert view.get(key, b"default") == b"default"
        assert view.get(key, verify_checksums=True) is None
    assert store.prefixed_db(b"\xff\xff").get(key[2:]) is None
    assert store.versions(key) == []


@pytest.mark.parametrize("key", RESERVED_KEYS)
@pytest.mark.parametrize(
    "write",
    [
        lambda db, key: db.put(key, b"v"),
        lambda db, key: db.delete(key),
        lambda db, key: db.update(key, lambda versions: b"v"),
        lambda db, key: db.write_batch().put(key, b"v"),
        lambda db, key: db.write_batch().delete(key),
        lambda db, key: db.prefixed_db(key[:2]).put(key[2:], b"v"),
        lambda db, key: db.prefixed_db(key[:2]).delete(key[2:]),
        lambda db, key: db.prefixed_db(key).write_batch().put(b"", b"v"),
    ],
)
def test_writes_are_refused(
    store: Replica, write: Callable[[Replica, bytes], None], key: bytes
) -> None:
    digest = store.digest()
    with pytest.raises(ReservedKeyError, match="reserved"):
        write(store, key)
    assert store.digest() == digest
    assert shown(store.iterator()) == KEYS


def test_approximate_sizes_count_only_what_is_shown(tmp_path: Path) -> None:
    path = str(tmp_path)
    with replicate(plyvel.DB(path, create_if_missing=True), port=None) as replica:
        for number in range(2000):
            replica.put(b"%04d" % number, bytes(100))
    native = plyvel.DB(path)
    native.compact_range(start=b"", stop=b"\xff" * 9)
    everything = native.approximate_size(b"", b"\xff" * 9)
    with replicate(native, port=None) as replica:
        (size,) = replica.approximate_sizes((b"", b"\xff" * 9))
        assert 0 < size < everything
        assert size == replica.approximate_size(b"", b"\xff\xff\xff\xff")
        assert replica.approximate_size(b"\xff\xff\xff\xff", b"\xff" * 9) == 0
