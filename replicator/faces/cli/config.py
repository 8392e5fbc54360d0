"""``config``: what is wrong with a configuration, and what is in force."""

import json
from collections.abc import Iterator
from pathlib import Path

import click

from replicator.faces.access import SECRETS
from replicator.faces.cli.codes import Exit
from replicator.faces.cli.nodeoptions import node_options
from replicator.faces.cli.options import FILE, given_to, json_option
from replicator.faces.cli.output import print_json
from replicator.faces.configuration import Config, Given
from replicator.faces.configuration.here import lacking_here
from replicator.faces.configuration.reading import read_text
from replicator.faces.configuration.source import Mistake, Source
from replicator.faces.logs import printable


@click.group()
def config() -> None:
    """Check a configuration, or show what is in force.

    docs/CONFIG.md tells every key, its environment variable and its option.

    \b
        replicator config check node.toml
        replicator config show --config node.toml
    """


@config.command()
@click.argument("file", metavar="FILE", type=FILE)
@click.option(
    "--file-only",
    is_flag=True,
    help="Look at this file alone, as on a machine where it will not run: not at environment "
    "variables, nor at the files that it names.",
)
@json_option
def check(file: Path, file_only: bool, as_json: bool) -> int:
    """Name every mistake in a configuration file, by line and key.

    Also what keeps a daemon from starting with it here: environment variables that cannot be meant,
    certificates and passwords that cannot be used, and ports that it would refuse to open. Exits
    with 1 where there is anything.
    """
    given = Given(file) if file_only else given_to(file, {})
    mistakes, found = given.examine(read_text(file))
    if found is not None and not file_only:
        mistakes = lacking_here(found)
    for mistake in mistakes:
        if as_json:
            print_json(_document(mistake))
        else:
            click.echo("\n".join(map(printable, str(mistake).split("\n"))))
    if as_json:
        print_json({"done": True, "mistakes": len(mistakes)})
    elif not mistakes:
        click.echo(f"{printable(str(file))}: no mistakes")
    return Exit.NO if mistakes else Exit.OK


@config.command()
@node_options
@json_option
def show(given: Given, as_json: bool) -> int:
    """Print what `serve` with the same options would have in force, and where it comes from.

    Every key with its value, and the option, the environment variable, or the file and line that
    says so. Secrets are not shown, only where they come from.

    \b
        replicator config show --config node.toml --listen 0.0.0.0:9000
    """
    rows = list(_rows(given.read()))
    if as_json:
        for key, value, source in rows:
            is_hidden = value is None and key.partition(".")[2] in SECRETS
            print_json({"key": key, "value": value, "hidden": is_hidden, **_place(source)})
        return Exit.OK
    shown = [(key, _text(key, value), str(source)) for key, value, source in rows]
    widths = [max(len(row[column]) for row in shown) for column in (0, 1)]
    for key, value, place in shown:
        click.echo(f"{key:<{widths[0]}}  {value:<{min(widths[1], 40)}}  {printable(place)}")
    return Exit.OK


def _rows(config: Config) -> Iterator[tuple[str, object, Source]]:
    """Every key, its value and where that comes from; and the secrets that are given directly."""
    yield from config.values()
    for name, secret in config.access.secrets.items():
        yield f"access.{name}", None, Source("environment", secret.where)


def _text(key: str, value: object) -> str:
    if value is None:
        return "(hidden)" if key.partition(".")[2] in SECRETS else "-"
    return printable(json.dumps(value, ensure_ascii=False))


def _place(source: Source) -> dict[str, object]:
    return {"kind": source.kind, "source": source.name, "line": source.line}


def _document(mistake: Mistake) -> dict[str, object]:
    return {**_place(mistake.source), "key": mistake.key, "text": mistake.text}
