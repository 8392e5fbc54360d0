"""``strip``: back to a plain LevelDB."""

from pathlib import Path

import click

from replicator.errors import UsageError
from replicator.faces.cli.codes import Exit
from replicator.faces.cli.options import DIRECTORY, json_option
from replicator.faces.cli.output import print_json


@click.command()
@click.argument("directory", metavar="DIR", type=DIRECTORY)
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def strip(directory: Path, yes: bool, as_json: bool) -> int:
    """Leave a plain LevelDB in DIR.

    Takes everything of the replicator out: the losing versions of conflicts, what was deleted
    when, and who knows what. Keys and the values that they show stay. No daemon may have DIR
    open.
    """
    # Here, not at the top: it takes longer to import than most commands take to run.
    from replicator.store.strip import strip as strip_directory

    if not yes and not click.confirm(
        f"Losing versions and the history in {click.format_filename(directory)} will be gone. "
        "Go on?",
        err=True,
    ):
        raise UsageError("nothing was changed")
    removed = strip_directory(directory)
    if as_json:
        print_json({"directory": str(directory), "rows_removed": removed})
    else:
        click.echo(f"{removed:,} rows of the replicator removed; plain LevelDB is left")
    return Exit.OK
