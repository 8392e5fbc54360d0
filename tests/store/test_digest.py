"""The digest: equal on nodes that hold the same, different where anything that counts differs."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from zlib import crc32

import pytest

from replicator.core.dots import Dot
from replicator.core.known import KnownSet
from replicator.core.record import Record, Version
from replicator.store.store import Store

from .chunks import chunk_of
from .places import Place, patient
from .rounds import exchange

A, B = 0xAAAA, 0xBBBB
VERSION = Version(b"k", Dot(A, 1), 3, 1 << 16, False, b"v", 5_000, crc32(b"v"))


@pytest.fixture
def stores(directory: Path) -> Iterator[list[Store]]:
    places = [Place(directory / str(index), settings=patient()) for index in range(2)]
    yield [place.open() for place in places]
    for place in places:
        place.close()


def _holding(store: Store, record: Record, key: bytes = b"k") -> str:
    known = KnownSet.of(*record.context.items())
    store.apply(chunk_of((key, record)), known)
    digest = store.digest(1_000)
    batch = store.db.write_batch()
    store.remove(batch, key, record)
    batch.write()
    for origin, _ in record.context.items():
        store.learnt.replace(origin, [])
    return digest


def test_other_numbers_contexts_and_winners_are_no_difference(stores: list[Store]) -> None:
    first, second = stores
    second.origins.intern(1, 2, 3)
    record = Record((VERSION,), {A: 1})
    assert _holding(first, record) == _holding(second, record)
    assert _holding(first, record) == _holding(second, Record((VERSION,), {A: 9, B: 7}))
    other = replace(VERSION, dot=Dot(B, 1), value=b"w", checksum=crc32(b"w"))
    both = Record((VERSION, other), {A: 1, B: 1})
    second.settler.resolver = lambda a, b: b"merged"
    assert _holding(first, both) == _holding(second, both)


@pytest.mark.parametrize(
    "other",
    [
        replace(VERSION, dot=Dot(A, 2)),
        replace(VERSION, dot=Dot(B, 1)),
        replace(VERSION, clock=4),
        replace(VERSION, timestamp=2 << 16),
        replace(VERSION, expiry_ms=6_000),
        replace(VERSION, expiry_ms=None),
        replace(VERSION, value=b"w", checksum=crc32(b"w")),
        replace(VERSION, value=b"", checksum=0),
    ],
)
def test_everything_that_counts(stores: list[Store], other: Version) -> None:
    store = stores[0]
    record = Record((other,), {other.dot.origin: other.dot.seq})
    assert _holding(store, record) != _holding(store, Record((VERSION,), {A: 1}))


def test_the_key_counts(stores: list[Store]) -> None:
    record = Record((VERSION,), {A: 1})
    other = Record((replace(VERSION, key=b"j"),), {A: 1})
    assert _holding(stores[0], record) != _holding(stores[0], other, b"j")


def test_deletes_alone_and_what_has_expired_do_not_count(stores: list[Store]) -> None:
    store = stores[0]
    empty = store.digest(1_000)
    gone = replace(VERSION, is_delete=True, value=None, checksum=0, expiry_ms=None)
    assert _holding(store, Record((gone,), {A: 1})) == empty
    expired = replace(VERSION, expiry_ms=1_000)
    assert _holding(store, Record((expired,), {A: 1})) == empty
    assert _holding(store, Record((replace(VERSION, expiry_ms=1_001),), {A: 1})) != empty


def test_a_delete_beside_a_put_counts(stores: list[Store]) -> None:
    gone = Version(b"k", Dot(B, 1), 0, 0, True, None)
    both = Record((VERSION, gone), {A: 1, B: 1})
    assert _holding(stores[0], both) != _holding(stores[0], Record((VERSION,), {A: 1}))


def test_now_is_the_default(stores: list[Store]) -> None:
    for store in stores:
        store.put(b"k", store.prefix + b"%d" % stores.index(store))
    assert stores[0].digest() != stores[1].digest()
    exchange(*stores)
    assert stores[0].digest() == stores[1].digest() == stores[0].digest(0)
