"""``status``, ``digest`` and ``conflicts``."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from replicator.core.clock import to_ms
from replicator.faces.cli.codes import Exit
from replicator.faces.cli.door import Door, open_door
from replicator.faces.cli.options import DIRECTORY, Where, json_option, store_options
from replicator.faces.cli.output import escaped, jsonable, print_json

VALUE_CHARACTERS_MAX = 60
"""How much of a value `conflicts` shows to people."""


@click.command()
@store_options()
@json_option
def status(where: Where, as_json: bool) -> int:
    """Print who a node is, whom it talks to, and what it has done.

    Entries behind: how many writes this node knows that the peer has not told to know.
    """
    with where.open() as door:
        found: Any = jsonable(door.call(b"REPL.STATUS"))
        running = door.running
    if as_json:
        print_json({"daemon": running, **found})
    else:
        click.echo("\n".join(_status_lines(found, running)))
    return Exit.OK


@click.command()
@store_options()
@click.option(
    "--with",
    "others",
    type=DIRECTORY,
    metavar="DIR",
    multiple=True,
    help="A directory to compare with; may be given several times.",
)
@json_option
def digest(where: Where, others: tuple[Path, ...], as_json: bool) -> int:
    """Print a hash that is equal where the data is.

    It covers every key with its versions, those that lost a conflict included. Reads everything.
    With --with, exits with 1 where the digests differ.

    \b
        replicator digest --data ./a --with ./b --with ./c
    """
    digests = []
    for directory in (where.directory, *others):
        with open_door(directory, where.config) as door:
            digests.append(door.call(b"REPL.DIGEST").decode())
        if as_json:
            print_json({"data": str(directory), "digest": digests[-1]})
        else:
            click.echo(f"{digests[-1]}  {escaped(str(directory))}" if others else digests[-1])
    return Exit.OK if len(set(digests)) == 1 else Exit.NO


@click.command()
@store_options()
@click.option("--limit", type=click.IntRange(min=0), help="Print that many, at most.")
@json_option
def conflicts(where: Where, limit: int | None, as_json: bool) -> int:
    """Print the keys whose versions conflict.

    Several nodes wrote them without knowing of each other. The version marked with > is shown
    by every node; the others stay readable here until the key is written again, which settles
    the conflict. A version is named by its dot, origin:seq.
    """
    with where.open() as door:
        for count, (key, versions) in enumerate(_conflicts(door)):
            if count == limit:
                break
            if as_json:
                print_json({"key": key, "versions": versions})
            else:
                click.echo("\n".join(_conflict_lines(key, versions)))
    return Exit.OK


def _conflicts(door: Door) -> Iterator[tuple[bytes, list[Any]]]:
    after: list[bytes] = []
    while True:
        last, page = door.call(b"REPL.CONFLICTS", *after)
        yield from page
        if last is None:
            return
        after = [b"AFTER", last]


def _conflict_lines(key: bytes, versions: list[Any]) -> Iterator[str]:
    yield escaped(key)
    for place, version in enumerate(versions):
        when = datetime.fromtimestamp(to_ms(version[b"timestamp"]) / 1000, UTC)
        value = version[b"value"]
        shown = "(deleted)" if value is None else _shortened(escaped(value))
        yield (
            f"  {'>' if place == 0 else ' '} {shown}\n"
            f"      {version[b'dot'].decode()}, clock {version[b'clock']}, "
            f"{when.isoformat(' ', 'milliseconds')}"
        )


def _shortened(text: str) -> str:
    return text if len(text) <= VALUE_CHARACTERS_MAX else text[: VALUE_CHARACTERS_MAX - 1] + "…"


def _status_lines(found: dict[str, Any], running: bool) -> Iterator[str]:
    facts = {
        "name": escaped(found["name"]),
        "origin": found["origin"],
        "cluster": escaped(found["cluster"]),
        "daemon": f"listening on {found['address']}" if running else "none: the store is stopped",
        "write gate": found["write_gate"],
        "members": f"{found['members']}; {found['held_by_all']:,} of {found['entries']:,} writes "
        "are on the disk of all",
    }
    if "format" in found:  # a daemon of version 0.1.0 does not say
        facts["format"] = str(found["format"])
    counters = {name: count for name, count in found["counters"].items() if count}
    facts["counters"] = (
        ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in counters.items())
        or "nothing yet"
    )
    for name, text in facts.items():
        yield f"{name:<11} {text}"
    for name, text in found["discovery"].items():
        yield f"discovery   {escaped(name)}: {escaped(text)}"
    for peer in found["peers"]:
        yield from _peer_lines(peer)


def _peer_lines(peer: dict[str, Any]) -> Iterator[str]:
    name = "not met yet" if peer["name"] is None else escaped(peer["name"])
    state = f"{peer['direction']}, {peer['doing']}" if peer["connected"] else "not connected"
    yield f"peer        {escaped(peer['address'])}  {name}: {state}"
    if peer["lag_entries"] is not None:
        yield (
            f"            behind by {peer['lag_entries']:,} entries for {peer['lag_seconds']:.1f} s"
            f"; rounds {peer['rounds']:,}, records in {peer['records_in']:,}, "
            f"out {peer['records_out']:,}"
        )
    if peer["last_error"] is not None:
        yield f"            {escaped(peer['last_error'])}"
    if peer["blocked"]:
        yield "            left alone until a person has looked at it"
