"""Every invariant of the keyspace, verified on the raw rows of an open store.

The grammar is decoded here a second time, independently of the store's own readers where that is
a few lines, so that a mistake in one of them does not hide itself.
"""

import struct
from collections.abc import Mapping
from zlib import crc32

import msgpack

from replicator.core import ranges, rows
from replicator.core.dots import Dot
from replicator.core.known import KnownSet
from replicator.core.record import Record
from replicator.core.resolve import is_conflict
from replicator.store.keyspace import FORMAT_VERSION
from replicator.store.store import Store

RESERVED = b"\xff\xff\xff\xff"
TAGS = b"ilvkofnmRxc"


class Rows:
    """The raw rows of one namespace, by kind, keys without their tags."""

    def __init__(self, store: Store) -> None:
        self.user: dict[bytes, bytes] = {}
        self.by_tag: dict[str, dict[bytes, bytes]] = {chr(tag): {} for tag in TAGS}
        for key, value in store.db:
            if key < RESERVED:
                self.user[key] = value
                continue
            assert key.startswith(RESERVED) and len(key) > 4 and key[4] in TAGS, key
            self.by_tag[chr(key[4])][key[5:]] = value
        self.origins = {
            struct.unpack(">I", key)[0]: struct.unpack(">Q", row)[0]
            for key, row in self.by_tag["o"].items()
        }
        self.meta = {
            key.decode(): row if key == b"cluster" else msgpack.unpackb(row, strict_map_key=False)
            for key, row in self.by_tag["m"].items()
        }

    def dots(self, tag: str) -> dict[Dot, bytes]:
        found = {}
        for key, row in self.by_tag[tag].items():
            number, seq = struct.unpack(">IQ", key)
            found[Dot(self.origins[number], seq)] = row
        return found


def check_store(store: Store) -> None:
    """Fail with an AssertionError where rows, memory or both contradict a rule. Nothing else may
    write to the store meanwhile."""
    raw = Rows(store)
    records = _records(raw)
    _check_index(store, raw, records)
    _check_log(raw, records)
    _check_user_rows(store, raw, records)
    _check_aside(raw, records)
    _check_expiries(store, raw, records)
    _check_known(store, raw, records)
    _check_meta(store, raw)
    for key in records:
        assert store.absent.may_contain(key), f"the filter calls {key!r} absent"


def _records(raw: Rows) -> dict[bytes, tuple[Record, int]]:
    return {key: rows.unpack(row, key, raw.origins) for key, row in raw.by_tag["i"].items()}


def _check_index(store: Store, raw: Rows, records: Mapping[bytes, tuple[Record, int]]) -> None:
    assert len(set(raw.origins.values())) == len(raw.origins), "an origin has two numbers"
    assert raw.origins == store.origins.by_number
    assert {origin: number for number, origin in raw.origins.items()} == store.origins.numbers
    for key, (record, visible) in records.items():
        assert record.context.get(store.origin, 0) <= store.seq, f"{key!r}: an own seq never issued"
        if len(record.versions) == 1:
            assert visible == 0
        number = store.origins.number
        assert rows.pack(record, number, visible) == raw.by_tag["i"][key], "not the canonical row"


def _check_log(raw: Rows, records: Mapping[bytes, tuple[Record, int]]) -> None:
    wanted: dict[Dot, bytes] = {}
    for key, (record, _) in records.items():
        for version in record.versions:
            assert version.dot not in wanted, f"dot {version.dot} is live in two records"
            wanted[version.dot] = key
    assert raw.dots("l") == wanted, "the log is not the live versions of the index"


def _check_user_rows(store: Store, raw: Rows, records: Mapping[bytes, tuple[Record, int]]) -> None:
    expected = {}
    swept = {key for (moment, key) in _expiries(raw) if moment >> 63}
    for key, (_, visible) in records.items():
        if key in swept:
            continue
        loaded = store.record(key)
        if visible == rows.MERGED:
            shown = store.settler.resolve(loaded.versions)
            assert shown.merged
            value = shown.visible.value
        else:
            value = loaded.versions[visible].value
            if not is_conflict(loaded.versions):
                assert value == loaded.versions[0].value
        if value is not None:
            expected[key] = value
    assert raw.user == expected, "a plain reader does not see the visible values"


def check_shown(store: Store) -> None:
    """Every user row is what this store's resolver makes of the siblings (R6), none where it has
    expired (R17): holds where the resolver was never changed and never failed, after a sweep."""
    now_ms = store.wall_ms()
    for key in Rows(store).by_tag["i"]:
        shown = store.settler.resolve(store.record(key).versions).visible
        is_over = shown.expiry_ms is not None and shown.expiry_ms <= now_ms
        assert store.db.get(key) == (None if is_over else shown.value), key


