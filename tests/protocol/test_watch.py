"""Two sides of a conversation compare digests, whoever asks, whatever comes in between (R16)."""

from collections.abc import Iterator

import pytest

from replicator.core.known import KnownSet
from replicator.errors import ProtocolError
from replicator.protocol.comparison import DigestTaken, TakeDigest
from replicator.protocol.digests import Digests
from replicator.protocol.effects import Effect, Report, Send
from replicator.protocol.messages import Digest
from replicator.protocol.pulls import Pulls
from replicator.protocol.watch import Watch, known_hash
from tests.protocol.samples import ME, PEER, known

NOTHING = KnownSet()
SAME = known(me=3, peer=4)
HERE, THERE = b"h" * 16, b"t" * 16


class Side:
    """One side under test."""

    def __init__(self, origin: int, peer: int, moment_ms: int) -> None:
        self.out: list[Effect] = []
        self.pulls = Pulls(10)
        self.digests = Digests(60, lambda: 0.0)
        self.watch = Watch(origin, self.pulls, self.digests, lambda: moment_ms, self.out.append)
        self.watch.met(peer, 0)

    def ask(self) -> None:
        self.watch.ask(SAME, NOTHING, 0)

    def hears(self, other: "Side") -> None:
        """All that the other side has said so far."""
        for message in other.said():
            self.watch.take(message, 0)

    def said(self) -> Iterator[Digest]:
        for effect in list(self.out):
            if isinstance(effect, Send):
                assert isinstance(effect.message, Digest)
                self.out.remove(effect)
                yield effect.message

    def computes(
        self, digest: bytes = HERE, mine: KnownSet = SAME, *, is_settled: bool = True
    ) -> int:
        """Every digest that is asked for is computed; the moment of the last one."""
        moment = 0
        while takes := [effect for effect in self.out if isinstance(effect, TakeDigest)]:
            assert len(takes) == 1, "one at a time"
            self.out.remove(takes[0])
            moment = takes[0].moment_ms
            self.watch.taken(DigestTaken(mine, NOTHING, digest, is_settled), 0)
        return moment

    def kinds(self) -> list[str]:
        return [effect.kind for effect in self.out if isinstance(effect, Report)]


def sides() -> tuple[Side, Side]:
    return Side(ME, PEER, 1000), Side(PEER, ME, 2000)


def test_equal_ones() -> None:
    a, b = sides()
    a.ask()
    assert not a.watch.is_idle, "it stays until it knows"
    b.hears(a)
    assert b.computes() == 1000, "as of the asker's moment"
    a.hears(b)
    a.computes()
    b.hears(a)
    for side in (a, b):
        assert side.kinds() == ["compared"]
        assert side.watch.is_idle
        assert side.digests.compared == 1


def test_different_ones_are_seen_by_both_and_mended_by_both() -> None:
    a, b = sides()
    a.ask()
    b.hears(a)
    a.computes(HERE)
    b.computes(THERE)
    a.hears(b)
    b.hears(a)
    for side in (a, b):
        assert side.kinds() == ["differs"]
        assert side.watch.mends == 1000
        assert not side.watch.is_idle


def test_questions_that_cross() -> None:
    """That of the smaller origin counts, whatever was computed first."""
    a, b = sides()
    a.ask()
    b.ask()
    b.hears(a)
    a.hears(b)
    assert b.computes() == 1000, "what it computed for its own question is of no use"
    assert a.computes() == 1000
    a.hears(b)
    b.hears(a)
    for side in (a, b):
        assert side.kinds() == ["compared"]
        assert side.watch.is_idle


def undecided(a: Side, b: Side) -> None:
    a.hears(b)
    b.hears(a)
    for side in (a, b):
        assert side.kinds() == []
        assert side.watch.is_idle
        assert 0 < side.digests.due(PEER if side is a else ME) <= 60 / 16 + 60 / 60


def test_what_was_written_meanwhile() -> None:
    a, b = sides()
    a.ask()
    b.hears(a)
    a.computes()
    b.computes(THERE, known(me=3, peer=5))
    undecided(a, b)


def test_a_cut_full_state_round() -> None:
    a, b = sides()
    a.ask()
    b.hears(a)
    a.computes()
    b.computes(THERE, is_settled=False)
    undecided(a, b)


@pytest.mark.parametrize("when", ["before", "meanwhile", "meanwhile, and over"])
def test_a_digest_says_nothing_if_something_is_applied(when: str) -> None:
    a, b = sides()
    a.ask()
    if when == "before":
        b.pulls.begin_apply(7)
    b.hears(a)
    if when != "before":
        assert b.pulls.begin_apply(7)
    if when == "meanwhile, and over":
        b.pulls.end_apply(7)
    b.computes(THERE)
    a.computes()
    undecided(a, b)


def test_nobody_asks_in_the_middle_of_a_round() -> None:
    a, _ = sides()
    a.pulls.exclusive(7)
    a.ask()
    assert a.out == []
    assert a.digests.due(PEER) > 0


def test_hashes_tell_known_from_closed() -> None:
    assert known_hash(SAME, NOTHING) == known_hash(SAME.copy(), NOTHING)
    assert known_hash(SAME, NOTHING) != known_hash(NOTHING, SAME)
    assert known_hash(known(me=3), known(peer=4)) != known_hash(SAME, NOTHING)


def test_answers_that_nobody_asked_for() -> None:
    a, b = sides()
    with pytest.raises(ProtocolError, match="nobody asked"):
        a.watch.take(Digest("answer", 1, 1000, HERE, HERE), 0)
    a.ask()
    for number, moment_ms in ((2, 1000), (1, 999)):
        with pytest.raises(ProtocolError, match="nobody asked"):
            a.watch.take(Digest("answer", number, moment_ms, HERE, HERE), 0)
    b.hears(a)
    with pytest.raises(ProtocolError, match="before the last one was told"):
        b.watch.take(Digest("ask", 2, 5, b"", b""), 0)
