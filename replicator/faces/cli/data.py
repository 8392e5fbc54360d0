"""``get``, ``put``, ``delete`` and ``scan``."""

import math
import sys
from collections.abc import Iterator

import click

from replicator.config import PAGE_ITEMS_MAX
from replicator.errors import RefusedError, UsageError
from replicator.faces.cli.codes import Exit
from replicator.faces.cli.door import WAIT_SECONDS_MAX, Door
from replicator.faces.cli.options import (
    Where,
    escaped_option,
    given,
    json_option,
    store_options,
)
from replicator.faces.cli.output import complain, escaped, print_json
from replicator.faces.ttl import expiry_after


@click.command()
@click.argument("key")
@store_options()
@click.option("--raw", is_flag=True, help="Write the value's bytes as they are, nothing else.")
@escaped_option
@json_option
def get(
    key: str,
    where: Where,
    raw: bool,
    with_escapes: bool,
    as_json: bool,
) -> int:
    """Print the value that KEY shows.

    What does not print is escaped, \\x1b; --raw gives the bytes to a file or a pipe.
    Exits with 1 where the key is not there.

    \b
        replicator get --data ./a user:1
        replicator get --data ./a --raw photo:7 > photo.jpg
    """
    if raw and writes_to_terminal():
        raise UsageError("--raw is for files and pipes: a value may hold control characters")
    with where.open() as door:
        name = given(key, with_escapes)
        value = door.call(b"GET", name)
    if as_json:
        print_json({"key": name, "value": value})
    elif value is None:
        complain(f"there is no key {escaped(name)}")
    elif raw:
        sys.stdout.buffer.write(value)
    else:
        print(escaped(value))
    return Exit.NO if value is None else Exit.OK


@click.command()
@click.argument("key")
@click.argument("value", required=False)
@store_options()
@click.option("--ttl", type=float, help="Let it go after so many seconds.", metavar="SECONDS")
@click.option(
    "--replicas", type=click.IntRange(min=1), help="Wait until so many peers have it on disk."
)
@click.option("--timeout", type=click.FloatRange(min=0), help="For so many seconds, at most.")
@escaped_option
@json_option
def put(
    key: str,
    value: str | None,
    where: Where,
    ttl: float | None,
    replicas: int | None,
    timeout: float | None,
    with_escapes: bool,
    as_json: bool,
) -> int:
    """Write VALUE, or what comes from standard input, under KEY.

    With --replicas it exits with 1 where not so many peers had it in time: it is written all the
    same, and goes on to them.

    \b
        replicator put --data ./a user:1 Ada
        replicator put --data ./a photo:7 < photo.jpg
        replicator put --data ./a --escaped 'bin\\x00key' 'two\\nlines'
        replicator put --data ./a --ttl 3600 session:9 Ada
    """
    name = given(key, with_escapes)
    content = sys.stdin.buffer.read() if value is None else given(value, with_escapes)
    if timeout is not None and replicas is None:
        raise UsageError("--timeout says how long to wait for --replicas: give both, or none")
    with where.open() as door:
        if replicas is None:
            door.call(b"SET", name, content, *_expiry(ttl))
            is_there = True
        else:
            is_there = _put_at_peers(door, [name, content, *_expiry(ttl)], replicas, timeout)
    if as_json:
        answer = {"key": name, "written": True}
        print_json(answer if replicas is None else answer | {"replicated": is_there})
    return Exit.OK if is_there else Exit.NO


def _expiry(ttl: float | None) -> list[bytes]:
    if ttl is None:
        return []
    expiry_after(ttl, 0)
    return [b"PX", b"%d" % math.ceil(ttl * 1000)]


@click.command()
@click.argument("key")
@store_options()
@escaped_option
@json_option
def delete(key: str, where: Where, with_escapes: bool, as_json: bool) -> int:
    """Delete KEY, here and at every peer. Exits with 1 where it is not there."""
    name = given(key, with_escapes)
    with where.open() as door:
        deleted = bool(door.call(b"DEL", name))
    if as_json:
        print_json({"key": name, "deleted": deleted})
    elif not deleted:
        complain(f"there is no key {escaped(name)}")
    return Exit.OK if deleted else Exit.NO


@click.command()
@store_options()
@click.option("--prefix", help="Only keys that begin with this.")
@click.option("--start", help="Only keys from here on, this one included.")
@click.option("--stop", help="Only keys up to here, this one not included.")
@click.option("--limit", type=click.IntRange(min=0), help="Print that many, at most.")
@escaped_option
@json_option
def scan(
    where: Where,
    prefix: str | None,
    start: str | None,
    stop: str | None,
    limit: int | None,
    with_escapes: bool,
    as_json: bool,
) -> int:
    """Print keys and values in key order: KEY, a tab, VALUE.

    What does not print is escaped, \\x1b, so "replicator load --escaped" reads it back.
    Reads page by page: a key that is written meanwhile may show its old or its new value.

    \b
        replicator scan --data ./a --prefix user: --limit 10
        replicator scan --data ./a --start 2026-01 --stop 2026-02 --json
    """
    bounds = {b"PREFIX": prefix, b"START": start, b"STOP": stop}
    arguments: list[bytes] = []
    for name, text in bounds.items():
        if text is not None:
            arguments += [name, given(text, with_escapes)]
    with where.open() as door:
        for key, value in _pages(door, arguments, limit):
            if as_json:
                print_json({"key": key, "value": value})
            else:
                print(f"{escaped(key)}\t{escaped(value)}")
    return Exit.OK


def _put_at_peers(door: Door, put: list[bytes], replicas: int, timeout: float | None) -> bool:
    """Write a key; whether so many peers had it on disk in time.

    Args:
        put: its key, its value, and when it expires.
    """
    arguments = [*put, b"REPLICAS", b"%d" % replicas]
    if timeout is None and door.running:
        timeout = WAIT_SECONDS_MAX
    if timeout is not None:
        arguments += [b"TIMEOUT", b"%d" % round(1000 * timeout)]
    try:
        door.call(b"REPL.PUT", *arguments)
    except RefusedError as error:
        if error.code != "NOREPLICAS":
            raise
        complain(str(error))
        return False
    return True


def writes_to_terminal() -> bool:
    """Whether a person sees what is written."""
    return sys.stdout.isatty()


def _pages(door: Door, arguments: list[bytes], limit: int | None) -> Iterator[tuple[bytes, bytes]]:
    after: list[bytes] = []
    left = limit
    while left is None or left > 0:
        count = PAGE_ITEMS_MAX if left is None else min(left, PAGE_ITEMS_MAX)
        last, items = door.call(b"REPL.SCAN", *arguments, *after, b"COUNT", b"%d" % count)
        yield from zip(items[::2], items[1::2], strict=True)
        if last is None:
            return
        after = [b"AFTER", last]
        left = None if left is None else left - len(items) // 2
