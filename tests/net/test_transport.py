"""Framed streams: whole frames whatever the portions, and limits on what a peer may do."""

import pytest
import trio
from trio.testing import MemoryReceiveStream, MemorySendStream, memory_stream_pair

from replicator.config import FRAME_BYTES_MAX, GREETING_BYTES_MAX
from replicator.errors import PeerError, ProtocolError
from replicator.net import transport
from replicator.net.address import Address
from replicator.net.transport import FramedStream
from replicator.protocol.frames import frame

REMOTE = Address("192.0.2.1", 9000)
Raw = trio.StapledStream[MemorySendStream, MemoryReceiveStream]


def framed_and_raw(patience: float = 30.0) -> tuple[FramedStream, Raw]:
    """Our end of a connection, and the bare other end."""
    ours, theirs = memory_stream_pair()
    return FramedStream(ours, REMOTE, patience=patience), theirs


async def received(stream: FramedStream) -> list[bytes]:
    payloads = []
    while (more := await stream.receive()) is not None:
        payloads += more
    return payloads


@pytest.mark.parametrize("portion", [1, 3, 7, 1000])
async def test_frames_arrive_whole_whatever_the_portions(portion: int) -> None:
    stream, raw = framed_and_raw()
    payloads = [b"a", b"bc" * 5, b"d" * 70]
    data = b"".join(map(frame, payloads))
    for start in range(0, len(data), portion):
        await raw.send_all(data[start : start + portion])
    await raw.send_eof()
    assert await received(stream) == payloads


async def test_what_comes_and_goes_is_counted() -> None:
    stream, raw = framed_and_raw()
    data = frame(b"one") + frame(b"x" * 1000)
    await stream.send([b"one", b"x" * 1000])
    await raw.send_all(data[:7])
    await stream.receive()
    assert (stream.bytes_in, stream.bytes_out) == (7, len(data))


async def test_several_payloads_are_sent_as_frames_in_order() -> None:
    stream, raw = framed_and_raw()
    await stream.send([b"one", b"two"])
    assert await raw.receive_some() == frame(b"one") + frame(b"two")


async def test_a_part_of_a_frame_is_told_as_progress() -> None:
    stream, raw = framed_and_raw()
    await raw.send_all(frame(b"payload")[:5])
    assert await stream.receive() == []
    await raw.send_all(frame(b"payload")[5:])
    assert await stream.receive() == [b"payload"]


async def test_the_greeting_has_a_tight_limit_later_frames_a_wide_one() -> None:
    stream, raw = framed_and_raw()
    await raw.send_all(frame(b"hello") + frame(b"x" * (GREETING_BYTES_MAX + 1)))
    await raw.send_eof()
    assert [len(payload) for payload in await received(stream)] == [5, GREETING_BYTES_MAX + 1]
    stream, raw = framed_and_raw()
    await raw.send_all((GREETING_BYTES_MAX + 1).to_bytes(4, "big"))
    with pytest.raises(ProtocolError, match=f"1 to {GREETING_BYTES_MAX}"):
        await stream.receive()


async def test_an_oversized_frame_is_refused_by_its_length_alone() -> None:
    stream, raw = framed_and_raw()
    await raw.send_all(frame(b"hello") + (FRAME_BYTES_MAX + 1).to_bytes(4, "big"))
    with pytest.raises(ProtocolError, match=f"a frame of {FRAME_BYTES_MAX + 1} bytes"):
        await received(stream)


@pytest.mark.parametrize("kept", [1, 3, 4, 8])
async def test_a_stream_that_ends_within_a_frame_is_refused(kept: int) -> None:
    stream, raw = framed_and_raw()
    await raw.send_all(frame(b"hello") + frame(b"payload")[:kept])
    await raw.send_eof()
    assert await stream.receive() == [b"hello"]
    with pytest.raises(ProtocolError, match="in the midst of a frame"):
        await stream.receive()


async def test_rubbish_is_refused() -> None:
    stream, raw = framed_and_raw()
    await raw.send_all(b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n")
    with pytest.raises(ProtocolError, match="another protocol"):
        await stream.receive()


async def test_a_peer_that_stops_reading_is_given_up_after_a_time(
    autojump_clock: trio.testing.MockClock,
) -> None:
    ours, _ = trio.testing.lockstep_stream_pair()
    stream = FramedStream(ours, REMOTE, patience=30.0)
    begin = trio.current_time()
    with pytest.raises(PeerError, match="has read nothing for 30 s"):
        await stream.send([b"payload"])
    assert trio.current_time() - begin == pytest.approx(30.0)


async def test_a_slow_reader_that_makes_progress_is_not_given_up(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "SEND_BYTES", 10)
    ours, theirs = trio.testing.lockstep_stream_pair()
    stream = FramedStream(ours, REMOTE, patience=30.0)
    payload = b"x" * 96

    async def read_slowly() -> bytes:
        data = b""
        while len(data) < len(payload) + 4:
            await trio.sleep(20)
            data += await theirs.receive_some(10)
        return data

    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.send, [payload])
        assert await read_slowly() == frame(payload)
    assert trio.current_time() >= 200


async def test_what_was_sent_last_arrives_although_the_other_side_still_sends() -> None:
    """Closing a TCP socket that has unread data resets it, which eats the farewell."""
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    client = await trio.open_tcp_stream("127.0.0.1", port)
    stream = FramedStream(await listeners[0].accept(), REMOTE, patience=30.0)
    await client.send_all(frame(b"unread") * 1000)
    await stream.send([b"farewell"])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.aclose)
        data = b""
        while more := await client.receive_some():
            data += more
        await client.aclose()
    assert data == frame(b"farewell")
    await listeners[0].aclose()


async def test_closing_waits_only_a_moment_for_a_peer_that_does_not_close(
    autojump_clock: trio.testing.MockClock,
) -> None:
    stream, raw = framed_and_raw()
    await stream.aclose()
    assert trio.current_time() <= transport.FAREWELL_SECONDS + 1
    assert await raw.receive_some() == b""


async def test_a_lost_connection_says_so() -> None:
    stream, raw = framed_and_raw()
    await raw.aclose()
    with pytest.raises(PeerError, match="lost while sending"):
        await stream.send([b"payload"])
    await stream.aclose_forcefully()
    with pytest.raises(PeerError, match="closed on this side"):
        await stream.receive()
