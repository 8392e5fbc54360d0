"""``replicator verify`` with real processes: damage done while a node is stopped, found and mended,
what was lost back from the peers."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import plyvel
import pytest

from tests.cli.daemons import (
    REPLICATOR,
    Daemon,
    documents,
    replicator,
    replicator_process,
    serving,
    until,
)

RESERVED = b"\xff\xff\xff\xff"
KEYS = 60


def fill(data: Path, begin: str) -> None:
    lines = b"".join(b"%s%03d\tvalue %d\n" % (begin.encode(), n, n) for n in range(KEYS))
    assert replicator("load", "-", "--data", str(data), stdin=lines).exit_code == 0


@contextmanager
def cluster(*directories: Path) -> Iterator[list[Daemon]]:
    """Daemons, each dialling the first."""
    with ExitStack() as stack:
        first = stack.enter_context(serving(directories[0]))
        others = [
            stack.enter_context(serving(data, "--peer", first.address)) for data in directories[1:]
        ]
        yield [first, *others]


def in_step(*directories: Path) -> None:
    """Wait until all hold the same."""
    others = [part for data in directories[1:] for part in ("--with", str(data))]
    until(lambda: replicator("digest", "--data", str(directories[0]), *others).exit_code == 0)


def scanned(data: Path) -> dict[str, str]:
    return {row["key"]: row["value"] for row in documents("scan", "--data", str(data))}


def verified(data: Path, *options: str) -> tuple[list[Any], dict[str, Any]]:
    *faults, last = documents("verify", str(data), *options)
    return faults, last


@pytest.fixture
def three(tmp_path: Path) -> list[Path]:
    """Three stopped nodes that hold the same."""
    directories = [tmp_path / name for name in "abc"]
    fill(directories[0], "a")
    with cluster(*directories) as daemons:
        in_step(*directories)
        fill(directories[1], "b")
        in_step(*directories)
        for daemon in daemons:
            assert daemon.end() == 0
    return directories


@pytest.mark.processes
def test_a_damaged_value_in_one_of_three_nodes_comes_back(three: list[Path]) -> None:
    before = scanned(three[0])
    with plyvel.DB(str(three[1])) as db:
        db.put(RESERVED + b"ia007", db.get(RESERVED + b"ia007", b"")[:20])  # a row cut short
        db.delete(RESERVED + b"ib008")  # a row gone, and its value
        db.delete(b"b008")
        db.put(b"a009", b"valve 9")  # a bit flipped on the way to the disk
        db.delete(b"b010")
    faults, last = verified(three[1])
    found = {(fault["fault"], fault["key"]) for fault in faults}
    assert found == {
        ("index-row", "a007"),
        ("log-without-record", "a007"),
        ("log-without-record", "b008"),
        ("value-changed", "a009"),
        ("value-removed", "b010"),
    }
    assert (last["sound"], last["keys"]) == (False, 2 * KEYS - 1)
    mended, last = verified(three[1], "--repair", "--changed", "undo")
    assert last["sound"] and last["faults"] == {} and Path(last["copy"]).exists()
    lost = {fault["key"]: fault["lost"] for fault in mended if fault["lost"]}
    assert set(lost) == {"a007", "b008", "a009", "b010"}
    assert "a009" not in scanned(three[1])
    with cluster(*three):
        in_step(*three)
        for data in three:
            assert scanned(data) == before, "back here, and nobody has lost anything"
            assert verified(data)[1]["sound"]
            assert documents("conflicts", "--data", str(data)) == []


@pytest.mark.processes
def test_what_a_raw_writer_did_becomes_writes_and_reaches_a_peer(three: list[Path]) -> None:
    with plyvel.DB(str(three[0])) as db:
        db.put(b"a001", b"changed")
        db.delete(b"b002")
        db.put(b"new", b"put")
    faults, _ = verified(three[0])
    assert {fault["fault"] for fault in faults} == {"value-changed", "value-removed", "value-added"}
    result = replicator("verify", str(three[0]), "--repair")
    assert result.exit_code == 0
    assert result.stdout.count("→ written by this node") == 2
    assert result.stdout.count("→ deleted by this node") == 1
    with cluster(*three[:2]):
        in_step(*three[:2])
        there = scanned(three[1])
        assert (there["a001"], there["new"]) == ("changed", "put")
        assert "b002" not in there
        assert verified(three[1])[1]["sound"]


@pytest.mark.processes
def test_a_running_daemon_verifies_itself(tmp_path: Path) -> None:
    data = tmp_path / "a"
    fill(data, "k")
    with plyvel.DB(str(data)) as db:
        db.put(b"k003", b"changed")
    with serving(data):
        faults, last = verified(data)
        assert [(fault["fault"], fault["key"]) for fault in faults] == [("value-changed", "k003")]
        assert last["keys"] == KEYS
        text = replicator("verify", str(data))
        assert text.exit_code == 1
        assert text.stdout.startswith("value-changed  k003\n")
        assert "1 faults found: value-changed 1" in text.stdout
        refused = replicator("verify", str(data), "--repair")
        assert refused.exit_code == 2
        assert "stop it, then repair" in refused.stderr
        hint = replicator_process("get", "k003", "--data", str(data))
        assert hint.stdout == "changed\n", "reads are LevelDB's own"
        versions = replicator("export", "--versions", "--data", str(data))
        assert f"replicator verify {data} --repair" in versions.stderr


@pytest.mark.processes
def test_writers_beside_a_verification_are_no_faults(tmp_path: Path) -> None:
    data = tmp_path / "a"
    fill(data, "k")
    with serving(data):
        lines = b"".join(b"w%06d\tvalue\n" % n for n in range(20_000))
        writer = subprocess.Popen(
            [REPLICATOR, "load", "-", "--data", str(data)], stdin=subprocess.PIPE
        )
        assert writer.stdin is not None
        writer.stdin.write(lines)
        writer.stdin.close()
        counted = []
        while writer.poll() is None:
            faults, last = verified(data)
            assert faults == [] and last["sound"]
            counted.append(last["keys"])
        assert writer.returncode == 0
        assert verified(data)[1]["keys"] == KEYS + 20_000


def test_an_interrupted_daemon_leaves_a_store_in_good_order(tmp_path: Path) -> None:
    data = tmp_path / "a"
    fill(data, "k")
    with serving(data) as daemon:
        replicator("put", "k", "v", "--data", str(data))
        daemon.end(signal.SIGKILL)
    assert verified(data)[1]["sound"]


def test_verifying_changes_no_row(tmp_path: Path) -> None:
    data = tmp_path / "a"
    fill(data, "k")

    def rows() -> dict[bytes, bytes]:
        with plyvel.DB(str(data)) as db:
            return dict(db)

    before = rows()
    assert replicator("verify", str(data)).stdout.startswith(f"sound: {KEYS} keys in ")
    assert rows() == before


def test_at_most_so_many_of_a_kind_are_printed(tmp_path: Path) -> None:
    data = tmp_path / "a"
    fill(data, "k\x1b")
    with plyvel.DB(str(data)) as db:
        for number in range(30):
            db.put(b"k\x1b%03d" % number, b"changed")
    result = replicator("verify", str(data))
    assert result.stdout.count("value-changed  k\\x1b0") == 20
    assert "\x1b" not in result.stdout
    assert "value-changed  … --all prints the others" in result.stdout
    assert replicator("verify", str(data), "--all").stdout.count("value-changed  k") == 30
    assert len(verified(data)[0]) == 30


def test_stores_side_by_side(tmp_path: Path) -> None:
    import replicator as library

    db = plyvel.DB(str(tmp_path / "a"), create_if_missing=True)
    for prefix in (b"one:", b"two:"):
        handle = library.replicate(db.prefixed_db(prefix), port=None, discovery=[])
        handle.put(b"k", prefix)
        handle.close()
    db.put(b"two:k", b"changed")
    db.put(b"elsewhere", b"is nobody's")
    db.close()
    (fault,), last = verified(tmp_path / "a")
    assert (fault["prefix"], fault["key"], last["keys"]) == ("two:", "k", 2)
    assert replicator("verify", str(tmp_path / "a"), "--repair").exit_code == 0
    assert verified(tmp_path / "a")[1]["sound"]


def test_a_registry_that_is_gone_is_written_again(tmp_path: Path) -> None:
    data = tmp_path / "a"
    fill(data, "k")
    with plyvel.DB(str(data)) as db:
        db.put(RESERVED + b"R", b"\xc1")
    assert verified(data)[0][0]["fault"] == "registry"
    assert replicator("verify", str(data), "--repair").exit_code == 0
    assert verified(data)[1]["sound"]


def not_there(path: Path) -> None:
    pass


def a_file(path: Path) -> None:
    path.write_text("text")


def not_a_leveldb(path: Path) -> None:
    path.mkdir()
    (path / "notes.txt").write_text("text")


def of_another_program(path: Path) -> None:
    with plyvel.DB(str(path), create_if_missing=True) as db:
        db.put(b"k", b"v")


def with_a_comparator(path: Path) -> None:
    with plyvel.DB(
        str(path),
        create_if_missing=True,
        comparator=lambda a, b: (a > b) - (a < b),
        comparator_name=b"mine",
    ) as db:
        db.put(b"k", b"v")


def of_a_newer_format(path: Path) -> None:
    fill(path, "k")
    with plyvel.DB(str(path)) as db:
        db.put(RESERVED + b"mformat", b"\x63")


def cut_by_strip(path: Path) -> None:
    fill(path, "k")
    with plyvel.DB(str(path)) as db:
        db.delete(RESERVED + b"mformat")


def without_a_manifest(path: Path) -> None:
    fill(path, "k")
    for file in path.glob("MANIFEST-*"):
        file.unlink()


@pytest.mark.parametrize(
    ("make", "code", "words"),
    [
        (not_there, 2, "is no LevelDB directory"),
        (a_file, 2, "is a file"),
        (not_a_leveldb, 2, "is no LevelDB directory"),
        (of_another_program, 3, "holds nothing of the replicator"),
        (with_a_comparator, 3, "custom comparator 'mine'"),
        (of_a_newer_format, 3, "install the newer version"),
        (cut_by_strip, 3, "replicator restore or strip was cut"),
        (without_a_manifest, 3, "is no LevelDB that can be read"),
    ],
)
@pytest.mark.parametrize("options", [[], ["--repair"]])
def test_what_cannot_be_verified(
    tmp_path: Path, make: Any, code: int, words: str, options: list[str]
) -> None:
    path = tmp_path / "a"
    make(path)
    before = sorted(os.walk(path))
    result = replicator("verify", str(path), *options)
    assert result.exit_code == code, result.output
    assert words in result.stderr
    if make in (not_there, a_file, not_a_leveldb):
        assert sorted(os.walk(path)) == before


def test_a_directory_in_use(tmp_path: Path) -> None:
    data = tmp_path / "a"
    fill(data, "k")
    with plyvel.DB(str(data)):
        result = replicator("verify", str(data))
    assert result.exit_code in (2, 3)
    assert "stop the program that uses it" in result.stderr


def test_the_copy_must_be_a_new_file(tmp_path: Path) -> None:
    data = tmp_path / "a"
    fill(data, "k")
    with plyvel.DB(str(data)) as db:
        db.put(b"k003", b"changed")
    copy = tmp_path / "copy"
    copy.write_text("mine")
    result = replicator("verify", str(data), "--repair", "--copy", str(copy))
    assert result.exit_code == 2 and "is there already" in result.stderr
    assert copy.read_text() == "mine"
    copy.unlink()
    assert replicator("verify", str(data), "--repair", "--copy", str(copy)).exit_code == 0
    head = json.loads(copy.read_text().splitlines()[0])
    assert head["directory"] == str(data)


def test_nothing_to_mend_leaves_no_copy(tmp_path: Path) -> None:
    data = tmp_path / "a"
    fill(data, "k")
    assert replicator("verify", str(data), "--repair").exit_code == 0
    assert not list(data.glob("replicator/repair-*"))