def _expiries(raw: Rows) -> dict[tuple[int, bytes], bytes]:
    """The expiry rows by moment and key."""
    return {
        (struct.unpack(">Q", row_key[:8])[0], row_key[8:]): row
        for row_key, row in raw.by_tag["x"].items()
    }


def _check_expiries(store: Store, raw: Rows, records: Mapping[bytes, tuple[Record, int]]) -> None:
    """One row for each key whose shown version expires, swept or not; the bounds in memory hold."""
    wanted = {}
    for key, (_, visible) in records.items():
        loaded = store.record(key)
        shown = (
            store.settler.resolve(loaded.versions).visible
            if visible == rows.MERGED
            else loaded.versions[visible]
        )
        if shown.expiry_ms is not None and shown.expiry_ms >> 63 == 0 and not shown.is_delete:
            wanted[key] = shown.expiry_ms
    found = _expiries(raw)
    for moment, key in list(found):
        record, visible = records.get(key, (None, 0))
        if visible == rows.MERGED and moment >> 63 and record is not None:
            # Swept when the last of the parts had expired, without asking the resolver.
            last = max(one.expiry_ms or 0 for one in record.versions)
            if moment & ~(1 << 63) == last >= wanted.get(key, last):
                wanted[key] = last
    assert {key: moment & ~(1 << 63) for moment, key in found} == wanted, "expiry rows"
    assert len(found) == len(wanted), "a key has two expiry rows"
    assert not any(found.values())
    for moment, key in found:
        if moment >> 63:
            assert store.due.swept_ms >= moment & ~(1 << 63), "a swept row beyond the bound"
        else:
            assert store.due.first <= RESERVED + b"x" + struct.pack(">Q", moment) + key
            assert key in raw.user, "a value is gone, and its expiry row does not say so"


def _check_aside(raw: Rows, records: Mapping[bytes, tuple[Record, int]]) -> None:
    wanted = {
        version.dot: version.checksum
        for record, _ in records.values()
        if len(record.versions) > 1 or record.versions[0].expiry_ms is not None
        for version in record.versions
        if not version.is_delete
    }
    aside = raw.dots("v")
    assert set(aside) == set(wanted), "the values aside are not those of the siblings"
    for dot, value in aside.items():
        assert crc32(value) == wanted[dot], f"the value aside of {dot} is damaged"


def _check_known(store: Store, raw: Rows, records: Mapping[bytes, tuple[Record, int]]) -> None:
    on_disk = KnownSet()
    for key, row in raw.by_tag["k"].items():
        number, start = struct.unpack(">IQ", key)
        on_disk.add_range(raw.origins[number], start, struct.unpack(">Q", row)[0])
    own_log = [dot.seq for dot in raw.dots("l") if dot.origin == store.origin]
    own = max([0, on_disk.highest(store.origin), *own_log])
    assert own == store.seq, f"at the next open the last own seq is {own}, now it is {store.seq}"
    on_disk.replace(store.origin, [1, own + 1] if own else [])
    assert on_disk == store.known(), "the known set in memory is not the one on disk"
    assert not store.learnt.bounds(store.origin)
    assert all(ranges.is_valid(bounds) for _, bounds in on_disk.items())
    for record, _ in records.values():
        for version in record.versions:
            assert version.dot in on_disk, f"{version.dot} is live and not known"


def _check_meta(store: Store, raw: Rows) -> None:
    floor = {
        raw.origins[struct.unpack(">I", key)[0]]: struct.unpack(">Q", row)[0]
        for key, row in raw.by_tag["f"].items()
    }
    assert floor == store.floor
    meta = raw.meta
    assert meta["format"] == FORMAT_VERSION
    assert meta["identity"][0] == store.origin
    assert meta["identity"][-1] is False, "an open store is marked as closed"
    assert meta.get("shown", 0) == store.shown <= store.seq
    assert meta.get("cluster") == store.cluster_id
    assert "fork" not in meta and "adopt" not in meta, "opening left something unfinished"
    durable = KnownSet(
        {struct.unpack(">Q", key)[0]: bounds for key, bounds in meta.get("durable", {}).items()}
    )
    assert durable == store.durable_known()
    assert store.known().issuperset(durable), "called durable and not known"
    assert set(meta) <= {
        *("format", "identity", "cluster", "shown", "durable", "full"),
        *("resolver", "revisit"),
    }
    assert ("full" in meta) == bool(store.unexplained)
