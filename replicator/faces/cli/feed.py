"""``token``, ``wait-for`` and ``changes``: what programs hold on to when they move or stop."""

import sys
from typing import Any

import click

from replicator.faces.cli.codes import Exit
from replicator.faces.cli.door import WAIT_SECONDS_MAX, Door
from replicator.faces.cli.options import Where, json_option, store_options
from replicator.faces.cli.output import complain, escaped, print_json

WAIT_MS = 10_000
"""How long one question to the daemon waits for changes."""


@click.command()
@store_options()
@click.option("--own", is_flag=True, help="Only what was written at this node: it is shorter.")
@json_option
def token(where: Where, own: bool, as_json: bool) -> int:
    """Print a token that stands for all that this node has now.

    Given to wait-for at another node it makes sure that what is read there is no older.
    """
    with where.open() as door:
        text = door.call(b"REPL.TOKEN", *([b"OWN"] if own else [])).decode()
    if as_json:
        print_json({"token": text})
    else:
        click.echo(text)
    return Exit.OK


@click.command("wait-for")
@click.argument("text", metavar="TOKEN")
@store_options()
@click.option("--timeout", type=click.FloatRange(min=0), help="For so many seconds, at most.")
@json_option
def wait_for(text: str, where: Where, timeout: float | None, as_json: bool) -> int:
    """Wait until this node has what another one had when it gave TOKEN.

    Exits with 1 where it has not in time.
    """
    milliseconds = round(1000 * (WAIT_SECONDS_MAX if timeout is None else timeout))
    with where.open() as door:
        has_it = bool(
            door.call(b"REPL.WAITFOR", text.encode(errors="replace"), b"%d" % milliseconds)
        )
    if as_json:
        print_json({"reached": has_it})
    elif not has_it:
        complain("this node has not got it in time")
    return Exit.OK if has_it else Exit.NO


@click.command()
@store_options()
@click.option("--since", metavar="TOKEN", help="Go on behind this token, of changes or token.")
@click.option("--origins", help="Only writes of: local, remote, or an origin as 16 hex digits.")
@click.option("--follow", is_flag=True, help="Wait for more, until interrupted.")
@click.option("--limit", type=click.IntRange(min=1), help="End after so many.")
@json_option
def changes(
    where: Where,
    since: str | None,
    origins: str | None,
    follow: bool,
    limit: int | None,
    as_json: bool,
) -> int:
    """Print what is written, here and at peers: put or delete, KEY, VALUE, with tabs in between.

    Every key's latest state comes at least once, each origin's writes in their order. With --json
    every document has the token behind which to go on after it. "reset" says that a copy made so
    far is to be thrown away, because all keys follow; "complete" that this was all.

    \b
        replicator changes --data ./a --json --follow >> changes.jsonl
        replicator changes --data ./a --since AbCE2QkB…
    """
    arguments = [b"ORIGINS", origins.encode(errors="replace")] if origins else []
    position = since.encode(errors="replace") if since else None
    left = limit
    with where.open() as door:
        while left is None or left > 0:
            position, items = _ask(door, position, arguments, follow, left)
            for item in items:
                _print(item, as_json)
            sys.stdout.flush()
            left = None if left is None else left - len(items)
            if not items and not follow:
                break
    return Exit.OK


def _ask(
    door: Door, since: bytes | None, arguments: list[bytes], follow: bool, count: int | None
) -> tuple[bytes, list[Any]]:
    asked = [*arguments, b"WAIT", b"%d" % (WAIT_MS if follow else 0)]
    if since is not None:
        asked += [b"SINCE", since]
    if count is not None:
        asked += [b"COUNT", b"%d" % count]
    position, *items = door.call(b"REPL.CHANGES", *asked)
    return position, items


def _print(item: list[Any], as_json: bool) -> None:
    kind, key, value, dot, is_local, text, expiry_ms = item
    if as_json:
        document = {"kind": kind, "token": text}
        if kind in (b"change", b"key"):
            document |= {"key": key, "value": value, "dot": dot, "local": bool(is_local)}
            document |= {} if expiry_ms is None else {"expiry_ms": expiry_ms}
        print_json(document)
    elif kind in (b"change", b"key"):
        click.echo(
            f"delete\t{escaped(key)}" if value is None else f"put\t{escaped(key)}\t{escaped(value)}"
        )
    else:
        click.echo(kind.decode())
