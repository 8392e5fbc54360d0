"""Fingerprints: equal where two nodes hold the same, different where anything differs."""

from collections.abc import Mapping
from dataclasses import replace
from hashlib import blake2b

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replicator.core import rows
from replicator.core.dots import Dot
from replicator.core.fingerprint import Fingerprint, OriginTable
from replicator.core.record import Record, Version
from replicator.errors import FormatError

A, B = 0xAAAA, 0xBBBB
PUT = Version(b"k", Dot(A, 7), 3, 1 << 20, False, None, None, 0x6B643B84)
OTHER = Version(b"k", Dot(B, 2), 0, 1 << 21, False, None, None, 5)
DELETE = replace(OTHER, is_delete=True, checksum=0)

Records = list[tuple[bytes, Record]]


def alone(version: Version, *, more: int = 0) -> Record:
    context = {version.dot.origin: version.dot.seq}
    return Record((version,), context | {B: more} if more else context)


def fingerprint(
    records: Records,
    numbers: Mapping[int, int] = {A: 1, B: 2},
    moment_ms: int | None = None,
    batch: int = 100,
) -> tuple[int, bytes]:
    """What comes of adding these records in batches, at a store with these origin numbers."""
    table = OriginTable({number: origin for origin, number in numbers.items()})
    whole = Fingerprint(table, moment_ms)
    for place in range(0, len(records), batch):
        part = records[place : place + batch]
        packed = [rows.pack(record, numbers.__getitem__, 0) for _, record in part]
        whole.add([key for key, _ in part], packed)
    return whole.count, whole.digest()


def test_its_bytes_are_the_documented_ones() -> None:
    """One key of one version, column by column, as the head of the module has it."""

    def column(*parts: str) -> bytes:
        return blake2b(bytes.fromhex("".join(parts)), digest_size=16).digest()

    expected = blake2b(
        column("00000001")
        + column("6b")
        + column("01 00 00000000 0000000000000007 0000000000000003 0000000000100000 6b643b84")
        + column("000000000000aaaa"),
        digest_size=16,
    ).digest()
    assert fingerprint([(b"k", alone(PUT))]) == (1, expected)


def test_numbers_contexts_and_places_are_no_difference() -> None:
    plain = fingerprint([(b"k", alone(PUT))])
    assert fingerprint([(b"k", alone(PUT))], {A: 70_000, B: 3}) == plain
    assert fingerprint([(b"k", alone(PUT, more=1))]) == plain
    both = Record((PUT, OTHER), {A: 7, B: 2})
    shown = [rows.pack(both, {A: 1, B: 2}.__getitem__, place) for place in (0, 1, rows.MERGED)]
    digests = set()
    for row in shown:
        one = Fingerprint(OriginTable({1: A, 2: B}))
        one.add([b"k"], [row])
        digests.add(one.digest())
    assert len(digests) == 1


@pytest.mark.parametrize(
    "other",
    [
        [],
        [(b"l", alone(PUT))],
        [(b"k", alone(replace(PUT, dot=Dot(A, 8))))],
        [(b"k", alone(replace(PUT, dot=Dot(B, 7))))],
        [(b"k", alone(replace(PUT, clock=4)))],
        [(b"k", alone(replace(PUT, timestamp=1)))],
        [(b"k", alone(replace(PUT, checksum=1)))],
        [(b"k", alone(replace(PUT, is_delete=True, checksum=0)))],
        [(b"k", alone(replace(PUT, expiry_ms=5)))],
        [(b"k", Record((PUT, OTHER), {A: 7, B: 2}))],
        [(b"k", alone(PUT)), (b"", alone(OTHER))],
    ],
)
def test_everything_else_is_one(other: Records) -> None:
    assert fingerprint(other)[1] != fingerprint([(b"k", alone(PUT))])[1]


def test_where_a_key_ends_counts() -> None:
    assert fingerprint([(b"ab", alone(PUT)), (b"c", alone(OTHER))]) != fingerprint(
        [(b"a", alone(PUT)), (b"bc", alone(OTHER))]
    )


_records = st.lists(
    st.builds(
        lambda seq, clock, expiry, is_delete: replace(
            PUT,
            dot=Dot(A, seq),
            clock=clock,
            expiry_ms=expiry,
            is_delete=is_delete,
            checksum=0 if is_delete else 9,
        ),
        st.integers(1, 2**63 - 1),
        st.integers(0, 9),
        st.none() | st.integers(0, 100),
        st.booleans(),
    ),
    max_size=12,
)


@given(_records, st.integers(1, 5), st.integers(0, 100))
def test_batches_and_the_moment(versions: list[Version], batch: int, moment_ms: int) -> None:
    """How records are batched makes no difference; a digest as of a moment is the fingerprint of
    the records with a put that expires later."""
    records = [(b"%02d" % place, alone(version)) for place, version in enumerate(versions)]
    assert fingerprint(records, batch=batch) == fingerprint(records)
    counted = [
        (key, record)
        for key, record in records
        if not record.versions[0].is_delete
        and (record.versions[0].expiry_ms is None or record.versions[0].expiry_ms > moment_ms)
    ]
    as_of = fingerprint(records, moment_ms=moment_ms, batch=batch)
    assert as_of == fingerprint(counted)
    assert as_of[0] == len(counted)


def test_one_live_put_lets_the_whole_record_count() -> None:
    conflict = [(b"k", Record((replace(PUT, expiry_ms=5), DELETE), {A: 7, B: 2}))]
    assert fingerprint(conflict, moment_ms=4) == fingerprint(conflict)
    assert fingerprint(conflict, moment_ms=5) == fingerprint([])
    assert fingerprint(conflict)[0] == 1


def test_a_row_that_does_not_decode_is_told() -> None:
    good = rows.pack(alone(PUT), {A: 1}.__getitem__)
    for bad in (b"", good[:20], good[:-1] + b"xx", b"\x02\0\0\0\1"):
        with pytest.raises(FormatError, match=r"does not decode|origin number"):
            Fingerprint(OriginTable({1: A})).add([b"k"], [bad])
    with pytest.raises(FormatError, match="origin number 00000001"):
        Fingerprint(OriginTable({})).add([b"k"], [good])
    late: dict[int, int] = {}
    table = OriginTable(late)
    late[1] = A
    Fingerprint(table).add([b"k"], [good])
