"""Which peers count for somebody who waits until writes are on their disks."""

from dataclasses import replace

from replicator.core.known import KnownSet
from replicator.core.members import Member, Roster
from replicator.protocol.acknowledging import Acknowledgements, Waiter
from tests.protocol.samples import ME, PEER, THIRD, known


class Desk:
    """A node with two peers, as somebody who waits sees it."""

    def __init__(self) -> None:
        self.origin, self.shown, self.known = ME, 9, known(me=9)
        self.roster = Roster()
        for origin in (ME, PEER, THIRD):
            self.roster.take(Member(origin, 1, f"{origin:x}"[0]))
        self.acknowledgements = Acknowledgements(
            self.roster, lambda: self.origin, lambda: self.shown, lambda: self.known.copy()
        )

    def waits(self, dots: KnownSet, replicas: int = 1) -> Waiter:
        waiter = Waiter(dots, replicas)
        self.acknowledgements.begin(waiter)
        return waiter

    def tells(self, origin: int, holds: KnownSet) -> None:
        before = self.roster.get(origin)
        assert before is not None
        self.roster.take(replace(before, revision=before.revision + 1, known=holds))
        self.acknowledgements.roster_changed([origin])


def test_who_was_asked_and_answered_counts_once_it_holds_all() -> None:
    desk = Desk()
    told: list[str] = []
    waiter = Waiter(known(me=(3, 5)), 1, lambda: told.append("done"))
    desk.acknowledgements.begin(waiter)
    desk.acknowledgements.secured(PEER, known(me=(3, 4)))
    assert (waiter.is_done, waiter.holders) == (False, set())
    desk.acknowledgements.secured(PEER, known(me=(5, 5)))
    assert (waiter.is_done, waiter.holders) == (True, {PEER})
    desk.acknowledgements.secured(THIRD, known(me=(3, 5)))
    assert told == ["done"]


def test_accounts_count_too_and_together_with_answers() -> None:
    desk = Desk()
    waiter = desk.waits(known(me=(3, 5)), 2)
    desk.tells(PEER, known(me=4))
    desk.acknowledgements.secured(PEER, known(me=(5, 5)))
    assert waiter.holders == {PEER}
    desk.tells(THIRD, known(me=7))
    assert waiter.is_done


def test_what_was_acknowledged_before_somebody_waits_counts() -> None:
    desk = Desk()
    desk.tells(PEER, known(me=7))
    assert desk.waits(known(me=(3, 5))).is_done


def test_a_newer_account_may_say_less() -> None:
    desk = Desk()
    waiter = desk.waits(known(me=5), 2)
    desk.tells(PEER, known(me=5))
    desk.tells(PEER, known(me=4))
    desk.tells(THIRD, known(me=5))
    assert (waiter.is_done, waiter.holders) == (False, {THIRD})


def test_the_node_itself_and_forgotten_and_unknown_ones_do_not_count() -> None:
    desk = Desk()
    waiter = desk.waits(known(me=5), 2)
    desk.tells(ME, known(me=9))
    desk.acknowledgements.secured(0xD << 60, known(me=5))
    desk.acknowledgements.secured(PEER, known(me=5))
    assert waiter.holders == {PEER}
    desk.roster.forget(PEER)
    desk.tells(THIRD, known(me=5))
    assert not waiter.is_done, "it was forgotten since"


def test_who_takes_another_origin_counts_once() -> None:
    desk = Desk()
    desk.acknowledgements.met(b"process1", PEER)
    waiter = desk.waits(known(me=5), 2)
    desk.acknowledgements.secured(PEER, known(me=5))
    desk.acknowledgements.met(b"process1", THIRD)
    desk.acknowledgements.secured(THIRD, known(me=5))
    desk.tells(PEER, known(me=5))
    assert (waiter.is_done, waiter.holders) == (False, {THIRD})


def test_an_account_of_what_was_never_shown_is_no_acknowledgement() -> None:
    """It is from another life of the directory: there the dot is another write (R13)."""
    desk = Desk()
    desk.shown = 4
    waiter = desk.waits(known(me=(5, 5)))
    desk.tells(PEER, known(me=9))
    assert not waiter.is_done
    desk.shown = 5
    desk.tells(PEER, known(me=9))
    assert waiter.is_done


def test_after_a_fork_it_is_waited_for_what_was_issued_again() -> None:
    desk = Desk()
    kept, given_up = desk.waits(known(me=(4, 4))), desk.waits(known(me=(4, 6)))
    desk.acknowledgements.secured(PEER, known(me=(5, 6)))
    fresh = 0xE << 60
    desk.origin, desk.shown = fresh, 0
    desk.known = known(me=4)
    desk.known.add_range(fresh, 1, 8)
    desk.acknowledgements.forked()
    assert kept.dots == known(me=(4, 4))
    assert given_up.dots == KnownSet({ME: [4, 5], fresh: [1, 8]})
    desk.shown = 7
    desk.acknowledgements.secured(PEER, known(me=(4, 6)))
    assert (kept.is_done, given_up.is_done) == (True, False)
    desk.acknowledgements.secured(PEER, KnownSet({fresh: [1, 8]}))
    assert given_up.is_done


def test_who_begins_to_wait_behind_a_fork_waits_for_the_same() -> None:
    desk = Desk()
    desk.known, desk.origin = known(me=4), 0xE << 60
    desk.known.add_range(desk.origin, 1, 3)
    assert desk.waits(known(me=(6, 6))).dots == KnownSet({0xE << 60: [1, 3]})


def test_what_is_wanted_is_what_all_wait_for() -> None:
    desk = Desk()
    one, other = desk.waits(known(me=(1, 2))), desk.waits(known(me=(5, 6)))
    assert desk.acknowledgements.wanted() == KnownSet({ME: [1, 3, 5, 7]})
    desk.acknowledgements.end(one)
    assert desk.acknowledgements.wanted() == known(me=(5, 6))
    desk.acknowledgements.end(other)
    assert not desk.acknowledgements.wanted()
    desk.acknowledgements.secured(PEER, known(me=6))
    assert not desk.waits(known(me=(5, 6))).is_done, "said while nobody waited"
