"""Nodes as a user runs them: the command ``replicator``, one process a node."""

import base64
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

COMMAND = Path(sys.executable).parent / "replicator"
STOP_SECONDS = 30
LOG_LINES_SHOWN = 15


class NodeError(Exception):
    """A node or a command did not do what it should."""


class Node:
    """One node: a directory, a port, and its daemon while it runs.

    Args:
        name: what it is called.
        home: directory for all nodes; this one's data and log go into it.
    """

    def __init__(self, name: str, home: Path) -> None:
        self.name = name
        self.data = home / name
        self.address = f"127.0.0.1:{_free_port()}"
        self._log = home / f"{name}.log"
        self._daemon: subprocess.Popen[str] | None = None

    def start(self, peers: "list[Node]") -> None:
        """Start the daemon and return when it is ready.

        Raises:
            NodeError: it ended instead.
        """
        arguments = ["--name", self.name, "--data", str(self.data), "--listen", self.address]
        for peer in peers:
            arguments += ["--peer", peer.address]
        with self._log.open("a") as log:
            self._daemon = subprocess.Popen(
                [COMMAND, "serve", "--no-multicast", *arguments, "--json"],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self._daemon.stdout is not None
        if not self._daemon.stdout.readline():
            raise NodeError(f"node {self.name} did not start:\n{self.log_tail()}")

    def stop(self) -> None:
        """Stop the daemon as one should.

        Raises:
            NodeError: it did not end, or not in order.
        """
        code = self._end(signal.SIGTERM)
        if code:
            raise NodeError(f"node {self.name} ended with {code}:\n{self.log_tail()}")

    def kill(self) -> None:
        """Stop the daemon as the power does."""
        self._end(signal.SIGKILL)

    def clean_up(self) -> None:
        """Whatever state it is in, leave no process."""
        if self._daemon is not None:
            self.kill()

    def load(self, path: Path, on_progress: Callable[[int], object]) -> dict[str, int] | None:
        """Load a file.

        Args:
            on_progress: called with the number of records done, after every commit.

        Returns:
            What the command counted; None where the daemon went away meanwhile.

        Raises:
            NodeError: it failed otherwise.
        """
        arguments = ["load", str(path), "--data", str(self.data), "--json"]
        process = subprocess.Popen(
            [COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert process.stdout is not None and process.stderr is not None
        report: dict[str, int] = {}
        for line in process.stdout:
            report = json.loads(line)
            on_progress(report["written"] + report["unchanged"])
        complaint = process.stderr.read()
        if process.wait() == 4:
            return None
        if process.returncode:
            raise NodeError(f"load on node {self.name}: {complaint}")
        return report

    def ask(self, *arguments: str) -> Any:
        """The answer of a command that prints one JSON document."""
        (answer,) = self.ask_lines(*arguments)
        return answer

    def ask_lines(self, *arguments: str) -> Iterator[Any]:
        """The JSON documents that a command prints.

        Raises:
            NodeError: it failed; "the answer is no" is no failure.
        """
        command = [str(COMMAND), *arguments, "--data", str(self.data), "--json"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            yield from map(json.loads, process.stdout)
        if process.returncode not in (0, 1):
            raise NodeError(f"{arguments[0]} on node {self.name} ended with {process.returncode}")

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Every key and the value that it shows."""
        for item in self.ask_lines("scan"):
            yield bytes_of(item["key"]), bytes_of(item["value"])

    def log_tail(self) -> str:
        """The end of the daemon's log."""
        return "\n".join(self._log.read_text().splitlines()[-LOG_LINES_SHOWN:])

    def _end(self, number: int) -> int:
        assert self._daemon is not None
        self._daemon.send_signal(number)
        code = self._daemon.wait(STOP_SECONDS)
        assert self._daemon.stdout is not None
        self._daemon.stdout.close()
        self._daemon = None
        return code


def bytes_of(value: Any) -> bytes:
    """A key or value out of JSON: text, or ``{"base64": …}``."""
    return base64.b64decode(value["base64"]) if isinstance(value, dict) else str(value).encode()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
