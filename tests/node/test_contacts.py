"""Contacts: of two conversations both sides keep the same one; how far a peer is behind."""

from dataclasses import dataclass, field, replace
from itertools import permutations
from typing import Any, cast

import pytest

from replicator.config import Settings
from replicator.core.known import KnownSet
from replicator.net.address import Address
from replicator.peers.contacts import Contacts, Link
from replicator.peers.session import Session
from replicator.protocol.messages import Hello
from replicator.protocol.schedule import PeerSchedule

from .peers import HELLO


@dataclass(eq=False)
class FakeConversation:
    peer: Hello
    peer_known: KnownSet = field(default_factory=KnownSet)
    states: tuple[str, ...] = ("open", "idle", "idle")


@dataclass(eq=False)
class FakeStream:
    remote: Address = field(default_factory=lambda: Address("192.0.2.1", 9000))


@dataclass(eq=False)
class FakeSession:
    """One end of the conversation of that name."""

    name: str
    conversation: FakeConversation
    dialled: bool
    stream: FakeStream = field(default_factory=FakeStream)


def end(name: str, peer: Hello, *, dialled: bool) -> Session:
    return cast(Session, FakeSession(name, FakeConversation(peer), dialled))


def kept(contacts: Contacts, *sessions: Any) -> str:
    """Which conversation one side keeps, whatever it meets first."""
    answers = set()
    for order in permutations(sessions):
        remaining = list(order)
        for session in order:
            _, surplus = contacts.met(session, None)
            for one in surplus:
                remaining.remove(cast(Any, one))
        answers.add(" ".join(sorted(session.name for session in remaining)))
        for session in order:
            contacts.parted(session)
    (answer,) = answers
    return answer


@pytest.mark.parametrize(("origin_a", "origin_b"), [(1, 2), (2, 1), (2**64 - 1, 2**63)])
def test_both_sides_keep_the_conversation_that_the_smaller_origin_dialled(
    origin_a: int, origin_b: int
) -> None:
    hello_a = replace(HELLO, origin=origin_a, instance=b"instan-a")
    hello_b = replace(HELLO, origin=origin_b, instance=b"instan-b")
    a = Contacts(origin_a, hello_a.instance)
    b = Contacts(origin_b, hello_b.instance)
    kept_by_a = kept(a, end("of a", hello_b, dialled=True), end("of b", hello_b, dialled=False))
    kept_by_b = kept(b, end("of a", hello_a, dialled=False), end("of b", hello_a, dialled=True))
    assert kept_by_a == kept_by_b == ("of a" if origin_a < origin_b else "of b")


def test_of_two_that_one_side_dialled_that_side_ends_the_newer() -> None:
    ours = Contacts(1, b"instan-a")
    older, newer = (end(name, HELLO, dialled=True) for name in ("older", "newer"))
    assert ours.met(older, None)[1] == []
    assert ours.met(newer, None)[1] == [newer]
    theirs = Contacts(2, b"instan-b")
    assert theirs.met(end("older", HELLO, dialled=False), None)[1] == []
    assert theirs.met(end("newer", HELLO, dialled=False), None)[1] == []


def test_a_peer_that_was_started_again_leaves_a_dead_connection_behind() -> None:
    contacts = Contacts(1, b"instan-a")
    dead = end("dead", HELLO, dialled=True)
    alive = end("alive", replace(HELLO, instance=b"another."), dialled=False)
    contacts.met(dead, None)
    assert contacts.met(alive, None)[1] == [dead]


def test_a_contact_that_is_not_dialled_goes_with_its_last_conversation() -> None:
    contacts = Contacts(1, b"instan-a")
    session = end("only", HELLO, dialled=False)
    contact, _ = contacts.met(session, None)
    assert contacts.of(session) is contact
    assert [row.connected for row in contacts.status(KnownSet(), 0.0)] == [True]
    assert contacts.parted(session) is contact
    assert contacts.parted(session) is None
    assert contacts.status(KnownSet(), 0.0) == ()


def link_to(contacts: Contacts, text: str) -> Link:
    address = Address(text, 9000)
    contacts.links[address] = Link(address, PeerSchedule(Settings(), 0.0))
    return contacts.links[address]


def test_a_contact_goes_when_another_one_answers_at_its_only_address() -> None:
    contacts = Contacts(1, b"instan-a")
    link = link_to(contacts, "192.0.2.1")
    for origin in range(2, 100):
        session = end("dialled", replace(HELLO, origin=origin), dialled=True)
        contacts.met(session, link)
        contacts.parted(session)
    assert list(contacts.by_origin) == [99]


def test_a_contact_goes_when_it_is_dialled_no_more() -> None:
    contacts = Contacts(1, b"instan-a")
    first, second = link_to(contacts, "192.0.2.1"), link_to(contacts, "192.0.2.2")
    for link in (first, second):
        session = end("dialled", HELLO, dialled=True)
        contacts.met(session, link)
        contacts.parted(session)
    contacts.remove(first)
    assert list(contacts.by_origin) == [HELLO.origin]
    contacts.remove(second)
    assert not contacts.by_origin
    assert not contacts.links


def test_what_a_peer_knows_is_what_it_says_in_the_conversation_that_stays() -> None:
    """Else it seems to lag behind for as long as that goes on."""
    ours, theirs = Contacts(1, b"instan-a"), Contacts(2, b"instan-b")
    for contacts, dialled in ((ours, True), (theirs, False)):
        stays, goes = (end(name, HELLO, dialled=dialled) for name in ("stays", "goes"))
        contact, _ = contacts.met(stays, None)
        contacts.met(goes, None)
        contacts.parted(goes)
        assert contact.newest is stays
        assert contact.known is stays.conversation.peer_known
