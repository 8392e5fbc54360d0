"""Log and values aside against the index, and every live dot against the known set.

The log holds one entry for each live version of the index, and nothing else. Both are summed up as
hashes; only where the sums differ each row is looked up, which costs ten times as much.
"""

from collections.abc import Iterator
from zlib import crc32

from replicator.core import ranges, rows
from replicator.core.dots import SEQ_MAX, Dot
from replicator.core.record import ABSENT, Record
from replicator.errors import FormatError
from replicator.store.expiry import keeps_aside
from replicator.store.keyspace import (
    EXPIRY,
    INDEX,
    LOG,
    NUMBER_SEQ,
    SEQ,
    VALUE,
    after,
    log_key,
    value_key,
)
from replicator.store.verify.faults import Fault, Kind
from replicator.store.verify.reading import Reading, Row
from replicator.store.verify.records import Records, Sums
from replicator.store.verify.tables import Ground

RECOVERED = frozenset({Kind.NOT_KNOWN, Kind.LOG_MISSING, Kind.LOG_STALE, Kind.ASIDE_STALE})
"""What a machine crash may leave, and the next open mends (R11)."""

_LOG_KEY_SIZE = len(LOG) + NUMBER_SEQ.size
_SKIP = len(LOG)


class Entries:
    """The scan of log, values aside and expiries, after that of the index.

    Args:
        records: complete.
    """

    def __init__(self, reading: Reading, ground: Ground, records: Records) -> None:
        self._reading = reading
        self._ground = ground
        self._records = records
        self._sums = Sums()

    def steps(self) -> Iterator[Fault | None]:
        """Read everything: every fault, and None after every batch of log entries."""
        for step in self._steps():
            if step is None or not self._ground.lost_commits or step.kind not in RECOVERED:
                yield step

    def _steps(self) -> Iterator[Fault | None]:
        yield from self._expiries()
        unknown: list[Fault] = []
        for batch in self._reading.batches(LOG, after(LOG)):
            yield from self._log(batch, unknown)
            yield None
        for row_key, value in self._reading.rows(VALUE, after(VALUE)):
            self._sums.aside += hash((row_key[_SKIP:], crc32(value)))
        expected = self._records.sums
        if self._sums.log == expected.log:
            yield from unknown
        else:
            yield from self._index_looked_up()
            yield from self._log_looked_up()
        if self._sums.aside != expected.aside:
            yield from self._aside_looked_up()

    def _expiries(self) -> Iterator[Fault]:
        for row_key, row in self._reading.rows(EXPIRY, after(EXPIRY)):
            if len(row_key) < len(EXPIRY) + SEQ.size or row:
                yield Fault(Kind.EXPIRY, row_key)

    def _log(self, batch: list[Row], unknown: list[Fault]) -> Iterator[Fault]:
        """A batch of entries; what the known set lacks is appended to `unknown`."""
        row_keys, keys = zip(*batch, strict=True)
        if set(map(len, row_keys)) != {_LOG_KEY_SIZE}:
            for row_key in row_keys:
                if len(row_key) != _LOG_KEY_SIZE:
                    yield Fault(Kind.LOG_ROW, row_key, "malformed")
            batch = [row for row in batch if len(row[0]) == _LOG_KEY_SIZE]
            if batch:
                yield from self._log(batch, unknown)
            return
        places = [row_key[_SKIP:] for row_key in row_keys]
        self._sums.log += sum(map(hash, zip(places, keys, strict=True)))
        number, first = NUMBER_SEQ.unpack(places[0])
        number_last, last = NUMBER_SEQ.unpack(places[-1])
        origin = self._ground.origins.get(number)
        if (
            number != number_last
            or origin is None
            or not ranges.covers(self._ground.known.bounds(origin), first, last + 1)
        ):
            for row_key, key in batch:
                yield from self._known(row_key, key, unknown)

    def _known(self, row_key: bytes, key: bytes, unknown: list[Fault]) -> Iterator[Fault]:
        number, seq = NUMBER_SEQ.unpack(row_key[_SKIP:])
        origin = self._ground.origins.get(number)
        if origin is None or not 0 < seq <= SEQ_MAX:
            yield Fault(Kind.LOG_ROW, row_key, f"number {number} stands for no origin")
            return
        dot = Dot(origin, seq)
        if dot not in self._ground.known and not self._ground.is_doubtful(number, seq):
            unknown.append(Fault(Kind.NOT_KNOWN, key, str(dot), dot))

    # Where the sums differ

    def _record(self, key: bytes) -> Record | None:
        """The record of a key; None where its row does not decode."""
        row = self._reading.get(INDEX + key)
        if row is None:
            return ABSENT
        try:
            return rows.unpack(row, key, self._ground.origins)[0]
        except FormatError:
            return None

    def _index_looked_up(self) -> Iterator[Fault]:
        """Every live version: its log entry, and whether it is known."""
        ground, get = self._ground, self._reading.get
        for row_key, row in self._reading.rows(INDEX, after(INDEX)):
            key = row_key[_SKIP:]
            try:
                record, _ = rows.unpack(row, key, ground.origins)
            except FormatError:
                continue  # told by the scan of the index
            for version in record.versions:
                dot = version.dot
                number = ground.numbers[dot.origin]
                logged = get(log_key(number, dot.seq))
                if logged != key:
                    yield self._not_logged(key, dot, logged)
                if dot not in ground.known and not ground.is_doubtful(number, dot.seq):
                    yield Fault(Kind.NOT_KNOWN, key, str(dot), dot)

    def _not_logged(self, key: bytes, dot: Dot, logged: bytes | None) -> Fault:
        if logged is not None:
            other = self._record(logged)
            if other is not None and any(version.dot == dot for version in other.versions):
                return Fault(Kind.DOT_TWICE, key, f"{dot} is a version of {logged!r}", dot)
        return Fault(Kind.LOG_MISSING, key, str(dot), dot)

    def _log_looked_up(self) -> Iterator[Fault]:
        """Every log entry: whether its dot is live."""
        ground = self._ground
        for row_key, key in self._reading.rows(LOG, after(LOG)):
            if len(row_key) != _LOG_KEY_SIZE:
                continue
            number, seq = NUMBER_SEQ.unpack(row_key[_SKIP:])
            if number not in ground.origins:
                continue
            dot = Dot(ground.origins[number], seq)
            record = self._record(key)
            if record is None:
                yield Fault(Kind.LOG_LOST, key, f"{dot}, in the row that does not decode", dot)
            elif any(version.dot == dot for version in record.versions):
                if ground.numbers[dot.origin] != number:
                    yield Fault(Kind.LOG_STALE, key, f"{dot}, under number {number}", dot)
            elif record.covers(dot):
                yield Fault(Kind.LOG_STALE, key, str(dot), dot)
            else:
                yield Fault(Kind.LOG_LOST, key, str(dot), dot)

    def _aside_looked_up(self) -> Iterator[Fault]:
        """Every value kept aside, and every one that should be."""
        ground, get = self._ground, self._reading.get
        for row_key, row in self._reading.rows(INDEX, after(INDEX)):
            if row[:1] != bytes([rows.GENERAL]):
                continue
            key = row_key[_SKIP:]
            record = self._record(key)
            if record is None or not ground.keeps_aside(record):
                continue
            for version in record.versions:
                if version.is_delete:
                    continue
                value = get(value_key(ground.numbers[version.dot.origin], version.dot.seq))
                if value is None or crc32(value) != version.checksum:
                    what = "missing" if value is None else "damaged"
                    yield Fault(Kind.ASIDE_LOST, key, f"{version.dot} is {what}", version.dot)
        for row_key, _ in self._reading.rows(VALUE, after(VALUE)):
            yield from self._kept_aside(row_key)

    def _kept_aside(self, row_key: bytes) -> Iterator[Fault]:
        key = self._reading.get(LOG + row_key[_SKIP:])
        record = ABSENT if key is None else self._record(key)
        if record is None or len(row_key) != _LOG_KEY_SIZE:
            yield Fault(Kind.ASIDE_STALE, row_key)
            return
        number, seq = NUMBER_SEQ.unpack(row_key[_SKIP:])
        dot = Dot(self._ground.origins.get(number, 0), seq)
        # By the present format: an earlier one may hold rows of a step that was cut.
        wanted = keeps_aside(record) and any(
            version.dot == dot and not version.is_delete for version in record.versions
        )
        if not wanted:
            yield Fault(Kind.ASIDE_STALE, row_key)
