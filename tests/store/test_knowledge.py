"""The known set on disk: the union of its rows is the set, whatever came in whatever order."""

from pathlib import Path
from typing import Any

import plyvel
import pytest
from hypothesis import given
from hypothesis import strategies as st

from replicator.core import ranges
from replicator.core.known import KnownSet
from replicator.store import knowledge
from replicator.store.keyspace import KNOWN, SEQ, known_key, number_seq
from replicator.store.knowledge import OriginChange, read_known

NUMBER = 3
ORIGIN = 0xABCD


class Disk:
    """Rows as a batch changes them."""

    def __init__(self) -> None:
        self.rows: dict[bytes, bytes] = {}

    def put(self, key: bytes, value: bytes) -> None:
        self.rows[key] = value

    def delete(self, key: bytes) -> None:
        self.rows.pop(key, None)

    def bounds(self) -> ranges.Bounds:
        found: ranges.Bounds = []
        for key, row in self.rows.items():
            number, start = number_seq(key)
            assert number == NUMBER
            ranges.add(found, start, SEQ.unpack(row)[0])
        return found


spans = st.tuples(st.integers(1, 40), st.integers(0, 12)).map(lambda pair: (pair[0], sum(pair)))
changes = st.lists(
    st.one_of(st.lists(st.integers(1, 40), max_size=8), st.lists(spans, max_size=5)), max_size=8
)


def _change(disk: Disk, bounds: ranges.Bounds, one: list[Any]) -> tuple[ranges.Bounds, list[bytes]]:
    change = OriginChange(NUMBER, bounds)
    expected = bounds[:]
    if one and isinstance(one[0], int):
        change.add_seqs(one)
        for seq in one:
            ranges.add(expected, seq, seq + 1)
    else:
        for start, stop in one:
            change.add(start, stop)
            ranges.add(expected, start, stop)
    later = change.write(disk)  # type: ignore[arg-type]
    assert change.bounds == expected
    return change.bounds, later


@given(changes)
def test_rows_follow_the_set(drawn: list[Any]) -> None:
    """One row a range, after every batch."""
    disk = Disk()
    bounds: ranges.Bounds = []
    for one in drawn:
        before = bounds[:]
        bounds, later = _change(disk, bounds, one)
        assert later == []
        assert disk.bounds() == bounds
        assert len(disk.rows) == len(bounds) // 2
        assert before == [] or ranges.difference(before, bounds) == []


@given(changes, st.data())
def test_rows_left_over_say_nothing_new(drawn: list[Any], data: st.DataObject) -> None:
    """Where a batch removes only so many swallowed rows, and the rest is cut at any point."""
    original = knowledge.SWALLOWED_ROWS_MAX
    knowledge.SWALLOWED_ROWS_MAX = 1
    try:
        disk = Disk()
        bounds: ranges.Bounds = []
        for one in drawn:
            bounds, later = _change(disk, bounds, one)
            assert disk.bounds() == bounds
            for key in later[: data.draw(st.integers(0, 3))]:
                disk.delete(key)
            assert disk.bounds() == bounds
    finally:
        knowledge.SWALLOWED_ROWS_MAX = original


def test_the_rows_touched_are_few(directory: Path) -> None:
    """A dot that joins two ranges writes one row and removes one, whatever else there is."""
    disk = Disk()
    bounds, _ = _change(disk, [], list(range(1, 2000, 2)))
    before = dict(disk.rows)
    _change(disk, bounds, [1000])
    gone = before.keys() - disk.rows.keys()
    changed = {key for key, row in disk.rows.items() if before.get(key) != row}
    assert gone == {known_key(NUMBER, 1001)} and changed == {known_key(NUMBER, 999)}


def test_reading_rows_that_overlap(directory: Path) -> None:
    with plyvel.DB(str(directory / "a"), create_if_missing=True) as db:
        for start, stop in ((1, 20), (5, 8), (30, 31)):
            db.put(known_key(NUMBER, start), SEQ.pack(stop))
        db.put(KNOWN[:-1] + b"l", b"the next kind")
        assert read_known(db, {NUMBER: ORIGIN}) == KnownSet({ORIGIN: [1, 20, 30, 31]})
        with pytest.raises(KeyError):
            read_known(db, {})
