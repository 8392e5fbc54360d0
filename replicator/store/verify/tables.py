"""The small rows: what the rest is measured by (origins, known set, identity …), each checked."""

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from replicator.core.known import KnownSet
from replicator.core.record import Record
from replicator.errors import FormatError
from replicator.store.expiry import keeps_aside
from replicator.store.identity import Identity, Surroundings
from replicator.store.keyspace import (
    CLOSED,
    EXPIRY,
    FLOOR,
    FORMAT_VERSION,
    INDEX,
    KNOWN,
    LOG,
    MEMBER,
    META,
    NUMBER,
    NUMBER_SEQ,
    ORIGIN,
    RESERVED,
    ROOT,
    SEQ,
    VALUE,
    after,
    meta_key,
    number_seq,
    unpack_known,
    unpack_meta,
)
from replicator.store.members import unpack_member
from replicator.store.verify.faults import Fault, Kind
from replicator.store.verify.reading import Reading

TAGS = tuple(sorted((INDEX, LOG, VALUE, KNOWN, ORIGIN, FLOOR, EXPIRY, CLOSED, MEMBER, META)))

CLUSTER_BYTES = 16

MALFORMED = "malformed"
"""The detail of an origin row that stands for nothing."""


@dataclass(slots=True)
class Ground:
    """What the small rows say.

    Attributes:
        format: the format version.
        origins: number → origin.
        numbers: origin → its number.
        known: the known set, own seqs included.
        own, own_seq: who issues this store's writes, and the last own seq; 0 where that is lost.
        floor, durable: see the glossary.
        identity: the identity row, None where there is none that decodes.
        lost_commits: whether the next open has to recover first (R11): until then log, known set
            and values aside may be behind the index.
        adopting: whether keys are still to be adopted (R14).
        fork: the marker of a fork's mending that is not complete.
        notes: what is unfinished, in words: no damage.
        faults: what is wrong with the small rows.
    """

    format: int = FORMAT_VERSION
    origins: dict[int, int] = field(default_factory=dict)
    numbers: dict[int, int] = field(default_factory=dict)
    known: KnownSet = field(default_factory=KnownSet)
    own: int = 0
    own_seq: int = 0
    floor: dict[int, int] = field(default_factory=dict)
    durable: KnownSet = field(default_factory=KnownSet)
    identity: Identity | None = None
    lost_commits: bool = False
    adopting: bool = False
    fork: tuple[int, int, int] | None = None
    notes: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)

    def keeps_aside(self, record: Record) -> bool:
        """Whether the values of a record are to be kept aside, by the format of the store."""
        return keeps_aside(record) if self.format >= 2 else len(record.versions) > 1

    def is_doubtful(self, number: int, seq: int) -> bool:
        """Whether a dot belongs to what a fork's mending is about to issue again (R13)."""
        return self.fork is not None and number == self.fork[0] and seq > self.fork[1]


def read_ground(reading: Reading, prefix: bytes, here: Surroundings | None) -> Ground:
    """Read and check all rows but those of keys, log, values aside and expiries.

    Args:
        prefix: of the namespace: only at the root the registry is no foreign row.
        here: where the directory lies now; None for a store that is open.

    Raises:
        FormatError: the store is of a newer format, or none.
    """
    ground = Ground(format=_format(reading))
    _read_foreign(reading, prefix, ground)
    _read_origins(reading, ground)
    _read_meta(reading, ground, here)
    _read_ranges(reading, ground, KNOWN, Kind.KNOWN, ground.known)
    _read_ranges(reading, ground, CLOSED, Kind.CLOSED, KnownSet())
    _read_floor(reading, ground)
    _read_members(reading, ground)
    _read_own(reading, ground)
    missing = ground.durable.difference(ground.known)
    if missing and not ground.lost_commits:
        ground.faults.append(Fault(Kind.DURABLE, meta_key("durable"), _shown(missing)))
    return ground


def _shown(dots: KnownSet) -> str:
    text = repr(dots)
    return text if len(text) <= 200 else text[:199] + "…"


def _format(reading: Reading) -> int:
    row = reading.get(meta_key("format"))
    found = None if row is None else unpack_meta("format", row)
    if type(found) is not int or not 1 <= found <= FORMAT_VERSION:
        raise FormatError(
            "no format row: there is no store of the replicator, or replicator restore or strip "
            "was cut and is to be run again"
            if row is None
            else f"the store has format {found!r}, and this replicator knows {FORMAT_VERSION}: "
            "install the newer version"
        )
    return found


def _read_foreign(reading: Reading, prefix: bytes, ground: Ground) -> None:
    """Rows in the reserved range that belong to no tag."""
    starts = (RESERVED, *map(after, TAGS))
    for start, stop in zip(starts, (*TAGS, None), strict=True):
        for row_key, _ in reading.rows(start, stop):
            if row_key != ROOT or prefix:
                ground.faults.append(Fault(Kind.FOREIGN, row_key))


def _read_origins(reading: Reading, ground: Ground) -> None:
    for row_key, row in reading.rows(ORIGIN, after(ORIGIN)):
        try:
            (number,), (origin,) = NUMBER.unpack(row_key[len(ORIGIN) :]), SEQ.unpack(row)
        except struct.error:
            ground.faults.append(Fault(Kind.ORIGIN, row_key, MALFORMED))
            continue
        ground.origins[number] = origin
        if origin in ground.numbers:
            first = ground.numbers[origin]
            detail = f"{origin:016x} is number {first} already"
            ground.faults.append(Fault(Kind.ORIGIN, row_key, detail))
        else:
            ground.numbers[origin] = number


