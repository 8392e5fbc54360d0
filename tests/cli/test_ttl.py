"""Times to live with real processes: gone from every daemon, and from the directory they leave."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import plyvel
import pytest

from replicator.config import Settings
from replicator.faces.cli.door import open_door
from replicator.faces.configuration import DEFAULT
from replicator.store.store import Store
from tests.store.checker import check_shown, check_store

from .daemons import replicator, serving, until

pytestmark = pytest.mark.processes


def ask(data: Path, *request: bytes) -> Any:
    with open_door(data, DEFAULT) as door:
        return door.call(*request)


def shows(data: Path, key: str) -> str | None:
    done = replicator("get", key, "--data", str(data))
    return done.stdout.rstrip("\n") if done.exit_code == 0 else None


def raw(data: Path) -> dict[bytes, bytes]:
    """What a reader sees who knows nothing of the replicator."""
    with plyvel.DB(str(data)) as db:
        return dict(db.iterator(stop=b"\xff\xff\xff\xff"))


def test_gone_from_two_daemons_and_from_their_directories(tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    with serving(a) as first, serving(b, "--peer", first.address) as second:
        done = replicator("put", "k", "v", "--ttl", "3", "--data", str(a))
        assert done.exit_code == 0, done.output
        replicator("put", "stays", "v", "--ttl", "3600", "--data", str(a))
        until(lambda: shows(b, "k") == "v")
        assert ask(b, b"PTTL", b"k") > 0
        until(lambda: shows(a, "k") is None and shows(b, "k") is None)
        assert ask(a, b"TTL", b"k") == ask(b, b"TTL", b"k") == -2
        until(lambda: shows(b, "stays") == "v")
        assert first.end() == second.end() == 0
    assert raw(a) == raw(b) == {b"stays": b"v"}


def test_expire_and_persist_are_writes_that_every_node_gets(tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    with serving(a) as first, serving(b, "--peer", first.address):
        ask(a, b"SET", b"goes", b"v")
        ask(a, b"SET", b"stays", b"v", b"EX", b"3600")
        until(lambda: ask(b, b"TTL", b"stays") > 0 and ask(b, b"TTL", b"goes") == -1)
        assert ask(b, b"PERSIST", b"stays") == ask(b, b"PEXPIRE", b"goes", b"500") == 1
        until(lambda: ask(a, b"TTL", b"stays") == -1 and ask(a, b"GET", b"goes") is None)
        until(lambda: ask(b, b"GET", b"goes") is None)
        assert ask(a, b"GET", b"stays") == b"v"


def test_a_daemon_that_was_down_while_it_expired(tmp_path: Path) -> None:
    """Neither it nor a command on its directory ever shows what has expired."""
    a, b = tmp_path / "a", tmp_path / "b"
    with serving(a) as first:
        with serving(b, "--peer", first.address) as second:
            ask(a, b"SET", b"k", b"v", b"PX", b"2000")
            until(lambda: ask(b, b"GET", b"k") == b"v")
            assert second.end(signal.SIGKILL) < 0
        assert raw(b) == {b"k": b"v"}, "it is there still, and nobody sweeps"
        until(lambda: ask(a, b"GET", b"k") is None)
        assert shows(b, "k") is None
        assert raw(b) == {}
        with serving(b, "--peer", first.address):
            assert ask(b, b"GET", b"k") is None
            assert ask(b, b"REPL.SYNC", b"20000") is True
            assert ask(b, b"TTL", b"k") == -2
            assert ask(a, b"REPL.DIGEST") == ask(b, b"REPL.DIGEST")


def test_refused(tmp_path: Path) -> None:
    for ttl in ("0", "-1", "nan", "inf", "soon"):
        done = replicator("put", "k", "v", f"--ttl={ttl}", "--data", str(tmp_path / "a"))
        assert done.exit_code == 2, (ttl, done.output)
        assert "Traceback" not in done.output


SWEEPS = """
import sys, time
sys.path.insert(0, {root!r})
import plyvel
from replicator.config import Settings
from replicator.store.store import Store
db = plyvel.DB({path!r}, create_if_missing=True)
store = Store.open(db, settings=Settings(join_timeout=0.0))
for start in range(0, 6000, 500):
    keys = [b"%05d" % index for index in range(start, start + 500)]
    expiry = store.wall_ms() + 3_600_000
    store.write([(key, b"v" + key) for key in keys], expiries=dict.fromkeys(keys, expiry))
store.put(b"stays", b"v")
now = store.wall_ms() + 3_600_001
store.wall_ms = lambda: now
print("sweeping", flush=True)
while store.due.is_now(now):
    store.sweep()
    print(store.counters().swept, flush=True)
"""


@pytest.mark.parametrize("lines", [0, 1])
def test_kill_9_in_the_middle_of_a_mass_sweep(tmp_path: Path, lines: int) -> None:
    """Each key is shown or swept, and whole; the next open, by a clock that is right, shows all."""
    path = tmp_path / "store"
    code = SWEEPS.format(root=str(Path(__file__).parents[2]), path=str(path))
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert process.stdout is not None
    for _ in range(lines + 1):
        assert process.stdout.readline()
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    left = len(raw(path))
    assert left <= 6001
    with plyvel.DB(str(path)) as db:
        store = Store.open(db, settings=Settings(join_timeout=0.0))
        check_store(store)
        check_shown(store)
        assert len(dict(db.iterator(stop=b"\xff\xff\xff\xff"))) == 6001
        store.close()
