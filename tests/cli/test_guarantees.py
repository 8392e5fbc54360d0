"""Guarantees with real daemons: peers' disks, tokens, and a feed over killed readers and nodes."""

import json
import signal
import subprocess
from pathlib import Path
from typing import Any

from replicator.core.known import KnownSet
from replicator.core.token import write_token
from tests.cli.daemons import (
    REPLICATOR,
    Daemon,
    documents,
    replicator,
    serving,
    until,
)


def put(daemon: Daemon, key: str, *more: str) -> Any:
    return replicator("put", "--data", str(daemon.data), key, "v", *more)


def test_writes_at_peers_and_who_has_one_when_a_peer_was_killed(tmp_path: Path) -> None:
    with (
        serving(tmp_path / "a") as a,
        serving(tmp_path / "b", "--peer", a.address) as b,
        serving(tmp_path / "c", "--peer", a.address) as c,
    ):
        assert put(a, "1", "--replicas", "2", "--timeout", "20").exit_code == 0
        for daemon in (b, c):
            (found,) = documents("get", "--data", str(daemon.data), "1")
            assert found["value"] == "v"
        c.end(signal.SIGKILL)
        result = put(a, "2", "--replicas", "2", "--timeout", "1", "--json")
        assert result.exit_code == 1
        assert json.loads(result.stdout) == {"key": "2", "written": True, "replicated": False}
        assert "durable at b, known at none" in result.stderr
        assert put(a, "3", "--replicas", "1", "--timeout", "20").exit_code == 0
        with serving(c.data, "--peer", a.address):
            assert put(a, "4", "--replicas", "2", "--timeout", "20").exit_code == 0
            (found,) = documents("get", "--data", str(c.data), "2")
            assert found["value"] == "v", "it stayed, and went on"
        assert put(a, "5", "--timeout", "1").exit_code == 2


def test_a_client_moves_with_a_token(tmp_path: Path) -> None:
    with serving(tmp_path / "a") as a, serving(tmp_path / "c", "--peer", a.address) as c:
        for number in range(10):
            assert put(a, f"k{number}").exit_code == 0
            own = ["--own"] * (number % 2)
            (found,) = documents("token", "--data", str(a.data), *own)
            wait = ("wait-for", found["token"], "--data", str(c.data), "--timeout", "20")
            assert replicator(*wait).exit_code == 0
            (found,) = documents("get", "--data", str(c.data), f"k{number}")
            assert found["value"] == "v"
        never = write_token(KnownSet.of((7, 1)))
        result = replicator("wait-for", never, "--data", str(c.data), "--timeout", "0.2", "--json")
        assert (result.exit_code, json.loads(result.stdout)) == (1, {"reached": False})
        assert replicator("wait-for", "nonsense", "--data", str(c.data)).exit_code == 2


class Reader:
    """A process that follows the changes of a store; what it has told makes a copy."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.copy: dict[str, str] = {}
        self.token: str | None = None
        self.resets = 0
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        since = [] if self.token is None else ["--since", self.token]
        self.process = subprocess.Popen(
            [REPLICATOR, "changes", "--data", str(self.data), "--json", "--follow", *since],
            stdout=subprocess.PIPE,
            text=True,
        )

    def take(self, count: int) -> None:
        """Deal with so many further items."""
        assert self.process is not None and self.process.stdout is not None
        for _ in range(count):
            line = self.process.stdout.readline()
            assert line, "the reader has ended"
            self._deal_with(json.loads(line))

    def _deal_with(self, item: dict[str, Any]) -> None:
        if item["kind"] == "reset":
            self.copy.clear()
            self.resets += 1
        elif item["kind"] != "complete":
            if item["value"] is None:
                self.copy.pop(item["key"], None)
            else:
                self.copy[item["key"]] = item["value"]
        self.token = item["token"]

    def kill(self) -> None:
        assert self.process is not None and self.process.stdout is not None
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def drain(self) -> None:
        """What there is, by commands that end."""
        since = [] if self.token is None else ["--since", self.token]
        for item in documents("changes", "--data", str(self.data), *since):
            self._deal_with(item)


def shown(data: Path) -> dict[str, str]:
    return {one["key"]: one["value"] for one in documents("scan", "--data", str(data))}


def test_a_feed_over_killed_readers_and_a_restarted_node(tmp_path: Path) -> None:
    with serving(tmp_path / "a") as a, serving(tmp_path / "b", "--peer", a.address) as b:
        with serving(tmp_path / "away", "--peer", b.address):
            for one in (a, b):
                until(lambda one=one: len(documents("members", "--data", str(one.data))) == 3)
        # As long as that one is away no delete is collected, however slow the reader is.
        reader = Reader(b.data)
        load(a, range(300))
        load(b, range(200, 400))
        reader.start()
        reader.take(250)
        reader.kill()  # what was printed and not read comes again
        b.end(signal.SIGKILL)
        replicator("delete", "--data", str(a.data), "k7")
        load(a, range(390, 500))
        with serving(b.data, "--peer", a.address):
            reader.start()
            reader.take(50)
            reader.kill()
            replicator("delete", "--data", str(b.data), "k9")
            until(lambda: shown(a.data) == shown(b.data))
            reader.drain()
            assert len(reader.copy) == 498
            assert reader.copy == shown(b.data) == shown(a.data)
            assert reader.resets == 0
            reader.drain()
            assert reader.copy == shown(b.data)
    reader.drain()
    assert reader.copy == shown(b.data), "the directory of a stopped node is read as well"


def load(daemon: Daemon, numbers: range) -> None:
    lines = "".join(f"k{number}\t{daemon.data.name}{number}\n" for number in numbers)
    result = replicator("load", "--data", str(daemon.data), "-", stdin=lines.encode())
    assert result.exit_code == 0, result.stderr