def _read_ranges(reading: Reading, ground: Ground, tag: bytes, kind: Kind, found: KnownSet) -> None:
    for row_key, row in reading.rows(tag, after(tag)):
        try:
            number, start = number_seq(row_key)
            (stop,) = SEQ.unpack(row)
            if not 1 <= start < stop:
                raise ValueError("an empty range")
            found.add_range(ground.origins[number], start, stop)
        except (FormatError, KeyError, ValueError, struct.error) as error:
            ground.faults.append(Fault(kind, row_key, _words(error)))


def _read_floor(reading: Reading, ground: Ground) -> None:
    for row_key, row in reading.rows(FLOOR, after(FLOOR)):
        try:
            (number,), (seq,) = NUMBER.unpack(row_key[len(FLOOR) :]), SEQ.unpack(row)
            ground.floor[ground.origins[number]] = seq
        except (KeyError, struct.error) as error:
            ground.faults.append(Fault(Kind.FLOOR, row_key, _words(error)))


def _read_members(reading: Reading, ground: Ground) -> None:
    for row_key, row in reading.rows(MEMBER, after(MEMBER)):
        try:
            unpack_member(row_key, row)
        except FormatError as error:
            ground.faults.append(Fault(Kind.MEMBER, row_key, str(error)))


def _read_meta(reading: Reading, ground: Ground, here: Surroundings | None) -> None:
    found: dict[str, Any] = {}
    for row_key, row in reading.rows(META, after(META)):
        name = row_key[len(META) :].decode(errors="backslashreplace")
        if name not in READERS:
            ground.faults.append(Fault(Kind.FOREIGN, row_key))
            continue
        try:
            found[name] = READERS[name](name, row)
        except (FormatError, TypeError, ValueError) as error:
            ground.faults.append(Fault(Kind.META, row_key, _words(error)))
    ground.durable = found.get("durable", ground.durable)
    ground.identity = found.get("identity")
    ground.adopting = "adopt" in found
    if ground.adopting:
        ground.notes.append("existing keys are still being adopted; the next open goes on")
    if "fork" in found:
        _note_fork(ground, found["fork"])
    if ground.identity is not None:
        ground.own = ground.identity.origin
        ground.lost_commits = here is not None and ground.identity.lost_commits(here)
    if ground.lost_commits:
        ground.notes.append(
            "the machine went down while the store was open, or this is a copy of an open one; the "
            "next open makes log and known set fit the index (R11), and until then they may not"
        )
    ground.own_seq = found.get("shown", 0)


def _note_fork(ground: Ground, fork: tuple[int, int, int]) -> None:
    if fork[0] not in ground.origins:
        ground.faults.append(Fault(Kind.META, meta_key("fork"), "it names no origin"))
        return
    ground.fork = fork
    ground.notes.append("a fork is being mended (R13); the next open goes on")


def _read_own(reading: Reading, ground: Ground) -> None:
    """The last own seq: the newest own log entry, or what the own known row says (R1)."""
    number = ground.numbers.get(ground.own)
    if number is None:
        return
    row_key = reading.last_key(LOG + NUMBER.pack(number), LOG + NUMBER.pack(number + 1))
    newest = 0
    if row_key is not None and len(row_key) == len(LOG) + NUMBER_SEQ.size:
        newest = number_seq(row_key)[1]
    ground.own_seq = max(ground.own_seq, newest, ground.known.highest(ground.own))
    ground.known.add_range(ground.own, 1, ground.own_seq + 1)


def _read_identity(name: str, row: bytes) -> Identity:
    return Identity.from_row(unpack_meta(name, row))


def _read_cluster(_name: str, row: bytes) -> bytes:
    if len(row) != CLUSTER_BYTES:
        raise ValueError(f"a cluster id of {len(row)} bytes")
    return row


def _read_number(name: str, row: bytes) -> int:
    number = unpack_meta(name, row)
    if type(number) is not int or number < 0:
        raise ValueError("no number")
    return number


def _read_cursor(name: str, row: bytes) -> bytes | None:
    cursor = unpack_meta(name, row)
    if not isinstance(cursor, bytes | None):
        raise ValueError("no key")
    return cursor


def _read_resolver(name: str, row: bytes) -> tuple[str, str]:
    called, mode = unpack_meta(name, row)
    if not isinstance(called, str) or not isinstance(mode, str):
        raise ValueError("no name and mode")
    return called, mode


def _read_fork(name: str, row: bytes) -> tuple[int, int, int]:
    old, shown, fresh = (int(part) for part in unpack_meta(name, row))
    return old, shown, fresh


READERS: Mapping[str, Callable[[str, bytes], Any]] = {
    "format": _read_number,
    "identity": _read_identity,
    "cluster": _read_cluster,
    "shown": _read_number,
    "durable": unpack_known,
    "adopt": _read_cursor,
    "fork": _read_fork,
    "resolver": _read_resolver,
    "revisit": _read_cursor,
    "full": unpack_known,
    "want_full": _read_number,
}
"""Every meta row, with what reads it and raises FormatError, TypeError or ValueError."""


def _words(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"number {error} stands for no origin"
    return str(error)
