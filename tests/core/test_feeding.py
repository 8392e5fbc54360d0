"""Where a reader stands: exact, and never past a gap."""

from hypothesis import given
from hypothesis import strategies as st

from replicator.core.feeding import Position, at, behind, can_go_on
from replicator.core.known import KnownSet
from tests.protocol.samples import known_sets

NOTHING = KnownSet()


@given(known_sets(), known_sets(), st.integers(0, 3), st.integers(0, 60))
def test_behind_is_what_is_known_up_to_there(
    position: KnownSet, known: KnownSet, origin: int, seq: int
) -> None:
    before = position.copy()
    after = behind(position, known, origin, seq)
    assert position == before, "nothing that is shared changes"
    assert after.issuperset(position)
    new = after.difference(position)
    assert known.issuperset(new)
    assert all(one == origin for one in new.origins())
    assert new.highest(origin) <= seq
    for number in range(1, 61):
        if number <= seq and (origin, number) in known:
            assert (origin, number) in after


def test_a_gap_is_not_passed() -> None:
    known = KnownSet({1: [1, 3, 5, 8]})
    assert behind(KnownSet(), known, 1, 6) == KnownSet({1: [1, 3, 5, 7]})
    assert behind(KnownSet(), known, 2, 6) == KnownSet()


def test_when_the_log_tells_all() -> None:
    known = KnownSet({1: [1, 9], 2: [1, 4]})
    assert can_go_on(Position(), known, {}, NOTHING)
    assert can_go_on(at(KnownSet({1: [1, 5]})), known, {1: 4}, NOTHING)
    assert not can_go_on(at(KnownSet({1: [1, 5]})), known, {1: 5}, NOTHING), "a collected delete"
    assert not can_go_on(at(KnownSet({1: [1, 3, 4, 6]})), known, {1: 4}, NOTHING), "beyond a gap"
    assert not can_go_on(at(KnownSet({1: [1, 10]})), known, {}, NOTHING), "it lost that"
    assert can_go_on(at(KnownSet({1: [1, 3, 4, 6]})), known, {1: 4}, KnownSet.of((1, 3)))
    assert not can_go_on(at(KnownSet({3: [1, 2]})), known, {}, NOTHING)


def test_what_the_node_itself_lacks_is_lacked_by_no_reader() -> None:
    """Everybody has lost a write below the floor: its gap must not make a reader begin anew for
    ever, nor once it has come."""
    known = KnownSet({1: [1, 3, 4, 7]})
    assert can_go_on(at(known), known, {1: 5}, NOTHING)
    assert not can_go_on(at(KnownSet({1: [1, 3, 4, 5]})), known, {1: 5}, NOTHING)
    assert not can_go_on(at(known), KnownSet({1: [1, 7]}), {1: 5}, NOTHING)


def test_what_was_shown_counts_although_it_is_not_dealt_with() -> None:
    """The state of a key may come of a dot of another origin, whose turn is yet to come."""
    position = Position(KnownSet({1: [1, 5]}), KnownSet({1: [1, 5], 2: [1, 3]}))
    assert not can_go_on(position, KnownSet({1: [1, 9]}), {}, NOTHING)
    assert can_go_on(position, KnownSet({1: [1, 9], 2: [1, 3]}), {}, NOTHING)


def test_a_list_goes_on_below_the_floor_and_not_without_what_was_shown() -> None:
    position = Position(KnownSet(), KnownSet({1: [1, 5]}), KnownSet({1: [1, 3]}), b"k")
    assert can_go_on(position, KnownSet({1: [1, 5]}), {1: 4}, NOTHING)
    assert not can_go_on(position, KnownSet({1: [1, 4]}), {}, NOTHING)


def test_a_completed_list_is_what_was_known_when_it_began() -> None:
    shown = KnownSet({1: [1, 9], 2: [1, 9]})
    position = Position(KnownSet({1: [1, 9]}), shown, KnownSet({2: [1, 4]}), b"z")
    assert position.completed() == Position(KnownSet({1: [1, 9], 2: [1, 4]}), shown)
