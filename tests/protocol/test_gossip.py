"""What two nodes tell each other of members: both end with the newest accounts, each account
crosses once, and who has nothing new says nothing."""

from collections import Counter, deque
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replicator.config import CHUNK_BYTES, MEMBERS_AT_ONCE_MAX, MEMBERS_MAX
from replicator.core.known import KnownSet
from replicator.core.members import FORGOTTEN, Member, Roster
from replicator.errors import ProtocolError
from replicator.protocol.codec import decode, encode
from replicator.protocol.effects import Effect, Learn, Send
from replicator.protocol.gossip import MEMBERS_TOLD_MAX, Gossip
from replicator.protocol.messages import Call, End, Members, Message, Ping, Pong, Revisions


def member(origin: int, revision: int = 1) -> Member:
    """An account that follows from origin and revision, as one author writes it."""
    if revision == FORGOTTEN:
        return Member(origin, 1, f"node {origin}").forgotten()
    return Member(origin, revision, f"node {origin}", said_ms=revision)


class Side:
    """One side of a conversation, carrying out the effects as a node does."""

    def __init__(self, *members: Member) -> None:
        self.roster = Roster(members)
        self.said: deque[Message] = deque()
        self.all_said: list[Message] = []
        self.learnt: list[Member] = []
        self._effects: deque[Effect] = deque()
        self.gossip = Gossip(self.roster, self._effects.append)

    def open(self) -> None:
        self.gossip.advance()
        self._carry_out()

    def take(self, message: Message) -> None:
        assert isinstance(message, Revisions | Call | Members)
        self.gossip.take(message)
        self._carry_out()

    def news(self, *members: Member) -> None:
        """Heard elsewhere."""
        for one in members:
            self.roster.take(one)
        self.open()

    def _carry_out(self) -> None:
        while self._effects:
            effect = self._effects.popleft()
            match effect:
                case Send(message):
                    assert decode(encode(message)) == message
                    self.said.append(message)
                    self.all_said.append(message)
                case Learn(members):
                    self.learnt += members
                    for one in members:
                        self.roster.take(one)
                    self.gossip.advance()
                case _:
                    raise AssertionError(effect)

    def crossed(self) -> Counter[tuple[int, int]]:
        """How often this side sent which account."""
        answers = [message for message in self.all_said if isinstance(message, Members)]
        return Counter((one.origin, one.revision) for answer in answers for one in answer.members)


def converse(a: Side, b: Side, first: int = 0) -> int:
    """Deliver until both are silent; how many messages that took."""
    sides = (a, b) if not first else (b, a)
    count = 0
    while any(side.said for side in sides):
        for side, other in (sides, sides[::-1]):
            if side.said:
                count += 1
                assert count < 1000, "they do not come to an end"
                other.take(side.said.popleft())
    return count


def met(a: Side, b: Side) -> int:
    a.open()
    b.open()
    return converse(a, b)


revisions = st.one_of(st.integers(0, 4), st.just(FORGOTTEN))
accounts = st.builds(member, st.integers(1, 6), revisions)
groups = st.lists(accounts, max_size=8)


@given(groups, groups)
def test_two_sides_end_with_the_newest_of_both(a: list[Member], b: list[Member]) -> None:
    one, other = Side(*a), Side(*b)
    newest = list(Roster([*a, *b]))
    messages = met(one, other)
    assert list(one.roster) == list(other.roster) == newest
    # Each tells what it knows, calls once, and is answered once, and tells what it has learnt.
    assert messages <= 8
    assert all(count == 1 for side in (one, other) for count in side.crossed().values())


@given(groups, groups, st.lists(st.tuples(st.booleans(), accounts, st.booleans()), max_size=8))
def test_news_that_come_at_any_moment_reach_the_other_side(
    a: list[Member], b: list[Member], news: list[tuple[bool, Member, bool]]
) -> None:
    one, other = Side(*a), Side(*b)
    one.open()
    other.open()
    for at_one, account, deliver in news:
        (one if at_one else other).news(account)
        if deliver:
            for side, peer in ((one, other), (other, one)):
                if side.said:
                    peer.take(side.said.popleft())
    converse(one, other)
    assert list(one.roster) == list(other.roster)
    assert all(count == 1 for side in (one, other) for count in side.crossed().values())


def test_who_knows_nobody_says_nothing() -> None:
    side = Side()
    side.open()
    assert not side.all_said


