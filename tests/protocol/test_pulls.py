"""A dot is asked from one peer at a time; claims wait for withheld dots; turns are exclusive."""

from math import inf

from replicator.config import AHEAD_SECONDS, CLAIM_SECONDS, PENDING_CLAIMS_MAX
from replicator.core.dots import SEQ_MAX
from replicator.core.known import KnownSet
from replicator.protocol.pulls import CLAIM_TIMEOUTS, Ask, Pulls
from tests.protocol.samples import PEER, THIRD, known

NOTHING = KnownSet()
TIMEOUT = 20.0

STRANGER, OTHER = 77, 78
"""Origins of the peers that are asked, unless it matters: they have written nothing yet."""


def wanted(*origins: int, but: KnownSet = NOTHING) -> Ask:
    """An ask for all of some origins, and for all of the peer's own, but for some dots."""
    whole = KnownSet({origin: [1, SEQ_MAX + 1] for origin in (STRANGER, *origins)})
    return Ask(whole.difference(but))


def pulls() -> Pulls:
    return Pulls(TIMEOUT)


# Asking


def test_nothing_lacking_nothing_asked() -> None:
    assert pulls().plan(1, STRANGER, known(peer=3), known(peer=5), now=0) is None


def test_the_only_peer_is_asked_for_everything() -> None:
    shared = pulls()
    shared.joined(1)
    assert shared.plan(1, STRANGER, known(peer=5), known(peer=2), now=0) == Ask(None)


def test_beside_others_a_peer_is_asked_for_the_origins_that_it_announced_and_its_own() -> None:
    shared = pulls()
    shared.joined(1)
    shared.joined(2)
    assert shared.plan(1, STRANGER, known(peer=5), known(peer=2), now=0) == wanted(PEER)
    shared.left(1)
    assert shared.plan(2, STRANGER, known(peer=5), NOTHING, now=0) == Ask(None), "alone again"


def test_the_peers_own_writes_are_asked_from_nobody_else_meanwhile() -> None:
    """They are on their way before anybody else has announced them."""
    shared = pulls()
    shared.joined(2)
    ask = shared.plan(1, PEER, known(peer=5), NOTHING, now=0)
    assert ask == Ask(known(peer=SEQ_MAX))
    assert shared.plan(2, STRANGER, known(peer=7), known(peer=5), now=0) is None
    shared.finished(1)
    assert shared.plan(2, STRANGER, known(peer=7), known(peer=5), now=0) is not None


def test_what_another_is_asked_for_of_the_peers_own_is_left_out() -> None:
    shared = pulls()
    shared.plan(2, STRANGER, known(peer=(7, 8)), NOTHING, now=0)
    ask = shared.plan(1, PEER, known(peer=5), NOTHING, now=0)
    assert ask == Ask(known(peer=6)), "nor what is newer, for as long as the other sends"


def test_what_one_was_asked_for_is_not_asked_from_the_others() -> None:
    shared = pulls()
    shared.plan(1, STRANGER, known(peer=5), NOTHING, now=0)
    assert shared.plan(2, OTHER, known(peer=5), NOTHING, now=1) is None
    ask = shared.plan(2, OTHER, known(peer=7, third=1), NOTHING, now=1)
    assert ask is not None
    assert ask.wanted == KnownSet(
        {PEER: [6, SEQ_MAX + 1], THIRD: [1, SEQ_MAX + 1], OTHER: [1, SEQ_MAX + 1]}
    )


def test_the_next_writes_are_left_to_who_is_asked_for_a_while() -> None:
    """Else many peers would be asked for slivers, and the known set fall to pieces."""
    shared = pulls()
    shared.plan(1, STRANGER, known(peer=5), NOTHING, now=0)
    assert shared.plan(2, OTHER, known(peer=9), NOTHING, now=AHEAD_SECONDS / 2) is None
    assert shared.retry_at(2, now=0) == AHEAD_SECONDS
    assert shared.plan(2, OTHER, known(peer=9), NOTHING, now=AHEAD_SECONDS) is not None


def test_once_a_snapshot_is_open_the_rest_may_be_asked_from_others() -> None:
    shared = pulls()
    shared.joined(2)
    shared.plan(1, STRANGER, known(peer=(5, 5)), NOTHING, now=0)
    shared.promised(1, known(peer=(5, 6)))
    ask = shared.plan(2, OTHER, known(peer=6), NOTHING, now=1)
    assert ask is not None
    assert ask.wanted is not None
    assert ask.wanted.intersection(known(peer=9)) == known(peer=4).union(known(peer=(7, 9)))


def test_a_peers_own_ask_does_not_hinder_it() -> None:
    shared = pulls()
    shared.plan(1, STRANGER, known(peer=5), NOTHING, now=0)
    assert shared.plan(1, STRANGER, known(peer=5), NOTHING, now=0) == Ask(None)


def test_what_is_finished_is_free_again() -> None:
    shared = pulls()
    shared.plan(1, STRANGER, known(peer=5), NOTHING, now=0)
    shared.finished(1)
    assert shared.plan(2, STRANGER, known(peer=5), NOTHING, now=0) == Ask(None)


