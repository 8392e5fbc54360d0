"""The version before this one, as processes: its code, its daemons, its command line."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import ZipFile

from tests.cli.daemons import REPLICATOR, Daemon

WHEEL = Path(__file__).with_name("level_replicator-0.1.0-py3-none-any.whl")
MAKING = Path(__file__).with_name("making.py")


@dataclass(frozen=True, slots=True)
class Earlier:
    """The unpacked wheel.

    Attributes:
        path: what its processes find before all else.
    """

    path: Path

    @classmethod
    def unpacked(cls, directory: Path) -> "Earlier":
        with ZipFile(WHEEL) as wheel:
            wheel.extractall(directory)
        return cls(directory)

    @property
    def within(self) -> tuple[str, ...]:
        """The command that runs another one with that code."""
        return ("env", f"PYTHONPATH={self.path}")

    def python(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run Python with that code, away from the checkout."""
        return subprocess.run(
            [sys.executable, *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            cwd=self.path,
            env={**os.environ, "PYTHONPATH": str(self.path)},
        )

    def make(self, directory: Path) -> dict[str, Any]:
        """Let it make stores of every kind, and give what each of them holds."""
        done = self.python(str(MAKING), str(directory))
        assert done.returncode == 0, done.stderr
        held: dict[str, Any] = json.loads(done.stdout)
        return held

    def replicator(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run a command of its command line to the end."""
        return subprocess.run(
            [*self.within, REPLICATOR, *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    @contextmanager
    def serving(self, data: Path, *arguments: str) -> Iterator[Daemon]:
        """One of its daemons, for as long as the context is open."""
        with running(data, *arguments, within=self.within) as daemon:
            yield daemon


@contextmanager
def running(data: Path, *arguments: str, within: Sequence[str] = ()) -> Iterator[Daemon]:
    """A daemon, of this version where `within` says nothing else."""
    plain = ("--listen", "127.0.0.1:0", "--no-multicast", "--name", data.name)
    daemon = Daemon(data, *plain, *arguments, within=within)
    try:
        yield daemon
    finally:
        daemon.clean_up()
