"""Backups from the command line, of stopped stores and beside daemons: yesterday's snapshot is put
back, and the missing writes come from the peers."""

import json
import shutil
import signal
import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest

from replicator.faces.cli import door
from replicator.faces.cli.codes import Exit
from replicator.faces.configuration import DEFAULT
from tests.cli.daemons import (
    REPLICATOR,
    documents,
    replicator,
    replicator_process,
    serving,
    until,
)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A store of three keys, nobody on it."""
    directory = tmp_path / "store"
    replicator("load", "-", "--data", str(directory), stdin=b"a\t1\nb\t2\nc\t3\n")
    return directory


def visible(data: Path) -> dict[str, str]:
    return {item["key"]: item["value"] for item in documents("scan", "--data", str(data))}


def test_a_stopped_store_backed_up_and_restored(data: Path, tmp_path: Path) -> None:
    where = ["--data", str(data)]
    full, one = str(tmp_path / "full"), str(tmp_path / "one")
    done = replicator("backup", full, *where)
    assert done.exit_code == 0
    assert done.stdout.startswith(f"3 records in {full}: 0.0 MB (")
    replicator("put", "d", "4", *where)
    replicator("delete", "a", *where)
    (told,) = documents("backup", one, "--since", full, "--compress", *where)
    assert (told["done"], told["backup"], told["records"]) == (True, one, 2)
    assert told["size_bytes"] == Path(one).stat().st_size
    target = tmp_path / "new"
    done = replicator("restore", one, "--data", str(target))
    assert done.exit_code == 0
    origin = documents("status", *where)[0]["origin"]
    assert f"are in {target}\n" in done.stdout
    assert done.stdout.endswith(f"any node: replicator forget {origin}\n")
    assert visible(target) == visible(data) == {"b": "2", "c": "3", "d": "4"}
    assert documents("status", "--data", str(target))[0]["origin"] != origin
    compare = replicator("digest", *where, "--with", str(target))
    assert compare.exit_code == 0


def test_a_backup_is_checked(data: Path, tmp_path: Path) -> None:
    full = tmp_path / "full"
    replicator("backup", str(full), "--data", str(data))
    done = replicator("restore", "--check", str(full))
    assert done.exit_code == 0
    assert done.stdout.startswith(f"whole: {full}\n3 records of node ")
    *_, told = documents("restore", "--check", str(full))
    assert (told["done"], told["records"], told["files"]) == (True, 3, [str(full)])
    content = bytearray(full.read_bytes())
    content[len(content) // 2] ^= 1
    full.write_bytes(content)
    for arguments in (["--check"], ["--data", str(tmp_path / "new")]):
        failed = replicator("restore", *arguments, str(full))
        assert failed.exit_code == Exit.STORAGE
        assert "full is damaged or was cut short in block" in failed.stderr
        assert "take another copy of it" in failed.stderr
    assert not (tmp_path / "new").exists()


def test_what_cannot_be_done_is_said(data: Path, tmp_path: Path) -> None:
    where = ["--data", str(data)]
    full, one = str(tmp_path / "full"), str(tmp_path / "one")
    replicator("backup", full, *where)
    replicator("backup", one, "--since", full, *where)
    new = ["--data", str(tmp_path / "new")]
    for arguments, code, text in (
        (["backup", full, *where], Exit.USAGE, "full is there already"),
        (["backup", str(data / "x"), *where], Exit.USAGE, "would be lost with it"),
        (["backup", str(tmp_path / "x"), *new], Exit.USAGE, "there is no LevelDB in"),
        (["backup", "x", "--since", "nowhere", *where], Exit.STORAGE, "No such file"),
        (["backup", "x", "--since", __file__, *where], Exit.STORAGE, "is no backup"),
        (["backup", "/nowhere/x", *where], Exit.STORAGE, "cannot be written: No such file"),
        (["restore", full, *where], Exit.USAGE, "is not empty"),
        (["restore", __file__, *new], Exit.STORAGE, "is no backup of a replicator"),
        (["restore", one, full, *new], Exit.USAGE, "full is a full backup"),
        (["restore", "nowhere", *new], Exit.STORAGE, "cannot be read: No such file"),
        (["restore", full], Exit.USAGE, "name its directory with --data"),
        (["restore", *new], Exit.USAGE, "Missing argument 'FILE...'"),
    ):
        done = replicator(*arguments)
        assert (done.exit_code, text in done.stderr) == (code, True), (arguments, done.stderr)
    Path(full).unlink()
    done = replicator("restore", one, *new)
    assert done.exit_code == Exit.USAGE and "which is not beside it" in done.stderr
    assert not (tmp_path / "new").exists() and not Path("x").exists()


def test_how_far_it_is(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("replicator.store.backup.BACKUP_STEP_BYTES", 1)
    full = str(tmp_path / "full")
    *steps, last = documents("backup", full, "--data", str(data))
    assert steps and all(step["done"] is False and step["size_bytes"] for step in steps)
    assert last["done"] is True
    *steps, last = documents("restore", full, "--data", str(tmp_path / "new"))
    assert steps and steps[-1]["size_bytes"] < Path(full).stat().st_size
    assert last["data"] == str(tmp_path / "new")


# With daemons


def loaded(data: Path, count: int, name: str = "key") -> None:
    lines = b"".join(b"%s%05d\t%s\n" % (name.encode(), i, b"v" * 100) for i in range(count))
    assert replicator("load", "-", "--data", str(data), stdin=lines).exit_code == 0


def collected(data: Path) -> int:
    counters = documents("status", "--data", str(data))[0]["counters"]
    count = counters["tombstones_collected"]
    assert isinstance(count, int)
    return count


@pytest.mark.processes
def test_yesterdays_snapshot_and_what_came_since(tmp_path: Path) -> None:
    """Three nodes; one is lost with its disk. Its backup goes back in place with one command, and
    everything newer comes from the others; what was deleted meanwhile stays deleted, although
    nobody remembers the deletes any more."""
    a, b, c = (tmp_path / name for name in "abc")
    sunday, monday = str(tmp_path / "sunday"), str(tmp_path / "monday")
    compare = ["digest", "--data", str(a), "--with", str(b), "--with", str(c)]
    with ExitStack() as stack:
        first = stack.enter_context(serving(a))
        second = stack.enter_context(serving(b, "--peer", first.address))
        peers = ("--peer", first.address, "--peer", second.address)
        third = stack.enter_context(serving(c, *peers))
        loaded(a, 2000)
        loaded(c, 500, "own")
        until(lambda: replicator(*compare).exit_code == 0)
        assert replicator("backup", sunday, "--data", str(c)).exit_code == 0

        for key in ("key00007", "own00007"):
            assert replicator("delete", key, "--data", str(b)).exit_code == 0
        until(lambda: all(collected(data) == 2 for data in (a, b, c)))
        replicator("put", "key00008", "changed", "--data", str(c))
        assert replicator("backup", monday, "--since", sunday, "--data", str(c)).exit_code == 0
        assert Path(monday).stat().st_size < Path(sunday).stat().st_size / 2

        replicator("delete", "key00009", "--data", str(a))
        loaded(b, 300, "later")
        until(lambda: replicator(*compare).exit_code == 0)
        origins = set()
        for number, backup in enumerate((monday, sunday)):
            origins.add(third.ready["origin"])
            third.end(signal.SIGKILL)
            shutil.rmtree(c)
            replicator("delete", f"own0001{number}", "--data", str(a))
            replicator("put", f"while c was gone {number}", "v", "--data", str(a))

            assert replicator_process("restore", backup, "--data", str(c)).returncode == 0
            third = stack.enter_context(serving(c, *peers))
            assert third.ready["origin"] not in origins
            until(lambda: replicator(*compare).exit_code == 0)
            found = visible(c)
            assert len(found) == 2000 + 500 + 300 - 3
            assert found["key00008"] == "changed"
            assert not {"key00007", "own00007", "key00009", "own00010"} & set(found)
            assert found == visible(a)
        assert replicator("put", "k", "the new node writes", "--data", str(c)).exit_code == 0
        until(lambda: visible(b).get("k") == "the new node writes")
        assert documents("conflicts", "--data", str(a)) == []
        named = {row["origin"] for row in documents("members", "--data", str(c))}
        assert {*origins, third.ready["origin"]} < named  # until somebody forgets the old ones


LARGE = 40_000
"""Records of more than one step."""


def names(directory: Path) -> set[str]:
    return {entry.name for entry in directory.iterdir()} - {"store", "store.log"}


@pytest.mark.processes
def test_others_are_served_during_a_backup(tmp_path: Path) -> None:
    """The daemon writes it; a client that goes away in the middle leaves nothing behind, and one
    that is interrupted nothing or all of it."""
    data = tmp_path / "store"
    where = ["--data", str(data)]
    with serving(data) as daemon:
        loaded(data, LARGE)
        client = door._door(data, DEFAULT, create=False)
        reply = client.call(b"REPL.BACKUP", bytes(tmp_path / "given up"))
        assert reply[b"is_done"] is False
        assert replicator("put", "k", "meanwhile", *where).exit_code == 0
        assert replicator("get", "k", *where).stdout == "meanwhile\n"
        (partial,) = names(tmp_path)
        assert partial.startswith(".given up.") and partial.endswith(".partial")
        client.close()
        until(lambda: not names(tmp_path))

        command = [REPLICATOR, "backup", str(tmp_path / "cut"), *where, "--json"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["done"] is False
        process.send_signal(signal.SIGINT)
        assert process.wait(30) in (Exit.INTERRUPTED, Exit.OK)
        process.stdout.close()
        until(lambda: names(tmp_path) <= {"cut"})
        if names(tmp_path):  # the signal came during the last step
            assert replicator("restore", "--check", str(tmp_path / "cut")).exit_code == 0

        *steps, last = documents("backup", str(tmp_path / "whole"), *where)
        assert steps and last["records"] == LARGE + 1
        assert daemon.end() == 0
    assert replicator("restore", "--check", str(tmp_path / "whole")).exit_code == 0
    assert "Traceback" not in daemon.log


@pytest.mark.processes
def test_a_daemon_that_ends_in_the_middle_of_a_backup(tmp_path: Path) -> None:
    data = tmp_path / "store"
    with serving(data) as daemon:
        loaded(data, LARGE)
        client = door._door(data, DEFAULT, create=False)
        assert client.call(b"REPL.BACKUP", bytes(tmp_path / "b"))[b"is_done"] is False
        assert daemon.end() == 0
        client.close()
        assert "Traceback" not in daemon.log
    assert names(tmp_path) == set()
    assert len(visible(data)) == LARGE
