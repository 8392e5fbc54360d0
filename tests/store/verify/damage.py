"""A store with a bit of everything in it, and every kind of damage done to its rows."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

import plyvel

from replicator.core import rows
from replicator.core.known import KnownSet
from replicator.core.record import Record
from replicator.store.identity import look_around
from replicator.store.keyspace import (
    CLOSED,
    EXPIRY,
    FLOOR,
    KNOWN,
    LOG,
    MEMBER,
    NUMBER,
    NUMBER_SEQ,
    ORIGIN,
    RESERVED,
    SEQ,
    VALUE,
    index_key,
    known_key,
    log_key,
    meta_key,
    pack_known,
    pack_meta,
    value_key,
)
from replicator.store.verify.faults import Fault, Kind
from replicator.store.verify.mending import Outcome
from replicator.store.verify.repair import Repair
from replicator.store.verify.scan import Scan
from replicator.store.verify.sidefile import SideFile
from tests.store.chunks import A, B, chunk_of, single, version
from tests.store.places import Place

KEYS = 40


def furnish(place: Place) -> None:
    """Own writes, overwritten ones, deletes, a peer's writes, over one another, and conflicts."""
    with place as store:
        for number in range(KEYS):
            store.put(b"own%03d" % number, b"value of %d" % number)
        store.put(b"own000", b"again")
        store.delete(b"own001")
        store.delete(b"never")
        known = KnownSet.of(*[(A, seq) for seq in range(1, 8)], *[(B, 1), (B, 2)])
        conflict = Record(
            (
                version(b"from a", A, 3, key=b"conflict"),
                version(b"from b", B, 1, key=b"conflict", timestamp=2),
            ),
            {A: 3, B: 1},
        )
        mixed = Record(
            (version(None, A, 4, key=b"mixed"), version(b"put", B, 2, key=b"mixed", timestamp=2)),
            {A: 4, B: 2},
        )
        chunk = chunk_of(
            single(b"of a", A, 1, b"theirs"),
            single(None, A, 2, b"their delete"),
            (b"conflict", conflict),
            (b"mixed", mixed),
            single(b"old", A, 6, b"taken over"),
        )
        store.finish(chunk, known, known, {A: 5})
        store.put(b"taken over", b"new")
        store.sync_point()


class Rows:
    """The rows of a closed place, to be read and broken."""

    def __init__(self, place: Place) -> None:
        self.db = plyvel.DB(str(place.path))
        self.prefix = place.prefix or b""
        self.handle = self.db.prefixed_db(self.prefix) if self.prefix else self.db
        self.put, self.delete = self.handle.put, self.handle.delete
        self.origins = {
            NUMBER.unpack(key[5:])[0]: SEQ.unpack(row)[0]
            for key, row in self.handle.iterator(start=ORIGIN, stop=ORIGIN + b"\xff" * 5)
            if len(key) == len(ORIGIN) + NUMBER.size
        }
        self.numbers = {origin: number for number, origin in self.origins.items()}

    def __enter__(self) -> "Rows":
        return self

    def __exit__(self, *_: object) -> None:
        self.db.close()

    def get(self, key: bytes) -> bytes:
        value: bytes | None = self.handle.get(key)
        assert value is not None, key
        return value

    def record(self, key: bytes) -> Record:
        return rows.unpack(self.get(index_key(key)), key, self.origins)[0]

    def first(self, key: bytes) -> bytes:
        """The log key of the first version of a key."""
        dot = self.record(key).versions[0].dot
        return log_key(self.numbers[dot.origin], dot.seq)


def shorten(found: Rows, key: bytes) -> None:
    found.put(key, found.get(key)[:-1])


def twice(found: Rows) -> None:
    found.put(index_key(b"own003"), found.get(index_key(b"own002")))
    found.put(b"own003", found.get(b"own002"))


def general_form(found: Rows) -> None:
    """The row of one version in the form for several."""
    version = found.record(b"own005").versions[0]
    number = found.numbers[version.dot.origin]
    row = b"\x02" + (0).to_bytes(2, "big") + (1).to_bytes(2, "big") + (1).to_bytes(4, "big")
    row += found.get(index_key(b"own005"))[1:] + NUMBER_SEQ.pack(number, version.dot.seq)
    found.put(index_key(b"own005"), row)


def own_seq(found: Rows) -> None:
    record = found.record(b"taken over")
    own = record.versions[0].dot.origin
    context = {**record.context, own: 10_000}
    found.put(
        index_key(b"taken over"),
        rows.pack(Record(record.versions, context), found.numbers.__getitem__),
    )


