"""Backups by the handle, and what a program makes of them."""

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import plyvel
import pytest

import replicator
from replicator.errors import ClosedError, CorruptionError, UsageError
from replicator.faces.handle import Replica
from replicator.release import software_version

QUIET: dict[str, Any] = {"port": None, "discovery": [], "join_timeout": 0}


def opened(directory: Path, prefix: bytes = b"") -> Replica:
    db = plyvel.DB(str(directory), create_if_missing=True)
    return replicator.replicate(db.prefixed_db(prefix) if prefix else db, **QUIET)


def test_backup_restore_and_go_on(tmp_path: Path) -> None:
    with opened(tmp_path / "a") as db:
        db.put(b"k", b"1")
        full = db.backup(tmp_path / "full")
        assert (full.records, full.is_done) == (1, True)
        db.put(b"l", b"2")
        seen: list[bool] = []
        db.backup(
            str(tmp_path / "one"),
            compress=True,
            since=tmp_path / "full",
            progress=lambda step: seen.append(step.is_done),
        )
        assert seen == [True]
        origin = db.origin
    checked = replicator.check_backup([tmp_path / "full", tmp_path / "one"])
    assert checked.head.version == software_version()
    restored = replicator.restore(str(tmp_path / "one"), tmp_path / "b")
    assert restored.records == 2
    with opened(tmp_path / "b") as db:
        assert dict(db) == {b"k": b"1", b"l": b"2"}
        assert db.origin != origin
        db.put(b"k", b"3")
        assert db.versions(b"k")[0].clock == 1


def test_one_prefix(tmp_path: Path) -> None:
    with opened(tmp_path / "a", b"p:") as db:
        db.put(b"k", b"v")
        db.backup(tmp_path / "b")
    replicator.restore(tmp_path / "b", tmp_path / "r")
    with opened(tmp_path / "r", b"p:") as db:
        assert dict(db) == {b"k": b"v"}


def test_progress_that_raises_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("replicator.store.backup.BACKUP_STEP_BYTES", 1)

    def stop(_: object) -> None:
        raise KeyboardInterrupt

    with opened(tmp_path / "a") as db:
        db.put(b"k", b"v")
        with pytest.raises(KeyboardInterrupt):
            db.backup(tmp_path / "b", progress=stop)
        assert {path.name for path in tmp_path.iterdir()} == {"a"}
        db.backup(tmp_path / "b")
    with pytest.raises(KeyboardInterrupt):
        replicator.restore(tmp_path / "b", tmp_path / "r", lambda *_: stop(0))
    assert not (tmp_path / "r").exists()


def test_a_handle_that_is_closed_in_the_middle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("replicator.store.backup.BACKUP_STEP_BYTES", 1)
    db = opened(tmp_path / "a")
    db.put(b"k", b"v")
    steps = db.backup_steps(tmp_path / "b")
    records = db.records()
    assert next(steps).is_done is False and next(records).standing.key == b"k"
    db.close()
    for work in (steps, records):
        with pytest.raises(ClosedError):
            next(work)
    del steps, records, work
    assert {path.name for path in tmp_path.iterdir()} == {"a"}
    with pytest.raises(ClosedError):
        db.backup(tmp_path / "b")


CYCLE = """
import gc, sys
from pathlib import Path
import plyvel, replicator, replicator.store.backup
replicator.store.backup.BACKUP_STEP_BYTES = 1
place = Path(sys.argv[1])
db = plyvel.DB(str(place / "a"), create_if_missing=True)
db = replicator.replicate(db, port=None, discovery=[], join_timeout=0)
db.put(b"k", b"v")
both = db.backup_steps(place / "b"), db.records()
cycle = [db, both, *map(next, both)]
cycle.append(cycle)
del db, both, cycle
gc.collect()
print(sorted(path.name for path in place.iterdir()))
"""


def test_what_is_garbage_together_with_its_handle(tmp_path: Path) -> None:
    """LevelDB must not be closed before what holds something of it: that ends the process."""
    command = [sys.executable, "-W", "error", "-c", CYCLE, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "['a']\n", "")


def test_closing_waits_for_a_backup_in_another_thread(tmp_path: Path) -> None:
    """No crash, and no file or a whole one."""
    db = opened(tmp_path / "a")
    with db.write_batch() as batch:
        for number in range(30_000):
            batch.put(b"%d" % number, bytes(100))
    begun = threading.Event()
    failures: list[BaseException] = []

    def run() -> None:
        try:
            db.backup(tmp_path / "b", progress=lambda _: begun.set())
        except ClosedError as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    assert begun.wait(30)
    db.close()
    thread.join()
    left = {path.name for path in tmp_path.iterdir()} - {"a"}
    assert left == (set() if failures else {"b"})
    if not failures:
        replicator.check_backup(tmp_path / "b")


def test_misuse(tmp_path: Path) -> None:
    with opened(tmp_path / "a") as db:
        db.put(b"k", b"v")
        with pytest.raises(UsageError, match="inside update"):
            db.update(b"k", lambda _: db.backup(tmp_path / "b") and b"x")
        with pytest.raises(UsageError, match="would be lost"):
            db.backup(tmp_path / "a" / "backup")
        db.backup(tmp_path / "b")
    (tmp_path / "b").write_bytes((tmp_path / "b").read_bytes()[:-1])
    with pytest.raises(CorruptionError):
        replicator.restore(tmp_path / "b", tmp_path / "r")
    with pytest.raises(UsageError, match="at least one"):
        replicator.restore([], tmp_path / "r")


async def test_within_trio(tmp_path: Path) -> None:
    import trio

    async with replicator.open_replica(tmp_path / "a", **QUIET) as db:
        await trio.to_thread.run_sync(db.put, b"k", b"v")
        done = await trio.to_thread.run_sync(db.backup, tmp_path / "b")
    assert done.records == 1
