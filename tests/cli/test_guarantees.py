"""Guarantees with real daemons: peers' disks, tokens, and a feed over killed readers and nodes."""

import json
import signal
from pathlib import Path
from typing import Any

from replicator.core.known import KnownSet
from replicator.core.token import write_token
from tests.cli.daemons import (
    Daemon,
    documents,
    replicator,
    serving,
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
