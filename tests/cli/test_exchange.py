"""``export`` and ``import``: what is seen goes out as JSON Lines and comes back the same."""

import base64
import json
import time
from pathlib import Path
from random import Random
from typing import Any

import plyvel
import pytest
from hypothesis import given
from hypothesis import strategies as st

from replicator.config import KEY_BYTES_MAX, PAGE_ITEMS_MAX, VALUE_BYTES_MAX
from replicator.core.record import Version
from replicator.errors import ReservedKeyError, UsageError
from replicator.faces.cli.codes import Exit
from replicator.faces.cli.exchange import LINE_BYTES_MAX, parse
from replicator.faces.cli.output import jsonable
from replicator.faces.control import answer
from replicator.faces.library import replicate
from replicator.faces.stepwise import Session
from tests.cli.daemons import documents, replicator, serving, until


def filled(directory: Path, data: dict[bytes, bytes]) -> list[str]:
    """A store with this in it; gives the arguments that name it."""
    db = plyvel.DB(str(directory), create_if_missing=True)
    with replicate(db, port=None, join_timeout=0) as replica, replica.write_batch() as batch:
        for key, value in data.items():
            batch.put(key, value)
    return ["--data", str(directory)]


def lines(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines()]


def exported(*arguments: str) -> list[Any]:
    done = replicator("export", *arguments)
    assert done.exit_code == 0, done.output
    return lines(done.stdout)


def test_export_and_import_are_inverse(tmp_path: Path) -> None:
    random = Random("export")
    data = {
        random.randbytes(random.randint(1, 9))[:8].lstrip(b"\xff") + b"k": random.randbytes(
            random.randint(0, 40)
        )
        for _ in range(PAGE_ITEMS_MAX + 200)
    }
    data |= {b"text": "Grüße".encode(), b"empty": b"", b"\xff\xfe": b"\x00\xff"}
    a = filled(tmp_path / "a", data)
    file = tmp_path / "a.jsonl"
    assert replicator("export", str(file), *a).exit_code == 0
    assert file.stat().st_mode & 0o777 == 0o600 and file.read_bytes().isascii()
    done = replicator("import", str(file), "--data", str(tmp_path / "b"))
    assert done.stdout.startswith(f"{len(data):,} records written, 0 unchanged (")
    with plyvel.DB(str(tmp_path / "b")) as db:
        assert dict(db.iterator(stop=b"\xff\xff\xff\xff")) == data
    assert exported("--data", str(tmp_path / "b")) == lines(file.read_text())
    assert exported(*a) == documents("scan", *a)


def test_what_is_unchanged_makes_no_version(tmp_path: Path) -> None:
    where = filled(tmp_path / "a", {b"same": b"1", b"other": b"2", b"goes": b"3"})
    content = (
        b'{"key": "same", "value": "1"}\r\n\n'
        b'{"key": "other", "value": {"base64": "Mw=="}, "and": "more"}\n'
        b'{"key": "goes", "value": null}\n'
        b'{"key": "never was", "value": null}\n'
        b'{"key": "twice", "value": "1"}\n{"key": "twice", "value": "2"}'
    )
    *_, told = [
        json.loads(line)
        for line in replicator("import", "-", *where, "--json", stdin=content).stdout.splitlines()
    ]
    counts = {name: told[name] for name in ("lines", "written", "unchanged", "deleted", "skipped")}
    assert counts == {"lines": 7, "written": 2, "unchanged": 3, "deleted": 1, "skipped": 0}
    found = {item["key"]: item["value"] for item in exported(*where)}
    assert found == {"same": "1", "other": "3", "twice": "2"}
    (before,) = documents("status", *where)
    again = replicator(
        "import", "-", *where, stdin=content.replace(b'"1"}\n{"key": "tw', b'"2"}\n{"key": "tw')
    )
    assert again.stdout.startswith("0 records written, 6 unchanged (")
    (after,) = documents("status", *where)
    assert after["entries"] == before["entries"]


def test_versions_for_people_and_tools(tmp_path: Path) -> None:
    a, b = (filled(tmp_path / name, {b"k": name.encode()}) for name in "ab")
    with serving(tmp_path / "a") as first, serving(tmp_path / "b", "--peer", first.address):
        compare = ["digest", *a, "--with", b[1]]
        until(lambda: replicator(*compare).exit_code == 0)
        (k,) = exported("--versions", *a)
    winner, loser = k["versions"]
    assert {winner["value"], loser["value"]} == {"a", "b"} and k["value"] == winner["value"]
    assert set(winner) >= {"dot", "clock", "timestamp", "operation", "value", "expiry_ms"}
    assert set(k["context"]) == {version["dot"].split(":")[0] for version in k["versions"]}
    assert exported(*a) == [{"key": "k", "value": k["value"]}]

    gone = {"key": "deleted", "value": None, "versions": [{"operation": "delete"}], "context": {}}
    target = filled(tmp_path / "c", {b"deleted": b"here it is", b"k": b"something else"})
    content = "".join(json.dumps(line) + "\n" for line in (gone, k)).encode()
    done = replicator("import", "-", *target, stdin=content)
    assert done.stdout.startswith("1 records written, 0 unchanged, 1 deleted (")
    assert exported(*target) == exported(*a)


