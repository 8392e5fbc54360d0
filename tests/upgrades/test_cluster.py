"""Real nodes of 0.1.0 and of this version in one cluster, each driven by either's command line."""

import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.cli.daemons import Daemon, documents, replicator, until
from tests.cli.test_configs import CONFIGS, addresses
from tests.upgrades.earlier import Earlier, running

pytestmark = pytest.mark.processes


class Cluster:
    """Daemons of either version.

    Attributes:
        daemons: by name.
    """

    def __init__(self, earlier: Earlier, directory: Path, stack: ExitStack) -> None:
        self.earlier = earlier
        self._directory = directory
        self._stack = stack
        self.daemons: dict[str, Daemon] = {}

    def start(self, name: str, *arguments: str) -> Daemon:
        """Start a node: of the version before where the name says "old"."""
        within = self.earlier.within if "old" in name else ()
        daemon = running(self._directory / name, *arguments, within=within)
        self.daemons[name] = self._stack.enter_context(daemon)
        return self.daemons[name]

    def path(self, name: str) -> Path:
        return self._directory / name

    def become_equal(self) -> None:
        """Every node takes writes; all end with all of them, and nodes of one version with one
        digest."""
        names = sorted(self.daemons)
        for name in names:
            put(self.path(name), f"of {name}", name)
            put(self.path(name), "gone", name)
            put(self.path(name), "all", name)
            done = replicator("delete", "gone", "--data", str(self.path(name)))
            assert done.exit_code in (0, 1)  # another node's delete may have come before
        until(lambda: all(self.keys(name) >= {f"of {one}" for one in names} for name in names))
        until(lambda: all(self.shown(name) == self.shown(names[0]) for name in names))
        for is_old in (True, False):
            paths = [self.path(name) for name in names if ("old" in name) is is_old]
            until(lambda paths=paths: len(set(map(digest, paths))) <= 1)
        for daemon in self.daemons.values():
            assert "Traceback" not in daemon.log
            assert "protocol" not in daemon.log

    def shown(self, name: str) -> list[Any]:
        """Every key with its value, and every key in conflict with its versions."""
        where = ("--data", str(self.path(name)))
        conflicts = [
            (one["key"], [(version["dot"], version["value"]) for version in one["versions"]])
            for one in documents("conflicts", *where)
        ]
        return [documents("scan", *where), conflicts]

    def keys(self, name: str) -> set[str]:
        return {one["key"] for one in documents("scan", "--data", str(self.path(name)))}


def put(data: Path, key: str, value: str) -> None:
    assert replicator("put", key, value, "--data", str(data)).exit_code == 0


def digest(data: Path) -> str:
    (found,) = documents("digest", "--data", str(data))
    return str(found["digest"])


def get(data: Path, key: str) -> str:
    return replicator("get", key, "--data", str(data)).stdout


@pytest.fixture
def cluster(earlier: Earlier, tmp_path: Path) -> Iterator[Cluster]:
    with ExitStack() as stack:
        yield Cluster(earlier, tmp_path, stack)


@pytest.mark.parametrize("names", [("old 1", "new", "old 2"), ("new 1", "old", "new 2")])
def test_a_line(cluster: Cluster, names: tuple[str, ...]) -> None:
    """The one in the middle hands everything on, unread, between nodes that never meet."""
    first = cluster.start(names[0])
    middle = cluster.start(names[1], "--peer", first.address)
    cluster.start(names[2], "--peer", middle.address)
    cluster.become_equal()


def test_a_mesh(cluster: Cluster) -> None:
    places = addresses(4)
    for name, address in zip(("old 1", "new 1", "old 2", "new 2"), places, strict=True):
        others = [part for other in places if other != address for part in ("--peer", other)]
        cluster.start(name, "--listen", address, *others)
    cluster.become_equal()
    for name in cluster.daemons:
        members = ["members", "--data", str(cluster.path(name))]
        until(lambda members=members: len({one["name"] for one in documents(*members)}) == 4)


def test_with_tls(cluster: Cluster, earlier: Earlier, tmp_path: Path) -> None:
    """Certificates made by 0.1.0, used by both."""
    ca = tmp_path / "ca"
    assert earlier.replicator("certs", "init", str(ca)).returncode == 0
    configs = {}
    for name in ("old", "new"):
        done = earlier.replicator("certs", "issue", name, "--dir", str(ca))
        assert done.returncode == 0, done.stderr
        configs[name] = tmp_path / f"{name}.toml"
        configs[name].write_text(done.stdout.split("\n\n")[1])
    first = cluster.start("old", "--config", str(configs["old"]), "--listen", "127.0.0.2:0")
    cluster.start("new", "--config", str(configs["new"]), "--peer", first.address)
    cluster.become_equal()
    assert "without TLS" not in first.log