def test_what_a_round_for_everything_will_bring_is_asked_from_nobody_else() -> None:
    shared = pulls()
    shared.plan(1, STRANGER, known(peer=5), NOTHING, now=0)
    shared.promised(1, known(peer=8))
    assert shared.plan(2, STRANGER, known(peer=8), NOTHING, now=0) is None
    shared.promised(3, known(third=1))


def test_after_the_timeout_a_dot_is_asked_from_another() -> None:
    shared = pulls()
    shared.plan(1, STRANGER, known(peer=5), NOTHING, now=0)
    assert shared.plan(2, STRANGER, known(peer=5), NOTHING, now=TIMEOUT - 1) is None
    assert shared.retry_at(2, now=TIMEOUT - 1) == TIMEOUT
    assert shared.plan(2, STRANGER, known(peer=5), NOTHING, now=TIMEOUT) == wanted(PEER)
    again = shared.plan(3, STRANGER, known(peer=5), NOTHING, now=TIMEOUT)
    assert again is None, "one re-ask is enough"


def test_a_peer_that_makes_progress_keeps_its_dots() -> None:
    shared = pulls()
    shared.plan(1, STRANGER, known(peer=5), NOTHING, now=0)
    shared.progress(1, now=15)
    shared.progress(7, now=15)
    assert shared.plan(2, STRANGER, known(peer=5), NOTHING, now=TIMEOUT) is None
    assert shared.retry_at(2, now=TIMEOUT) == 15 + TIMEOUT


def test_a_retry_never_lies_in_the_past() -> None:
    shared = pulls()
    assert shared.retry_at(1, now=0) == inf
    shared.plan(1, STRANGER, known(peer=5), NOTHING, now=0)
    shared.pend(known(peer=5), {}, known(third=1), now=5)
    assert shared.retry_at(1, now=0) == 5 + CLAIM_SECONDS, "its own ask is nothing to wait for"
    assert shared.retry_at(2, now=5 + CLAIM_SECONDS) == TIMEOUT
    assert shared.retry_at(2, now=TIMEOUT) == 5 + CLAIM_TIMEOUTS * TIMEOUT
    assert shared.retry_at(2, now=5 + CLAIM_TIMEOUTS * TIMEOUT) == inf


# Pending claims


def test_a_claim_is_ripe_once_all_withheld_dots_are_known() -> None:
    shared = pulls()
    shared.pend(known(peer=9), {1: 2}, known(third=3), now=0)
    assert shared.ripe(known(third=2)) == []
    assert shared.pending == 1
    assert shared.ripe(known(third=3)) == [(known(peer=9), {1: 2})]
    assert shared.pending == 0
    assert shared.ripe(known(third=3)) == [], "it is taken out"


def test_claims_that_wait_for_each_other_stay() -> None:
    shared = pulls()
    shared.pend(known(peer=9), {}, known(third=3), now=0)
    shared.pend(known(third=4), {}, known(peer=8), now=0)
    assert shared.ripe(known(me=1)) == []
    assert shared.ripe(known(peer=8)) == [(known(third=4), {})], "checked against what is committed"
    assert shared.pending == 1


def test_a_claim_of_nothing_new_need_not_wait() -> None:
    """What it waits for may be gone for good, but all it would claim is known."""
    shared = pulls()
    shared.pend(known(peer=9), {1: 2}, known(third=3), now=0)
    assert shared.ripe(known(peer=9)) == [(known(peer=9), {1: 2})], "its floor still counts"
    shared.pend(known(peer=9), {}, known(third=3), now=0)
    assert shared.ripe(known(peer=9)) == []
    assert shared.pending == 0


def test_pending_claims_are_bounded_and_the_oldest_goes() -> None:
    shared = pulls()
    for seq in range(1, PENDING_CLAIMS_MAX + 2):
        shared.pend(known(peer=seq), {}, known(third=1), now=0)
    assert shared.pending == PENDING_CLAIMS_MAX
    claims = [claim for claim, _ in shared.ripe(known(third=1))]
    assert claims[0] == known(peer=2)
    assert claims[-1] == known(peer=PENDING_CLAIMS_MAX + 1)


def test_an_overdue_claim_is_settled_by_a_round_with_nothing_withheld() -> None:
    """What it waits for is asked from nobody."""
    shared = pulls()
    shared.joined(1)
    shared.pend(known(peer=9), {}, known(third=3), now=0)
    ask = shared.plan(2, STRANGER, known(peer=9), NOTHING, now=CLAIM_SECONDS - 0.1)
    assert ask == wanted(PEER)
    shared.finished(2)
    assert shared.plan(2, STRANGER, known(peer=9), NOTHING, now=CLAIM_SECONDS) == Ask(None)
    shared.finished(2)
    again = shared.plan(2, STRANGER, known(peer=9), NOTHING, now=CLAIM_SECONDS)
    assert again == wanted(PEER), "once a timeout, or traffic doubles for good"


