import pytest
from hypothesis import given
from hypothesis import strategies as st

from replicator.core import rows
from replicator.core.chunk import RECORD_OVERHEAD_BYTES, Chunk, fill
from replicator.core.record import Record
from replicator.errors import FormatError
from tests.core.samples import KEY, delete, put, records

CONFLICT = Record((put(b"ours", 0xA), put(b"theirs", 0xB)), {0xA: 1, 0xB: 1})
HALF_DELETED = Record((delete(0xA, 2), put(b"kept", 0xB, 2)), {0xA: 2, 0xB: 2})


def chunk_of(*held: Record) -> Chunk:
    origins = dict(enumerate(sorted({origin for record in held for origin in record.context})))
    numbers = {origin: number for number, origin in origins.items()}
    chunk = Chunk(origins)
    for record in held:
        values = [version.value for version in record.versions if version.value is not None]
        chunk.append(KEY, rows.pack(record, numbers.__getitem__), values)
    return chunk


@given(st.lists(records(), max_size=4))
def test_records_come_out_as_they_went_in(held: list[Record]) -> None:
    chunk = chunk_of(*held)
    assert list(chunk.records()) == [(KEY, record) for record in held]
    assert len(chunk) == len(held)


def test_deletes_carry_no_value() -> None:
    chunk = chunk_of(HALF_DELETED, CONFLICT)
    assert chunk.values == [b"kept", b"ours", b"theirs"]


def test_what_a_record_counts() -> None:
    chunk = chunk_of(CONFLICT)
    row = chunk.rows[0]
    assert chunk.size_bytes == len(KEY) + len(row) + len(b"ourstheirs") + RECORD_OVERHEAD_BYTES
    assert chunk_of(CONFLICT, CONFLICT).size_bytes == 2 * chunk.size_bytes


def test_chunks_do_not_share_their_columns() -> None:
    chunk_of(CONFLICT)
    assert len(Chunk()) == 0


def test_too_few_values_are_refused() -> None:
    chunk = chunk_of(CONFLICT)
    chunk.values.pop()
    with pytest.raises(FormatError, match="fewer values than its rows have puts"):
        list(chunk.records())


def test_left_over_values_are_refused() -> None:
    chunk = chunk_of(CONFLICT)
    chunk.values.append(b"whose?")
    with pytest.raises(FormatError, match="more values than its rows have puts"):
        list(chunk.records())


@pytest.mark.parametrize("column", ["keys", "rows"])
def test_columns_of_unequal_length_are_refused(column: str) -> None:
    chunk = chunk_of(CONFLICT, HALF_DELETED)
    getattr(chunk, column).pop()
    with pytest.raises(FormatError, match=r"\d keys and \d rows"):
        list(chunk.records())


def test_a_malformed_row_is_refused() -> None:
    chunk = chunk_of(CONFLICT)
    chunk.rows[0] = chunk.rows[0][:-1]
    with pytest.raises(FormatError, match="does not decode"):
        list(chunk.records())


def test_fill_takes_only_what_it_needs() -> None:
    values = iter([b"1", b"2", b"3"])
    filled = fill(CONFLICT, values)
    assert [version.value for version in filled.versions] == [b"1", b"2"]
    assert list(values) == [b"3"]
