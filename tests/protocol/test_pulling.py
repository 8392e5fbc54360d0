"""The pull half: rounds small, large and full, one piece at a time, in bounded queues."""

from math import inf

import pytest

from replicator.config import QUEUE_CHUNKS_MAX
from replicator.core.chunk import Chunk
from replicator.core.known import KnownSet
from replicator.errors import ProtocolError, UsageError
from replicator.protocol.effects import (
    Applied,
    Apply,
    ApplyFull,
    Effect,
    Finish,
    PokeOthers,
    Report,
    Send,
)
from replicator.protocol.messages import Begin, End, Records, Want
from replicator.protocol.pulling import STALL_TIMEOUTS, PullHalf
from replicator.protocol.pulls import Pulls
from tests.protocol.samples import PEER, SETTINGS, THIRD, chunk, known

NOTHING = KnownSet()
THEIRS = known(peer=9)
FLOOR = {THIRD: 4}
LARGE = SETTINGS.atomic_round_bytes + 1


class Pull:
    """A pull half under test; every call returns the effects that it brought about."""

    def __init__(self, pulls: Pulls | None = None, conversation_id: int = 1) -> None:
        self.out: list[Effect] = []
        self.known = KnownSet()
        self.pulls = pulls or Pulls(SETTINGS.reask_timeout)
        self.half = PullHalf(
            conversation_id, self.pulls, SETTINGS, lambda: self.known.copy(), self.out.append
        )

    def ask(self, theirs: KnownSet = THEIRS) -> list[Effect]:
        self.half.ask(PEER, theirs, self.known, now=0)
        return self.taken()

    def begin(self, full: bool = False) -> list[Effect]:
        self.ask()
        self.half.begin(Begin(1, THEIRS, FLOOR, full), now=0)
        return self.taken()

    def records(self, *keys: bytes, size: int = 0) -> list[Effect]:
        self.half.records(Records(1, chunk(*keys, size=size)), now=0)
        return self.taken()

    def end(self) -> list[Effect]:
        self.half.end(End(1), now=0)
        return self.taken()

    def applied(self, records: int = 0, changed: int = 0) -> list[Effect]:
        self.half.applied(Applied(records, changed), now=0)
        return self.taken()

    def advance(self) -> list[Effect]:
        self.half.advance()
        return self.taken()

    def taken(self) -> list[Effect]:
        out = self.out[:]
        self.out.clear()
        return out


def begun(full: bool = False) -> Pull:
    pull = Pull()
    assert pull.begin(full) == []
    return pull


# Log rounds


def test_a_small_round_is_applied_at_once_with_its_claim() -> None:
    pull = begun()
    assert pull.records(b"a") == []
    assert pull.records(b"b") == []
    whole = chunk(b"a", b"b")
    assert pull.end() == [Finish(whole, THEIRS, THEIRS, FLOOR)]
    assert pull.applied(2, 1) == [
        Report("round", records=2, changed=1, size_bytes=whole.size_bytes),
        PokeOthers(),
    ]
    assert pull.half.is_idle


def test_joined_chunks_keep_columns_and_numbers() -> None:
    pull = begun()
    one, other = chunk(b"a", size=5, number=1), chunk(b"b", size=6, number=2, origin=THIRD)
    for part in (one, other):
        pull.half.records(Records(1, part), now=0)
    (finish,) = pull.end()
    assert isinstance(finish, Finish)
    assert finish.chunk == Chunk(
        {**one.origins, **other.origins},
        [b"a", b"b"],
        one.rows + other.rows,
        one.values + other.values,
        one.size_bytes + other.size_bytes,
    )


def test_an_empty_round_is_a_claim() -> None:
    pull = begun()
    assert pull.end() == [Finish(Chunk(), THEIRS, THEIRS, FLOOR)]


def test_a_round_of_just_the_limit_is_applied_at_once() -> None:
    size = SETTINGS.atomic_round_bytes - chunk(b"k").size_bytes
    pull = begun()
    assert pull.records(b"k", size=size) == []
    pull = begun()
    assert pull.records(b"k", size=size + 1) == [Apply(chunk(b"k", size=size + 1), THEIRS)]


