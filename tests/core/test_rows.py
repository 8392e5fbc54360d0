"""Rows: golden bytes, everything reads back, and any bytes give a record or a FormatError."""

import re
from contextlib import suppress
from dataclasses import replace
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replicator.core import rows
from replicator.core.dots import ORIGIN_MAX, SEQ_MAX, Dot
from replicator.core.record import Record, Version
from replicator.errors import FormatError
from tests.core.samples import KEY, delete, put, records

ORIGINS = {1: 0xA, 2: 0xB, 3: ORIGIN_MAX, 0xFFFFFFFF: 0x5}
NUMBERS = {origin: number for number, origin in ORIGINS.items()}

EXAMPLE = Version(
    key=KEY,
    dot=Dot(0xA, 7),
    clock=0,
    timestamp=0x18BCFE568000001,
    is_delete=False,
    value=None,
    checksum=crc32(b"v"),
)


def number_of(origin: int) -> int:
    return NUMBERS[origin]


def test_golden_bytes_are_those_of_the_module_head() -> None:
    text = re.search(r"^    (01 00 00000001 .*)$", rows.__doc__ or "", re.MULTILINE)
    assert text is not None
    row = bytes.fromhex(text[1])
    record = Record((EXAMPLE,), {0xA: 7})
    assert rows.pack(record, number_of) == row
    assert rows.unpack(row, KEY, ORIGINS) == (record, 0)
    assert len(row) == rows.SINGLE_ROW.size == 34


def test_golden_bytes_of_a_record_with_siblings() -> None:
    """On disk and on the wire: never changes within a format version."""
    record = Record(
        (
            Version(KEY, Dot(0xA, 1), 2, 3, False, None, 0x18BCFE5680, 0x01020304),
            Version(KEY, Dot(ORIGIN_MAX, 4), 5, 6, True, None),
        ),
        {ORIGIN_MAX: 4, 0xB: 9, 0xA: 1},
    )
    row = bytes.fromhex(
        "02 0001 0002 00000003"
        "02 00000001 0000000000000001 0000000000000002 0000000000000003 01020304 00000018bcfe5680"
        "01 00000003 0000000000000004 0000000000000005 0000000000000006 00000000"
        "00000001 0000000000000001"
        "00000002 0000000000000009"
        "00000003 0000000000000004"
    )
    assert rows.pack(record, number_of, visible=1) == row
    assert rows.unpack(row, KEY, ORIGINS) == (record, 1)


@pytest.mark.parametrize(
    ("record", "is_single"),
    [
        (Record((put(b"v", 0xA, 7),), {0xA: 7}), True),
        (Record((delete(0xA, 7),), {0xA: 7}), True),
        (Record((put(b"v", 0xA, 7),), {0xA: 8}), False),
        (Record((put(b"v", 0xA, 7),), {0xA: 7, 0xB: 1}), False),
        (Record((put(b"v", 0xA, 7, expiry_ms=0),), {0xA: 7}), False),
    ],
    ids=["put", "delete", "context beyond", "another entry", "expiry"],
)
def test_which_records_have_the_short_row(record: Record, is_single: bool) -> None:
    row = rows.pack(record, number_of)
    assert (len(row) == rows.SINGLE_ROW.size) is is_single
    assert rows.unpack(row, KEY, ORIGINS)[0] == _unloaded(record)


@given(records(), st.data())
def test_every_record_reads_back(record: Record, data: st.DataObject) -> None:
    """With origin numbers in any order, as another node may have given them."""
    involved = data.draw(st.permutations(sorted(record.context)))
    origins = dict(enumerate(involved))
    numbers = {origin: number for number, origin in origins.items()}
    is_short = len(rows.pack(record, numbers.__getitem__)) == rows.SINGLE_ROW.size
    places = st.sampled_from([rows.MERGED, *range(len(record.versions))])
    visible = 0 if is_short else data.draw(places)
    row = rows.pack(record, numbers.__getitem__, visible)
    assert rows.unpack(row, KEY, origins) == (_unloaded(record), visible)


def _unloaded(record: Record) -> Record:
    return Record(
        tuple(replace(version, value=None) for version in record.versions), record.context
    )


SINGLE = rows.pack(Record((put(b"v", 0xA, 7),), {0xA: 7}), number_of)
PAIR = rows.pack(
    Record((put(b"v", 0xA, 7), delete(0xB, 2)), {0xA: 7, 0xB: 2, 0x5: 9}), number_of, 1
)
EXPIRING = rows.pack(Record((put(b"v", 0xA, 7, expiry_ms=1),), {0xA: 7}), number_of)


