"""Each kind of damage is found, by name and key; what is sound, or only unfinished, is no fault."""

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from replicator.store.keyspace import KNOWN, SEQ, after, index_key, meta_key
from replicator.store.verify import reading
from replicator.store.verify.faults import ABOUT, MENDED, Kind
from tests.store.places import Place, patient
from tests.store.rounds import pull
from tests.store.verify.damage import DAMAGES, Rows, furnish, kinds_of, scanned


@pytest.fixture(params=[None, b"wrap:"], ids=["whole", "prefixed"])
def place(directory: Path, request: pytest.FixtureRequest) -> Place:
    place = Place(directory / "a", prefix=request.param, settings=patient())
    furnish(place)
    return place


def test_a_store_in_good_order_has_no_fault(place: Place) -> None:
    faults, scan = scanned(place)
    assert faults == []
    assert scan.notes == []
    assert scan.keys == 46


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_found_and_named(place: Place, name: str) -> None:
    damage = DAMAGES[name]
    with Rows(place) as found:
        damage.do(found)
    assert kinds_of(place) == set(damage.kinds)


def test_every_kind_is_told_of_and_planted() -> None:
    assert set(ABOUT) == set(MENDED) == set(Kind)
    planted = {kind for damage in DAMAGES.values() for kind in damage.kinds}
    assert set(Kind) - planted == {Kind.UNREADABLE, Kind.REGISTRY}


def plain(directory: Path) -> Place:
    """Short rows alone, of one peer's writes: what batches of them are looked at column by column
    for. Some are deletes."""
    ours = Place(directory / "plain", settings=patient())
    with Place(directory / "peer", settings=patient()) as peer, ours as store:
        for number in range(60):
            peer.put(b"k%03d" % number, b"value %d" % number)
        for number in range(0, 60, 7):
            peer.delete(b"k%03d" % number)
        pull(store, peer)
    return ours


def row_changed(key: bytes, place: int, octets: bytes) -> Callable[[Rows], None]:
    def change(found: Rows) -> None:
        row = found.get(index_key(key))
        found.put(index_key(key), row[:place] + octets + row[place + len(octets) :])

    return change


def known_less(found: Rows) -> None:
    ((key, row),) = found.handle.iterator(start=KNOWN, stop=after(KNOWN))
    found.put(key, SEQ.pack(SEQ.unpack(row)[0] - 3))
    found.delete(meta_key("durable"))


PLAIN: Mapping[str, tuple[Callable[[Rows], object], dict[Kind, int]]] = {
    "nothing": (lambda found: None, {}),
    "changed": (lambda found: found.put(b"k010", b"x"), {Kind.CHANGED: 1}),
    "the last one changed": (lambda found: found.put(b"k059", b"x"), {Kind.CHANGED: 1}),
    "removed": (lambda found: found.delete(b"k010"), {Kind.REMOVED: 1}),
    "the last one removed": (lambda found: found.delete(b"k059"), {Kind.REMOVED: 1}),
    "added": (lambda found: found.put(b"k0105", b"x"), {Kind.ADDED: 1}),
    "added before": (lambda found: found.put(b"a", b"x"), {Kind.ADDED: 1}),
    "added where deleted": (lambda found: found.put(b"k014", b"x"), {Kind.ADDED: 1}),
    "kind": (row_changed(b"k010", 0, b"\x03"), {Kind.INDEX: 1, Kind.LOG_LOST: 1}),
    "flags": (row_changed(b"k010", 1, b"\x02"), {Kind.INDEX: 1, Kind.LOG_LOST: 1}),
    "delete's flags": (row_changed(b"k014", 1, b"\x03"), {Kind.INDEX: 1, Kind.LOG_LOST: 1}),
    "number": (row_changed(b"k010", 2, b"\0\0\0\x07"), {Kind.INDEX: 1, Kind.LOG_LOST: 1}),
    "seq": (row_changed(b"k010", 6, b"\x80"), {Kind.INDEX: 1, Kind.LOG_LOST: 1}),
    "another seq": (
        row_changed(b"k010", 13, b"\xf0"),
        {Kind.LOG_MISSING: 1, Kind.NOT_KNOWN: 1, Kind.LOG_STALE: 1},
    ),
    "clock": (row_changed(b"k010", 14, b"\x80"), {Kind.INDEX: 1, Kind.LOG_LOST: 1}),
    "timestamp": (row_changed(b"k010", 22, b"\x80"), {Kind.INDEX: 1, Kind.LOG_LOST: 1}),
    "checksum": (row_changed(b"k010", 31, b"\0"), {Kind.CHANGED: 1}),
    "a delete's checksum": (row_changed(b"k014", 33, b"\1"), {Kind.INDEX: 1, Kind.LOG_LOST: 1}),
    "known": (known_less, {Kind.NOT_KNOWN: 3}),
}


@pytest.mark.parametrize("name", PLAIN)
def test_short_rows_by_the_batch(directory: Path, name: str) -> None:
    damage, expected = PLAIN[name]
    place = plain(directory)
    with Rows(place) as found:
        damage(found)
    faults, _ = scanned(place)
    assert Counter(fault.kind for fault in faults) == expected, faults


def test_batches_may_begin_and_end_anywhere(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = plain(directory)
    with Rows(place) as found:
        for name in ("changed", "the last one removed", "added", "added where deleted"):
            PLAIN[name][0](found)
    for size in (1, 2, 3, 7, 59, 60, 61):
        monkeypatch.setattr(reading, "ROWS_AT_ONCE", size)
        keys = [fault.key for fault in scanned(place)[0]]
        assert keys == [b"k010", b"k0105", b"k014", b"k059"], size
