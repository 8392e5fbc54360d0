"""The members' rows: their bytes, that they survive reopening, what a malformed one leads to."""

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from replicator.core.known import KnownSet
from replicator.core.members import FORGOTTEN, HEARD_OF, Member
from replicator.errors import ClosedError, CommitError, FormatError
from replicator.store.keyspace import MEMBER, RESERVED, after, member_key
from replicator.store.members import _pack, unpack_member
from replicator.store.store import Store
from tests.protocol.samples import members

from .places import Failing, Place

ORIGIN = 0xB000_0000_0000_0002

ACCOUNT = Member(
    origin=ORIGIN,
    revision=1_700_000_000_001,
    name="b",
    since_ms=1_600_000_000_000,
    said_ms=1_700_000_000_000,
    version="1.0",
    addresses=("192.0.2.1:9000", "[2001:db8::1]:9000"),
    known=KnownSet({1: [1, 4], ORIGIN: [1, 3, 5, 6]}),
)


def stored(store: Store) -> dict[bytes, bytes]:
    return dict(store.db.iterator(start=MEMBER, stop=after(MEMBER)))


def test_the_bytes_of_a_row() -> None:
    assert member_key(ORIGIN) == RESERVED + b"n" + bytes.fromhex("b000000000000002")
    row = _pack(ACCOUNT, heard_ms=1_700_000_000_005)
    assert row.hex() == (
        "99"  # an array of
        "cf0000018bcfe56801"  # the revision
        "a162"  # the name
        "cf00000174876e8000"  # since when
        "cf0000018bcfe56800"  # when it said so
        "a3312e30"  # the version
        "92ae3139322e302e322e313a39303030b25b323030313a6462383a3a315d3a39303030"  # addresses
        "c41d82"  # the known set: origin and bounds
        "c4080000000000000001920104"
        "c408b0000000000000029401030506"
        "cf0000018bcfe56805"  # when it was heard
        "c40180"  # what it has seen of forgotten origins
    )
    assert unpack_member(member_key(ORIGIN), row) == (ACCOUNT, 1_700_000_000_005)
    before = b"\x98" + row[1:-3]
    assert unpack_member(member_key(ORIGIN), before) == (ACCOUNT, 1_700_000_000_005)


@given(members(), st.integers(0, 2**63 - 1))
def test_what_is_packed_is_read_again(member: Member, heard_ms: int) -> None:
    assert unpack_member(member_key(member.origin), _pack(member, heard_ms)) == (member, heard_ms)


def test_a_new_store_knows_of_nobody(store: Store) -> None:
    assert store.members() == []


def test_members_survive_closing_and_being_killed(place: Place) -> None:
    store = place.open()
    rows = [
        (Member(1, HEARD_OF, "heard of"), 5),
        (Member(2, FORGOTTEN, "forgotten"), 6),
        (ACCOUNT, 7),
    ]
    store.save_members(rows)
    assert store.members() == rows
    assert place.reopen().members() == rows
    place.kill()
    assert place.open().members() == rows


def test_a_newer_account_takes_the_place_of_the_older(store: Store) -> None:
    store.save_members([(ACCOUNT, 7), (Member(1, 3, "a"), 7)])
    newer = Member(ORIGIN, ACCOUNT.revision + 1, "renamed")
    store.save_members([(newer, 8)])
    assert store.members() == [(Member(1, 3, "a"), 7), (newer, 8)]


def test_users_do_not_see_the_rows(place: Place) -> None:
    store = place.open()
    store.put(b"key", b"value")
    store.save_members([(ACCOUNT, 7)])
    assert list(store.db.iterator(stop=RESERVED)) == [(b"key", b"value")]


def test_stores_side_by_side_have_members_of_their_own(place: Place) -> None:
    db = place.open_leveldb()
    one, other = (Store.open(db.prefixed_db(prefix)) for prefix in (b"one:", b"other:"))
    one.save_members([(ACCOUNT, 7)])
    assert [member for member, _ in one.members()] == [ACCOUNT]
    assert other.members() == []
    one.close()
    other.close()


def row(**changes: object) -> bytes:
    fields: dict[str, object] = {
        "revision": 1,
        "name": "b",
        "since_ms": 2,
        "said_ms": 3,
        "version": "1.0",
        "addresses": ["host:1"],
        "known": b"\x80",
        "heard_ms": 4,
    }
    return bytes(msgpack.packb(list({**fields, **changes}.values())))


def test_the_plain_row_is_well_formed() -> None:
    member, heard_ms = unpack_member(member_key(ORIGIN), row())
    assert (member.name, member.addresses, heard_ms) == ("b", ("host:1",), 4)


@pytest.mark.parametrize(
    "malformed",
    [
        b"",
        b"\xc1",
        row()[:-1],
        row() + b"\x00",
        msgpack.packb({}),
        msgpack.packb([1, "b"]),
        row(revision="1"),
        row(revision=True),
        row(name=b"b"),
        row(since_ms=None),
        row(said_ms=1.5),
        row(version=1),
        row(addresses="host:1"),
        row(addresses=[1]),
        row(known="text"),
        row(known=b""),
        row(known=msgpack.packb([1, 2])),
        row(known=msgpack.packb({b"short": [1, 2]})),
        row(known=msgpack.packb({bytes(8): [3, 1]})),
        row(heard_ms=[]),
    ],
)
def test_a_malformed_row_is_said_to_be_one(store: Store, malformed: bytes) -> None:
    store.db.put(member_key(ORIGIN), malformed)
    with pytest.raises(FormatError, match="member"):
        store.members()


def test_a_row_under_a_malformed_key_is_said_to_be_one(store: Store) -> None:
    store.db.put(MEMBER + b"short", row())
    with pytest.raises(FormatError):
        store.members()


@given(st.binary(max_size=60))
def test_rubbish_is_a_row_or_a_format_error(rubbish: bytes) -> None:
    try:
        member, _ = unpack_member(member_key(ORIGIN), rubbish)
    except FormatError:
        return
    assert member.origin == ORIGIN


def test_a_failed_commit_stores_nothing_and_leaves_the_store_usable(store: Store) -> None:
    def full() -> CommitError:
        return CommitError("no space left on a simulated device")

    with Failing(store, full), pytest.raises(CommitError):
        store.save_members([(ACCOUNT, 7)])
    assert stored(store) == {}
    store.save_members([(ACCOUNT, 7)])
    assert len(stored(store)) == 1


def test_a_closed_store_says_so(place: Place) -> None:
    store = place.open()
    place.close()
    with pytest.raises(ClosedError):
        store.members()
    with pytest.raises(ClosedError):
        store.save_members([(ACCOUNT, 7)])
