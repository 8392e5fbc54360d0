"""The serve half: one round, one chunk at a time, from one snapshot that is always closed."""

import pytest
from hypothesis import given

from replicator.config import FRAME_BYTES_MAX, KEY_BYTES_MAX, VALUE_BYTES_MAX
from replicator.core.chunk import Chunk
from replicator.core.dots import SEQ_MAX
from replicator.core.known import KnownSet
from replicator.errors import PeerRefusedError, ProtocolError, UsageError
from replicator.protocol.codec import encode
from replicator.protocol.effects import (
    ChunkRead,
    CloseSource,
    Effect,
    OpenSource,
    ReadChunk,
    Report,
    Send,
    SourceOpened,
)
from replicator.protocol.messages import Begin, End, Records, Want
from replicator.protocol.serving import ServeHalf, check_size, frame_bytes
from tests.protocol.samples import ME, chunk, chunks, known

NOTHING = KnownSet()


class Serve:
    """A serve half under test; every call returns the effects that it brought about."""

    def __init__(self) -> None:
        self.out: list[Effect] = []
        self.half = ServeHalf(self.out.append)

    def want(self, wanted: KnownSet | None = None, number: int = 1) -> list[Effect]:
        self.half.want(Want(number, wanted))
        return self.taken()

    def opened(
        self, mine: KnownSet, peer_known: KnownSet, floor: dict[int, int] | None = None
    ) -> list[Effect]:
        self.half.opened(SourceOpened(mine, floor or {}), peer_known, KnownSet())
        return self.taken()

    def read(self, part: Chunk | None) -> list[Effect]:
        self.half.chunk_read(ChunkRead(part))
        return self.taken()

    def taken(self) -> list[Effect]:
        out = self.out[:]
        self.out.clear()
        return out


def test_a_round() -> None:
    serve = Serve()
    wanted = known(me=4).union(known(me=(6, SEQ_MAX)))
    assert serve.want(wanted, number=7) == [OpenSource()]
    lack = known(me=(3, 4)).union(known(me=(6, 9)))
    assert serve.opened(known(me=9, peer=2), known(me=2, peer=9)) == [
        Send(Begin(7, known(me=9, peer=2), {}, False)),
        ReadChunk(lack),
    ]
    one, other = chunk(b"a", b"b"), chunk(b"c")
    assert serve.read(one) == [Send(Records(7, one)), ReadChunk(lack)]
    assert serve.read(other) == [Send(Records(7, other)), ReadChunk(lack)]
    assert serve.read(None) == [
        CloseSource(),
        Send(End(7)),
        Report("served", records=3, size_bytes=one.size_bytes + other.size_bytes),
    ]
    assert serve.half.is_idle
    assert serve.want(number=8) == [OpenSource()]
    serve.opened(known(me=9), known(me=9))
    assert serve.read(None)[-1] == Report("served"), "counted from the start"


def test_a_peer_below_the_floor_gets_everything() -> None:
    serve = Serve()
    serve.want(known(me=1))
    assert serve.opened(known(me=9), known(me=3), {ME: 4}) == [
        Send(Begin(1, known(me=9), {ME: 4}, True)),
        ReadChunk(None),
    ]
    assert serve.read(None)[-1] == Report("served", full=True)


def test_a_peer_at_the_floor_gets_what_it_lacks() -> None:
    serve = Serve()
    serve.want()
    assert serve.opened(known(me=9), known(me=4), {ME: 4})[-1] == ReadChunk(known(me=(5, 9)))


def test_a_gap_below_the_floor_counts() -> None:
    serve = Serve()
    serve.want()
    peer_known = known(me=2).union(known(me=(4, 9)))
    assert serve.opened(known(me=9), peer_known, {ME: 4})[-1] == ReadChunk(None)


def test_an_empty_chunk_is_not_sent() -> None:
    serve = Serve()
    serve.want()
    serve.opened(known(me=1), NOTHING)
    assert serve.read(Chunk()) == [ReadChunk(known(me=1))]


def test_a_second_question_during_a_round_is_refused() -> None:
    serve = Serve()
    serve.want()
    with pytest.raises(ProtocolError, match="Want"):
        serve.want(number=2)
    serve.opened(known(me=1), NOTHING)
    with pytest.raises(ProtocolError, match="Want"):
        serve.want(number=2)


def test_what_a_peer_would_refuse_is_not_sent() -> None:
    serve = Serve()
    serve.want()
    serve.opened(known(me=1), NOTHING)
    fits = Chunk({}, [b"k"], [b"r"], [], FRAME_BYTES_MAX - frame_bytes(Chunk()))
    assert Send(Records(1, fits)) in serve.read(fits)
    too_large = Chunk({}, [b"the key"], [b"r"], [], fits.size_bytes + 1)
    with pytest.raises(PeerRefusedError, match="under key b'the key' is larger than a frame"):
        serve.read(too_large)
    assert serve.taken() == []


def test_keys_and_values_have_the_length_that_a_peer_takes() -> None:
    largest = Chunk({}, [b"other", b"k" * KEY_BYTES_MAX], [b"r"] * 2, [b"v" * VALUE_BYTES_MAX], 0)
    largest.size_bytes = 2 * VALUE_BYTES_MAX
    check_size(largest)
    largest.values[0] += b"v"
    with pytest.raises(PeerRefusedError, match=r"a value is longer .* one of b'other', b'kkkk"):
        check_size(largest)
    largest.keys[1] += b"k"
    with pytest.raises(PeerRefusedError, match=r"key b'k{64}'… is longer"):
        check_size(largest)


@given(chunks())
def test_a_message_is_no_larger_than_was_reckoned(part: Chunk) -> None:
    assert len(encode(Records(2**63 - 1, part))) <= frame_bytes(part)


def test_nor_is_one_of_the_largest_parts() -> None:
    part = Chunk(dict.fromkeys(range(2**32 - 70000, 2**32), ME))
    for key in (b"a", b"b"):
        part.append(key, b"r" * 2**16, [b"v" * 2**16] * 3)
    assert len(encode(Records(1, part))) <= frame_bytes(part)


@pytest.mark.parametrize("steps", [0, 1, 2])
def test_a_source_is_closed_exactly_if_it_was_opened(steps: int) -> None:
    serve = Serve()
    if steps:
        serve.want()
    if steps > 1:
        serve.opened(known(me=1), NOTHING)
    serve.half.abandon()
    assert serve.taken() == ([CloseSource()] if steps else [])


def test_an_answer_that_was_not_asked_for_is_a_mistake_of_ours() -> None:
    serve = Serve()
    with pytest.raises(UsageError):
        serve.opened(NOTHING, NOTHING)
    for part in (None, chunk(b"k")):
        with pytest.raises(UsageError):
            serve.read(part)
