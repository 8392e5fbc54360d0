"""Stores of every kind that occurs, and what is in them.

Run as a script this is a process of whichever version of the package is on its path:

    python making.py DIRECTORY       makes one store of each kind; prints what each holds, as JSON

So it uses nothing but what all versions have alike.
"""

import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any
from zlib import crc32

import plyvel

from replicator.config import Settings
from replicator.core import rows
from replicator.core.chunk import Chunk
from replicator.core.dots import Dot
from replicator.core.known import KnownSet
from replicator.core.members import FORGOTTEN, Member
from replicator.core.record import Record, Version
from replicator.store import adoption
from replicator.store.keyspace import INDEX, after
from replicator.store.store import Store

SETTINGS = Settings(join_timeout=0.0)
FAR_MS = 4_000_000_000_000
PEER = 0xBBBB_0000_0000_0001
"""An origin that writes values which expire."""

KINDS = ("mixed", "empty", "adopted", "cut-adoption", "killed", "cut-fork")
PREFIXES = (b"l/", b"r/")


def describe(store: Store) -> dict[str, Any]:
    """What a store holds, for the other version to compare: plain JSON."""
    keys = [key[len(INDEX) :] for key, _ in store.db.iterator(start=INDEX, stop=after(INDEX))]
    return {
        "records": {key.hex(): _described(store.record(key)) for key in keys},
        "shown": {k.hex(): v.hex() for k, v in store.db.iterator(stop=b"\xff\xff\xff\xff")},
        "winners": {
            key.hex(): f"{store.versions(key)[0].origin}:{store.versions(key)[0].dot.seq}"
            for key in keys
        },
        "conflicts": [key.hex() for key, _ in store.conflicts()],
        "known": _bounds(store.known()),
        "durable": _bounds(store.durable_known()),
        "floor": _by_origin(store.floor),
        "origin": f"{store.origin:016x}",
        "own": [store.seq, store.shown],
        "cluster": store.cluster_id and store.cluster_id.hex(),
        "members": sorted(
            [
                f"{member.origin:016x}",
                member.revision,
                member.name,
                member.since_ms,
                member.said_ms,
                member.version,
                list(member.addresses),
                _bounds(member.known),
                heard_ms,
            ]
            for member, heard_ms in store.members()
        ),
    }


def _described(record: Record) -> list[Any]:
    versions = [
        [
            f"{version.origin}:{version.dot.seq}",
            version.clock,
            version.timestamp,
            None if version.value is None else version.value.hex(),
            version.expiry_ms,
        ]
        for version in record.versions
    ]
    return [versions, _by_origin(dict(record.context))]


def _by_origin(table: dict[int, Any]) -> dict[str, Any]:
    return {f"{origin:016x}": value for origin, value in sorted(table.items())}


def _bounds(known: KnownSet) -> dict[str, Any]:
    return _by_origin({origin: list(bounds) for origin, bounds in known.items()})


def pull(target: Store, source: Store) -> None:
    """One round, in one commit."""
    snapshot = source.open_source()
    source.show(snapshot.known.highest(source.origin))
    lack = snapshot.known.difference(target.known())
    for chunk in snapshot.read(lack):
        target.apply(chunk, snapshot.known)
    target.finish(Chunk({}), snapshot.known, snapshot.known, snapshot.floor)
    snapshot.close()


def expiring(*records: tuple[bytes, tuple[tuple[int, bytes, int | None], ...]]) -> Chunk:
    """Records as a peer of a later version sends them: of each key some (seq, value, expiry)."""
    chunk = Chunk({1: PEER, 2: PEER + 1})
    for key, puts in records:
        versions = [
            Version(key, Dot(PEER + index, seq), index, 7, False, value, expiry, crc32(value))
            for index, (seq, value, expiry) in enumerate(puts)
        ]
        context = {version.dot.origin: version.dot.seq for version in versions}
        record = Record(tuple(versions), context)
        row = rows.pack(record, lambda origin: origin - PEER + 1, len(versions) - 1)
        chunk.append(key, row, [value for _, value, _ in puts])
    return chunk


