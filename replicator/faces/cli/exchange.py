"""``export`` and ``import``: a store as JSON Lines, for other programs and other databases.

A line is a JSON object: ``{"key": …, "value": …}``, each a string where the bytes are UTF-8, else
``{"base64": "…"}``; a value of null says that the key shows nothing. A value that expires has an
``expiry_ms``, milliseconds since the epoch. With versions it also has
``versions``, winner first, each with ``dot``, ``clock``, ``timestamp``, ``operation``, ``value``
and ``expiry_ms``, and ``context``, ``{origin: seq}``.
"""

import base64
import binascii
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import click

from replicator.core.rows import EXPIRY_MS_MAX
from replicator.errors import UsageError
from replicator.faces.cli.codes import Exit
from replicator.faces.cli.door import Door
from replicator.faces.cli.load import load_records
from replicator.faces.cli.options import (
    FILE,
    Where,
    escaped_option,
    given,
    json_option,
    store_options,
)
from replicator.faces.cli.output import complain, jsonable
from replicator.faces.cli.progress import Bar
from replicator.faces.cli.tsv import Record, Records
from replicator.store.local import check_key, check_value
from replicator.store.newfile import new_file

LINE_BYTES_MAX = 256 << 20
"""The longest line that is read: a key and eight siblings of the largest value, in base64."""

SHOWN_EVERY = 1000
"""Keys between two looks of the progress bar."""


@click.command()
@click.argument("file", metavar="[FILE]", type=FILE, default="-")
@store_options()
@click.option("--prefix", help="Only keys that begin with this.")
@click.option("--start", help="Only keys from here on, this one included.")
@click.option("--stop", help="Only keys up to here, this one not included.")
@click.option("--versions", is_flag=True, help="All versions of all keys, deleted ones included.")
@escaped_option
def export(
    file: Path,
    where: Where,
    prefix: str | None,
    start: str | None,
    stop: str | None,
    versions: bool,
    with_escapes: bool,
) -> int:
    """Write keys and values as JSON Lines to FILE, which must not be there, or standard output.

    All of one moment, whatever is written meanwhile. A line is {"key": …, "value": …}, each a
    string where the bytes are UTF-8, else {"base64": "…"}, and "expiry_ms" where the value expires.
    With --versions it also tells which versions a key has, winner first, and its context; the value
    is null where it shows nothing.

    \b
        replicator export --data ./a | gzip > a.jsonl.gz
        replicator export --data ./a --prefix user: users.jsonl
    """
    arguments = [b"VERSIONS", b"1"] if versions else []
    for name, text in ((b"PREFIX", prefix), (b"START", start), (b"STOP", stop)):
        if text is not None:
            arguments += [name, given(text, with_escapes)]
    is_scrolling = str(file) == "-" and sys.stdout.isatty()
    with (
        where.open() as door,
        _output(file) as output,
        Bar("exporting", is_wanted=not is_scrolling) as show,
    ):
        for count, line in enumerate(_lines(door, arguments)):
            output.write(line)
            if count % SHOWN_EVERY == 0:
                show(count, f"{count:,} keys")
    return Exit.OK


@click.command("import")
@click.argument("file", type=click.File("rb"))
@store_options()
@click.option("--skip-bad", is_flag=True, help="Go on after a line that is no record.")
@json_option
def import_(file: BinaryIO, where: Where, skip_bad: bool, as_json: bool) -> int:
    """Write the records of FILE, JSON Lines as export prints them. "-" is standard input.

    The store is made where there is none. A key that shows its value already is not written again;
    a value of null deletes the key, if it is there. A value expires when its line says so; one
    whose time is over is left out. What a line tells of versions and contexts is left aside: here
    each record is a new write. Keys that no line names stay as they are. Each batch is written as a
    whole or not at all, but not the import; one that was cut short is simply repeated.

    \b
        replicator export --data ./a | replicator import --data ./b -
    """
    records = Records(file, parse, LINE_BYTES_MAX, on_bad=complain if skip_bad else None)
    load_records(records, file, where, as_json)
    return Exit.OK


def parse(line: bytes) -> Record:
    """The record that a line of JSON writes.

    Raises:
        UsageError: it writes none.
    """
    try:
        told = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"no JSON: {error}") from error
    if not isinstance(told, dict) or "key" not in told or "value" not in told:
        raise UsageError("no JSON object with a key and a value")
    key = _bytes_of("key", told["key"])
    check_key(key)
    if told["value"] is None:
        return Record(key, None)
    value = _bytes_of("value", told["value"])
    check_value(key, value)
    return Record(key, value, _expiry_of(told.get("expiry_ms")))


def _expiry_of(told: object) -> int | None:
    if told is None:
        return None
    if isinstance(told, bool) or not isinstance(told, int) or not 0 <= told <= EXPIRY_MS_MAX:
        raise UsageError(f"the expiry_ms {told!r} is no number of milliseconds since the epoch")
    return told


def _bytes_of(name: str, told: object) -> bytes:
    try:
        if isinstance(told, str):
            return told.encode()
        if isinstance(told, dict) and set(told) == {"base64"}:
            return base64.b64decode(told["base64"], validate=True)
    except (UnicodeEncodeError, TypeError, binascii.Error) as error:
        raise UsageError(f"the {name} does not decode: {error}") from error
    raise UsageError(f'the {name} is neither a string nor {{"base64": "…"}}')


def _lines(door: Door, arguments: list[bytes]) -> Iterator[str]:
    page: list[Any] = door.call(b"REPL.EXPORT", *arguments)
    while page:
        for item in page:
            yield json.dumps(_document(*item)) + "\n"
        page = door.call(b"REPL.MORE")


def _document(
    key: bytes, value: bytes | None, expiry_ms: int | None, *more: object
) -> dict[str, object]:
    document = {"key": jsonable(key), "value": jsonable(value)}
    if expiry_ms is not None:
        document["expiry_ms"] = expiry_ms
    if more:
        document["versions"], document["context"] = (jsonable(part) for part in more)
    return document


class _Text:
    """Text into a binary file."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, text: str) -> None:
        self._file.write(text.encode())


@contextmanager
def _output(file: Path) -> Iterator[Any]:
    if str(file) == "-":
        yield sys.stdout
        return
    with new_file(file.absolute(), "export") as opened:
        yield _Text(opened)
