from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replicator.core.dots import Dot
from replicator.core.record import ABSENT, Context, Record, merge_contexts
from tests.core.samples import delete, origins, put, seqs

contexts = st.dictionaries(origins, seqs, max_size=4)


def test_a_version_tells_its_origin_in_hex() -> None:
    assert put(b"v", origin=0x2A).origin == "000000000000002a"


def test_same_content_is_operation_and_value() -> None:
    version = put(b"v", 1, 1, clock=3, timestamp=5)
    assert version.same_content(put(b"v", 2, 9))
    assert not version.same_content(put(b"w", 1, 1, clock=3, timestamp=5))
    assert not put(b"").same_content(delete())
    assert delete(1, 1).same_content(delete(2, 2, clock=7))


def test_same_write_is_everything_about_it_but_the_value_itself() -> None:
    version = put(b"v", clock=3, timestamp=5, expiry_ms=7)
    assert version.same_write(replace(version, value=None))
    for change in (
        {"is_delete": True},
        {"clock": 4},
        {"timestamp": 6},
        {"expiry_ms": 8},
        {"expiry_ms": None},
        {"checksum": 1},
    ):
        assert not version.same_write(replace(version, **change)), change


def test_a_record_keeps_its_versions_in_dot_order() -> None:
    with pytest.raises(AssertionError):
        Record((put(b"v", 2), put(b"w", 1)), {1: 1, 2: 1})


def test_a_context_covers_dots_up_to_its_entry() -> None:
    record = Record((put(b"v", 1, 5),), {1: 5, 2: 3})
    assert [seq for seq in range(1, 7) if record.covers(Dot(1, seq))] == [1, 2, 3, 4, 5]
    assert record.covers(Dot(2, 3))
    assert not record.covers(Dot(2, 4))
    assert not record.covers(Dot(3, 1))


def test_an_absent_key_covers_nothing() -> None:
    assert not ABSENT.covers(Dot(1, 1))
    assert ABSENT.versions == ()


@given(contexts, contexts)
def test_merged_contexts_are_the_pointwise_maximum(a: Context, b: Context) -> None:
    expected = {origin: max(a.get(origin, 0), b.get(origin, 0)) for origin in a.keys() | b.keys()}
    before = dict(a), dict(b)
    assert merge_contexts(a, b) == expected
    assert (a, b) == before
