"""Closed sets and full-state rounds for certain, as conversations tell and ask for them (R10)."""

from collections.abc import Callable
from typing import Any

from replicator.core.known import KnownSet
from replicator.core.members import Member, Roster
from replicator.protocol.effects import LearnClosed, OpenSource, RosterChanged, SourceOpened
from replicator.protocol.messages import (
    Accounts,
    Begin,
    Call,
    Closed,
    Members,
    Want,
    WantFull,
)

from .samples import PEER, THIRD, Node, known
from .talk import Talk, said

NOW = (1, 2)
BEFORE = (1, 1)
CLOSED = KnownSet({THIRD: [3, 4]})


def greeted(talk: Talk, versions: tuple[int, int] = NOW, **changes: Any) -> list[Any]:
    return talk.greeted(versions=versions, **changes)


def test_what_is_closed_is_told_once() -> None:
    node = Node()
    node.closed = CLOSED
    talk = Talk(node=node)
    assert said(greeted(talk), Closed) == [Closed(CLOSED)]
    assert not said(talk.told(RosterChanged()), Closed)
    node.closed = CLOSED.union(KnownSet({THIRD: [7, 8]}))
    assert said(talk.told(RosterChanged()), Closed) == [Closed(KnownSet({THIRD: [7, 8]}))]


def test_what_the_peer_has_closed_is_taken_in_and_not_told_back() -> None:
    node = Node()
    talk = Talk(node=node)
    greeted(talk)
    assert talk.hears(Closed(CLOSED)) == [LearnClosed(CLOSED)]
    node.closed = CLOSED
    assert not said(talk.told(RosterChanged()), Closed)


def test_a_peer_of_version_1_is_told_nothing_of_it() -> None:
    node = Node()
    node.closed, node.wants_full = CLOSED, True
    talk = Talk(node=node)
    effects = greeted(talk, BEFORE)
    assert not said(effects, Closed) and not said(effects, WantFull)
    assert talk.hears(Closed(CLOSED))[0].message.code == "protocol"  # type: ignore[union-attr]


def test_who_has_to_begin_with_a_full_state_round_asks_for_one_although_it_lacks_nothing() -> None:
    node = Node()
    node.wants_full = True
    talk = Talk(node=node)
    assert said(greeted(talk), WantFull) == [WantFull(1)]
    talk = Talk()
    assert not said(greeted(talk), Want | WantFull)  # type: ignore[arg-type]


def test_it_is_served_one_whatever_the_floors_say() -> None:
    talk = Talk()
    greeted(talk)
    assert talk.hears(WantFull(1)) == [OpenSource()]
    (begin,) = said(talk.told(SourceOpened(KnownSet(), {})), Begin)
    assert begin.full


def test_a_gap_that_is_closed_asks_for_no_full_state_round() -> None:
    theirs = KnownSet({THIRD: [1, 3, 4, 6]})
    for closed, full in ((KnownSet(), True), (CLOSED, False)):
        node = Node()
        node.closed = closed
        talk = Talk(node=node)
        talk.greeted(theirs, versions=NOW)
        talk.hears(Want(1, None))
        (begin,) = said(talk.told(SourceOpened(known(third=9), {THIRD: 5})), Begin)
        assert begin.full is full


def test_closed_is_told_before_a_floor_that_may_rely_on_it() -> None:
    node = Node()
    talk = Talk(node=node)
    greeted(talk)
    talk.hears(Want(1, None))
    node.closed = CLOSED
    effects = talk.told(SourceOpened(known(third=9), {THIRD: 5}))
    kinds = [type(one.message) for one in effects if hasattr(one, "message")]
    assert kinds == [Closed, Begin]


def _answers(versions: tuple[int, int], ask: Callable[[Talk], list[Any]]) -> list[Any]:
    talk = Talk()
    conversation: Any = talk.conversation
    account = Member(THIRD, 3, "c", seen=KnownSet({PEER: [2, 3]}))
    roster: Roster = conversation._gossip._roster
    roster.take(account)
    greeted(talk, versions)
    return ask(talk)


def test_accounts_are_whole_for_those_who_can_read_them() -> None:
    ask = lambda talk: talk.hears(Call((THIRD,)))  # noqa: E731
    (whole,) = said(_answers(NOW, ask), Accounts)
    assert whole.members[0].seen == KnownSet({PEER: [2, 3]})
    assert said(_answers(BEFORE, ask), Members)
    assert not said(_answers(BEFORE, ask), Accounts)
