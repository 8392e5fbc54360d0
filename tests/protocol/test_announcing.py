"""What is announced is announced once; what the peer announces is bounded."""

from unittest.mock import patch

import pytest

from replicator.core.known import KnownSet
from replicator.errors import ForkError, ProtocolError
from replicator.protocol import announcing
from replicator.protocol.announcing import Announcements
from replicator.protocol.effects import Show
from tests.protocol.samples import ME, PEER, Node, known

NOTHING = KnownSet()


def test_only_the_difference_is_news_and_only_once() -> None:
    account = Announcements(Node().me(), known(me=3))
    assert account.news(known(me=5, peer=(2, 4)), NOTHING) == known(me=(4, 5), peer=(2, 4))
    assert account.news(known(me=5, peer=(2, 4)), NOTHING) == NOTHING
    assert account.news(known(me=5, peer=4), NOTHING) == known(peer=1)


def test_what_is_left_out_is_news_later() -> None:
    account = Announcements(Node().me(), known(me=3))
    assert account.news(known(me=4, peer=5), apart_from=known(peer=9)) == known(me=(4, 4))
    assert account.news(known(me=4, peer=5), NOTHING) == known(peer=5)


def test_what_was_revealed_otherwise_is_no_news() -> None:
    account = Announcements(Node().me(), KnownSet())
    account.revealed(known(me=5))
    assert account.news(known(me=6), NOTHING) == known(me=(6, 6))


def test_news_belong_to_the_message() -> None:
    account = Announcements(Node().me(), KnownSet())
    news = account.news(known(me=5), NOTHING)
    news.add(PEER, 1)
    news.add(ME, 9)
    assert account.announced == known(me=5)


def test_what_the_peer_announces_adds_up() -> None:
    account = Announcements(Node().me(), KnownSet())
    for part in (known(peer=3), known(peer=(5, 6)), known(peer=(4, 4), third=1)):
        account.learn(part)
    assert account.peer_known == known(peer=6, third=1)


def test_a_peer_that_knows_what_it_was_never_shown_proves_a_fork() -> None:
    node = Node(known=known(me=9))
    node.shown = 5
    account = Announcements(node.me(), KnownSet())
    account.learn(known(me=5))
    with pytest.raises(ForkError, match="own seqs up to 6, of which only 5"):
        account.learn(known(me=(6, 6)))
    node.shown = 6
    account.learn(known(me=(6, 6)))


def test_own_seqs_are_shown_once_before_they_are_told() -> None:
    node = Node(known=known(me=9))
    node.shown = 5
    account = Announcements(node.me(), KnownSet())
    assert list(account.showing(known(me=5, peer=9))) == []
    assert list(account.showing(known(me=7))) == [Show(7)]
    assert list(account.showing(known(me=7))) == []
    assert list(account.showing(known(me=8))) == [Show(8)]


def test_the_peer_may_announce_so_many_origins_all_in_all() -> None:
    account = Announcements(Node().me(), KnownSet())
    with patch.object(announcing, "ORIGINS_MAX", 3):
        account.learn(KnownSet.of((1, 1), (2, 1)))
        account.learn(KnownSet.of((1, 2), (3, 1)))
        with pytest.raises(ProtocolError, match="4 origins"):
            account.learn(KnownSet.of((4, 1)))


def test_the_peer_may_announce_so_many_ranges_all_in_all() -> None:
    account = Announcements(Node().me(), KnownSet())
    with patch.object(announcing, "BOUNDS_MAX", 4):
        account.learn(KnownSet.of((1, 1), (1, 3)))
        account.learn(KnownSet.of((1, 2)))
        account.learn(KnownSet.of((1, 5)))
        with pytest.raises(ProtocolError, match="6 bounds"):
            account.learn(KnownSet.of((2, 7)))
