"""What plyvel refuses, a wrapped handle refuses with an error of the same kind; what it takes,
it takes with the same result."""

from collections.abc import Callable, Iterator
from typing import Any

import plyvel
import pytest

from replicator.faces.library import replicate


class Key(bytes):
    """plyvel takes no subclass of bytes."""


def write_in_batch(db: Any, *, transaction: bool) -> None:
    with db.write_batch(transaction=transaction) as batch:
        batch.put(b"in batch", b"")
        raise LookupError


CALLS: dict[str, Callable[[Any], Any]] = {
    "get str": lambda db: db.get("k"),
    "get int": lambda db: db.get(1),
    "get None": lambda db: db.get(None),
    "get bytearray": lambda db: db.get(bytearray(b"k")),
    "get subclass": lambda db: db.get(Key(b"k")),
    "get nothing": lambda db: db.get(),
    "get two defaults": lambda db: db.get(b"k", b"d", True),
    "get flag int": lambda db: db.get(b"k", verify_checksums=1),
    "get flag str": lambda db: db.get(b"k", fill_cache="yes"),
    "get flag None": lambda db: db.get(b"k", fill_cache=None),
    "get unknown keyword": lambda db: db.get(b"k", checksums=True),
    "get named": lambda db: db.get(key=b"k", default=b"d"),
    "put str key": lambda db: db.put("k", b"v"),
    "put int key": lambda db: db.put(1, b"v"),
    "put subclass key": lambda db: db.put(Key(b"k"), b"v"),
    "put str value": lambda db: db.put(b"k", "v"),
    "put int value": lambda db: db.put(b"k", 12),
    "put None value": lambda db: db.put(b"k", None),
    "put bytearray": lambda db: db.put(b"k", bytearray(b"v")),
    "put memoryview": lambda db: db.put(b"k", memoryview(b"v")),
    "put empty": lambda db: db.put(b"", b""),
    "put one argument": lambda db: db.put(b"k"),
    "put sync int": lambda db: db.put(b"k", b"v", sync=1),
    "put sync None": lambda db: db.put(b"k", b"v", sync=None),
    "put sync positional": lambda db: db.put(b"k", b"v", True),
    "delete str": lambda db: db.delete("k"),
    "delete None": lambda db: db.delete(None),
    "delete absent": lambda db: db.delete(b"absent"),
    "delete sync int": lambda db: db.delete(b"k", sync=1),
    "batch flag": lambda db: db.write_batch(transaction=1),
    "batch sync flag": lambda db: db.write_batch(sync="no"),
    "batch positional": lambda db: db.write_batch(True),
    "batch put str": lambda db: db.write_batch().put("k", b"v"),
    "batch put subclass": lambda db: db.write_batch().put(Key(b"k"), b"v"),
    "batch put int value": lambda db: db.write_batch().put(b"k", 12),
    "batch delete None": lambda db: db.write_batch().delete(None),
    "batch append None": lambda db: db.write_batch().append(None),
    "batch append list": lambda db: db.write_batch().append([]),
    "batch raises": lambda db: write_in_batch(db, transaction=False),
    "batch raised": lambda db: db.get(b"in batch"),
    "transaction raises": lambda db: write_in_batch(db, transaction=True),
    "iterator start str": lambda db: db.iterator(start="a"),
    "iterator stop int": lambda db: db.iterator(stop=1),
    "iterator prefix str": lambda db: db.iterator(prefix="a"),
    "iterator prefix and start": lambda db: db.iterator(prefix=b"a", start=b"a"),
    "iterator prefix and stop": lambda db: db.iterator(prefix=b"a", stop=b"b"),
    "iterator reserved prefix and start": lambda db: db.iterator(prefix=b"\xff" * 4, start=b"a"),
    "iterator reverse int": lambda db: db.iterator(reverse=1),
    "iterator include_key str": lambda db: db.iterator(include_key="no"),
    "iterator positional": lambda db: db.iterator(True),
    "iterator seek str": lambda db: db.iterator().seek("a"),
    "iterator seek None": lambda db: db.iterator().seek(None),
    "iterator prev at once": lambda db: db.iterator().prev(),
    "iterate": lambda db: list(db),
    "iterate in reverse": lambda db: list(db.iterator(reverse=True)),
    "len": lambda db: len(db),
    "index": lambda db: db[b"k"],
    "raw iterator flag": lambda db: db.raw_iterator(fill_cache=1),
    "raw iterator invalid": lambda db: db.raw_iterator().key(),
    "raw iterator seek str": lambda db: db.raw_iterator().seek("a"),
    "snapshot argument": lambda db: db.snapshot(True),
    "snapshot get int": lambda db: db.snapshot().get(1),
    "snapshot get default": lambda db: db.snapshot().get(b"absent", b"d"),
    "snapshot iterate": lambda db: list(db.snapshot()),
    "snapshot put": lambda db: db.snapshot().put(b"k", b"v"),
    "prefixed str": lambda db: db.prefixed_db("a"),
    "prefixed None": lambda db: db.prefixed_db(None),
    "prefixed get": lambda db: db.prefixed_db(b"k").get(b""),
    "prefixed get int": lambda db: db.prefixed_db(b"k").get(1),
    "prefixed put int": lambda db: db.prefixed_db(b"k").put(1, b"v"),
    "prefixed put str value": lambda db: db.prefixed_db(b"k").put(b"1", "v"),
    "prefixed delete str": lambda db: db.prefixed_db(b"k").delete("1"),
    "prefixed close": lambda db: db.prefixed_db(b"k").close(),
    "prefixed raw iterator": lambda db: db.prefixed_db(b"k").raw_iterator(),
    "prefixed set prefix": lambda db: setattr(db.prefixed_db(b"k"), "prefix", b""),
    "prefixed set db": lambda db: setattr(db.prefixed_db(b"k"), "db", None),
    "sizes int": lambda db: db.approximate_size(1, 2),
    "sizes None": lambda db: db.approximate_sizes(None),
    "sizes ints": lambda db: db.approximate_sizes((1, 2)),
    "sizes three": lambda db: db.approximate_sizes((b"a", b"b", b"c")),
    "sizes none": lambda db: db.approximate_sizes(),
    "compact str": lambda db: db.compact_range(start="a"),
    "compact": lambda db: db.compact_range(start=b"a", stop=b"z"),
    "property str": lambda db: db.get_property("leveldb.stats"),
    "property nothing": lambda db: db.get_property(),
    "property unknown": lambda db: db.get_property(b"unknown"),
    "set name": lambda db: setattr(db, "name", "other"),
    "set closed": lambda db: setattr(db, "closed", True),
    "closed": lambda db: db.closed,
    "enter": lambda db: db.__enter__() is db,
}