def test_nothing_is_said_twice() -> None:
    one, other = Side(member(1), member(2)), Side(member(2), member(3))
    met(one, other)
    before = len(one.all_said), len(other.all_said)
    for side in (one, other):
        side.open()
        side.open()
    assert converse(one, other) == 0
    assert (len(one.all_said), len(other.all_said)) == before


def test_equal_rosters_cost_one_message_each() -> None:
    one, other = Side(member(1), member(2)), Side(member(1), member(2))
    assert met(one, other) == 2
    assert not one.learnt
    assert not other.learnt


def test_what_came_from_the_peer_is_not_told_back() -> None:
    one, other = Side(member(1)), Side()
    met(one, other)
    assert [type(message) for message in other.all_said] == [Call]
    one.news(member(1, 2))
    converse(one, other)
    assert [type(message) for message in other.all_said] == [Call, Call]
    assert other.roster.revision(1) == 2


def test_a_change_is_told_as_a_change() -> None:
    one, other = Side(member(1), member(2)), Side()
    met(one, other)
    one.news(member(2, 5))
    assert one.said == deque([Revisions({2: 5})])


def test_what_was_learnt_elsewhere_meanwhile_is_not_called_for() -> None:
    one, other = Side(member(1, 3)), Side()
    one.open()
    other.roster.take(member(1, 3))
    other.take(one.said.popleft())
    assert not other.all_said


def test_the_peer_may_answer_with_a_newer_account_than_it_announced() -> None:
    one, other = Side(member(1, 3)), Side()
    one.open()
    other.take(one.said.popleft())
    one.roster.take(member(1, 4))
    converse(one, other)
    assert other.roster.revision(1) == 4
    one.open()
    converse(one, other)
    assert one.crossed() == {(1, 4): 1}


def test_an_account_that_was_sent_is_not_announced_as_well() -> None:
    one, other = Side(member(1, 3)), Side()
    one.open()
    other.take(one.said.popleft())
    one.roster.take(member(1, 4))
    converse(one, other)
    one.open()
    assert not one.said


def test_who_has_just_opened_waits_until_the_peer_has_what_it_lacks() -> None:
    one, other = Side(member(1)), Side(member(2))
    assert not one.gossip.is_waiting
    one.open()
    other.open()
    assert one.gossip.is_waiting
    assert other.gossip.is_waiting
    one.take(other.said.popleft())
    assert [type(message) for message in one.said] == [Revisions, Call]
    converse(one, other)
    assert not one.gossip.is_waiting
    assert not other.gossip.is_waiting


def test_what_is_said_of_members_keeps_open_who_waits_for_it() -> None:
    one, other = Side(member(1)), Side(member(1), member(2))
    answer = Members((member(2),))
    assert not one.gossip.keeps_open(answer)
    one.open()
    other.open()
    one.take(other.said.popleft())
    assert one.gossip.keeps_open(answer)
    assert not one.gossip.keeps_open(Ping())
    assert not one.gossip.keeps_open(Pong())
    converse(one, other)
    assert not one.gossip.keeps_open(answer)
    assert one.gossip.keeps_open(End(1))


def test_nobody_waits_where_both_know_the_same() -> None:
    one, other = Side(member(1)), Side(member(1))
    met(one, other)
    assert not one.gossip.is_waiting
    assert not other.gossip.is_waiting


def test_later_news_keep_nobody_waiting() -> None:
    """The peer may have them from elsewhere by now, and then says nothing."""
    one, other = Side(member(1)), Side(member(1))
    met(one, other)
    one.news(member(1, 2))
    assert not one.gossip.is_waiting


def test_a_peer_that_tells_of_ever_more_members_is_dropped() -> None:
    side = Side()
    told = range(0, MEMBERS_TOLD_MAX, MEMBERS_MAX)
    for first in told:
        side.take(Revisions(dict.fromkeys(range(first, first + MEMBERS_MAX), 0)))
    with pytest.raises(ProtocolError, match="more than"):
        side.take(Revisions({MEMBERS_TOLD_MAX: 0}))
    side = Side()
    with pytest.raises(ProtocolError, match="more than"):
        for first in range(0, MEMBERS_TOLD_MAX + 1, MEMBERS_AT_ONCE_MAX):
            members = (member(first + n) for n in range(MEMBERS_AT_ONCE_MAX))
            side.take(Members(tuple(members)))