def expiring(found: Rows) -> None:
    """A value that expires, in a row that somebody forgot to note."""
    record = found.record(b"own006")
    row = bytearray(b"\x02" + (0).to_bytes(2, "big") + (1).to_bytes(2, "big"))
    row += (1).to_bytes(4, "big") + found.get(index_key(b"own006"))[1:] + SEQ.pack(2**50)
    row[9] = rows.EXPIRY
    dot = record.versions[0].dot
    row += NUMBER_SEQ.pack(found.numbers[dot.origin], dot.seq)
    found.put(index_key(b"own006"), bytes(row))
    found.put(value_key(found.numbers[dot.origin], dot.seq), found.get(b"own006"))


def durable(found: Rows) -> None:
    found.put(meta_key("durable"), pack_known(KnownSet.of((B, 1000))))


def lost_entry(found: Rows) -> None:
    """Index row and value of a key are gone, its log entry is there."""
    found.delete(index_key(b"own007"))
    found.delete(b"own007")


def stale_entry(found: Rows) -> None:
    own = found.record(b"own000").versions[0].dot
    found.put(log_key(found.numbers[own.origin], 1), b"own000")


def unknown(found: Rows) -> None:
    found.delete(known_key(found.numbers[B], 1))


def aside(found: Rows, loser: bool) -> None:
    """The value kept aside of the version that is shown, or of the other one."""
    record = found.record(b"conflict")
    shown = found.get(b"conflict")
    for one in record.versions:
        if (one.checksum == crc32(shown)) != loser:
            found.delete(value_key(found.numbers[one.dot.origin], one.dot.seq))


@dataclass(frozen=True, slots=True)
class Damage:
    """One kind of damage.

    Attributes:
        do: does it.
        kinds: what a verification says.
        loses: keys of which something is lost here.
    """

    do: Callable[[Rows], object]
    kinds: tuple[Kind, ...]
    loses: tuple[bytes, ...] = ()


