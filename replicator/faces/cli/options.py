"""What the commands share: where the store is, how keys are written, what programs get."""

import functools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from replicator.errors import UsageError
from replicator.faces.cli.door import Door, open_door
from replicator.faces.cli.output import unescaped
from replicator.faces.configfile import DEFAULT, Config, read_config

Function = Callable[..., int]

DIRECTORY = click.Path(file_okay=False, path_type=Path)
FILE = click.Path(dir_okay=False, path_type=Path)


@dataclass(frozen=True, slots=True)
class Where:
    """Which store a command works on.

    Attributes:
        data: its directory, where the command line or the environment names one.
        config: what the configuration file says; without one the defaults.
    """

    data: Path | None
    config: Config

    @property
    def directory(self) -> Path:
        """The directory.

        Raises:
            UsageError: neither the command nor the configuration names one.
        """
        chosen = self.data or self.config.data
        if chosen is None:
            raise UsageError(
                "which store? name its directory with --data DIR, or set REPLICATOR_DATA"
            )
        return chosen

    @contextmanager
    def open(self, *, create: bool = False) -> Iterator[Door]:
        """The store, as `open_door`."""
        with open_door(self.directory, self.config, create=create) as door:
            yield door


ASKED_OR_OPENED = (
    "Directory of the store. A daemon that runs on it is asked through its socket; without one "
    "the directory is opened.  [env: REPLICATOR_DATA]"
)


def store_options(data_help: str = ASKED_OR_OPENED) -> Callable[[Function], Function]:
    """Give a command ``--data`` and ``--config``; it gets a `Where` as ``where``."""

    def decorate(command: Function) -> Function:
        @click.option(
            "--data", type=DIRECTORY, metavar="DIR", envvar="REPLICATOR_DATA", help=data_help
        )
        @click.option(
            "--config",
            "config_file",
            type=FILE,
            metavar="FILE",
            help="Configuration file of the node.",
        )
        @functools.wraps(command)
        def with_where(
            *args: Any, data: Path | None, config_file: Path | None, **options: Any
        ) -> int:
            config = read_config(config_file) if config_file else DEFAULT
            return command(*args, where=Where(data, config), **options)

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
