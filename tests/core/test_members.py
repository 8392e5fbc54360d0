"""Accounts of members merge whatever the order, forgetting is final, and a watermark covers no more
than what every member holds."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replicator.config import MEMBERS_MAX
from replicator.core import members as members_module
from replicator.core.known import KnownSet
from replicator.core.members import FORGOTTEN, HEARD_OF, Member, Roster, Watermark

ME, OTHER, THIRD = 1, 2, 3


def known(*seqs: int, origin: int = ME) -> KnownSet:
    """These seqs of one origin."""
    result = KnownSet()
    for seq in seqs:
        result.add(origin, seq)
    return result


@st.composite
def known_sets(draw: st.DrawFn) -> KnownSet:
    result = KnownSet()
    for origin, seq in draw(st.lists(st.tuples(st.integers(1, 3), st.integers(1, 6)), max_size=9)):
        result.add(origin, seq)
    return result


@st.composite
def accounts(draw: st.DrawFn) -> Member:
    """What may go around: an account follows from its origin and revision, as one author gives
    every revision once."""
    origin = draw(st.integers(1, 4))
    revision = draw(st.one_of(st.integers(0, 5), st.just(FORGOTTEN)))
    if revision in (HEARD_OF, FORGOTTEN):
        return Member(origin, revision, f"node {origin}")
    return Member(
        origin, revision, f"node {origin}", said_ms=revision, known=known(*range(1, revision))
    )


rosters = st.lists(accounts(), max_size=12)


def content(roster: Roster) -> list[Member]:
    return list(roster)


# Merging


@given(rosters, st.randoms(use_true_random=False))
def test_the_order_of_accounts_does_not_matter(taken: list[Member], random: object) -> None:
    other = taken[:]
    random.shuffle(other)  # type: ignore[attr-defined]
    assert content(Roster(taken)) == content(Roster(other))


@given(rosters, rosters, rosters)
def test_rosters_may_be_merged_in_any_grouping(
    a: list[Member], b: list[Member], c: list[Member]
) -> None:
    left = Roster([*Roster([*a, *b]), *c])
    right = Roster([*a, *Roster([*b, *c])])
    assert content(left) == content(right)


@given(rosters)
def test_nothing_changes_when_it_is_heard_again(taken: list[Member]) -> None:
    roster = Roster(taken)
    before = content(roster)
    assert not any(roster.take(account) for account in taken)
    assert content(roster) == before


@given(rosters)
def test_of_each_node_the_newest_account_is_kept(taken: list[Member]) -> None:
    roster = Roster(taken)
    for account in taken:
        assert roster.revision(account.origin) == max(
            other.revision for other in taken if other.origin == account.origin
        )
    assert roster.revisions() == {account.origin: account.revision for account in roster}


def test_accounts_come_in_the_order_of_their_origins() -> None:
    roster = Roster(Member(origin, 1, "node") for origin in (9, 2, 7, 1))
    assert all(one.origin < other.origin for one, other in pairwise(roster))


def test_an_acknowledgement_may_shrink() -> None:
    roster = Roster([Member(OTHER, 1, "b", known=known(1, 2, 3))])
    assert roster.take(Member(OTHER, 2, "b", known=known(1)))
    found = roster.get(OTHER)
    assert found is not None
    assert found.known == known(1)


@given(rosters, rosters)
def test_what_has_changed_since_is_told(before: list[Member], later: list[Member]) -> None:
    roster = Roster(before)
    moment, revisions = roster.changed, roster.revisions()
    for account in later:
        roster.take(account)
    news = dict(roster.changed_since(moment))
    assert {**revisions, **news} == roster.revisions()
    assert all(revisions.get(origin, -1) < revision for origin, revision in news.items())
    assert dict(roster.changed_since(0)) == roster.revisions()
    assert not list(roster.changed_since(roster.changed))


# Who takes part


def test_nobody_is_known_to_an_empty_roster() -> None:
    roster = Roster()
    assert (len(roster), roster.members(), roster.get(ME)) == (0, [], None)
    assert roster.revision(ME) == -1
    assert not roster.is_forgotten(ME)
    assert not roster.forget(ME)


def test_who_was_heard_of_is_a_member_until_it_speaks_and_after() -> None:
    roster = Roster()
    assert roster.heard_of(OTHER, "b")
    assert not roster.heard_of(OTHER, "renamed")
    assert [member.name for member in roster.members()] == ["b"]
    assert roster.take(Member(OTHER, 1, "b", said_ms=5))
    assert not roster.heard_of(OTHER, "b")
    assert roster.revision(OTHER) == 1


@given(rosters, rosters)
def test_a_forgotten_node_stays_forgotten_whatever_is_heard(
    before: list[Member], later: list[Member]
) -> None:
    roster = Roster([*before, Member(OTHER, 3, "b", since_ms=7, said_ms=8, known=known(1))])
    was_there = not roster.is_forgotten(OTHER)
    assert roster.forget(OTHER) == was_there
    for account in [*later, Member(OTHER, FORGOTTEN - 1, "b"), Member(OTHER, FORGOTTEN, "b")]:
        roster.take(account)
        assert roster.is_forgotten(OTHER)
        assert OTHER not in [member.origin for member in roster.members()]
    assert not roster.forget(OTHER)


def test_of_a_forgotten_node_only_who_it_was_remains() -> None:
    account = Member(OTHER, 3, "b", 7, 8, "1.0", ("host:1",), known(1, 2))
    assert account.forgotten() == Member(OTHER, FORGOTTEN, "b", 7, 8)
    assert account.forgotten().is_forgotten
    assert not account.is_forgotten


def test_there_is_no_watermark_when_somebody_finds_no_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(members_module, "MEMBERS_MAX", 2)
    roster = Roster([Member(ME, 1, "a", known=known(1)), Member(OTHER, 1, "b", known=known(1))])
    assert roster.watermark(ME, known(1)).covered == {ME: 1}
    assert roster.take(Member(OTHER, 2, "b", known=known(1)))
    assert not roster.is_full
    assert not roster.take(Member(THIRD, 1, "c", known=known(1)))
    assert roster.is_full
    assert (len(roster), roster.watermark(ME, known(1)).covered) == (2, {})


def test_as_many_members_as_are_allowed_find_room() -> None:
    roster = Roster(Member(origin, 1, "") for origin in range(MEMBERS_MAX))
    assert not roster.is_full
    assert not roster.take(Member(MEMBERS_MAX, 1, ""))
    assert roster.is_full


# The watermark


def test_a_cluster_of_one_has_a_watermark() -> None:
    assert Roster().watermark(ME, known(1, 2, 4)) == Watermark({ME: 2}, known(1, 2, 4))


def test_whoever_has_not_spoken_holds_the_watermark_down() -> None:
    roster = Roster([Member(OTHER, 1, "b", known=known(1, 2))])
    assert roster.watermark(ME, known(1, 2, 3)).covered == {ME: 2}
    roster.heard_of(THIRD, "c")
    assert roster.watermark(ME, known(1, 2, 3)).covered == {}
    roster.take(Member(THIRD, 1, "c", known=known(1)))
    assert roster.watermark(ME, known(1, 2, 3)).covered == {ME: 1}


def test_a_forgotten_node_no_longer_counts() -> None:
    roster = Roster([Member(OTHER, 1, "b", known=known(1)), Member(THIRD, 1, "c")])
    roster.forget(THIRD)
    assert roster.watermark(ME, known(1, 2)).covered == {ME: 1}


def test_what_this_node_holds_counts_not_what_it_once_said() -> None:
    said = Member(ME, 9, "a", known=known(1, 2, 3))
    assert Roster([said]).watermark(ME, known(1)) == Watermark({ME: 1}, known(1))
    older = replace(said, known=known(1))
    assert Roster([older]).watermark(ME, known(1, 2)).covered == {ME: 2}


def test_gaps_end_the_watermark_and_are_needed_all_the_same() -> None:
    roster = Roster([Member(OTHER, 1, "b", known=known(1, 3))])
    found = roster.watermark(ME, known(1, 2))
    assert found.covered == {ME: 1}
    assert found.needs == known(1, 2, 3)


@given(st.lists(known_sets(), min_size=1, max_size=4))
def test_the_watermark_is_the_least_contiguous_seq_of_all(acknowledged: list[KnownSet]) -> None:
    before = [one.copy() for one in acknowledged]
    found = Watermark.of(acknowledged)
    for origin in range(1, 4):
        least = min(one.contiguous(origin) for one in acknowledged)
        assert found.covered.get(origin, 0) == least
    assert 0 not in found.covered.values()
    assert all(found.needs.issuperset(one) for one in acknowledged)
    assert all(any(dot in one for one in acknowledged) for dot in found.needs.dots())
    assert acknowledged == before
