"""``members``, ``forget`` and ``join``: who is in the cluster."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import click

from replicator.faces.cli.codes import Exit
from replicator.faces.cli.options import Where, json_option, store_options
from replicator.faces.cli.output import escaped, jsonable, print_json

_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"))


@click.command()
@store_options()
@json_option
def members(where: Where, as_json: bool) -> int:
    """Print every node of the cluster, as this one knows it.

    Nodes learn of each other through any others. Lag: how many writes this node knows that the
    member has not told to hold, and for how long. A node that is gone for good is taken off with
    forget.
    """
    with where.open() as door:
        found: list[dict[str, Any]] = [jsonable(row) for row in door.call(b"REPL.MEMBERS")]  # type: ignore[misc]
    for row in found:
        if as_json:
            print_json(row)
    if not as_json:
        click.echo("\n".join(_table(found)))
    return Exit.OK


@click.command()
@click.argument("node", metavar="NODE")
@store_options()
@json_option
def forget(node: str, where: Where, as_json: bool) -> int:
    """Take a node that is gone for good off the list of members.

    NODE is its name or its origin, as members prints them. A node that lives is refused. Should a
    forgotten one come back, it joins as a new one, with its data.
    """
    with where.open() as door:
        door.call(b"REPL.FORGET", node.encode(errors="surrogateescape"))
    if as_json:
        print_json({"forgotten": node})
    else:
        click.echo(f"{escaped(node)} is forgotten; the other members hear of it")
    return Exit.OK


@click.command()
@click.argument("address", metavar="HOST:PORT")
@store_options()
@click.option("--timeout", type=click.FloatRange(min=0), help="Give up after so many seconds.")
@json_option
def join(address: str, where: Where, timeout: float | None, as_json: bool) -> int:
    """Merge this node's cluster with the one of the node at HOST:PORT, for good.

    Needed where both hold data already and nobody named one in the other's configuration: nodes
    that only find each other never merge data by themselves. Afterwards all nodes of both
    clusters hold the data of both; keys that both wrote are conflicts.
    """
    arguments = [address.encode(errors="surrogateescape")]
    if timeout is not None:
        arguments.append(b"%d" % (timeout * 1000))
    with where.open() as door:
        door.call(b"REPL.JOIN", *arguments)
    if as_json:
        print_json({"joined": address})
    else:
        click.echo(
            f"joined {escaped(address)}: each of the two nodes holds what the other one held"
        )
    return Exit.OK


def _table(found: list[dict[str, Any]]) -> Iterator[str]:
    """The members in columns as wide as their contents."""
    head = ["name", "origin", "state", "lag", "last seen", "since", "version", "addresses"]
    rows = [head, *(_cells(row) for row in found)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield "  ".join(cells).rstrip()


def _cells(row: dict[str, Any]) -> list[str]:
    lag = f"{row['lag_entries']:,}"
    if row["lag_entries"]:
        lag += f" for {_duration(row['lag_seconds'])}"
    return [
        escaped(row["name"]),
        row["origin"],
        _state(row),
        "–" if row["is_self"] else lag,
        "now" if row["last_seen_seconds"] < 1 else f"{_duration(row['last_seen_seconds'])} ago",
        _moment(row["since_ms"]),
        escaped(row["version"]) or "–",
        escaped(" ".join(row["addresses"])) or "–",
    ]


def _state(row: dict[str, Any]) -> str:
    if row["is_self"]:
        return "this node"
    if row["connected"]:
        return "connected"
    return "alive" if row["alive"] else "silent"


def _moment(wall_ms: int) -> str:
    """A wall clock, as some node had it: it may be anything."""
    if not wall_ms:
        return "–"
    try:
        return f"{datetime.fromtimestamp(wall_ms / 1000, UTC):%Y-%m-%d %H:%M}"
    except (ValueError, OverflowError, OSError):
        return "?"


def _duration(seconds: float) -> str:
    for size, unit in _UNITS:
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