def test_who_is_asked_about_a_stranger_leaves_it_out() -> None:
    side = Side(member(1))
    side.take(Call((1, 7)))
    assert side.said == deque([Members((member(1),))])
    side.said.clear()
    side.take(Call((7,)))
    assert not side.said


def test_more_members_than_one_message_tells_of_are_called_for_in_turn() -> None:
    count = 2 * MEMBERS_AT_ONCE_MAX + 9
    one, other = Side(*(member(origin) for origin in range(count))), Side()
    met(one, other)
    assert len(other.roster) == count
    calls = [message for message in other.all_said if isinstance(message, Call)]
    assert [len(call.origins) for call in calls] == [MEMBERS_AT_ONCE_MAX] * 2 + [9]
    assert [origin for call in calls for origin in call.origins] == list(range(count))
    assert set(one.crossed().values()) == {1}


def holey(origin: int, gaps: int) -> Member:
    """An account with many ranges."""
    known = KnownSet({origin: list(range(1, 4 * gaps, 2))})
    return replace(member(origin), known=known)


def test_large_accounts_cross_in_portions() -> None:
    one, other = Side(*(holey(origin, 3000) for origin in range(1, 6))), Side()
    met(one, other)
    assert list(other.roster) == list(one.roster)
    portions = [message for message in one.all_said if isinstance(message, Members)]
    assert len(portions) > 1
    largest = max(len(encode(Members((account,)))) for account in one.roster)
    assert all(len(encode(message)) <= CHUNK_BYTES + largest for message in portions)


def test_an_account_larger_than_a_portion_crosses_alone() -> None:
    giant = holey(2, 40_000)
    one, other = Side(member(1), giant, member(3)), Side()
    met(one, other)
    assert len(encode(Members((giant,)))) > CHUNK_BYTES
    assert list(other.roster) == list(one.roster)


@pytest.mark.parametrize("revision", [0, 5, FORGOTTEN - 1])
def test_that_a_node_is_forgotten_goes_around_like_any_news(revision: int) -> None:
    one, other = Side(member(1), member(2, FORGOTTEN)), Side(member(2, revision))
    met(one, other)
    assert other.roster.is_forgotten(2)
    assert one.roster.is_forgotten(2)


@given(st.lists(groups, min_size=3, max_size=5), st.randoms(use_true_random=False))
def test_accounts_reach_every_node_of_a_line_and_cross_each_link_once(
    rosters: list[list[Member]], random: object
) -> None:
    """Sides at one node share its roster."""
    links: list[tuple[Side, Side]] = []
    shared = [Roster(accounts) for accounts in rosters]
    for left, right in pairwise(shared):
        pair = Side(), Side()
        for side, roster in zip(pair, (left, right), strict=True):
            side.roster = roster
            side.gossip = Gossip(roster, side._effects.append)
            side.open()
        links.append(pair)
    before = -1
    while before != (said := sum(len(s.all_said) for pair in links for s in pair)):
        before = said
        random.shuffle(links)  # type: ignore[attr-defined]
        for a, b in links:
            a.open()
            b.open()
            converse(a, b)
    newest = list(Roster(one for accounts in rosters for one in accounts))
    assert all(list(roster) == newest for roster in shared)
    for pair in links:
        assert all(count == 1 for side in pair for count in side.crossed().values())


def test_who_knew_the_same_at_the_greeting_tells_only_what_has_changed_since() -> None:
    a, b = (Side(*(member(origin) for origin in range(9))) for _ in "ab")
    assert a.roster.fingerprint == b.roster.fingerprint
    a.roster.take(member(3, 2))
    for side in (a, b):
        side.gossip.greeted(True, 1)
        side.open()
    assert list(a.said) == [Revisions({3: 2})]
    assert not b.said
    converse(a, b)
    assert a.roster.fingerprint == b.roster.fingerprint


@given(st.permutations([(1, 1), (1, 2), (2, 5), (3, 0), (3, FORGOTTEN)]))
def test_a_fingerprint_does_not_depend_on_the_way_there(revisions: list[tuple[int, int]]) -> None:
    roster = Roster(member(*one) for one in revisions)
    assert (
        roster.fingerprint == Roster([member(1, 2), member(2, 5), member(3, FORGOTTEN)]).fingerprint
    )
    assert roster.fingerprint != Roster([member(1, 2), member(2, 5)]).fingerprint
