"""``health``: yes, not yet, and nobody there; and it never opens a directory."""

import json
import resource
import socket
from pathlib import Path

import plyvel
import pytest

from tests.cli.daemons import documents, replicator, replicator_process, serving, until

pytestmark = pytest.mark.processes


def test_a_daemon_is_well(tmp_path: Path) -> None:
    data = tmp_path / "a"
    with serving(data):
        done = replicator_process("health", "--data", str(data))
        assert (done.returncode, done.stdout, done.stderr) == (0, "a: well\n", "")
        (found,) = documents("health", "--data", str(data))
        assert found == {
            "healthy": True,
            "name": "a",
            "write_gate": "nobody there",
            "failed": None,
        }
    gone = replicator("health", "--data", str(data))
    assert gone.exit_code == 4
    assert gone.stderr == f"replicator: no daemon runs on {data}\n"


def test_writes_wait_for_news_of_the_peers(tmp_path: Path) -> None:
    """Of one that neither refuses nor greets."""
    data = tmp_path / "a"
    config = tmp_path / "a.toml"
    config.write_text("[replication]\njoin_timeout = 3.0\nconnect_timeout = 30.0\n")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        peer = f"127.0.0.1:{silent.getsockname()[1]}"
        with serving(data, "--config", str(config), "--peer", peer):
            done = replicator("health", "--data", str(data), "--json")
            assert done.exit_code == 1
            assert json.loads(done.stdout)["write_gate"] == "waiting"
            assert "writes wait" in replicator("health", "--data", str(data)).stdout
            until(lambda: replicator("health", "--data", str(data)).exit_code == 0)


def test_leveldb_takes_no_writes_any_more(tmp_path: Path) -> None:
    """Where no file may grow, the log can neither be written nor changed for a new one (R12)."""
    data = tmp_path / "a"
    with serving(data) as daemon:
        assert replicator("put", "k", "v", "--data", str(data)).exit_code == 0
        _, most = resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, (0, most))
        assert replicator("put", "k", "w", "--data", str(data)).exit_code == 3
        done = replicator("health", "--data", str(data))
        assert done.exit_code == 1
        assert done.stdout.startswith("a: ") and "refuses writes" in done.stdout
        (found,) = documents("health", "--data", str(data))
        assert found["healthy"] is False and found["failed"] in done.stdout
        assert "no writes   " in replicator("status", "--data", str(data)).stdout
        assert replicator("get", "k", "--data", str(data)).stdout == "v\n"


def test_a_stopped_store_is_left_alone(tmp_path: Path) -> None:
    """Or the health check of a container could take the directory from a daemon that starts."""
    plyvel.DB(str(tmp_path / "a"), create_if_missing=True).close()
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "a").iterdir()}
    assert replicator("health", "--data", str(tmp_path / "a")).exit_code == 4
    assert replicator("health", "--data", str(tmp_path / "none")).exit_code == 4
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "a").iterdir()} == before
    assert not (tmp_path / "none").exists()
