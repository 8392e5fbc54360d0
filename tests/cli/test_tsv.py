"""Records out of lines: what is a record, what is none, and where the mistake stands."""

import io
from collections.abc import Iterable
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replicator.config import KEY_BYTES_MAX, VALUE_BYTES_MAX
from replicator.errors import UsageError
from replicator.faces.cli.output import escaped
from replicator.faces.cli.tsv import Record, Records, parse
from replicator.store.keyspace import RESERVED

Pair = tuple[bytes, bytes | None]


def pairs(records: Iterable[Record]) -> list[Pair]:
    """What a file of lines says of each record; nothing in it expires."""
    found = list(records)
    assert all(record.expiry_ms is None for record in found)
    return [(record.key, record.value) for record in found]


def read(data: bytes, *, with_escapes: bool = False) -> list[Pair]:
    return pairs(Records(io.BytesIO(data), partial(parse, with_escapes=with_escapes)))


def read_good(data: bytes) -> tuple[list[Pair], list[str], Records]:
    complaints: list[str] = []
    records = Records(io.BytesIO(data), parse, on_bad=complaints.append)
    return pairs(records), complaints, records


def test_lines() -> None:
    assert read(b"a\t1\nb\t2") == [(b"a", b"1"), (b"b", b"2")]
    assert read(b"a\t1\r\nb\t\r\n\n\r\n") == [(b"a", b"1"), (b"b", b"")]
    assert read(b"a\tb\tc\n") == [(b"a", b"b\tc")]
    assert read(b"\xff\t\x00\r\r\n") == [(b"\xff", b"\x00\r")]
    assert read(b"") == []


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"no tab", "there is no tab"),
        (b"\tvalue", "there is no key"),
        (b"\xff\xff\xff\xffk\tv", "reserved"),
        (b"k" * (KEY_BYTES_MAX + 1) + b"\tv", f"at most {KEY_BYTES_MAX}"),
        (b"k\t" + b"v" * (VALUE_BYTES_MAX + 1), f"at most {VALUE_BYTES_MAX}"),
    ],
    ids=["no tab", "no key", "reserved", "large key", "large value"],
)
def test_a_bad_line_is_told_with_its_number(line: bytes, why: str) -> None:
    data = b"a\t1\n\n" + line + b"\nb\t2\n"
    with pytest.raises(UsageError, match=rf"^input, line 3: .*{why}"):
        read(data)
    found, complaints, records = read_good(data)
    assert found == [(b"a", b"1"), (b"b", b"2")]
    assert len(complaints) == 1
    assert complaints[0].startswith("input, line 3: ")
    assert (records.lines, records.skipped, records.size_bytes) == (4, 1, len(data))


def test_a_line_without_end_is_not_read_into_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("replicator.faces.cli.tsv.LINE_BYTES_MAX", 100)
    data = b"x" * 1000 + b"\nb\t2\n"
    found, complaints, records = read_good(data)
    assert found == [(b"b", b"2")]
    assert (len(complaints), records.lines, records.size_bytes) == (1, 2, len(data))


def test_escapes() -> None:
    assert read(rb"a\tb" + b"\t" + rb"\x00\\" + b"\n", with_escapes=True) == [(b"a\tb", b"\0\\")]
    assert read(rb"a\q" + b"\tv\n") == [(rb"a\q", b"v")]
    with pytest.raises(UsageError, match="line 1: a single backslash"):
        read(rb"a\q" + b"\tv\n", with_escapes=True)


_keys = st.binary(min_size=1).filter(lambda key: not key.startswith(RESERVED))


@given(st.lists(st.tuples(_keys, st.binary())))
def test_what_scan_prints_is_read_back(records: list[Pair]) -> None:
    lines = "".join(f"{escaped(key)}\t{escaped(value)}\n" for key, value in records)
    assert read(lines.encode(), with_escapes=True) == records


@given(st.binary())
def test_any_file_is_read(data: bytes) -> None:
    found, complaints, records = read_good(data)
    assert records.size_bytes == len(data)
    assert len(found) + records.skipped <= records.lines
    assert len(complaints) == records.skipped