def test_a_large_round_is_applied_piece_by_piece() -> None:
    a, b, c = (chunk(key, size=LARGE) for key in (b"a", b"b", b"c"))
    pull = begun()
    assert pull.records(b"a", size=LARGE) == [Apply(a, THEIRS)]
    assert pull.records(b"b", size=LARGE) == [], "one at a time"
    assert pull.records(b"c", size=LARGE) == []
    assert pull.end() == []
    assert pull.applied(1, 1) == [Apply(b, THEIRS)]
    assert pull.applied(1, 1) == [Finish(c, THEIRS, THEIRS, FLOOR)], "the claim comes last"
    assert pull.applied(1, 0) == [
        Report("round", records=3, changed=2, size_bytes=3 * a.size_bytes),
        PokeOthers(),
    ]


def test_a_large_round_of_which_everything_is_applied_before_its_end() -> None:
    pull = begun()
    pull.records(b"a", size=LARGE)
    assert pull.applied(1, 1) == []
    assert pull.end() == [Finish(Chunk(), THEIRS, THEIRS, FLOOR)]


def test_what_was_collected_before_the_round_grew_comes_first() -> None:
    pull = begun()
    pull.records(b"small")
    assert pull.records(b"large", size=LARGE) == [Apply(chunk(b"small"), THEIRS)]
    assert pull.applied(1, 1) == [Apply(chunk(b"large", size=LARGE), THEIRS)]


# Full-state rounds (R9)


def test_a_full_round_covers_all_keys_range_by_range() -> None:
    pull = begun(full=True)
    assert pull.records(b"b", b"d") == [], "it may be the last"
    assert pull.records(b"f") == [ApplyFull(chunk(b"b", b"d"), THEIRS, FLOOR, None, b"d")]
    assert pull.records(b"h") == []
    assert pull.applied(2, 2) == [ApplyFull(chunk(b"f"), THEIRS, FLOOR, b"d", b"f")]
    assert pull.end() == []
    assert pull.applied(1, 0) == [ApplyFull(chunk(b"h"), THEIRS, FLOOR, b"f", None)]
    assert pull.applied(1, 0) == [Finish(Chunk(), THEIRS, THEIRS, FLOOR, full=True)]
    assert pull.applied()[0] == Report(
        "round",
        records=4,
        changed=2,
        size_bytes=chunk(b"b", b"d", b"f", b"h").size_bytes,
        full=True,
    )


def test_a_full_round_of_one_chunk_covers_everything() -> None:
    pull = begun(full=True)
    pull.records(b"k")
    assert pull.end() == [ApplyFull(chunk(b"k"), THEIRS, FLOOR, None, None)]


def test_a_full_round_without_records_covers_everything_too() -> None:
    pull = begun(full=True)
    assert pull.end() == [ApplyFull(Chunk(), THEIRS, FLOOR, None, None)]
    assert pull.applied() == [Finish(Chunk(), THEIRS, THEIRS, FLOOR, full=True)]


def test_a_full_round_claims_whatever_was_withheld() -> None:
    """It leaves nothing out."""
    pull = Pull()
    pull.pulls.plan(2, PEER, known(third=1), NOTHING, now=0)
    pull.pulls.promised(2, known(third=1))
    (send,) = pull.ask()
    assert isinstance(send, Send)
    assert isinstance(send.message, Want)
    assert send.message.wanted is not None
    pull.half.begin(Begin(1, THEIRS, FLOOR, True), now=0)
    pull.end()
    assert pull.applied() == [Finish(Chunk(), THEIRS, THEIRS, FLOOR, full=True)]


def test_after_a_cut_a_full_round_begins_at_the_first_key() -> None:
    pulls = Pulls(SETTINGS.reask_timeout)
    first = Pull(pulls)
    first.begin(full=True)
    first.records(b"b")
    first.records(b"d")
    pulls.finished(1)
    again = Pull(pulls, conversation_id=2)
    again.begin(full=True)
    again.records(b"b")
    assert again.records(b"d") == [ApplyFull(chunk(b"b"), THEIRS, FLOOR, None, b"b")]


