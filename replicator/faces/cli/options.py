"""What the commands share: where the store is, how keys are written, what programs get."""

import functools
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from replicator.errors import UsageError
from replicator.faces.cli.door import Door, open_door
from replicator.faces.cli.output import unescaped
from replicator.faces.configuration import Config, Environment, Given

Function = Callable[..., int]

DIRECTORY = click.Path(file_okay=False, path_type=Path)
FILE = click.Path(dir_okay=False, path_type=Path)


@dataclass(frozen=True, slots=True)
class Where:
    """Which store a command works on.

    Attributes:
        config: what is in force for it.
    """

    config: Config

    @property
    def directory(self) -> Path:
        """The directory.

        Raises:
            UsageError: neither the command nor the configuration names one.
        """
        if self.config.data is None:
            raise UsageError(
                "which store? name its directory with --data DIR, or set REPLICATOR_DATA"
            )
        return self.config.data

    @contextmanager
    def open(self, *, create: bool = False) -> Iterator[Door]:
        """The store, as `open_door`."""
        with open_door(self.directory, self.config, create=create) as door:
            yield door


ASKED_OR_OPENED = (
    "Directory of the store. A daemon that runs on it is asked through its socket; without one "
    "the directory is opened.  [env: REPLICATOR_DATA]"
)


def given_to(config_file: Path | None, flags: Mapping[str, object]) -> Given:
    """What a command was given, this process's environment variables included.

    Args:
        flags: values by dotted key; None stands for an option that was not given.
    """
    values = {key: value for key, value in flags.items() if value is not None}
    return Given(config_file, Environment.take(os.environ), values)


def config_option(help: str) -> Callable[[Function], Function]:
    """Give a command ``--config``; it gets a `Path`, or None, as ``config_file``."""
    return click.option("--config", "config_file", type=FILE, metavar="FILE", help=help)


def store_options(data_help: str = ASKED_OR_OPENED) -> Callable[[Function], Function]:
    """Give a command ``--data`` and ``--config``; it gets a `Where` as ``where``."""

    def decorate(command: Function) -> Function:
        @click.option("--data", type=DIRECTORY, metavar="DIR", help=data_help)
        @config_option("Configuration file of the node.")
        @functools.wraps(command)
        def with_where(
            *args: Any, data: Path | None, config_file: Path | None, **options: Any
        ) -> int:
            flags = {"node.data": None if data is None else str(data)}
            config = given_to(config_file, flags).read()
            return command(*args, where=Where(config), **options)

        return with_where

    return decorate


json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON, a document a line, for programs."
)

escaped_option = click.option(
    "--escaped",
    "with_escapes",
    is_flag=True,
    help=r"Keys and values are written with escapes, as scan prints them: \xNN \t \n \r \\.",
)


def given(text: str, with_escapes: bool) -> bytes:
    """The bytes of an argument: as they came from the shell, or with escapes resolved.

    Raises:
        UsageError: a single backslash among escapes.
    """
    return unescaped(text) if with_escapes else os.fsencode(text)