CLOSED_CALLS: dict[str, Callable[[Any], Any]] = {
    "get": lambda db: db.get(b"k"),
    "get reserved": lambda db: db.get(b"\xff" * 5),
    "get with flags": lambda db: db.get(b"k", fill_cache=False),
    "put": lambda db: db.put(b"k", b"v"),
    "delete": lambda db: db.delete(b"k"),
    "write_batch": lambda db: db.write_batch(),
    "iterator": lambda db: db.iterator(),
    "iterator of nothing": lambda db: db.iterator(prefix=b"\xff" * 4),
    "iter": lambda db: iter(db),
    "raw_iterator": lambda db: db.raw_iterator(),
    "snapshot": lambda db: db.snapshot(),
    "get_property": lambda db: db.get_property(b"leveldb.stats"),
    "compact_range": lambda db: db.compact_range(),
    "approximate_size": lambda db: db.approximate_size(b"a", b"b"),
    "approximate_sizes": lambda db: db.approximate_sizes(),
    "prefixed_db": lambda db: db.prefixed_db(b"a").prefix,
    "prefixed get": lambda db: db.prefixed_db(b"a").get(b"k"),
    "prefixed put": lambda db: db.prefixed_db(b"a").put(b"k", b"v"),
    "prefixed batch": lambda db: db.prefixed_db(b"a").write_batch().put(b"k", b"v"),
    "prefixed iterator": lambda db: db.prefixed_db(b"a").iterator(),
    "prefixed snapshot": lambda db: db.prefixed_db(b"a").snapshot(),
    "closed": lambda db: db.closed,
    "close": lambda db: db.close(),
    "exit": lambda db: db.__exit__(None, None, None),
}

