"""The command line on the directory of a stopped store."""

import base64
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import plyvel
import pytest
from click.testing import Result

from replicator.faces.cli.app import cli
from replicator.faces.cli.codes import Exit
from tests.cli.daemons import REPLICATOR, replicator_process
from tests.cli.daemons import replicator as run

NASTY = b"\x1b[2J\x07\xff\n"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A store of three keys."""
    directory = tmp_path / "store"
    file = tmp_path / "three.tsv"
    file.write_bytes(b"a\t1\nb\t2\nc\t\xc3\xbc\n")
    assert run("load", str(file), "--data", str(directory)).exit_code == 0
    return directory


def documents(result: Result) -> list[Any]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_put_get_delete(data: Path) -> None:
    where = ["--data", str(data)]
    assert run("put", "k", "v v", *where).output == ""
    assert run("get", "k", *where).output == "v v\n"
    assert run("delete", "k", *where).output == ""
    gone = run("get", "k", *where)
    assert (gone.exit_code, gone.stdout, gone.stderr) == (1, "", "replicator: there is no key k\n")
    again = run("delete", "k", *where)
    assert (again.exit_code, again.stderr) == (1, "replicator: there is no key k\n")


def test_what_was_written_is_read_by_leveldb_itself(data: Path) -> None:
    with plyvel.DB(str(data)) as db:
        assert list(db.iterator(stop=b"\xff\xff\xff\xff")) == [
            (b"a", b"1"),
            (b"b", b"2"),
            (b"c", "ü".encode()),
        ]


def test_an_existing_leveldb_is_taken_over(tmp_path: Path) -> None:
    with plyvel.DB(str(tmp_path), create_if_missing=True) as db:
        db.put(b"old", b"value")
    assert run("get", "old", "--data", str(tmp_path)).output == "value\n"


def test_nothing_raw_reaches_the_terminal(data: Path) -> None:
    where = ["--data", str(data)]
    assert run("put", r"\x1bkey", "--escaped", *where, stdin=NASTY).exit_code == 0
    assert run("get", r"\x1bkey", "--escaped", *where).output == "\\x1b[2J\\x07\\xff\\n\n"
    assert run("get", "\x1bkey", *where).output == "\\x1b[2J\\x07\\xff\\n\n"
    assert "\\x1bkey\t\\x1b[2J\\x07\\xff\\n\n" in run("scan", *where).output
    missing = run("get", "\x1bmissing", *where)
    assert missing.stderr == "replicator: there is no key \\x1bmissing\n"


def test_raw_gives_the_bytes(data: Path) -> None:
    where = ["--data", str(data)]
    run("put", "k", *where, stdin=NASTY)
    assert run("get", "k", "--raw", *where).stdout_bytes == NASTY


def test_raw_is_not_for_terminals(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("replicator.faces.cli.data.writes_to_terminal", lambda: True)
    result = run("get", "a", "--raw", "--data", str(data))
    assert (result.exit_code, result.stdout) == (2, "")


def test_json(data: Path) -> None:
    where = ["--data", str(data), "--json"]
    run("put", "k", *where, stdin=NASTY)
    coded = {"base64": base64.b64encode(NASTY).decode()}
    assert documents(run("get", "k", *where)) == [{"key": "k", "value": coded}]
    assert documents(run("get", "c", *where)) == [{"key": "c", "value": "ü"}]
    assert documents(run("get", "missing", *where)) == [{"key": "missing", "value": None}]
    assert documents(run("scan", "--prefix", "k", *where)) == [{"key": "k", "value": coded}]
    assert documents(run("put", "k", "v", *where)) == [{"key": "k", "written": True}]
    assert documents(run("delete", "k", *where)) == [{"key": "k", "deleted": True}]
    assert documents(run("delete", "k", *where)) == [{"key": "k", "deleted": False}]


@pytest.mark.parametrize(
    ("options", "keys"),
    [
        ([], "abc"),
        (["--prefix", "b"], "b"),
        (["--start", "b"], "bc"),
        (["--stop", "b"], "a"),
        (["--start", "a", "--stop", "c", "--limit", "1"], "a"),
        (["--limit", "0"], ""),
        (["--limit", "9"], "abc"),
        (["--prefix", "x"], ""),
    ],
)
def test_scan(data: Path, options: list[str], keys: str) -> None:
    found = documents(run("scan", "--data", str(data), "--json", *options))
    assert "".join(item["key"] for item in found) == keys


def test_scans_longer_than_a_page(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("replicator.faces.words.PAGE_ITEMS_MAX", 2)
    where = ["--data", str(data), "--json"]
    assert len(documents(run("scan", *where))) == 3
    assert len(documents(run("scan", "--limit", "2", *where))) == 2


def test_scan_and_load_are_inverse(data: Path, tmp_path: Path) -> None:
    run("put", r"nasty\x00", "--escaped", "--data", str(data), stdin=NASTY)
    printed = run("scan", "--data", str(data)).stdout_bytes
    other = str(tmp_path / "other")
    loaded = run("load", "--escaped", "-", "--data", other, "--json", stdin=printed)
    assert documents(loaded)[-1]["written"] == 4
    assert run("scan", "--data", other).stdout_bytes == printed


def test_load_again_writes_nothing(data: Path, tmp_path: Path) -> None:
    before = documents(run("status", "--data", str(data), "--json"))[0]
    again = run("load", str(tmp_path / "three.tsv"), "--data", str(data))
    assert again.output.startswith("0 records written, 3 unchanged")
    (changed,) = documents(run("put", "a", "1", "--data", str(data), "--json"))
    assert changed["written"]
    assert before["origin"] == documents(run("status", "--data", str(data), "--json"))[0]["origin"]


def test_load_stops_at_a_bad_line(tmp_path: Path) -> None:
    file = tmp_path / "bad.tsv"
    file.write_bytes(b"a\t1\nbad \x1b line\nb\t2\n")
    where = ["--data", str(tmp_path / "store")]
    result = run("load", str(file), *where)
    assert result.exit_code == 2
    assert "bad.tsv, line 2: there is no tab" in result.stderr
    assert documents(run("scan", "--json", *where)) == [{"key": "a", "value": "1"}]
    skipping = run("load", str(file), "--skip-bad", *where)
    assert skipping.exit_code == 0
    assert "bad.tsv, line 2: there is no tab" in skipping.stderr
    assert skipping.stdout.startswith("1 records written, 1 unchanged, 1 bad lines skipped")


def test_load_tells_after_every_commit_how_far_it_is(tmp_path: Path) -> None:
    lines = b"".join(b"key%d\tvalue\n" % number for number in range(1200))
    result = run("load", "-", "--data", str(tmp_path), "--json", stdin=lines)
    reports = documents(result)
    assert [report["written"] for report in reports] == [500, 1000, 1200, 1200]
    assert [report["done"] for report in reports] == [False, False, False, True]


def test_status(data: Path) -> None:
    (found,) = documents(run("status", "--data", str(data), "--json"))
    assert found["daemon"] is False
    assert found["peers"] == []
    assert len(found["origin"]) == 16
    text = run("status", "--data", str(data)).output
    assert f"origin      {found['origin']}\n" in text
    assert "the store is stopped" in text


def test_digests(data: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    run("load", str(tmp_path / "three.tsv"), "--data", str(other))
    alone = run("digest", "--data", str(data))
    assert alone.exit_code == 0
    both = run("digest", "--data", str(data), "--with", str(other))
    # The same data, but written by two nodes: the versions differ.
    assert both.exit_code == 1
    assert both.output.splitlines()[0] == f"{alone.output.strip()}  {data}"
    same = run("digest", "--data", str(data), "--with", str(data), "--json")
    assert same.exit_code == 0
    assert documents(same) == 2 * [{"data": str(data), "digest": alone.output.strip()}]


def test_no_conflicts(data: Path) -> None:
    result = run("conflicts", "--data", str(data))
    assert (result.exit_code, result.output) == (0, "")


def test_strip(data: Path) -> None:
    refused = run("strip", str(data), stdin=b"n\n")
    assert refused.exit_code == 2
    assert "nothing was changed" in refused.stderr
    assert run("get", "a", "--data", str(data)).exit_code == 0
    nobody = run("strip", str(data), stdin=b"")
    assert (nobody.exit_code, "nothing was changed" in nobody.stderr) == (2, True)
    assert "plain LevelDB is left" in run("strip", str(data), stdin=b"y\n").output
    with plyvel.DB(str(data)) as db:
        assert list(db) == [(b"a", b"1"), (b"b", b"2"), (b"c", "ü".encode())]
    again = run("strip", str(data), "--yes")
    assert (again.exit_code, "holds nothing of the replicator" in again.stderr) == (3, True)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["get", "k"], 2, "which store?"),
        (["get", "k", "--data", "missing"], 2, "there is no LevelDB in missing"),
        (["put", "k", "v", "--data", "missing"], 2, "there is no LevelDB in missing"),
        (["status", "--data", "missing"], 2, "there is no LevelDB in missing"),
        (["digest", "--data", "missing"], 2, "there is no LevelDB in missing"),
        (["strip", "--yes", "missing"], 2, "is no LevelDB directory"),
        (["load", "missing.tsv", "--data", "x"], 2, "missing.tsv"),
        (["get", r"\q", "--escaped", "--data", "store"], 2, "a single backslash"),
        (["put", r"\xff\xff\xff\xff", "v", "--escaped", "--data", "store"], 2, "reserved"),
        (["get", "k", "--data", "store", "--config", "missing.toml"], 2, "missing.toml"),
        (["get", "k", "--data", "file"], 2, "file"),
        (["fly"], 2, "No such command"),
        (["scan", "--limit", "-1", "--data", "store"], 2, "--limit"),
        (["serve", "--data", "x", "--listen", "here"], 2, "the port is missing"),
        (["serve", "--data", "x", "--peer", "a:1:2"], 2, "write IPv6 addresses in brackets"),
        (["serve", "--data", "x", "--name", ""], 2, "write text of 1 to 255 bytes"),
        (["serve"], 2, "which store?"),
    ],
)
def test_mistakes(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: Sequence[str],
    code: int,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    run("load", "-", "--data", "store", stdin=b"a\t1\n")
    Path("file").touch()
    result = run(*arguments)
    assert result.exit_code == code
    assert message in result.stderr
    assert result.stdout == ""
    assert not Path("missing").exists()


def test_a_directory_in_use(data: Path) -> None:
    with plyvel.DB(str(data)):
        result = run("get", "a", "--data", str(data))
    assert result.exit_code == 3
    assert "is in use by a program" in result.stderr


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = run("load", "-", "--data", str(tmp_path / "file" / "store"), stdin=b"a\t1\n")
    assert result.exit_code == 3
    assert "cannot be opened: Not a directory" in result.stderr


def test_a_damaged_leveldb(data: Path) -> None:
    (data / "CURRENT").write_text("MANIFEST-999999\n")
    result = run("get", "a", "--data", str(data))
    assert result.exit_code == 3
    assert result.stderr.count("\n") == 1


def test_the_store_may_come_from_the_environment(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REPLICATOR_DATA", str(data))
    assert run("get", "a").output == "1\n"


def test_the_store_may_come_from_a_file(data: Path, tmp_path: Path) -> None:
    config = tmp_path / "node.toml"
    config.write_text('[node]\ndata = "store"\n')
    assert run("get", "a", "--config", str(config)).output == "1\n"


def test_help_teaches() -> None:
    top = run("--help").output
    for code in Exit:
        assert f"\n      {code:<4} " in top
    for name, command in cli.commands.items():
        assert f"\n  {name} " in top
        subcommands = command.commands if isinstance(command, click.Group) else [""]
        for subcommand in subcommands:
            text = run(name, *filter(None, [subcommand]), "--help").output
            assert "--json" in text or name == "export"  # which prints nothing else
            assert "\x08" not in text
        assert command.help


def test_a_mistake_in_a_process_of_its_own_is_told_without_a_traceback() -> None:
    for arguments in (["fly"], ["get"], ["get", "k", "--data", "/missing"]):
        result = replicator_process(*arguments)
        assert result.returncode == 2
        assert result.stderr
        assert "Traceback" not in result.stderr
    result = replicator_process("--help")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("Usage: replicator [OPTIONS] COMMAND")


def test_bytes_that_are_no_text_come_through_the_shell(data: Path) -> None:
    key = b"\xfe\x01"
    where: list[str | bytes] = ["--data", os.fsencode(data)]
    subprocess.run([REPLICATOR, "put", key, b"\xff", *where], check=True)
    result = subprocess.run([REPLICATOR, "get", key, *where], capture_output=True, check=True)
    assert result.stdout == b"\\xff\n"


def test_a_reader_that_has_seen_enough(data: Path) -> None:
    file = b"".join(b"key%06d\tvalue\n" % number for number in range(50_000))
    run("load", "-", "--data", str(data), stdin=file)
    scan = subprocess.Popen(
        [REPLICATOR, "scan", "--data", str(data)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert scan.stdout is not None and scan.stderr is not None
    assert scan.stdout.readline() == b"a\t1\n"
    scan.stdout.close()
    assert scan.stderr.read() == b""
    assert scan.wait() == Exit.PIPE_CLOSED
    scan.stderr.close()


@pytest.mark.parametrize("package", ["click", "hiredis", "msgspec", "rich"])
def test_a_lacking_extra_is_named(package: str) -> None:
    # As if it were not installed; rich is needed only for the bar of a load.
    script = (
        f"import sys; sys.modules[{package!r}] = None\n"
        "sys.argv = ['replicator', '--version']\n"
        "from replicator.faces.cli import main\n"
        "if sys.modules['rich'] is None if 'rich' in sys.modules else False:\n"
        "    import replicator.faces.cli.app as app\n"
        "    def fail(): import rich\n"
        "    sys.exit(app._ended(fail))\n"
        "main()\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert result.returncode == 2
    assert result.stderr == (
        f"replicator: the command line and the daemon need {package}, which is not installed; "
        "run: pip install 'level-replicator[daemon]'\n"
    )
