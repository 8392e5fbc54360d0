"""``health``: whether a daemon is well, for whoever watches it from outside."""

from typing import Any

import click

from replicator.errors import UnreachableError
from replicator.faces.cli.codes import Exit
from replicator.faces.cli.door import daemon_door
from replicator.faces.cli.options import Where, json_option, store_options
from replicator.faces.cli.output import escaped, jsonable, print_json


@click.command()
@store_options("Directory of the store whose daemon is asked.  [env: REPLICATOR_DATA]")
@json_option
def health(where: Where, as_json: bool) -> int:
    """Say whether the daemon on a directory answers and takes writes.

    For a container's health check. The directory is never opened, so this cannot be in the way of
    a daemon that is just starting. Exits with 1 where writes still wait for news of the peers or
    LevelDB takes none any more, and with 4 where no daemon answers.
    """
    door = daemon_door(where.directory)
    if door is None:
        raise UnreachableError(f"no daemon runs on {where.directory}")
    try:
        found: Any = jsonable(door.call(b"REPL.STATUS"))
    finally:
        door.close()
    told = {name: found.get(name) for name in ("name", "write_gate", "failed")}
    fault = told["failed"]
    if fault is None and told["write_gate"] == "waiting":
        fault = "writes wait for news of the peers"
    if as_json:
        print_json({"healthy": fault is None, **told})
    else:
        click.echo(f"{escaped(told['name'])}: {'well' if fault is None else escaped(fault)}")
    return Exit.OK if fault is None else Exit.NO