@pytest.mark.parametrize("keys", [[b"b", b"a"], [b"a", b"a"]])
def test_keys_of_a_full_round_are_in_order(keys: list[bytes]) -> None:
    with pytest.raises(ProtocolError, match="not in key order"):
        begun(full=True).records(*keys)
    pull = begun(full=True)
    pull.records(keys[0])
    with pytest.raises(ProtocolError, match="not in key order"):
        pull.records(keys[1])


def test_keys_of_a_log_round_come_in_any_order() -> None:
    assert begun().records(b"b", b"a") == []


# Turns


def test_while_a_full_round_is_open_nothing_else_is_applied() -> None:
    full = begun(full=True)
    log = Pull(full.pulls, conversation_id=2)
    log.known = known(peer=9)
    log.half.ask(PEER, known(peer=9, third=1), log.known, now=0)
    assert log.taken() == [], "nothing is asked that could not be applied"
    full.pulls.finished(1)
    log.half.ask(PEER, known(peer=9, third=1), log.known, now=0)
    log.half.begin(Begin(1, known(peer=9, third=1), {}, False), now=0)
    full.pulls.exclusive(1)
    log.half.records(Records(1, chunk(b"k")), now=0)
    log.taken()
    assert log.end() == []
    assert log.half.state == "log_ended"
    full.pulls.finished(1)
    assert log.advance() == [
        Finish(chunk(b"k"), known(peer=9, third=1), known(peer=9, third=1), {})
    ]


def test_a_full_round_waits_for_a_piece_of_another_and_is_told() -> None:
    log = begun()
    log.records(b"a", size=LARGE)
    full = Pull(log.pulls, conversation_id=2)
    full.half.ask(PEER, known(third=9), NOTHING, now=0)
    full.half.begin(Begin(1, known(third=9), {}, True), now=0)
    full.taken()
    assert full.end() == []
    assert log.records(b"b", size=LARGE) == []
    assert log.applied(1, 1) == [PokeOthers()], "the next piece has to wait"
    assert full.advance() == [ApplyFull(Chunk(), known(third=9), {}, None, None)]
    assert log.advance() == []


def test_two_full_rounds_one_after_the_other() -> None:
    one = Pull()
    two = Pull(one.pulls, conversation_id=2)
    one.ask()
    two.half.ask(PEER, known(third=9), NOTHING, now=0)
    one.half.begin(Begin(1, THEIRS, FLOOR, True), now=0)
    two.half.begin(Begin(1, known(third=9), {}, True), now=0)
    two.taken()
    assert two.end() == []
    one.end()
    one.applied()
    assert two.advance() == [], "not between two pieces"
    assert one.applied()[-1] == PokeOthers()
    assert two.advance() == [ApplyFull(Chunk(), known(third=9), {}, None, None)]


def test_a_ripe_claim_waits_for_its_turn() -> None:
    pull = Pull()
    pull.pulls.pend(known(peer=1), {}, known(third=1), now=0)
    pull.known = known(third=1)
    pull.pulls.exclusive(2)
    assert pull.advance() == []
    assert pull.pulls.pending == 1
    pull.pulls.finished(2)
    assert pull.advance() == [Finish(Chunk(), known(peer=1), known(peer=1), {})]
    assert pull.pulls.pending == 0
    assert pull.half.in_flight


def test_claims_that_are_not_ripe_take_no_turn() -> None:
    pull = Pull()
    pull.pulls.pend(known(peer=1), {}, known(third=1), now=0)
    assert pull.advance() == []
    assert pull.pulls.exclusive(2)


# Limits


def test_a_large_round_holds_a_bounded_queue() -> None:
    pull = begun()
    pull.records(b"first", size=LARGE)
    for number in range(QUEUE_CHUNKS_MAX):
        assert pull.half.wants_input
        pull.records(b"%d" % number, size=LARGE)
    assert not pull.half.wants_input
    pull.applied(1, 1)
    assert pull.half.wants_input


def test_a_full_round_holds_a_bounded_queue_while_it_waits_for_its_turn() -> None:
    pull = begun(full=True)
    pull.pulls.finished(1)
    pull.pulls.exclusive(2)
    for number in range(QUEUE_CHUNKS_MAX):
        assert pull.half.wants_input
        pull.records(b"%d" % number)
    assert not pull.half.wants_input


