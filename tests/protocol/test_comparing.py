"""The receiver of a round that compares: what it asks, what it applies, and what it refuses."""

from collections.abc import Sequence

import pytest

from replicator.config import (
    CHUNK_BYTES,
    COMPARE_KEYS,
    COMPARE_PARTS,
    COMPARES_AHEAD_MAX,
    QUEUE_CHUNKS_MAX,
)
from replicator.core.compare import EQUAL, RECORDS, SPLIT, Key, Part, Range, Stretch
from replicator.errors import ProtocolError
from replicator.protocol.comparing import STRETCHES_AT_ONCE, Comparing
from replicator.protocol.comparison import Scan, Scanned
from replicator.protocol.effects import Effect, Send
from replicator.protocol.messages import Compare
from tests.protocol.samples import chunk

PRINT = b"f" * 16


class Receiver:
    """One round under test; every call returns the effects that it brought about."""

    def __init__(self) -> None:
        self.out: list[Effect] = []
        self.round = Comparing(3, None, self.out.append)

    def scan(self) -> list[Effect]:
        self.round.scan()
        return self.taken()

    def scanned(self, *parts: Part, left: Sequence[Stretch] = ()) -> list[Effect]:
        self.round.scanned(Scanned(parts, tuple(left)))
        return self.taken()

    def pieces(self) -> list[tuple[list[bytes], Key, Key]]:
        """What is to be applied, all of it."""
        found = []
        while self.round.has_pieces:
            found += [(one.chunk.keys, one.after, one.upto) for one in self.round.take()]
        return found

    def taken(self) -> list[Effect]:
        out = self.out[:]
        self.out.clear()
        return out


def part(after: Key, *ranges: tuple[Key, int]) -> Part:
    return Part(after, tuple(Range(upto, count, PRINT) for upto, count in ranges))


ALL = Stretch(None, None, COMPARE_KEYS)


def test_a_round_of_everything() -> None:
    """Equal ranges are left out, records of the others come in pieces, and what is split is
    compared first."""
    receiver = Receiver()
    assert receiver.scan() == [Scan((ALL,), None)]
    assert receiver.scan() == [], "one scan at a time"
    first = part(None, (b"c", 40), (b"f", 3), (b"i", 2))
    rest = Stretch(b"i", None, COMPARE_KEYS)
    assert receiver.scanned(first, left=[rest]) == [Send(Compare(3, (first,)))]
    assert receiver.scan() == [Scan((rest,), None)], "while the peer looks at the first"
    last = part(b"i", (None, 7))
    receiver.scanned(last)
    receiver.round.judged(bytes([SPLIT, EQUAL, RECORDS]))
    assert receiver.scan() == [Scan((Stretch(None, b"c", 3),), None)]
    receiver.round.records(chunk(b"g"))
    assert receiver.pieces() == [], "it may be the last of its run"
    receiver.round.records(chunk(b"h"))
    assert receiver.pieces() == [([b"g"], b"f", b"g")]
    receiver.scanned(part(None, (b"c", 2)))
    receiver.round.judged(bytes([RECORDS]))
    assert receiver.pieces() == [([b"h"], b"g", b"i")]
    assert receiver.round.waits_for_peer
    receiver.round.judged(bytes([EQUAL]))
    assert receiver.pieces() == [([], b"i", None)], "the peer has nothing there"
    receiver.round.end()
    assert receiver.pieces() == []


def test_a_run_goes_over_neighbouring_ranges_only() -> None:
    receiver = Receiver()
    receiver.scan()
    receiver.scanned(part(None, (b"c", 1), (b"f", 1)), part(b"k", (b"m", 1)))
    receiver.round.judged(bytes([RECORDS, RECORDS]))
    receiver.round.judged(bytes([RECORDS]))
    receiver.round.end()
    assert receiver.pieces() == [([], None, b"f"), ([], b"k", b"m")]
    receiver = Receiver()
    receiver.scan()
    receiver.scanned(part(None, (b"c", 1)), part(b"k", (b"m", 1)))
    with pytest.raises(ProtocolError, match="do not follow one another"):
        receiver.round.judged(bytes([RECORDS, RECORDS]))