@given(st.binary(max_size=120))
def test_any_bytes_give_a_record_or_a_format_error(row: bytes) -> None:
    with suppress(FormatError):
        rows.unpack(row, KEY, ORIGINS)


@given(st.sampled_from([SINGLE, PAIR, EXPIRING]), st.data())
def test_any_damage_gives_a_record_that_reads_back_or_a_format_error(
    row: bytes, data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(row)))
    removed = data.draw(st.integers(0, 9))
    inserted = data.draw(st.one_of(st.binary(max_size=9), st.just(row[place : place + 9])))
    damaged = row[:place] + inserted + row[place + removed :]
    try:
        record, visible = rows.unpack(damaged, KEY, ORIGINS)
    except FormatError as error:
        assert "b'key'" in str(error)
    else:
        assert all(record.covers(version.dot) for version in record.versions)
        assert rows.unpack(rows.pack(record, number_of, visible), KEY, ORIGINS) == (record, visible)


def _patched(row: bytes, place: int, patch: str) -> bytes:
    data = bytes.fromhex(patch)
    return row[:place] + data + row[place + len(data) :]


VERSION_1 = 9
"""Where the first version of a general row begins."""

VERSION_2 = VERSION_1 + 33


ENTRY_2 = VERSION_2 + 33 + 12
ENTRY_3 = ENTRY_2 + 12
"""Where the third context entry of `PAIR` begins."""


@pytest.mark.parametrize(
    ("row", "cause"),
    [
        (b"", "index out of range"),
        (_patched(SINGLE, 0, "03"), "unknown kind"),
        (_patched(PAIR, 0, "03"), "unknown kind"),
        (SINGLE + b"\0", "unknown kind"),
        (SINGLE[:-1], "unknown kind"),
        (_patched(SINGLE, 1, "04"), "reserved flags"),
        (_patched(SINGLE, 1, "02"), "an expiry is flagged in a short row"),
        (_patched(SINGLE, 1, "01"), "a delete with a checksum"),
        (_patched(SINGLE, 2, "00000009"), r"KeyError\(9\)"),
        (_patched(SINGLE, 6, "0000000000000000"), "seq, clock or timestamp out of range"),
        (_patched(SINGLE, 6, "8000000000000000"), "seq, clock or timestamp out of range"),
        (_patched(SINGLE, 14, "8000000000000000"), "seq, clock or timestamp out of range"),
        (_patched(SINGLE, 22, "8000000000000000"), "seq, clock or timestamp out of range"),
        (_patched(PAIR, 1, "0002"), "the visible place lies outside"),
        (bytes.fromhex("02 ffff 0000 00000000"), "no version in it"),
        (_patched(PAIR, 3, "ffff"), "no version in it, or too many"),
        (_patched(PAIR, 5, "ffffffff"), "unpack_from requires a buffer"),
        (PAIR[:-1], "unpack_from requires a buffer"),
        (PAIR + b"\0", "wrong length"),
        (_patched(PAIR, ENTRY_3, "00000001"), "an origin twice in the context"),
        (_patched(PAIR, ENTRY_3, "00000009"), r"KeyError\(9\)"),
        (_patched(PAIR, ENTRY_3 + 4, "0000000000000000"), "a seq is out of range"),
        (_patched(PAIR, ENTRY_3 + 4, "8000000000000000"), "a seq is out of range"),
        (_patched(PAIR, VERSION_1 + 5, "0000000000000008"), "does not cover a live version"),
        (
            _patched(_patched(PAIR, VERSION_2 + 5, "0000000000000001"), ENTRY_2, "00000003"),
            "does not cover a live version",
        ),
        (_patched(PAIR, VERSION_2 + 1, "00000001"), "not in dot order"),
    ],
)
def test_rubbish_is_refused_for_what_it_is(row: bytes, cause: str) -> None:
    with pytest.raises(FormatError, match=f"the row of key b'key' does not decode: .*{cause}"):
        rows.unpack(row, KEY, ORIGINS)


def test_one_dot_twice_is_refused() -> None:
    """Two numbers for one origin could smuggle it in."""
    twice = _patched(PAIR, VERSION_2, "00 00000002 0000000000000007")
    one_entry = _patched(twice, 5, "00000001")[: VERSION_2 + 33 + 12]
    with pytest.raises(FormatError, match="not in dot order"):
        rows.unpack(one_entry, KEY, {1: 0xA, 2: 0xA})


def test_the_greatest_numbers_fit() -> None:
    version = Version(KEY, Dot(0x5, SEQ_MAX), 2**63 - 1, 2**63 - 1, False, None, 2**64 - 1)
    record = Record((version,), {0x5: SEQ_MAX})
    assert rows.unpack(rows.pack(record, number_of), KEY, ORIGINS) == (record, 0)