def test_a_small_round_is_bounded_by_its_bytes() -> None:
    pull = begun()
    while pull.half.wants_input and not pull.records(b"k"):
        assert pull.half.state == "log"
    assert pull.half.in_flight, "the round has grown large and is applied in pieces"


def test_nothing_is_kept_of_a_conversation_that_has_ended() -> None:
    pull = begun()
    for number in range(QUEUE_CHUNKS_MAX + 1):
        pull.records(b"%d" % number, size=LARGE)
    pull.half.abandon()
    assert pull.half.wants_input
    assert pull.half.in_flight, "what is being applied is not called back"


# Time


def test_a_peer_owes_the_next_message_of_a_round_and_nothing_else() -> None:
    patience = STALL_TIMEOUTS * SETTINGS.reask_timeout
    pull = Pull()
    half = pull.half
    assert half.stalled_at == inf
    half.ask(PEER, THEIRS, NOTHING, now=10)
    assert half.stalled_at == 10 + patience
    half.begin(Begin(1, THEIRS, FLOOR, False), now=20)
    assert half.stalled_at == 20 + patience
    half.records(Records(1, chunk(b"a")), now=30)
    assert half.stalled_at == 30 + patience
    half.heard(now=35)
    assert half.stalled_at == 35 + patience
    half.records(Records(1, chunk(b"b", size=LARGE)), now=40)
    assert half.stalled_at == inf, "it is this side that is busy"
    half.applied(Applied(1, 1), now=50)
    assert half.stalled_at == inf
    half.applied(Applied(1, 1), now=60)
    assert half.stalled_at == 60 + patience
    half.end(End(1), now=70)
    assert half.stalled_at == inf
    half.applied(Applied(0, 0), now=80)
    assert half.stalled_at == inf


def test_a_queue_that_is_full_is_not_the_peers_fault() -> None:
    pull = begun(full=True)
    pull.pulls.finished(1)
    pull.pulls.exclusive(2)
    for number in range(QUEUE_CHUNKS_MAX):
        assert pull.half.stalled_at < inf
        pull.records(b"%d" % number)
    assert pull.half.stalled_at == inf


def test_every_message_of_a_round_is_progress() -> None:
    pull = Pull()
    pull.ask()
    timeout = SETTINGS.reask_timeout
    for number, send in enumerate(
        [
            lambda now: pull.half.begin(Begin(1, THEIRS, FLOOR, False), now),
            lambda now: pull.half.records(Records(1, chunk(b"k")), now),
            lambda now: pull.half.end(End(1), now),
        ],
        start=1,
    ):
        assert pull.pulls.retry_at(2, now=1) == (number - 1) * 7 + timeout
        send(number * 7)
    assert pull.pulls.retry_at(2, now=1) == 21 + timeout


# Mistakes


def test_a_number_keeps_its_meaning_within_a_round() -> None:
    pull = begun()
    pull.records(b"a")
    with pytest.raises(ProtocolError, match="number 1 changes its meaning"):
        pull.half.records(Records(1, chunk(b"b", origin=THIRD)), now=0)


def test_a_snapshot_is_not_older_than_the_question() -> None:
    pull = Pull()
    pull.ask(known(peer=5))
    with pytest.raises(ProtocolError, match="lacks what was announced"):
        pull.half.begin(Begin(1, known(peer=4), {}, False), now=0)


def test_rounds_are_numbered() -> None:
    pull = begun()
    for message, take in [
        (Records(7, chunk(b"k")), pull.half.records),
        (End(7), pull.half.end),
    ]:
        with pytest.raises(ProtocolError, match="round 7 was not asked for"):
            take(message, now=0)  # type: ignore[operator]


def test_an_answer_that_was_not_asked_for_is_a_mistake_of_ours() -> None:
    with pytest.raises(UsageError):
        Pull().applied()
    pull = begun()
    pull.records(b"k", size=LARGE)
    pull.applied(1, 1)
    with pytest.raises(UsageError):
        pull.applied(1, 1)