def test_found_by_multicast(cluster: Cluster, earlier: Earlier, tmp_path: Path) -> None:
    """Neither is told an address: each has to understand what the other announces."""
    text = (CONFIGS / "development.toml").read_text()
    text, _, _ = text.partition("[resp]")  # what follows is about the new daemon's servers alone
    config = tmp_path / "development.toml"
    config.write_text(re.sub(r'^cluster = ".*"$', f'cluster = "{uuid4()}"', text, flags=re.M))
    for name, within in (("old", earlier.within), ("new", ())):
        daemon = Daemon(
            cluster.path(name),
            *("--config", str(config), "--name", name, "--listen", "127.0.0.1:0"),
            within=within,
        )
        cluster._stack.callback(daemon.clean_up)
        cluster.daemons[name] = daemon
    cluster.become_equal()
    for name in ("old", "new"):
        status = ["status", "--data", str(cluster.path(name))]
        until(lambda s=status: documents(*s)[0]["discovery"]["multicast"].startswith("1 found"))


COMMANDS: list[list[str]] = [
    ["put", "KEY", "v"],
    ["get", "KEY"],
    ["delete", "KEY"],
    ["scan"],
    ["scan", "--json"],
    ["status"],
    ["status", "--json"],
    ["digest"],
    ["conflicts"],
    ["members"],
    ["members", "--json"],
]
"""The commands that 0.1.0 has for a running node."""


def test_either_command_line_drives_either_daemon(cluster: Cluster, earlier: Earlier) -> None:
    """Which `replicator` is on the path changes before the daemon does, or after."""
    old = cluster.start("old")
    new = cluster.start("new", "--peer", old.address)
    cluster.become_equal()
    for command in COMMANDS:
        words = [old.data.name if word == "KEY" else word for word in command]
        now = replicator(*words, "--data", str(old.data))
        assert (now.exit_code, now.stderr) == (0, ""), words
        words = [new.data.name if word == "KEY" else word for word in command]
        then = earlier.replicator(*words, "--data", str(new.data))
        assert (then.returncode, then.stderr) == (0, ""), words
    assert replicator("status", "--data", str(new.data)).stdout.count("\nformat      2\n") == 1
    assert "format" not in replicator("status", "--data", str(old.data)).stdout
    lines = cluster.path("lines")
    lines.write_bytes(b"loaded\tv\n")
    assert replicator("load", str(lines), "--data", str(old.data)).exit_code == 0
    assert earlier.replicator("load", str(lines), "--data", str(new.data)).returncode == 0
    until(lambda: replicator("get", "loaded", "--data", str(old.data)).stdout == "v\n")


def test_each_is_told_what_the_other_is(cluster: Cluster) -> None:
    old = cluster.start("old")
    new = cluster.start("new", "--peer", old.address)

    def versions(data: Path) -> dict[str, str]:
        return {one["name"]: one["version"] for one in documents("members", "--data", str(data))}

    (now,) = {version for name, version in versions(new.data).items() if name == "new"}
    assert now != "0.1.0"
    for daemon in (old, new):
        until(lambda daemon=daemon: versions(daemon.data) == {"old": "0.1.0", "new": now})


def test_an_old_node_that_is_killed_is_upgraded_all_the_same(cluster: Cluster) -> None:
    """kill -9 leaves a directory that was not closed: this version goes on with it."""
    old = cluster.start("old")
    new = cluster.start("new", "--peer", old.address)
    cluster.become_equal()
    put(old.data, "last", "word")
    old.end(signal.SIGKILL)
    origin = old.ready["origin"]
    shutil.move(old.data, cluster.path("moved"))
    again = cluster.start("moved", "--peer", new.address)
    assert again.ready["origin"] == origin
    until(lambda: get(new.data, "last") == "word\n")
    assert "bringing the store up from format 1" in again.log


@pytest.mark.parametrize("names", [("new 1", "new 2"), ("new", "old")])
def test_two_that_have_forgotten_each_other_come_together_again(
    cluster: Cluster, names: tuple[str, str]
) -> None:
    """Each takes a new origin, and has what the other wrote meanwhile."""
    places = addresses(2)
    peers = {name: ("--listen", place) for name, place in zip(names, places, strict=True)}
    paths = [cluster.path(name) for name in names]
    for name in names:
        cluster.start(name, *peers[name], "--peer", places[0], "--peer", places[1])
    cluster.become_equal()
    for name in names:
        assert cluster.daemons[name].end() == 0
    before = {cluster.daemons[name].ready["origin"] for name in names}
    for name, other in (names, names[::-1]):
        python = cluster.earlier.python if "old" in name else python_of_now
        done = python("-c", FORGETS, str(cluster.path(name)), other, f"{name}, alone")
        assert done.returncode == 0, done.stderr
    for name in names:
        cluster.start(name, *peers[name], "--peer", places[0], "--peer", places[1])
    for path in paths:
        for name in names:
            until(lambda path=path, name=name: get(path, f"{name}, alone") == "v\n")
    after = {documents("status", "--data", str(path))[0]["origin"] for path in paths}
    assert not before & after


FORGETS = """
import sys, plyvel
from replicator.config import Settings
from replicator.store.store import Store
path, other, key = sys.argv[1:]
store = Store.open(plyvel.DB(path), settings=Settings(join_timeout=0.0))
members = store.members()
(forgotten,) = [(one.forgotten(), ms) for one, ms in members if one.name == other]
store.save_members([forgotten])
store.put(key.encode(), b"v")
store.close()
"""
"""Lets a node forget another one and write something: as the command does once that is silent for
long enough."""


def python_of_now(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=False, timeout=60
    )
