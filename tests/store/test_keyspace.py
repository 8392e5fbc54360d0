"""The bytes on disk, held against the grammar at the head of the keyspace module. They never
change: a failure here means that stores written by an earlier version cannot be read."""

import struct
from pathlib import Path

import msgpack
import pytest

from replicator.core.chunk import Chunk
from replicator.core.known import KnownSet
from replicator.errors import FormatError
from replicator.store import keyspace, local, opening, state
from replicator.store.store import Store

from .checker import check_store
from .clocks import START_MS, Clocks
from .places import Place, patient
from .rounds import Round

HERE, THERE, FAR = 0x1111111111111111, 0x2222222222222222, 0x3333333333333333
NOW_NS = 1_700_000_000_123_456_789
FIRST = "018bcfe5687b0000"  # 1_700_000_000_123 ms << 16
SECOND = "018bcfe5687b0001"


@pytest.fixture
def fixed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock stands still; origins and cluster ids are not random."""
    origins = iter([HERE, THERE, FAR])
    monkeypatch.setattr(opening, "new_origin", lambda: next(origins))
    monkeypatch.setattr(local.time, "time_ns", lambda: NOW_NS)
    monkeypatch.setattr(state.os, "urandom", lambda size: b"C" * size)


def _reserved(store: Store) -> dict[str, str]:
    """Every row of ours in hex, the reserved prefix taken off the keys, identity left out."""
    rows = dict(store.db.iterator(start=keyspace.RESERVED))
    return {
        f"{chr(key[4])} {key[5:].hex()}": row.hex()
        for key, row in rows.items()
        if key != keyspace.meta_key("identity")
    }


def _text(name: bytes) -> str:
    return f"m {name.hex()}"


META = {
    _text(b"format"): "02",
    _text(b"cluster"): "43" * 16,
    _text(b"shown"): "00",
    _text(b"resolver"): "92" + "ad" + b"highest_clock".hex() + "aa" + b"concurrent".hex(),
    "R ": "91c400",
}


def test_one_put(directory: Path, fixed: None) -> None:
    place = Place(directory / "a", settings=patient())
    store = place.open()
    store.put(b"k", b"v")
    assert _reserved(store) == {
        **META,
        "o 00000001": "1111111111111111",
        "l 000000010000000000000001": b"k".hex(),
        "i 6b": f"0100000000010000000000000001{'0' * 16}{FIRST}6b643b84",
    }
    assert store.db.get(b"k") == b"v"
    place.close()


def test_an_overwrite_and_a_delete(directory: Path, fixed: None) -> None:
    place = Place(directory / "a", settings=patient())
    store = place.open()
    store.put(b"k", b"v")
    store.delete(b"k")
    assert _reserved(store) == {
        **META,
        "o 00000001": "1111111111111111",
        "l 000000010000000000000002": b"k".hex(),
        "i 6b": f"0101000000010000000000000002{1:016x}{SECOND}00000000",
    }
    assert store.db.get(b"k") is None
    place.close()


def test_siblings_claim_and_sync_point(directory: Path, fixed: None) -> None:
    """Two concurrent puts: a general row, both values aside, the visible one in the user's row;
    the known set, the own origin's known row, the durable row."""
    places = [Place(directory / name, settings=patient()) for name in "ab"]
    here, there = (place.open() for place in places)
    there.put(b"other", b"o")
    there.put(b"k", b"w")
    here.put(b"k", b"v")
    Round(here, there).whole()
    here.sync_point()
    durable = KnownSet({HERE: [1, 2], THERE: [1, 3]})
    version = "00{number:08x}{seq:016x}{clock:016x}{stamp}{crc}".format
    rows = _reserved(here)
    assert msgpack.unpackb(bytes.fromhex(rows.pop(_text(b"durable")))) == {
        bytes.fromhex("1111111111111111"): [1, 2],
        bytes.fromhex("2222222222222222"): [1, 3],
    }
    assert rows == {
        **META,
        "o 00000001": "1111111111111111",
        "o 00000002": "2222222222222222",
        "k 000000020000000000000001": f"{3:016x}",
        "l 000000010000000000000001": b"k".hex(),
        "l 000000020000000000000001": b"other".hex(),
        "l 000000020000000000000002": b"k".hex(),
        "v 000000010000000000000001": b"v".hex(),
        "v 000000020000000000000002": b"w".hex(),
        "i 6b": (
            "020001000200000002"
            + version(number=1, seq=1, clock=0, stamp=FIRST, crc="6b643b84")
            + version(number=2, seq=2, clock=0, stamp=SECOND, crc="1c630b12")
            + f"00000001{1:016x}00000002{2:016x}"
        ),
        "i 6f74686572": f"0100000000020000000000000001{0:016x}{FIRST}0f0f9344",
    }
    assert here.durable_known() == durable
    assert here.db.get(b"k") == b"w"
    # Superseding the peer's write of another key moves nothing of our own: no own known row yet.
    there.put(b"k", b"x")
    Round(there, here).whole()
    there.put(b"k", b"z")
    Round(here, there).whole()
    own_row = here.db.get(keyspace.known_key(1, 1))
    assert own_row == struct.pack(">Q", 2)
    check_store(here)
    for place in places:
        place.close()


