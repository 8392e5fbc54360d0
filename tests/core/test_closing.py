"""R10: what is told of forgotten origins, and what of that may be closed."""

from replicator.core.closing import closable, seen
from replicator.core.known import KnownSet
from replicator.core.members import Member, Roster, Watermark

ME, PEER, THIRD, GONE = 1, 2, 3, 9
NOTHING = KnownSet()


def roster(*members: Member, forgotten: int = GONE) -> Roster:
    return Roster([*members, Member(forgotten, 1, "gone").forgotten()])


def saw(origin: int, *bounds: int) -> Member:
    """A member that has seen this of `GONE`."""
    return Member(origin, 1, f"{origin}", seen=KnownSet({GONE: list(bounds)} if bounds else {}))


def gap(*bounds: int, origin: int = GONE) -> KnownSet:
    return KnownSet({origin: list(bounds)})


class TestSeen:
    def test_only_where_there_are_gaps(self) -> None:
        one = roster()
        assert seen(one, gap(1, 3, 4, 6), NOTHING, ()) == gap(1, 3, 4, 6)
        assert seen(one, gap(3, 6), NOTHING, ()) == gap(3, 6)
        assert not seen(one, gap(1, 6), NOTHING, ())

    def test_only_of_forgotten_origins_that_are_heard_no_more(self) -> None:
        one = roster(Member(PEER, 1, "b"))
        assert not seen(one, gap(3, 6, origin=PEER), NOTHING, ())
        assert not seen(one, gap(3, 6, origin=77), NOTHING, ())
        assert not seen(one, gap(3, 6), NOTHING, {GONE})

    def test_nothing_where_all_gaps_are_closed(self) -> None:
        assert not seen(roster(), gap(1, 3, 4, 6), gap(3, 4), ())
        assert seen(roster(), gap(1, 3, 4, 6, 8, 9), gap(3, 4), ())


class TestClosable:
    def test_what_nobody_has_seen_below_what_somebody_has(self) -> None:
        one = roster(saw(ME), saw(PEER, 1, 3, 5, 6), saw(THIRD, 2, 3, 8, 9))
        assert closable(one, ME, gap(1, 3, 5, 6), NOTHING) == gap(3, 5, 6, 8)

    def test_nothing_while_a_member_has_not_said(self) -> None:
        assert not closable(roster(saw(ME), saw(PEER)), ME, gap(1, 3, 5, 6), NOTHING)
        silent = Member(THIRD, 0, "heard of")
        one = roster(saw(ME), saw(PEER, 1, 3, 5, 6), silent)
        assert not closable(one, ME, gap(1, 3, 5, 6), NOTHING)

    def test_what_one_member_has_seen_stays_open(self) -> None:
        one = roster(saw(PEER, 1, 2, 3, 6))
        assert not closable(one, ME, gap(1, 3, 5, 6), NOTHING)

    def test_only_what_is_new(self) -> None:
        one = roster(saw(PEER, 1, 3, 5, 6, 7, 8))
        assert closable(one, ME, gap(1, 3, 5, 6, 7, 8), gap(3, 5)) == gap(6, 7)

    def test_a_cluster_of_one(self) -> None:
        assert closable(roster(saw(ME)), ME, gap(2, 3), NOTHING) == gap(1, 2)

    def test_a_roster_without_room_closes_nothing(self) -> None:
        one = roster(saw(PEER, 2, 3))
        one.is_full = True
        assert not closable(one, ME, gap(2, 3), NOTHING)


def test_closed_dots_count_for_the_watermark_and_are_not_needed() -> None:
    known = gap(1, 3, 4, 6)
    assert Watermark.of([known, known]).covered == {GONE: 2}
    watermark = Watermark.of([known, known], gap(3, 4))
    assert watermark.covered == {GONE: 5}
    assert watermark.needs == known


def test_a_watermark_tells_the_lowest_wall_clock() -> None:
    one = Roster([Member(PEER, 1, "b", said_ms=500), Member(ME, 1, "a", said_ms=100)])
    assert one.watermark(ME, NOTHING, wall_ms=700).said_ms == 500
    assert one.watermark(ME, NOTHING, wall_ms=400).said_ms == 400
