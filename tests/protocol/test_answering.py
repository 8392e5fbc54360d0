"""The server of a round that compares: whatever a receiver asks, it covers every key once."""

import pytest

from replicator.config import COMPARE_OPEN_MAX, COMPARE_RANGES_MAX
from replicator.core.compare import EQUAL, RECORDS, SPLIT, Key, Part, Range
from replicator.errors import ProtocolError
from replicator.protocol.answering import WAITING_MAX, Answering
from replicator.protocol.comparison import ReadAnswer
from replicator.protocol.effects import Effect

PRINT = b"f" * 16


def part(after: Key, *uptos: Key) -> Part:
    return Part(after, tuple(Range(upto, 9, PRINT) for upto in uptos))


class Server:
    """One round under test."""

    def __init__(self) -> None:
        self.out: list[Effect] = []
        self.round = Answering(None, self.out.append)

    def answer(self, *verdicts: int) -> None:
        """The source has answered all that was asked first."""
        self.round.judged(bytes(verdicts))
        self.round.answered()


def test_everything_is_compared_once() -> None:
    server = Server()
    first, second = (part(None, b"c", b"f"),), (part(b"f", None),)
    server.round.compare(first)
    server.round.compare(second)
    assert server.out == [ReadAnswer(first, None)], "one after the other"
    server.answer(EQUAL, SPLIT)
    assert server.out == [ReadAnswer(first, None), ReadAnswer(second, None)]
    server.answer(RECORDS)
    assert not server.round.is_done
    server.round.compare((part(b"c", b"d", b"f"),))
    server.answer(EQUAL, EQUAL)
    assert server.round.is_done


@pytest.mark.parametrize(
    ("parts", "what"),
    [
        ((part(b"a", None),), "not open"),
        ((part(None, b"b"), part(None, b"c")), "not open"),
        ((part(None, b"b", b"b"),), "key order"),
        ((part(None, b"c", b"b"),), "key order"),
        ((part(None, None, b"b"),), "key order"),
        ((part(None, b"b"), part(b"b", None), part(b"c", None)), "not open"),
    ],
)
def test_ranges_out_of_place(parts: tuple[Part, ...], what: str) -> None:
    with pytest.raises(ProtocolError, match=what):
        Server().round.compare(parts)


@pytest.mark.parametrize("uptos", [(b"g",), (None,), (b"d", b"g"), (b"d", None)])
def test_what_was_split_is_compared_within_its_bounds(uptos: tuple[Key, ...]) -> None:
    server = Server()
    server.round.compare((part(None, b"c", b"f", None),))
    server.answer(EQUAL, SPLIT, EQUAL)
    with pytest.raises(ProtocolError):
        server.round.compare((part(b"c", *uptos),))


def test_a_receiver_that_asks_too_much() -> None:
    server = Server()
    for number in range(WAITING_MAX):
        server.round.compare((part(b"%d" % number if number else None, b"%d" % (number + 1)),))
    with pytest.raises(ProtocolError, match="than may wait"):
        server.round.compare((part(b"%d" % WAITING_MAX, None),))


def test_a_receiver_that_leaves_too_much_open() -> None:
    server = Server()
    after: Key = None
    with pytest.raises(ProtocolError, match="left to be compared"):
        for number in range(COMPARE_OPEN_MAX):
            bounds = [b"%08d" % (number * 1000 + place) for place in range(COMPARE_RANGES_MAX)]
            server.round.compare((part(after, *bounds),))
            after = bounds[-1]
            server.answer(*[SPLIT] * len(bounds))
