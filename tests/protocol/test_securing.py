"""Durable acknowledgements on demand: who asks for what when, and what is answered (R7, R11)."""

from replicator.config import SECURED_BOUNDS_MAX
from replicator.core.known import KnownSet
from replicator.protocol.effects import (
    Applied,
    Fork,
    KnownChanged,
    MadeDurable,
    MakeDurable,
    Secured,
    SecureWanted,
    Show,
    Stop,
)
from replicator.protocol.messages import Begin, Durable, End, Known, Records, Secure
from tests.protocol.samples import ME, chunk, known
from tests.protocol.talk import Talk, closing, said

BOTH = (1, 2)


def greeted(mine: KnownSet, theirs: KnownSet) -> Talk:
    talk = Talk(mine)
    talk.greeted(theirs, versions=BOTH)
    assert talk.conversation.version == 2
    return talk


class TestAsking:
    def test_what_is_wanted_is_announced_then_asked_for_once(self) -> None:
        talk = greeted(known(me=3), known())
        talk.node.known.add(ME, 4)
        effects = talk.told(SecureWanted(known(me=(3, 4))))
        assert effects[0] == Show(4)
        assert said(effects, Known) == [Known(known(me=(4, 4)))]
        assert said(effects, Secure) == [Secure(known(me=(3, 4)))]
        assert said(talk.told(SecureWanted(known(me=(4, 4)))), Secure) == []
        talk.node.known.add(ME, 5)
        more = talk.told(SecureWanted(known(me=(4, 5))))
        assert said(more, Secure) == [Secure(known(me=(5, 5)))]

    def test_an_answer_is_told_as_far_as_it_was_asked_for(self) -> None:
        talk = greeted(known(me=3), known())
        talk.told(SecureWanted(known(me=(2, 3))))
        assert Secured(known(me=(2, 2))) in talk.hears(Durable(known(me=2)))
        assert not any(isinstance(one, Secured) for one in talk.hears(Durable(known(me=2))))
        assert Secured(known(me=(3, 3))) in talk.hears(Durable(known(me=3)))

    def test_what_was_wanted_before_the_link_is_open_is_asked_for_then(self) -> None:
        talk = Talk(known(me=3))
        talk.told(SecureWanted(known(me=2)))  # nobody knows which version the peer speaks
        assert said(talk.greeted(known(), versions=BOTH), Secure) == []
        assert said(talk.told(SecureWanted(known(me=2))), Secure) == [Secure(known(me=2))]

    def test_a_dot_that_was_forked_away_is_not_named(self) -> None:
        talk = greeted(known(me=3), known())
        assert said(talk.told(SecureWanted(known(me=(3, 4)))), Secure) == [Secure(known(me=(3, 3)))]

    def test_an_older_peer_is_not_asked(self) -> None:
        talk = Talk(known(me=3))
        talk.greeted(versions=(1, 1))
        assert said(talk.told(SecureWanted(known(me=3))), Secure) == []
        close = closing(talk.hears(Secure(known(me=3))))
        assert (close.code, close.reason) == ("protocol", "Secure is of a later protocol version")

    def test_an_answer_about_what_was_never_shown_proves_a_fork(self) -> None:
        talk = greeted(known(me=3), known())
        assert Fork() in talk.hears(Durable(known(me=9)))

    def test_who_waits_does_not_leave(self) -> None:
        """The peer knows it all, and is yet to make it durable."""
        talk = greeted(known(me=3), known(me=3))
        quiet = talk.conversation.deadline
        talk.told(SecureWanted(known(me=3)))
        talk.now = quiet
        assert talk.waits(0.0) == []
        assert talk.link == "open"


class TestAnswering:
    def test_a_sync_point_is_made_and_then_it_is_said(self) -> None:
        talk = greeted(known(peer=3), known(peer=3))
        assert talk.hears(Secure(known(peer=(2, 3)))) == [MakeDurable(known(peer=(2, 3)))]
        assert talk.hears(Secure(known(peer=(1, 1)))) == [], "one at a time"
        effects = talk.told(MadeDurable(known(peer=(2, 3))))
        assert said(effects, Durable) == [Durable(known(peer=(2, 3)))]
        assert effects[-1] == MakeDurable(known(peer=(1, 1)))
        assert said(talk.told(MadeDurable(known(peer=(1, 1)))), Durable) == [
            Durable(known(peer=(1, 1)))
        ]

    def test_what_is_not_known_yet_is_answered_when_it_is(self) -> None:
        talk = greeted(known(), known(peer=3))
        assert MakeDurable(known(peer=3)) not in talk.hears(Secure(known(peer=3)))
        talk.hears(Begin(1, known(peer=3), {}, False))
        talk.hears(End(1))
        talk.node.known = known(peer=2)
        assert MakeDurable(known(peer=2)) in talk.told(Applied(1, 1))
        talk.node.known = known(peer=3)
        talk.told(KnownChanged())
        effects = talk.told(MadeDurable(known(peer=2)))
        assert said(effects, Durable) == [Durable(known(peer=2))]
        assert effects[-1] == MakeDurable(known(peer=(3, 3)))

    def test_pieces_of_a_large_round_count_as_soon_as_they_are_applied(self) -> None:
        talk = greeted(known(), known(peer=9))
        talk.hears(Secure(known(peer=2)))
        talk.hears(Begin(1, known(peer=9), {}, False))
        talk.hears(Records(1, chunk(b"a", size=200)))
        talk.hears(Records(1, chunk(b"b", size=200)))
        talk.node.known = known(peer=2)
        assert MakeDurable(known(peer=2)) in talk.told(Applied(1, 1))
        assert talk.conversation.states[1] == "log"

    def test_nothing_is_said_of_what_the_sync_point_did_not_cover(self) -> None:
        talk = greeted(known(peer=3), known(peer=3))
        talk.hears(Secure(known(peer=3)))
        assert said(talk.told(MadeDurable(KnownSet())), Durable) == []

    def test_after_the_end_nothing_is_said(self) -> None:
        talk = greeted(known(peer=3), known(peer=3))
        talk.hears(Secure(known(peer=3)))
        talk.told(Stop("closing", "the node stops"))
        assert talk.told(MadeDurable(known(peer=3))) == []

    def test_who_leaves_says_no_more(self) -> None:
        talk = greeted(known(peer=3), known(peer=3))
        while talk.link == "open":
            talk.at_deadline()
        assert said(talk.hears(Secure(known(peer=3))), Durable) == []
        assert said(talk.told(MadeDurable(known(peer=3))), Durable) == []

    def test_a_peer_that_waits_for_too_much_is_dropped(self) -> None:
        talk = greeted(known(), known())
        sparse = KnownSet({ME + 7: list(range(1, SECURED_BOUNDS_MAX + 3))})
        assert closing(talk.hears(Secure(sparse))).code == "protocol"