DAMAGES: Mapping[str, Damage] = {
    "foreign tag": Damage(lambda f: f.put(RESERVED + b"z1", b"x"), (Kind.FOREIGN,)),
    "foreign meta": Damage(lambda f: f.put(meta_key("what"), b"x"), (Kind.FOREIGN,)),
    "identity": Damage(
        lambda f: f.put(meta_key("identity"), b"\xc1"), (Kind.META, Kind.DURABLE, Kind.NOT_KNOWN)
    ),
    "shown": Damage(lambda f: f.put(meta_key("shown"), pack_meta("x")), (Kind.META,)),
    "cluster": Damage(lambda f: f.put(meta_key("cluster"), b"x"), (Kind.META,)),
    "adopt": Damage(lambda f: f.put(meta_key("adopt"), pack_meta(7)), (Kind.META,)),
    "fork": Damage(lambda f: f.put(meta_key("fork"), pack_meta([77, 1, 1])), (Kind.META,)),
    "resolver": Damage(lambda f: f.put(meta_key("resolver"), pack_meta([1])), (Kind.META,)),
    "revisit": Damage(lambda f: f.put(meta_key("revisit"), b"\xc1"), (Kind.META,)),
    "durable row": Damage(lambda f: f.put(meta_key("durable"), b"\xc1"), (Kind.META,)),
    "origin malformed": Damage(lambda f: f.put(ORIGIN + b"xx", b"y"), (Kind.ORIGIN,)),
    "origin twice": Damage(lambda f: f.put(ORIGIN + NUMBER.pack(9), SEQ.pack(A)), (Kind.ORIGIN,)),
    "origin gone": Damage(
        lambda f: f.delete(ORIGIN + NUMBER.pack(f.numbers[B])),
        (Kind.INDEX, Kind.LOG_ROW, Kind.KNOWN, Kind.LOG_LOST, Kind.ASIDE_STALE, Kind.DURABLE),
        (b"conflict", b"mixed"),
    ),
    "known": Damage(lambda f: f.put(KNOWN + b"x", b"y"), (Kind.KNOWN,)),
    "known, empty": Damage(
        lambda f: f.put(known_key(f.numbers[A], 20), SEQ.pack(20)), (Kind.KNOWN,)
    ),
    "floor": Damage(lambda f: f.put(FLOOR + b"x", b"y"), (Kind.FLOOR,)),
    "closed": Damage(lambda f: f.put(CLOSED + b"x", b"y"), (Kind.CLOSED,)),
    "member": Damage(lambda f: f.put(MEMBER + b"x", b"y"), (Kind.MEMBER,)),
    "durable": Damage(durable, (Kind.DURABLE,)),
    "index": Damage(
        lambda f: shorten(f, index_key(b"theirs")), (Kind.INDEX, Kind.LOG_LOST), (b"theirs",)
    ),
    "index, flags": Damage(
        lambda f: f.put(index_key(b"theirs"), b"\x01\x80" + f.get(index_key(b"theirs"))[2:]),
        (Kind.INDEX, Kind.LOG_LOST),
        (b"theirs",),
    ),
    "index, a delete's checksum": Damage(
        lambda f: f.put(index_key(b"never"), f.get(index_key(b"never"))[:-1] + b"\x01"),
        (Kind.INDEX, Kind.LOG_LOST),
        (b"never",),
    ),
    "index form": Damage(general_form, (Kind.INDEX_FORM,)),
    "own seq": Damage(own_seq, (Kind.OWN_SEQ,)),
    "dot twice": Damage(twice, (Kind.DOT_TWICE, Kind.LOG_LOST)),
    "not known": Damage(unknown, (Kind.NOT_KNOWN, Kind.DURABLE)),
    "log malformed": Damage(lambda f: f.put(LOG + b"x", b"y"), (Kind.LOG_ROW,)),
    "log missing": Damage(lambda f: f.delete(f.first(b"theirs")), (Kind.LOG_MISSING,)),
    "log elsewhere": Damage(
        lambda f: f.put(f.first(b"theirs"), b"own004"), (Kind.LOG_MISSING, Kind.LOG_LOST)
    ),
    "log stale": Damage(stale_entry, (Kind.LOG_STALE,)),
    "log without record": Damage(lost_entry, (Kind.LOG_LOST,), (b"own007",)),
    "changed": Damage(lambda f: f.put(b"own010", b"by somebody else"), (Kind.CHANGED,)),
    "changed, of several": Damage(lambda f: f.put(b"conflict", b"no"), (Kind.CHANGED,)),
    "removed": Damage(lambda f: f.delete(b"own011"), (Kind.REMOVED,)),
    "removed, of several": Damage(lambda f: f.delete(b"conflict"), (Kind.REMOVED,)),
    "added": Damage(lambda f: f.put(b"own0115", b"new"), (Kind.ADDED,)),
    "added at the end": Damage(lambda f: f.put(b"zzz", b"new"), (Kind.ADDED,)),
    "added where deleted": Damage(lambda f: f.put(b"own001", b"new"), (Kind.ADDED,)),
    "aside of the one shown": Damage(lambda f: aside(f, loser=False), (Kind.ASIDE_LOST,)),
    "aside of a loser": Damage(lambda f: aside(f, loser=True), (Kind.ASIDE_LOST,), (b"conflict",)),
    "aside stale": Damage(
        lambda f: f.put(VALUE + f.first(b"theirs")[5:], b"x"), (Kind.ASIDE_STALE,)
    ),
    "aside malformed": Damage(lambda f: f.put(VALUE + b"x", b"x"), (Kind.ASIDE_STALE,)),
    "expiry": Damage(lambda f: f.put(EXPIRY + b"x", b""), (Kind.EXPIRY,)),
    "expiry missing": Damage(expiring, (Kind.EXPIRY_MISSING,)),
}
"""Every kind of damage, by name."""


def scanned(place: Place) -> tuple[list[Fault], Scan]:
    """What a verification of a closed place says."""
    with Rows(place) as found, found.handle.snapshot() as snapshot:
        scan = Scan(snapshot, found.prefix, look_around(Path(place.path)))
        return list(scan.faults()), scan


def kinds_of(place: Place) -> set[Kind]:
    return {fault.kind for fault in scanned(place)[0]}


def repaired(place: Place, **options: Any) -> dict[bytes, list[tuple[Kind, Outcome]]]:
    """Repair a closed place. What was done, by key."""
    done: dict[bytes, list[tuple[Kind, Outcome]]] = {}
    with Rows(place) as found:
        repair = Repair(found.handle, Path(place.path), **options)
        path = place.path.parent / f"copy-{len(list(place.path.parent.iterdir()))}.jsonl"
        with SideFile(path, {}) as side_file:
            repair.copy(side_file)
            for fault, outcome in repair.mend(side_file):
                done.setdefault(fault.key, []).append((fault.kind, outcome))
    return done