def fill(store: Store, peers: list[Store]) -> None:
    """Values, siblings, tombstones, a superseded conflict, expiries, a floor, dots unshown."""
    a, (b, c) = store, peers
    for index in range(40):
        a.put(b"%02d" % (index % 25), b"value %d" % index)
    for index in range(20, 30):
        b.put(b"%02d" % index, b"of b %d" % index)
        c.put(b"%02d" % index, b"of c %d" % index)
    for one in (a, b, c):
        one.put(b"all", b"by %016x" % one.origin)
        one.put(b"equal", b"the same")
        one.put(b"gone/%016x" % one.origin, b"v")
        one.delete(b"gone/%016x" % one.origin)
    b.delete(b"07")
    a.put(b"07", b"beside a tombstone")
    b.delete(b"never was")
    for target, source in ((a, b), (b, a), (a, c), (c, b), (b, c), (a, b)):
        pull(target, source)
    a.put(b"20", b"settles it")
    a.delete(b"21")
    known = KnownSet({PEER: [1, 6], PEER + 1: [1, 4]})
    a.finish(
        expiring(
            (b"x far", ((1, b"far", FAR_MS),)),
            (b"x past", ((2, b"past", 1000),)),
            (b"x two", ((3, b"one", FAR_MS + 1), (1, b"two", FAR_MS + 2))),
            (b"x loser", ((4, b"loses", FAR_MS + 3), (2, b"stays", None))),
            (b"x winner", ((5, b"stays", None), (3, b"wins", FAR_MS + 4))),
        ),
        known,
        known,
        {PEER: 2},
    )
    a.save_members(
        [
            (Member(PEER, 3, "peer", 11, 12, "0.1.0", ("host:1",), KnownSet({PEER: [1, 3]})), 13),
            (Member(PEER + 2, FORGOTTEN, "gone"), 14),
        ]
    )
    a.sync_point()
    a.put(b"unsynced", b"\x00\xff" * 20)
    a.put(b"", b"the empty key")
    a.put(b"empty", b"")


class _CutError(Exception):
    pass


def _cut(done: int) -> None:
    if done >= 30:
        raise _CutError


def _opened(path: Path, **options: Any) -> Store:
    db = plyvel.DB(str(path), create_if_missing=True)
    return Store.open(db, settings=SETTINGS, **options)


def make(directory: Path) -> dict[str, Any]:
    """Make the stores. Those called killed and cut are left open: end this process."""
    peers = [_opened(directory / name) for name in ("peer b", "peer c")]
    held: dict[str, Any] = {}
    for kind in ("mixed", "empty", "killed", "cut-fork"):
        store = _opened(directory / kind)
        if kind != "empty":
            fill(store, peers)
        held[kind] = describe(store)
        if kind == "cut-fork":
            _cut_fork(store)
        elif kind != "killed":
            store.close()
    held["adopted"], held["cut-adoption"] = _adopt(directory)
    held |= _wrap(directory / "wraps", peers)
    return held


def _cut_fork(store: Store) -> None:
    """Leave the marker of a fork, and what it asks for undone."""

    def cut(*_: object) -> None:
        raise _CutError

    store._fork._resume = cut  # type: ignore[method-assign]
    with suppress(_CutError):
        store.fork()


def _adopt(directory: Path) -> tuple[dict[str, Any], dict[str, str]]:
    data = {b"%03d" % index: b"value %d" % index for index in range(80)}
    for name in ("adopted", "cut-adoption"):
        with plyvel.DB(str(directory / name), create_if_missing=True) as db:
            for key, value in data.items():
                db.put(key, value)
    store = _opened(directory / "adopted")
    store.put(b"007", b"written later")
    adopted = describe(store)
    store.close()
    adoption.KEYS_PER_COMMIT = 10
    with suppress(_CutError):
        _opened(directory / "cut-adoption", adoption_progress=_cut)
    return adopted, {key.hex(): value.hex() for key, value in data.items()}


def _wrap(path: Path, peers: list[Store]) -> dict[str, Any]:
    """Two disjoint prefixes of one LevelDB, and a key outside of both."""
    db = plyvel.DB(str(path), create_if_missing=True)
    db.put(b"outside", b"plain")
    held = {}
    for prefix in PREFIXES:
        store = Store.open(db.prefixed_db(prefix), settings=SETTINGS)
        fill(store, peers)
        held[prefix.decode()] = describe(store)
        store.close()
    db.close()
    return held


if __name__ == "__main__":
    json.dump(make(Path(sys.argv[1])), sys.stdout)
    sys.stdout.flush()
    os._exit(0)