LEFTOVER_CALLS: dict[str, Callable[[Any], Any]] = {
    "batch put": lambda left: left["batch"].put(b"k", b"v"),
    "batch delete": lambda left: left["batch"].delete(b"k"),
    "batch clear": lambda left: left["batch"].clear(),
    "batch write": lambda left: left["batch"].write(),
    "batch append": lambda left: left["batch"].append(left["batch"]),
    "batch approximate_size": lambda left: left["batch"].approximate_size(),
    "batch enter": lambda left: left["batch"].__enter__(),
    "batch exit": lambda left: left["batch"].__exit__(None, None, None),
    "snapshot get": lambda left: left["snapshot"].get(b"k"),
    "snapshot iterator": lambda left: left["snapshot"].iterator(),
    "snapshot raw_iterator": lambda left: left["snapshot"].raw_iterator(),
    "snapshot close": lambda left: left["snapshot"].close(),
    "snapshot release": lambda left: left["snapshot"].release(),
    "iterator next": lambda left: next(left["iterator"]),
    "iterator prev": lambda left: left["iterator"].prev(),
    "iterator seek": lambda left: left["iterator"].seek(b"k"),
    "iterator seek_to_start": lambda left: left["iterator"].seek_to_start(),
    "iterator seek_to_stop": lambda left: left["iterator"].seek_to_stop(),
    "iterator close": lambda left: left["iterator"].close(),
    "snapshot's iterator next": lambda left: next(left["snapshot iterator"]),
    "raw valid": lambda left: left["raw"].valid(),
    "raw key": lambda left: left["raw"].key(),
    "raw value": lambda left: left["raw"].value(),
    "raw item": lambda left: left["raw"].item(),
    "raw next": lambda left: left["raw"].next(),
    "raw prev": lambda left: left["raw"].prev(),
    "raw seek": lambda left: left["raw"].seek(b"k"),
    "raw seek_to_first": lambda left: left["raw"].seek_to_first(),
    "raw seek_to_last": lambda left: left["raw"].seek_to_last(),
    "raw close": lambda left: left["raw"].close(),
    "prefixed get": lambda left: left["prefixed"].get(b"k"),
    "prefixed batch put": lambda left: left["prefixed batch"].put(b"k", b"v"),
}


def outcome(call: Callable[[Any], Any], subject: Any) -> Any:
    """What a call returns, or what it raises; objects count by their kind."""
    try:
        result = call(subject)
    except Exception as error:
        return error
    plain = result is None or isinstance(result, bool | int | bytes | str | list)
    return result if plain else type(result).__name__.removesuffix("Replica").removesuffix("DB")


def assert_alike(ours: Any, theirs: Any) -> None:
    if isinstance(theirs, Exception):
        assert isinstance(ours, type(theirs)), f"{ours!r} instead of {theirs!r}"
    else:
        assert ours == theirs


Pair = tuple[Any, Any]
"""The same of a wrapped handle and of plyvel's."""


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Pair]:
    """Makes a wrapped and a plain handle with one key."""

    def make() -> Pair:
        paths = [str(tmp_path_factory.mktemp("db")) for _ in range(2)]
        ours, theirs = (plyvel.DB(path, create_if_missing=True) for path in paths)
        pair = replicate(ours, port=None), theirs
        for db in pair:
            db.put(b"k", b"v")
        return pair

    return make


@pytest.fixture(scope="module")
def opened(make: Callable[[], Pair]) -> Iterator[Pair]:
    """Two open handles, the same ones for all calls."""
    pair = make()
    yield pair
    for db in pair:
        db.close()


@pytest.fixture(scope="module")
def closed(make: Callable[[], Pair]) -> Pair:
    """Two closed handles."""
    pair = make()
    for db in pair:
        db.close()
    return pair


@pytest.fixture(scope="module")
def left(make: Callable[[], Pair]) -> Pair:
    """What was made by handles that are closed now."""
    pair = make()
    return tuple(map(leave, pair))  # type: ignore[return-value]


def leave(db: Any) -> dict[str, Any]:
    prefixed, snapshot = db.prefixed_db(b"a"), db.snapshot()
    left = {
        "batch": db.write_batch(),
        "snapshot": snapshot,
        "iterator": db.iterator(),
        "snapshot iterator": snapshot.iterator(),
        "raw": db.raw_iterator(),
        "prefixed": prefixed,
        "prefixed batch": prefixed.write_batch(),
    }
    next(left["iterator"])
    left["raw"].seek_to_first()
    db.close()
    return left


@pytest.mark.parametrize("name", CALLS)
def test_open(opened: Pair, name: str) -> None:
    for db in opened:
        db.put(b"in batch", b"")
    assert_alike(*(outcome(CALLS[name], db) for db in opened))
    ours, theirs = opened
    assert list(ours) == list(theirs), "nor is any other data changed"


@pytest.mark.parametrize("name", CLOSED_CALLS)
def test_closed(closed: Pair, name: str) -> None:
    assert_alike(*(outcome(CLOSED_CALLS[name], db) for db in closed))


@pytest.mark.parametrize("name", LEFTOVER_CALLS)
def test_left_over_when_the_handle_closes(left: Pair, name: str) -> None:
    assert_alike(*(outcome(LEFTOVER_CALLS[name], things) for things in left))
