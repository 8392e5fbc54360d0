"""Tokens: exact, short, and nothing else is one."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replicator.core import token
from replicator.core.feeding import Position, at
from replicator.core.known import KnownSet
from replicator.core.token import read_position, read_token, write_token
from replicator.errors import UsageError
from tests.protocol.samples import known_sets

positions = st.builds(
    lambda known, more, listing, after: Position(
        known, known.union(more), listing, None if listing is None else after
    ),
    known_sets(),
    known_sets(),
    st.none() | known_sets(),
    st.none() | st.binary(max_size=20),
)


def test_golden_bytes() -> None:
    assert write_token(KnownSet()) == "AdIC740A"
    text = write_token(KnownSet({5: [1, 5, 9, 10], 2**64 - 1: [7, 300]}))
    data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    assert data[5:].hex() == (
        "02 0000000000000005 04 01 04 04 01 ffffffffffffffff 02 07 a502".replace(" ", "")
    )
    shown = write_token(Position(KnownSet({5: [1, 2]}), KnownSet({5: [1, 3]})))
    data = base64.urlsafe_b64decode(shown + "=" * (-len(shown) % 4))
    assert data[0] == 2
    assert data[5:].hex() == (
        "01 0000000000000005 02 01 01 01 0000000000000005 02 02 01".replace(" ", "")
    )
    listing = write_token(Position(KnownSet(), KnownSet(), KnownSet({5: [1, 2]}), b"k"))
    data = base64.urlsafe_b64decode(listing + "=" * (-len(listing) % 4))
    assert data[0] == 3
    assert data[5:].hex() == "00 00 01 0000000000000005 02 01 01 01 6b".replace(" ", "")


@given(known_sets())
def test_a_known_set_comes_back(known: KnownSet) -> None:
    assert read_token(write_token(known)) == known
    assert read_position(write_token(known)) == at(known)


@given(positions)
def test_a_position_comes_back(position: Position) -> None:
    text = write_token(position)
    assert read_position(text) == position
    assert read_position(text.encode()) == position
    assert read_token(text) == position.shown


@given(known_sets(), st.data())
def test_what_was_cut_or_changed_is_no_token(known: KnownSet, data: st.DataObject) -> None:
    text = write_token(known)
    place = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.sampled_from("Ab9-_~"))
    for wrong in (text[:place], text[:place] + other + text[place + 1 :], text + "A", text + "="):
        if wrong != text:
            with pytest.raises(UsageError, match="is no token"):
                read_token(wrong)


@pytest.mark.parametrize("wrong", ["", "é", "A", "AAAA", b"\xff\xfe", 7, None, "\u0661" * 8])
def test_nonsense_is_no_token(wrong: object) -> None:
    with pytest.raises(UsageError, match="is no token"):
        read_token(wrong)  # type: ignore[arg-type]


@given(st.binary(max_size=60))
def test_any_bytes_are_a_token_or_refused(body: bytes) -> None:
    """With a right checksum, too."""
    for kind in (1, 2, 3, 4):
        data = bytes([kind]) + token.crc32(body).to_bytes(4, "big") + body
        text = base64.urlsafe_b64encode(data).rstrip(b"=").decode()
        try:
            position = read_position(text)
        except UsageError:
            continue
        assert write_token(position) == text


def test_it_is_short_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    five = KnownSet({2**63 + number: [1, 1_000_000] for number in range(5)})
    assert len(write_token(five)) < 100
    monkeypatch.setattr(token, "TOKEN_BYTES_MAX", 50)
    with pytest.raises(UsageError, match="more than 50"):
        write_token(five)