def test_expiries_come_along(tmp_path: Path) -> None:
    """What was to be gone tomorrow does not stay for good because it was moved."""
    far = time.time_ns() // 1_000_000 + 3_600_000
    db = plyvel.DB(str(tmp_path / "a"), create_if_missing=True)
    with replicate(db, port=None, join_timeout=0) as replica:
        replica.put(b"stays", b"v")
        replica.put(b"goes", b"v", ttl=3600)
        replica.put(b"gone", b"v", ttl=0.001)
        replica.put(b"empty", b"", ttl=7200)
    where = ["--data", str(tmp_path / "a")]
    plain = exported(*where)
    assert [line["key"] for line in plain] == ["empty", "goes", "stays"]
    empty, goes, stays = plain
    assert set(stays) == {"key", "value"} and empty["value"] == ""
    assert far <= goes["expiry_ms"] < far + 60_000 < empty["expiry_ms"]
    for name, more in (("plain", []), ("versions", ["--versions"])):
        target = ["--data", str(tmp_path / name)]
        content = replicator("export", *where, *more).stdout.encode()
        done = replicator("import", "-", *target, stdin=content)
        assert done.stdout.startswith("3 records written, "), done.output
        assert exported(*target) == plain
        again = replicator("import", "-", *target, stdin=content)
        assert again.stdout.startswith("0 records written, "), again.output
        assert exported(*target) == plain


def test_another_expiry_is_a_write_and_one_that_is_over_is_none(tmp_path: Path) -> None:
    where = filled(tmp_path / "a", {b"k": b"v", b"l": b"v"})
    far = time.time_ns() // 1_000_000 + 3_600_000
    content = (
        f'{{"key": "k", "value": "v", "expiry_ms": {far}}}\n'
        '{"key": "l", "value": "of then", "expiry_ms": 1000}\n'
        '{"key": "m", "value": "v", "expiry_ms": null}\n'
        '{"key": "n", "value": null, "expiry_ms": 5}\n'
    ).encode()
    done = replicator("import", "-", *where, stdin=content)
    assert done.stdout.startswith("2 records written, 1 unchanged, 1 had expired ("), done.output
    assert exported(*where) == [
        {"key": "k", "value": "v", "expiry_ms": far},
        {"key": "l", "value": "v"},
        {"key": "m", "value": "v"},
    ]
    *_, told = lines(replicator("import", "-", "--json", *where, stdin=content).stdout)
    assert (told["written"], told["unchanged"], told["expired"]) == (0, 3, 1)


def test_merged_values_expire_with_the_last_of_their_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def both(a: Version, b: Version) -> bytes:
        return b"+".join(sorted({a.value or b"", b.value or b""}))

    db = plyvel.DB(str(tmp_path / "a"), create_if_missing=True)
    with replicate(db, port=None, join_timeout=0, resolver=both) as replica:
        for key, ttls in ((b"k", (100, 200)), (b"l", (100, None))):
            for value, ttl in zip((b"1", b"2"), ttls, strict=True):
                replica.put(key, value, seen=[], **({} if ttl is None else {"ttl": ttl}))
        k, lasting = replica.records()
        assert (k.value, lasting.value) == (b"1+2", b"1+2")
        assert k.expiry_ms == max(v.expiry_ms or 0 for v in k.standing.versions)
        assert lasting.expiry_ms is None


def test_deleted_keys_are_told_with_versions(tmp_path: Path) -> None:
    db = plyvel.DB(str(tmp_path / "a"), create_if_missing=True)
    with replicate(db, port=None, join_timeout=0) as replica:
        replica.put(b"k", b"v")
        replica.delete(b"k")
        (record,) = replica.records()
        assert (record.standing.key, record.value) == (b"k", None)
        (version,) = record.standing.versions
        assert version.is_delete and version.clock == 1
        assert dict(record.context) == {version.dot.origin: 2}
        reply = answer(replica, Session(), [b"REPL.EXPORT", b"VERSIONS", b"1"])
    assert b"delete" in reply and str(version.dot).encode() in reply


def test_a_part_of_it(tmp_path: Path) -> None:
    where = filled(tmp_path / "a", {b"a1": b"", b"b1": b"", b"b2": b"", b"c": b""})
    for versions in ([], ["--versions"]):

        def keys(*arguments: str, more: list[str] = versions) -> list[str]:
            return [line["key"] for line in exported(*where, *more, *arguments)]

        assert keys("--prefix", "b") == ["b1", "b2"]
        assert keys("--start", "b2") == ["b2", "c"]
        assert keys("--stop", "b2") == ["a1", "b1"]
        assert keys("--prefix", r"\x62", "--escaped", "--start", "b2") == ["b2"]
        assert keys("--prefix", "z") == []


