"""``load``: many records from a file, in batches."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import BinaryIO

import click

from replicator.config import LOAD_BATCH_BYTES, LOAD_BATCH_RECORDS
from replicator.errors import UsageError
from replicator.faces.cli.codes import Exit
from replicator.faces.cli.door import Door
from replicator.faces.cli.options import Where, escaped_option, json_option, store_options
from replicator.faces.cli.output import complain, print_json
from replicator.faces.cli.progress import Bar
from replicator.faces.cli.tsv import Record, Records, parse


class Loader:
    """Writes records in batches.

    Args:
        door: where to.
        show: called after every batch.

    Attributes:
        written, unchanged: records written, and records that were there already.
        deleted: keys deleted.
        expired: records whose time was over; nothing was done about them.
    """

    def __init__(self, door: Door, show: Callable[["Loader"], object]) -> None:
        self._door = door
        self._show = show
        self._batch: dict[bytes, Record] = {}
        self._count = 0
        self._size = 0
        self.written = 0
        self.unchanged = 0
        self.deleted = 0
        self.expired = 0

    def add(self, record: Record) -> None:
        """Write a record, or delete a key."""
        self._batch[record.key] = record
        self._count += 1
        self._size += len(record.key) + len(record.value or b"")
        if self._count >= LOAD_BATCH_RECORDS or self._size >= LOAD_BATCH_BYTES:
            self.flush()

    def flush(self) -> None:
        puts: list[bytes] = []
        expiring: list[bytes] = []
        gone: list[bytes] = []
        for key, value, expiry_ms in self._batch.values():
            if value is None:
                gone.append(key)
            elif expiry_ms is None:
                puts += (key, value)
            else:
                expiring += (key, value, b"%d" % expiry_ms)
        written = self._door.call(b"REPL.LOAD", *puts)[b"written"] if puts else 0
        expired = 0
        if expiring:
            told = self._door.call(b"REPL.LOADPXAT", *expiring)
            written, expired = written + told[b"written"], told[b"expired"]
        deleted = self._door.call(b"DEL", *gone) if gone else 0
        self.written += written
        self.deleted += deleted
        self.expired += expired
        self.unchanged += self._count - written - deleted - expired
        if self._count:
            self._batch, self._count, self._size = {}, 0, 0
            self._show(self)


@click.command()
@click.argument("file", type=click.File("rb"))
@store_options()
@click.option("--skip-bad", is_flag=True, help="Go on after a line that is no record.")
@escaped_option
@json_option
def load(file: BinaryIO, where: Where, skip_bad: bool, with_escapes: bool, as_json: bool) -> int:
    """Write the records of FILE: KEY, a tab, VALUE on each line. "-" is standard input.

    The store is made where there is none. A key that shows its value already is not written
    again: a load that was cut short is simply repeated. Each batch is written as a whole or not
    at all, but not the load. A carriage return before the newline belongs to the line's end;
    empty lines are left out. --json tells after every batch how far it is.

    \b
        replicator load --data ./a cities.tsv
        zcat big.tsv.gz | replicator load --data ./a -
        replicator scan --data ./a | replicator load --data ./b --escaped -
    """
    on_bad = complain if skip_bad else None
    load_records(
        Records(file, partial(parse, with_escapes=with_escapes), on_bad=on_bad),
        file,
        where,
        as_json,
    )
    return Exit.OK


def load_records(records: Records, file: BinaryIO, where: Where, as_json: bool) -> None:
    """Write the records of a file, and tell how far it is and what became of it.

    Raises:
        UsageError: a line is no record; those before it are written.
    """
    started = time.monotonic()
    with where.open(create=True) as door, _progress(file, records, as_json) as show:
        loader = Loader(door, show)
        try:
            for record in records:
                loader.add(record)
        except UsageError as error:
            loader.flush()
            raise UsageError(
                f"{error}\nThe records before it are loaded. Mend the line and load again, or "
                "pass --skip-bad."
            ) from error
        loader.flush()
    _conclude(records, loader, time.monotonic() - started, as_json)


@contextmanager
def _progress(
    file: BinaryIO, records: Records, as_json: bool
) -> Iterator[Callable[[Loader], object]]:
    """How far it is: JSON for programs, a bar for people, nothing for a log."""
    if as_json:
        yield _json_reports(records)
    else:
        with Bar("loading", _size_of(file)) as show:
            yield lambda loader: show(records.size_bytes, f"{records.lines:,} lines")


def _json_reports(records: Records) -> Callable[[Loader], object]:
    def show(loader: Loader) -> None:
        print_json({"done": False, **_counts(records, loader)})
        sys.stdout.flush()

    return show


def _size_of(file: BinaryIO) -> int | None:
    """The size of a regular file; None for a pipe."""
    try:
        position = file.tell()
        size = file.seek(0, 2)
        file.seek(position)
    except OSError:
        return None
    return size


def _counts(records: Records, loader: Loader) -> dict[str, int]:
    return {
        "lines": records.lines,
        "written": loader.written,
        "unchanged": loader.unchanged,
        "deleted": loader.deleted,
        "expired": loader.expired,
        "skipped": records.skipped,
    }


def _conclude(records: Records, loader: Loader, seconds: float, as_json: bool) -> None:
    if as_json:
        print_json({"done": True, **_counts(records, loader), "seconds": round(seconds, 3)})
        return
    done = loader.written + loader.unchanged + loader.deleted + loader.expired
    rate = done / max(seconds, 1e-6)
    skipped = f", {records.skipped:,} bad lines skipped" if records.skipped else ""
    deleted = f", {loader.deleted:,} deleted" if loader.deleted else ""
    expired = f", {loader.expired:,} had expired" if loader.expired else ""
    click.echo(
        f"{loader.written:,} records written, {loader.unchanged:,} unchanged"
        f"{deleted}{expired}{skipped} ({seconds:.1f} s, {rate:,.0f} records/s)"
    )
