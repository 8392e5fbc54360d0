"""Frames survive any cutting of the stream; nothing is reserved on the word of a length."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replicator.errors import ProtocolError
from replicator.protocol.frames import FrameReader, frame


def test_the_bytes_of_a_frame() -> None:
    assert frame(b"\x91\x08") == bytes.fromhex("00000002 9108")


@given(st.lists(st.binary(min_size=1, max_size=60), max_size=6), st.data())
def test_whatever_the_portions_the_payloads_come_out(
    payloads: list[bytes], data: st.DataObject
) -> None:
    stream = b"".join(map(frame, payloads))
    reader = FrameReader()
    received = []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        received += reader.feed(stream[:size])
        stream = stream[size:]
    assert received == payloads
    assert reader.partial_bytes == 0


@given(st.lists(st.binary(max_size=40), max_size=20))
def test_any_bytes_give_payloads_or_a_protocol_error(portions: list[bytes]) -> None:
    reader = FrameReader(limit=50, first_limit=20)
    try:
        for portion in portions:
            for payload in reader.feed(portion):
                assert 1 <= len(payload) <= 50
    except ProtocolError:
        pass
    assert reader.partial_bytes <= sum(map(len, portions))


def test_a_frame_may_be_as_large_as_the_limit_and_no_larger() -> None:
    reader = FrameReader(limit=10, first_limit=10)
    assert reader.feed(frame(b"x" * 10)) == [b"x" * 10]
    with pytest.raises(ProtocolError, match="11 bytes, where 1 to 10"):
        reader.feed(frame(b"x" * 11)[:4])


def test_an_empty_frame_is_refused() -> None:
    with pytest.raises(ProtocolError):
        FrameReader().feed(frame(b""))


def test_only_the_first_frame_has_the_strangers_limit() -> None:
    reader = FrameReader(limit=100, first_limit=5)
    assert reader.feed(frame(b"hello") + frame(b"x" * 100)) == [b"hello", b"x" * 100]
    with pytest.raises(ProtocolError, match="1 to 5"):
        FrameReader(limit=100, first_limit=5).feed(frame(b"hello!"))


def test_the_strangers_limit_never_widens_the_other() -> None:
    with pytest.raises(ProtocolError, match="1 to 3"):
        FrameReader(limit=3, first_limit=5).feed(frame(b"four"))


def test_a_claimed_size_reserves_nothing() -> None:
    reader = FrameReader()
    reader.feed(frame(b"first"))
    reader.feed((100 << 20).to_bytes(4, "big") + b"x")
    assert reader.partial_bytes == 5


def test_http_on_the_port_is_told_apart() -> None:
    with pytest.raises(ProtocolError, match="another protocol"):
        FrameReader().feed(b"GET / HTTP/1.1\r\n\r\n")