def test_floor_and_shown(directory: Path, fixed: None) -> None:
    place = Place(directory / "a", settings=patient())
    store = place.open()
    store.put(b"k", b"v")
    store.put(b"l", b"v")
    store.show(1)
    store.finish(Chunk(), KnownSet(), KnownSet({THERE: [1, 10]}), {THERE: 9})
    rows = _reserved(store)
    assert rows[_text(b"shown")] == "01"
    assert rows["f 00000002"] == f"{9:016x}"
    assert rows["k 000000020000000000000001"] == f"{10:016x}"
    place.close()


def test_behind_a_prefix_all_rows_but_the_registry(directory: Path, fixed: None) -> None:
    place = Place(directory / "a", prefix=b"ns/", settings=patient())
    store = place.open()
    store.put(b"k", b"v")
    place.close()
    rows = place.rows()
    assert rows.pop(keyspace.ROOT) == msgpack.packb([b"ns/"])
    assert all(key.startswith(b"ns/") for key in rows)
    assert rows[b"ns/k"] == b"v"
    assert rows[b"ns/\xff\xff\xff\xffl" + struct.pack(">IQ", 1, 1)] == b"k"


def test_a_malformed_row_key_is_named() -> None:
    with pytest.raises(FormatError, match="malformed"):
        keyspace.number_seq(keyspace.LOG + b"short")


def test_the_key_behind_all_of_a_tag() -> None:
    assert keyspace.after(keyspace.INDEX) == b"\xff\xff\xff\xffj"
    assert keyspace.index_key(b"k") == b"\xff\xff\xff\xffik"


@pytest.mark.parametrize(
    "table",
    [
        {b"x" * 8: [3, 1]},
        {b"x" * 8: [0, 1]},
        {b"x" * 8: [1]},
        {b"short": [1, 2]},
        [],
        7,
        {b"x" * 8: 5},
        {b"x" * 8: ["a", "b"]},
        {3: [1, 2]},
    ],
)
def test_a_malformed_known_set(table: object) -> None:
    with pytest.raises(FormatError):
        keyspace.unpack_known("durable", msgpack.packb(table))


def test_known_sets_come_back() -> None:
    known = KnownSet({1: [1, 5, 9, 10], 2**64 - 1: [3, 4]})
    assert keyspace.unpack_known("durable", keyspace.pack_known(known)) == known


def test_a_value_that_expires(directory: Path, fixed: None, clocks: Clocks) -> None:
    """The example at the head of the keyspace module: aside as well, due; then swept."""
    place = Place(directory / "a", settings=patient())
    store = place.open()
    store.put_with(b"k", b"v", expiry_ms=START_MS + 1)
    held = {
        **META,
        "o 00000001": "1111111111111111",
        "l 000000010000000000000001": b"k".hex(),
        "v 000000010000000000000001": b"v".hex(),
        "i 6b": (
            "020000000100000001"
            f"02000000010000000000000001{0:016x}{START_MS << 16:016x}6b643b84{START_MS + 1:016x}"
            f"00000001{1:016x}"
        ),
    }
    assert _reserved(store) == {**held, "x 000001a3185c50016b": ""}
    assert store.db.get(b"k") == b"v"
    clocks.set(1, store)
    assert _reserved(store) == {**held, "x 800001a3185c50016b": ""}
    assert store.db.get(b"k") is None
    place.close()