def test_a_claim_waits_longer_for_what_others_are_sending() -> None:
    """They may be sending for minutes; but of what it waits for they may have no record."""
    shared = pulls()
    shared.pend(known(peer=9), {}, known(third=3), now=0)
    shared.plan(1, STRANGER, known(third=5), NOTHING, now=0)
    late = CLAIM_TIMEOUTS * TIMEOUT
    shared.progress(1, late)
    early = shared.plan(2, STRANGER, known(peer=9, third=5), NOTHING, now=late - 1)
    assert early is None, "all records of the peer's dots have come with the claim"
    assert shared.plan(2, STRANGER, known(peer=9, third=5), NOTHING, now=late) == Ask(None)


def test_two_conversations_do_not_withhold_from_each_other_for_ever() -> None:
    """Each has claimed what the other is asked for; without waiting, each would ask again for its
    own dot and leave out the other's, as fast as the peers answer."""
    shared = pulls()
    everything = known(peer=4, third=6)
    assert shared.plan(1, STRANGER, known(peer=4), NOTHING, now=0) == Ask(None)
    assert shared.plan(2, OTHER, everything, NOTHING, now=0) is not None
    shared.pend(everything, {}, known(peer=4), now=0)
    shared.finished(2)
    assert shared.plan(2, OTHER, everything, NOTHING, now=0) is None
    shared.pend(everything, {}, known(third=6), now=0)
    shared.finished(1)
    ask = shared.plan(1, STRANGER, everything, NOTHING, now=0)
    assert ask == Ask(None), "nobody else is there or asked"
    assert shared.plan(2, OTHER, everything, NOTHING, now=0) is None


def test_claims_that_replace_older_ones_wait_no_longer() -> None:
    """More new claims in a timeout than there is room for: still one of them becomes overdue."""
    shared = pulls()
    shared.joined(1)
    for seq in range(1, PENDING_CLAIMS_MAX + 2):
        shared.pend(known(peer=seq), {}, known(third=3), now=seq / 1000)
    later = CLAIM_SECONDS + 0.001
    assert shared.plan(2, STRANGER, known(peer=99), NOTHING, now=later) == Ask(None)


def test_an_overdue_claim_waits_for_a_peer_that_can_settle_it() -> None:
    shared = pulls()
    shared.pend(known(peer=9), {}, known(third=3), now=0)
    shared.joined(1)
    now = CLAIM_SECONDS
    assert shared.plan(2, STRANGER, known(third=6), NOTHING, now=now) == wanted(THIRD)
    shared.finished(2)
    assert shared.plan(3, STRANGER, known(peer=1, third=6), NOTHING, now=now) == Ask(None)


def test_what_a_pending_claim_will_bring_is_not_asked_again_meanwhile() -> None:
    """Seqs 1 … 8 of the peer are superseded: only the claim makes them known."""
    shared = pulls()
    newest = known(peer=(9, 9))
    shared.plan(1, STRANGER, known(third=3), NOTHING, now=0)
    assert shared.plan(2, OTHER, known(peer=9, third=3), NOTHING, now=0) is not None
    shared.finished(2)
    shared.pend(known(peer=9, third=3), {}, known(third=3), now=0)
    assert shared.plan(2, OTHER, known(peer=9, third=3), newest, now=0) is None
    assert shared.plan(2, OTHER, known(peer=10, third=3), newest, now=0) is not None
    shared.finished(2)
    shared.finished(1)
    ask = shared.plan(2, OTHER, known(peer=9, third=3), newest, now=0)
    assert ask == Ask(None), "nobody is asked for what it waits for, so waiting would be in vain"


# Turns


def test_log_rounds_apply_side_by_side() -> None:
    shared = pulls()
    assert shared.begin_apply(1)
    assert shared.begin_apply(2)
    assert not shared.end_apply(1), "nobody waits"


def test_a_full_round_waits_for_what_others_are_applying_and_nothing_else() -> None:
    shared = pulls()
    shared.begin_apply(1)
    assert not shared.exclusive(2)
    assert not shared.begin_apply(3), "the next turn is the full round's"
    assert shared.end_apply(1), "someone waits"
    assert shared.exclusive(2)
    assert not shared.begin_apply(1)
    assert shared.plan(1, STRANGER, known(peer=5), NOTHING, now=0) is None, (
        "nothing that could be applied"
    )
    assert shared.plan(2, STRANGER, known(peer=5), NOTHING, now=0) == Ask(None)


def test_one_full_round_at_a_time() -> None:
    shared = pulls()
    assert shared.exclusive(1)
    assert not shared.exclusive(2)
    assert shared.exclusive(1)
    assert shared.exclusive_holder == 1
    shared.finished(2)
    assert not shared.exclusive(2)
    shared.finished(1)
    assert shared.exclusive_holder is None
    assert shared.exclusive(2)


def test_who_ends_gives_back_its_turn() -> None:
    shared = pulls()
    shared.begin_apply(1)
    shared.finished(1)
    assert shared.exclusive(2)
    assert not shared.end_apply(2), "nobody waits for oneself"
