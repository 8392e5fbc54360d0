"""``status`` and ``digest``."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from replicator.core.clock import roughly
from replicator.errors import RefusedError
from replicator.faces.cli.codes import Exit
from replicator.faces.cli.door import Door, open_door
from replicator.faces.cli.options import DIRECTORY, Where, json_option, store_options
from replicator.faces.cli.output import escaped, jsonable, print_json
from replicator.faces.cli.progress import Bar

WINNERS_SHOWN = 5

_REASONS = {
    "clock": "by clock",
    "timestamp": "by timestamp",
    "dot": "by dot",
    "resolver": "by the resolver",
    "merged": "merged",
    "fault": "by the default order, as the resolver failed",
}


@click.command()
@store_options()
@click.option("--watch", "is_watched", is_flag=True, help="Show a running node until q or Ctrl-C.")
@click.option(
    "--interval",
    type=click.FloatRange(min=0.1, max=3600),
    default=1.0,
    show_default=True,
    help="With --watch, look every so many seconds.",
    metavar="SECONDS",
)
@json_option
def status(where: Where, is_watched: bool, interval: float, as_json: bool) -> int:
    """Print who a node is, whom it talks to, and what it has done.

    Entries behind: how many writes this node knows that the peer has not told to know.

    With --watch a terminal shows it live: writes and records a second, peers, members, and what
    happens. Where the output goes elsewhere, it is one line for each look, and one for each event;
    with --json a document for each look.

    \b
        replicator status --data ./a
        replicator status --data ./a --watch
        replicator status --data ./a --watch --interval 60 >> a.log
    """
    if is_watched:
        from replicator.faces.cli.watch import watch  # only this needs a terminal

        watch(where.directory, interval, as_json)
        return Exit.OK
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
        title = f"reading {escaped(directory.name)}" if others else "reading"
        with open_door(directory, where.config) as door, Bar(title, is_wanted=not as_json) as show:
            digests.append(_digest(door, show))
        if as_json:
            print_json({"data": str(directory), "digest": digests[-1]})
        else:
            click.echo(f"{digests[-1]}  {escaped(str(directory))}" if others else digests[-1])
    return Exit.OK if len(set(digests)) == 1 else Exit.NO


def _digest(door: Door, show: Bar) -> str:
    try:
        reply: Any = door.call(b"REPL.DIGEST", b"STEPS", b"1")
    except RefusedError as error:
        if error.code != "ERR":
            raise
        whole: str = door.call(b"REPL.DIGEST").decode()  # a daemon of version 0.2.0
        return whole
    while not reply[b"is_done"]:
        show(reply[b"keys"], f"{reply[b'keys']:,} keys")
        reply = door.call(b"REPL.MORE")
    digest: str = reply[b"digest"].decode()
    return digest


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
    is_of_now = "format" in found  # a daemon of version 0.1.0 says less
    if is_of_now:
        facts["format"] = str(found["format"])
    counters = {name: count for name, count in found["counters"].items() if count}
    if found.get("failed") is not None:
        facts["no writes"] = escaped(found["failed"])
    facts["counters"] = (
        ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in counters.items())
        or "nothing yet"
    )
    for name, text in facts.items():
        yield f"{name:<11} {text}"
    if is_of_now:
        yield from _conflict_lines(found)
        yield from _clock_lines(found["clock"])
    for name, text in found["discovery"].items():
        yield f"discovery   {escaped(name)}: {escaped(text)}"
    for peer in found["peers"]:
        yield from _peer_lines(peer)


def _conflict_lines(found: dict[str, Any]) -> Iterator[str]:
    counts = found["conflicts"]
    reasons = [f"{_REASONS[why]} {count:,}" for why, count in counts["by_reason"].items()]
    if reasons:
        yield f"conflicts   settled {', '.join(reasons)}"
    names = {peer["origin"]: peer["name"] for peer in found["peers"]}
    names[found["origin"]] = found["name"]
    winners = [
        f"{escaped(names.get(origin) or origin)} {count:,}"
        for origin, count in list(counts["by_origin"].items())[:WINNERS_SHOWN]
    ]
    if winners:
        yield f"            won by {', '.join(winners)}"
    revisiting = found["revisiting"]
    if revisiting is not None:
        yield (
            f"revisiting  conflicts, for another resolver: {revisiting['keys']:,} keys, about "
            f"{100 * revisiting['share']:.0f} %"
        )


def _clock_lines(clock: dict[str, Any]) -> Iterator[str]:
    if clock["set_backs"]:
        yield f"clock       this node's was set back too far, {clock['set_backs']:,} times"
    for origin, ahead in clock["ahead"].items():
        who = origin if ahead["name"] is None else f"{escaped(ahead['name'])} ({origin})"
        yield (
            f"clock       {who} is about {roughly(ahead['seconds'])} ahead: {ahead['writes']:,} "
            "writes, kept; its clock is not followed"
        )


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