@pytest.mark.processes
def test_an_export_is_of_one_moment(tmp_path: Path) -> None:
    """Beside a daemon, whatever is written meanwhile."""
    from replicator.faces.cli import door
    from replicator.faces.configuration import DEFAULT

    data = tmp_path / "a"
    count = 2 * PAGE_ITEMS_MAX
    filled(data, {b"%05d" % number: b"then" for number in range(count)})
    with serving(data) as daemon:
        client = door._door(data, DEFAULT, create=False)
        page = client.call(b"REPL.EXPORT")
        found = list(page)
        replicator("put", "01999", "later", "--data", str(data))
        replicator("put", "9", "later", "--data", str(data))
        while page := client.call(b"REPL.MORE"):
            found += page
        assert found == [[b"%05d" % number, b"then", None] for number in range(count)]
        with pytest.raises(Exception, match="nothing was begun"):
            client.call(b"REPL.MORE")
        client.close()
        assert daemon.end() == 0
        assert "Traceback" not in daemon.log


def test_a_file_that_is_there_stays(tmp_path: Path) -> None:
    where = filled(tmp_path / "a", {b"k": b"v"})
    (tmp_path / "mine").write_text("mine")
    done = replicator("export", str(tmp_path / "mine"), *where)
    assert done.exit_code == Exit.USAGE and "is there already" in done.stderr
    assert (tmp_path / "mine").read_text() == "mine"
    done = replicator("export", str(tmp_path / "nowhere" / "x"), *where)
    assert done.exit_code == Exit.STORAGE
    assert "the export" in done.stderr and "cannot be written" in done.stderr


BAD = (
    (b"{", "no JSON"),
    (b"\xff", "no JSON"),
    (b"[" * 5000, "no JSON"),
    (b"3", "no JSON object with a key and a value"),
    (b'{"key": "k"}', "no JSON object with a key and a value"),
    (b'{"value": "k"}', "no JSON object with a key and a value"),
    (b'{"key": 3, "value": "v"}', "the key is neither a string"),
    (b'{"key": null, "value": "v"}', "the key is neither a string"),
    (b'{"key": "k", "value": true}', "the value is neither a string"),
    (b'{"key": "k", "value": {"base64": "v", "x": 1}}', "the value is neither a string"),
    (b'{"key": "k", "value": {"base64": "%%%%"}}', "the value does not decode"),
    (b'{"key": "k", "value": {"base64": "abc"}}', "the value does not decode"),
    (b'{"key": "k", "value": {"base64": 7}}', "the value does not decode"),
    (b'{"key": "k", "value": "v", "expiry_ms": "1"}', "is no number of milliseconds"),
    (b'{"key": "k", "value": "v", "expiry_ms": -1}', "is no number of milliseconds"),
    (b'{"key": "k", "value": "v", "expiry_ms": true}', "is no number of milliseconds"),
    (b'{"key": "k", "value": "v", "expiry_ms": 9223372036854775808}', "is no number of mill"),
    (b'{"key": "\\ud800", "value": "v"}', "the key does not decode"),
)


@pytest.mark.parametrize(("line", "what"), BAD)
def test_a_line_that_is_no_record(line: bytes, what: str) -> None:
    with pytest.raises(UsageError, match=what):
        parse(line)


def test_keys_and_values_that_no_store_takes() -> None:
    for key, value in (
        (b"\xff\xff\xff\xffi", b""),
        (bytes(KEY_BYTES_MAX + 1), b""),
        (b"k", bytes(VALUE_BYTES_MAX + 1)),
    ):
        told = {"key": {"base64": base64.b64encode(key).decode()}, "value": jsonable(value)}
        with pytest.raises(ReservedKeyError):
            parse(json.dumps(told).encode())


def test_the_longest_line_holds_eight_of_the_largest_values() -> None:
    assert LINE_BYTES_MAX > 9 * 4 * VALUE_BYTES_MAX // 3


def test_the_line_is_named_and_what_came_before_is_there(tmp_path: Path) -> None:
    where = ["--data", str(tmp_path / "a")]
    content = b'{"key": "a", "value": "1"}\n\nnonsense\n{"key": "b", "value": "2"}\n'
    done = replicator("import", "-", *where, stdin=content)
    assert done.exit_code == Exit.USAGE
    assert "line 3: no JSON" in done.stderr and "--skip-bad" in done.stderr
    assert [line["key"] for line in exported(*where)] == ["a"]
    done = replicator("import", "-", "--skip-bad", *where, stdin=content)
    assert done.exit_code == 0
    assert "line 3" in done.stderr
    assert done.stdout.startswith("1 records written, 1 unchanged, 1 bad lines skipped")


@given(st.binary(max_size=30), st.one_of(st.none(), st.binary(max_size=30)))
def test_any_record_is_read_back(key: bytes, value: bytes | None) -> None:
    key = key.lstrip(b"\xff")
    line = json.dumps(jsonable({"key": key, "value": value})).encode()
    assert parse(line) == (key, value, None)
