"""Daemons for tests: real processes of the command ``replicator serve``."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from replicator.faces.cli.app import cli

REPLICATOR = str(Path(sys.executable).parent / "replicator")
WAIT_SECONDS = 30


class Daemon:
    """A running daemon.

    Args:
        arguments: of ``serve``, beside the directory.
        within: a command that runs it somewhere else, put before its own.
        environ: variables beside those of this process.

    Attributes:
        ready: what it said when it was ready.
    """

    def __init__(
        self,
        data: Path,
        *arguments: str,
        within: Sequence[str] = (),
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.data = data
        self._log = data.parent / f"{data.name}.log"
        with self._log.open("a") as log:
            self.process = subprocess.Popen(
                [*within, REPLICATOR, "serve", "--data", str(data), "--json", *arguments],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, **(environ or {})},
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.log
        self.ready = json.loads(line)

    @property
    def log(self) -> str:
        return self._log.read_text()

    @property
    def address(self) -> str:
        address = self.ready["address"]
        assert isinstance(address, str)
        return address

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and give the exit status."""
        self.process.send_signal(number)
        try:
            return self.process.wait(WAIT_SECONDS)
        finally:
            self.clean_up()

    def clean_up(self) -> None:
        """Leave no process, whatever happened."""
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@contextmanager
def serving(
    data: Path,
    *arguments: str,
    within: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
) -> Iterator[Daemon]:
    """A daemon for as long as the context is open; its end is not looked at."""
    usual = ("--listen", "127.0.0.1:0", "--no-multicast", "--name", data.name)
    daemon = Daemon(data, *usual, *arguments, within=within, environ=environ)
    try:
        yield daemon
    finally:
        daemon.clean_up()


def replicator(*arguments: str, stdin: bytes = b"") -> Result:
    """Run a command to its end, in this process: what it asks for is in the daemon's."""
    result = CliRunner().invoke(cli, list(arguments), input=stdin)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def replicator_process(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end, as its own process."""
    return subprocess.run(
        [REPLICATOR, *arguments], capture_output=True, text=True, check=False, timeout=60
    )


def documents(*arguments: str) -> list[Any]:
    """What a command prints with ``--json``."""
    return [json.loads(line) for line in replicator(*arguments, "--json").stdout.splitlines()]


def until(condition: Callable[[], bool]) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)
