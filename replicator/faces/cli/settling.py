"""``conflicts``, ``versions``, ``resolve`` and ``reevaluate``."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import click

from replicator.errors import UsageError
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
from replicator.faces.cli.progress import Bar

REEVALUATE_SLICE_SECONDS = 0.5

VALUE_CHARACTERS_MAX = 60
"""How much of a value is shown to people."""


@click.command()
@store_options()
@click.option("--limit", type=click.IntRange(min=0), help="Print that many, at most.")
@json_option
def conflicts(where: Where, limit: int | None, as_json: bool) -> int:
    """Print the keys whose versions conflict.

    Several nodes wrote them without knowing of each other. What is marked with > is shown by
    every node; the others stay readable until the key is written again, by put or by resolve,
    which settles the conflict. A version is named by its dot, origin:seq.
    """
    with where.open() as door:
        for count, (key, versions) in enumerate(_conflicts(door)):
            if count == limit:
                break
            if as_json:
                print_json({"key": key, "versions": versions})
            else:
                click.echo("\n".join([escaped(key), *_lines(door, key, versions)]))
    return Exit.OK


@click.command()
@click.argument("key")
@store_options()
@escaped_option
@json_option
def versions(key: str, where: Where, with_escapes: bool, as_json: bool) -> int:
    """Print all live versions of KEY, deletes included, in conflict or not.

    What the key shows is marked with >. Exits with 1 where the key was never written.

    \b
        replicator versions --data ./a user:1
    """
    name = given(key, with_escapes)
    with where.open() as door:
        found = door.call(b"REPL.VERSIONS", name)
        if as_json:
            print_json({"key": name, "versions": found})
        elif found:
            click.echo("\n".join(_lines(door, name, found)))
        else:
            complain(f"key {escaped(name)} was never written")
    return Exit.OK if found else Exit.NO


@click.command()
@click.argument("key")
@store_options()
@click.option("--dot", metavar="ORIGIN:SEQ", help="Keep this version, as versions prints it.")
@click.option("--value", help="Replace them all by this value.")
@click.option("--delete", "is_delete", is_flag=True, help="Delete the key.")
@click.option(
    "--seen",
    metavar="ORIGIN:SEQ",
    multiple=True,
    help="A version that you have looked at; several times for several. Others are left in place.",
)
@escaped_option
@json_option
def resolve(
    key: str,
    where: Where,
    dot: str | None,
    value: str | None,
    is_delete: bool,
    seen: tuple[str, ...],
    with_escapes: bool,
    as_json: bool,
) -> int:
    """Settle a conflict of KEY, here and at every peer.

    With --dot a version is written anew, with its value and expiry, or deletes where it is a
    delete. Without --seen, everything that is live at this moment is superseded. With it, a
    version that has come since you looked stays, in conflict with the new one: then this exits
    with 1.

    \b
        replicator resolve --data ./a user:1 --dot 00d1a5c0ffee0042:17
        replicator resolve --data ./a user:1 --value "Ada Lovelace"
        replicator resolve --data ./a user:1 --delete
    """
    name = given(key, with_escapes)
    arguments = _choice(dot, value, is_delete, with_escapes)
    if seen:
        arguments += [b"SEEN", *(text.encode(errors="surrogateescape") for text in seen)]
    with where.open() as door:
        written = door.call(b"REPL.RESOLVE", name, *arguments)
        found = door.call(b"REPL.VERSIONS", name)
        is_settled = len(found) == 1
        if as_json:
            print_json({"key": name, "dot": written, "settled": is_settled, "versions": found})
        elif is_settled:
            click.echo("\n".join(["settled:", *_lines(door, name, found)]))
        else:
            head = "not settled: beside the new version there are others"
            click.echo("\n".join([head, *_lines(door, name, found)]))
    return Exit.OK if is_settled else Exit.NO


@click.command()
@store_options()
@click.option("--timeout", type=click.FloatRange(min=0), help="Wait so many seconds, at most.")
@json_option
def reevaluate(where: Where, timeout: float | None, as_json: bool) -> int:
    """Let every key in conflict show what the resolver makes of it now.

    Happens by itself when a node starts with a resolver of another name or mode. Needed where the
    code of a resolver has changed, or where it has failed for a while. Exits with 1 where it is
    not complete yet; it goes on in the background and when the node is started again, and status
    tells how far it is.
    """
    end = time.monotonic() + (WAIT_SECONDS_MAX if timeout is None else timeout)
    with where.open() as door, Bar("looking again", 1000, is_wanted=not as_json) as show:
        while True:
            left = end - time.monotonic()
            # In slices, so that a person sees how far it is.
            slice_ms = max(round(1000 * min(left, REEVALUATE_SLICE_SECONDS)), 0)
            found = door.call(b"REPL.REEVALUATE", b"%d" % slice_ms)
            if found[b"complete"] or found[b"deferred"] or left <= REEVALUATE_SLICE_SECONDS:
                break
            if show.is_seen:
                revisiting = door.call(b"REPL.STATUS")[b"revisiting"] or {b"share": 1.0}
                show(round(1000 * revisiting[b"share"]), f"{found[b'keys']:,} keys")
    if as_json:
        print_json(found)
    elif found[b"complete"]:
        click.echo(f"{found[b'keys']:,} keys, {found[b'changed']:,} show something else now")
    elif found[b"deferred"]:
        click.echo("the resolver is a program's own: it is done when that opens the store")
    else:
        click.echo(f"under way: {found[b'keys']:,} keys so far")
    return Exit.OK if found[b"complete"] else Exit.NO


def _choice(dot: str | None, value: str | None, is_delete: bool, escapes: bool) -> list[bytes]:
    if (dot is not None) + (value is not None) + is_delete != 1:
        raise UsageError("say what the key is to hold: one of --dot, --value and --delete")
    if dot is not None:
        return [b"DOT", dot.encode(errors="surrogateescape")]
    return [b"DELETE"] if value is None else [b"VALUE", given(value, escapes)]


def _conflicts(door: Door) -> Iterator[tuple[bytes, list[Any]]]:
    after: list[bytes] = []
    while True:
        last, page = door.call(b"REPL.CONFLICTS", *after)
        yield from page
        if last is None:
            return
        after = [b"AFTER", last]


def _lines(door: Door, key: bytes, found: list[Any]) -> Iterator[str]:
    if not any(version[b"wins"] for version in found):
        yield f"  > {_excerpt(door.call(b'GET', key))}\n      merged by the resolver"
    for version in found:
        yield f"  {'>' if version[b'wins'] else ' '} {_excerpt(version[b'value'])}"
        node, expiry_ms = version[b"node"], version[b"expiry_ms"]
        facts = [
            version[b"dot"].decode(),
            "a node not heard of" if node is None else f"node {escaped(node)}",
            f"clock {version[b'clock']}",
            _when(version[b"time_ms"]),
        ]
        if expiry_ms is not None:
            facts.append(f"expires {_when(expiry_ms)}")
        yield "      " + ", ".join(facts)


def _excerpt(value: bytes | None) -> str:
    if value is None:
        return "(deleted)"
    text = escaped(value[: 4 * VALUE_CHARACTERS_MAX])
    if len(text) <= VALUE_CHARACTERS_MAX and len(value) <= 4 * VALUE_CHARACTERS_MAX:
        return text
    return text[: VALUE_CHARACTERS_MAX - 1] + "…"


def _when(moment_ms: int) -> str:
    try:
        return datetime.fromtimestamp(moment_ms / 1000, UTC).isoformat(" ", "milliseconds")
    except (OverflowError, ValueError):
        return f"{moment_ms} ms after 1970"