def test_split_stretches_go_together_and_smaller_every_time() -> None:
    receiver = Receiver()
    receiver.scan()
    count = STRETCHES_AT_ONCE + 2
    bounds = [b"%03d" % number for number in range(count)]
    receiver.scanned(part(None, *[(bound, COMPARE_KEYS) for bound in bounds]))
    receiver.round.judged(bytes([SPLIT] * count))
    (scan,) = receiver.scan()
    assert isinstance(scan, Scan)
    assert len(scan.stretches) == STRETCHES_AT_ONCE
    assert {one.step for one in scan.stretches} == {COMPARE_KEYS // COMPARE_PARTS}
    step = COMPARE_KEYS
    while step > 1:
        receiver = Receiver()
        receiver.scan()
        receiver.scanned(part(None, (None, step)))
        receiver.round.judged(bytes([SPLIT]))
        (scan,) = receiver.scan()
        assert isinstance(scan, Scan)
        assert scan.stretches[0].step < step
        step = scan.stretches[0].step


def test_no_more_is_asked_than_may_wait() -> None:
    receiver = Receiver()
    for number in range(COMPARES_AHEAD_MAX):
        assert receiver.scan()
        bounds = b"%d" % number, b"%d" % (number + 1)
        receiver.scanned(part(bounds[0], (bounds[1], 1)), left=[Stretch(bounds[1], None, 9)])
    assert receiver.scan() == []
    assert receiver.round.waits_for_peer
    receiver.round.judged(bytes([EQUAL]))
    assert receiver.scan()


def test_no_more_is_read_than_may_wait() -> None:
    receiver = Receiver()
    receiver.scan()
    receiver.scanned(part(None, (None, 1)))
    receiver.round.judged(bytes([RECORDS]))
    number = 0
    while receiver.round.has_room:
        receiver.round.records(chunk(b"%05d" % number, size=CHUNK_BYTES // 2))
        number += 1
        assert number <= 2 * QUEUE_CHUNKS_MAX + 2
    assert len(receiver.round.take()) == 1, "about one chunk at a time"
    assert receiver.round.has_room or number == 0 or receiver.round.take()
    receiver.round.abandon()
    assert receiver.round.has_room
    assert not receiver.round.has_pieces


def asked(*ranges: tuple[Key, int]) -> Comparing:
    """A round of which these ranges were sent."""
    receiver = Receiver()
    receiver.scan()
    receiver.scanned(part(None, *ranges))
    return receiver.round


def test_verdicts_that_were_not_asked_for() -> None:
    for verdicts in (b"\0\0", b"\0\0\0"):
        with pytest.raises(ProtocolError, match="nobody asked"):
            asked((None, 5)).judged(verdicts)
    done = asked((None, 5))
    done.judged(bytes([EQUAL]))
    with pytest.raises(ProtocolError, match="nobody asked"):
        done.judged(bytes([EQUAL]))


def test_a_verdict_ends_with_its_run() -> None:
    with pytest.raises(ProtocolError, match="goes on behind"):
        asked((b"b", 5), (None, 5)).judged(bytes([RECORDS, EQUAL]))


def test_nothing_can_be_split_for_ever() -> None:
    for count in (0, 1):
        with pytest.raises(ProtocolError, match="cannot be split"):
            asked((None, count)).judged(bytes([SPLIT]))


def test_records_belong_to_a_run_and_are_in_order() -> None:
    with pytest.raises(ProtocolError, match="without a Verdict"):
        asked((None, 5)).records(chunk(b"k"))
    for keys in ((b"b",), (b"d", b"c"), (b"c", b"c"), (b"c", b"n")):
        round_ = asked((b"b", 5), (b"m", 5), (None, 5))
        round_.judged(bytes([EQUAL, RECORDS]))
        with pytest.raises(ProtocolError, match="not in key order"):
            round_.records(chunk(*keys))
    round_ = asked((None, 5))
    round_.judged(bytes([RECORDS]))
    round_.records(chunk(b"c"))
    with pytest.raises(ProtocolError, match="not in key order"):
        round_.records(chunk(b"c"))


def test_a_round_ends_when_everything_was_compared() -> None:
    early = asked((None, 5))
    with pytest.raises(ProtocolError, match="before everything was compared"):
        early.end()
    split = asked((None, 5))
    split.judged(bytes([SPLIT]))
    with pytest.raises(ProtocolError, match="before everything was compared"):
        split.end()
