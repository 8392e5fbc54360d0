"""``strip``: back to a plain LevelDB."""

from pathlib import Path

import click

from replicator.errors import UsageError
from replicator.faces.cli.codes import Exit
from replicator.faces.cli.options import DIRECTORY, json_option
from replicator.faces.cli.output import escaped, print_json
from replicator.faces.cli.progress import Bar
from replicator.store.strip import strip as strip_directory


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
    if not yes and not _confirmed(directory):
        raise UsageError("nothing was changed")
    with Bar("stripping", is_wanted=not as_json) as show:
        removed = strip_directory(directory, lambda rows: show(rows, f"{rows:,} rows"))
    if as_json:
        print_json({"directory": str(directory), "rows_removed": removed})
    else:
        click.echo(f"{removed:,} rows of the replicator removed; plain LevelDB is left")
    return Exit.OK


def _confirmed(directory: Path) -> bool:
    question = f"Losing versions and the history in {escaped(str(directory))} will be gone. Go on?"
    try:
        return click.confirm(question, err=True)
    except click.Abort:  # Ctrl-C, or nobody there to answer
        return False
