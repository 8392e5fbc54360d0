"""Deleting for good, with real processes: a line of three nodes, one that is away, and its return
(R8, R9, R10)."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from .daemons import Daemon, documents, replicator, until

HURRIED = """
import sys
from replicator.peers import collecting, membership
membership.HEARTBEAT_SECONDS = 1.0
membership.ACK_SECONDS = 0.2
collecting.COLLECT_SECONDS = 0.1
sys.argv = sys.argv[1:]
from replicator.faces.cli.app import cli
cli()
"""
"""A daemon with a heartbeat of a second: who is silent for three of them may be forgotten."""

CONFIG = """\
[replication]
dial_members = false
sync_interval = 0.1
interval_max = 0.5
"""


@contextmanager
def serving(data: Path, *peers: str) -> Iterator[Daemon]:
    config = data.parent / "config.toml"
    config.write_text(CONFIG)
    named = [part for peer in peers for part in ("--peer", peer)]
    arguments = ("--listen", "127.0.0.1:0", "--no-multicast", "--name", data.name)
    daemon = Daemon(
        data,
        *("--config", str(config), *arguments, *named),
        within=[sys.executable, "-c", HURRIED],
    )
    try:
        yield daemon
    finally:
        daemon.clean_up()


def status(data: Path) -> dict[str, Any]:
    (found,) = documents("status", "--data", str(data))
    assert isinstance(found, dict)
    return found


def counters(data: Path) -> dict[str, int]:
    found = status(data)["counters"]
    assert isinstance(found, dict)
    return found


def contents(data: Path) -> dict[str, str]:
    return {row["key"]: row["value"] for row in documents("scan", "--data", str(data))}


def put(data: Path, key: str, value: str) -> None:
    assert replicator("put", key, value, "--data", str(data)).exit_code == 0


def delete(data: Path, key: str) -> None:
    assert replicator("delete", key, "--data", str(data)).exit_code == 0


@pytest.fixture
def line(tmp_path: Path) -> Iterator[tuple[Path, Path, Path, ExitStack, list[Daemon]]]:
    """Three nodes in a line: the end, the middle, the other end, which is a stack's to stop."""
    a, b, c = tmp_path / "a", tmp_path / "b", tmp_path / "c"
    with ExitStack() as stack:
        one = stack.enter_context(serving(a))
        two = stack.enter_context(serving(b, one.address))
        three = stack.enter_context(serving(c, two.address))
        yield a, b, c, stack, [one, two, three]


def test_deletes_are_collected_everywhere_and_nothing_comes_back(
    line: tuple[Path, Path, Path, ExitStack, list[Daemon]],
) -> None:
    a, b, c, stack, (_, two, three) = line
    for number in range(6):
        put(a, f"k{number}", "v")
    until(lambda: len(contents(c)) == 6)
    delete(c, "k0")
    until(lambda: all(counters(at)["tombstones_collected"] == 1 for at in (a, b, c)))
    text = replicator("status", "--data", str(a)).stdout
    assert "tombstones collected 1" in text

    # One that is away holds it up, and what it has is as it was.
    assert three.end() == 0
    former = status(c)["origin"]
    for number in (1, 2, 3):
        delete(a, f"k{number}")
    until(lambda: counters(b)["tombstones"] == 3)
    assert counters(a)["tombstones_collected"] == counters(b)["tombstones_collected"] == 1
    put(c, "written while it was away", "v")

    # It comes back in time: it collects them too, and nothing comes back.
    three = stack.enter_context(serving(c, two.address))
    until(lambda: all(counters(at)["tombstones"] == 0 for at in (a, b)))
    expected = {"k4": "v", "k5": "v", "written while it was away": "v"}
    until(lambda: all(contents(at) == expected for at in (a, b, c)))
    assert status(c)["origin"] == former

    # It is away again, and forgotten meanwhile.
    assert three.end() == 0
    delete(b, "k4")
    until(lambda: counters(a)["tombstones"] == 1)
    put(c, "k5", "changed far away")
    refused = replicator("forget", "nobody", "--data", str(a))
    assert refused.exit_code != 0 and "no member 'nobody'" in refused.stderr
    refused = replicator("forget", "b", "--data", str(a))
    assert refused.exit_code != 0 and "stop it" in refused.stderr
    until(lambda: replicator("forget", "c", "--data", str(a)).exit_code == 0)
    until(lambda: all(counters(at)["tombstones"] == 0 for at in (a, b)))
    stack.enter_context(serving(c, two.address))
    expected = {"k5": "changed far away", "written while it was away": "v"}
    until(lambda: all(contents(at) == expected for at in (a, b, c)))
    assert status(c)["origin"] != former
    assert len(documents("members", "--data", str(b))) == 3
