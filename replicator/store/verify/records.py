"""Index against values: each row decodes in its one form, and each key shows what its row says.

Both are read in key order side by side. The record of one version, whose context is just its dot,
is nearly all there is: a batch of such rows is looked at column by column, which is C's work. The
log is not looked up: what it must hold is summed up as hashes (`Sums`), and compared with what it
does hold afterwards.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, compress
from struct import pack
from zlib import crc32

from replicator.core import rows
from replicator.core.record import Record
from replicator.errors import FormatError
from replicator.store.expiry import due_ms, expiry_of, has_expired
from replicator.store.keyspace import (
    INDEX,
    NUMBER_SEQ,
    RESERVED,
    after,
    expiry_key,
    swept_key,
)
from replicator.store.verify.faults import Fault, Kind
from replicator.store.verify.reading import Reading, Row
from replicator.store.verify.tables import Ground

_SINGLE_SIZE = rows.SINGLE_ROW.size
_SKIP = len(INDEX)
_CHECKSUM = slice(30, 34)
_PLACE = slice(2, 14)
_NOT = bytes([1, 0]) + bytes(254)
_HIGH_OCTETS = (6, 14, 22)
"""Where seq, clock and timestamp begin: each is below 2**63."""


@dataclass(slots=True)
class Sums:
    """Hashes of rows, added up: equal where two scans saw the same rows, in whatever order.

    Attributes:
        log: of (number and seq, key): log entries.
        aside: of (number and seq, checksum): values kept aside.
    """

    log: int = 0
    aside: int = 0


@dataclass(frozen=True, slots=True)
class Shown:
    """What a key must show.

    Attributes:
        checksum: of the value; None where only the resolver can tell (a merged value).
        may_lack: whether the value may have been taken out meanwhile, because it has expired.
    """

    checksum: int | None
    may_lack: bool = False


class Records:
    """One scan of index and values.

    Args:
        now_ms: wall clock in milliseconds, for values that have expired.

    Attributes:
        keys: index rows seen so far.
        sums: what log and values aside must hold.
        broken: whether an index row did not decode: then log and index differ.
    """

    def __init__(self, reading: Reading, ground: Ground, now_ms: int) -> None:
        self.keys = 0
        self.sums = Sums()
        self.broken = False
        self._reading = reading
        self._ground = ground
        self._now_ms = now_ms
        self._numbers = {pack(">I", number) for number in ground.origins}
        self._values = _Values(reading.batches(b"", RESERVED))

    def steps(self) -> Iterator[Fault | None]:
        """Read everything: every fault, and None after every batch of rows."""
        for batch in self._reading.batches(INDEX, after(INDEX)):
            self.keys += len(batch)
            yield from self._batch(batch)
            yield None
        for key, _ in self._values.rest():
            yield from self._added(key, "it has no record")

    def _batch(self, batch: list[Row]) -> Iterator[Fault]:
        row_keys, found = zip(*batch, strict=True)
        keys = [row_key[_SKIP:] for row_key in row_keys]
        joined = b"".join(found)
        shown: list[Shown | None] = []
        if len(joined) == _SINGLE_SIZE * len(found) and self._are_plain(joined, found):
            places = [row[_PLACE] for row in found]
            self.sums.log += sum(map(hash, zip(places, keys, strict=True)))
            if self._shows(keys, joined):
                return
            shown = [_plain_shown(row) for row in found]
        else:
            for key, row in zip(keys, found, strict=True):
                yield from self._one(key, row, shown)
        yield from self._compare(keys, shown)

    def _are_plain(self, joined: bytes, found: Sequence[bytes]) -> bool:
        """Whether all rows are well-formed ones of one version."""
        size, count = _SINGLE_SIZE, len(found)
        flags = joined[1::size]
        return (
            joined[0::size].count(rows.SINGLE) == count
            and flags.count(0) + flags.count(rows.DELETE) == count
            and all(max(joined[place::size]) < 0x80 for place in _HIGH_OCTETS)
            and set(map(len, found)) == {size}
            and self._numbers.issuperset(map(bytes, set(zip(*_columns(joined, 2, 6), strict=True))))
            and not any(joined[place : place + 4] != bytes(4) for place in _deleted(flags))
        )

    def _shows(self, keys: list[bytes], joined: bytes) -> bool:
        """Whether a batch of plain rows fits the values that come next."""
        checksums = _columns(joined, _CHECKSUM.start, _CHECKSUM.stop)
        flags = joined[1::_SINGLE_SIZE]
        if flags.count(0) < len(keys):
            puts = flags.translate(_NOT)
            keys = list(compress(keys, puts))
            checksums = [bytes(compress(column, puts)) for column in checksums]
        found = self._values.ahead(len(keys))
        if len(found) != len(keys):
            return False
        if found:
            values_keys, values = zip(*found, strict=True)
            if list(values_keys) != keys:
                return False
            actual = pack(f">{len(values)}I", *map(crc32, values))
            if any(actual[place::4] != column for place, column in enumerate(checksums)):
                return False
        self._values.skip(len(keys))
        return True

    def _one(self, key: bytes, row: bytes, shown: list[Shown | None]) -> Iterator[Fault]:
        """A row by itself; what the key must show is appended to `shown`."""
        ground = self._ground
        try:
            record, visible = rows.unpack(row, key, ground.origins)
            again = rows.pack(record, ground.numbers.__getitem__, visible)
        except FormatError as error:
            self.broken = True
            shown.append(Shown(None, may_lack=True))
            yield Fault(Kind.INDEX, key, str(error.__cause__ or error))
            return
        if again != row or (len(record.versions) == 1 and visible):
            yield Fault(Kind.INDEX_FORM, key)
        if record.context.get(ground.own, 0) > ground.own_seq:
            seq = record.context[ground.own]
            yield Fault(Kind.OWN_SEQ, key, f"{seq}, and the last one is {ground.own_seq}")
        self._add(key, record, row)
        shown.append(self._what_shows(key, record, visible))
        yield from self._expiry(key, record, visible)

    def _add(self, key: bytes, record: Record, row: bytes) -> None:
        numbers, aside = self._ground.numbers, self._ground.keeps_aside(record)
        for version in record.versions:
            if len(record.versions) > 1:
                place = NUMBER_SEQ.pack(numbers[version.dot.origin], version.dot.seq)
            else:  # by the number that the row has, though its origin may have another
                place = row[_PLACE] if row[0] == rows.SINGLE else row[10:22]
            self.sums.log += hash((place, key))
            if aside and not version.is_delete:
                self.sums.aside += hash((place, version.checksum))

    def _what_shows(self, key: bytes, record: Record, visible: int) -> Shown | None:
        """A value may lack where it has expired, and where a clock that was ahead has swept it."""
        if visible == rows.MERGED:
            return Shown(None, may_lack=self._is_swept(key, record))
        version = record.versions[visible]
        if version.is_delete:
            return None
        may_lack = has_expired(version, self._now_ms) or self._is_swept(key, record)
        return Shown(version.checksum, may_lack=may_lack)

    def _is_swept(self, key: bytes, record: Record) -> bool:
        return any(self._reading.get(swept_key(ms, key)) == b"" for ms in _expiries(record))

    def _expiry(self, key: bytes, record: Record, visible: int) -> Iterator[Fault]:
        """A merged value is sure to expire only where every part of it does."""
        due = due_ms(record, visible)
        puts = sum(not version.is_delete for version in record.versions)
        is_sure = visible != rows.MERGED or len(_expiries(record)) == puts
        if due is None or not is_sure or self._ground.format < 2 or self._is_swept(key, record):
            return
        if all(self._reading.get(expiry_key(ms, key)) is None for ms in _expiries(record)):
            yield Fault(Kind.EXPIRY_MISSING, key, f"due at {due}")

    def _compare(self, keys: list[bytes], shown: list[Shown | None]) -> Iterator[Fault]:
        """Key by key, what is shown and what is there."""
        values = self._values
        for key, expected in zip(keys, shown, strict=True):
            found = values.peek()
            while found is not None and found[0] < key:
                yield from self._added(found[0], "it has no record")
                values.skip(1)
                found = values.peek()
            if found is None or found[0] != key:
                if expected is not None and not expected.may_lack:
                    yield Fault(Kind.REMOVED, key)
                continue
            values.skip(1)
            if expected is None:
                yield Fault(Kind.ADDED, key, "its record shows none")
            elif expected.checksum not in (None, crc32(found[1])):
                yield Fault(Kind.CHANGED, key)

    def _added(self, key: bytes, detail: str) -> Iterator[Fault]:
        """A value without a record: no fault while keys are still to be adopted (R14)."""
        if not self._ground.adopting:
            yield Fault(Kind.ADDED, key, detail)


def _expiries(record: Record) -> list[int]:
    return [expiry for one in record.versions if (expiry := expiry_of(one)) is not None]


def _columns(joined: bytes, first: int, last: int) -> list[bytes]:
    """The octets `first … last - 1` of every row, one after the other."""
    return [joined[place::_SINGLE_SIZE] for place in range(first, last)]


def _deleted(flags: bytes) -> Iterator[int]:
    """Where the checksums of deletes stand: a delete has none."""
    if flags.count(0) == len(flags):
        return iter(())
    return (row * _SINGLE_SIZE + _CHECKSUM.start for row, flag in enumerate(flags) if flag)


def _plain_shown(row: bytes) -> Shown | None:
    if row[1] == rows.DELETE:
        return None
    return Shown(int.from_bytes(row[_CHECKSUM], "big"))


class _Values:
    """User rows in key order, with a look ahead."""

    def __init__(self, batches: Iterator[list[Row]]) -> None:
        self._batches = batches
        self._rows: list[Row] = []
        self._place = 0

    def ahead(self, count: int) -> list[Row]:
        """The next `count` rows, or all that are left; they stay."""
        while len(self._rows) - self._place < count:
            more = next(self._batches, None)
            if more is None:
                break
            self._rows = self._rows[self._place :] + more if self._place < len(self._rows) else more
            self._place = 0
        if self._place == 0 and len(self._rows) == count:
            return self._rows
        return self._rows[self._place : self._place + count]

    def peek(self) -> Row | None:
        """The next row; it stays."""
        found = self.ahead(1) if self._place >= len(self._rows) else None
        if found == []:
            return None
        return self._rows[self._place]

    def skip(self, count: int) -> None:
        """Go on by rows that were looked at."""
        self._place += count

    def rest(self) -> Iterator[Row]:
        """All rows that are left."""
        yield from self._rows[self._place :]
        self._rows, self._place = [], 0
        yield from chain.from_iterable(self._batches)
