"""Whom a node dials and whom it knows: addresses on one side, nodes (by origin) on the other.

One node may be reached under several addresses, an address may lead to another node tomorrow, and
both sides may dial at once. So a *link* is an address that is dialled, a *contact* is a node that
has greeted, and what belongs together is seen by the origin, never by the text of an address.

Of two conversations with one instance only one is kept (`surplus`). Both sides decide it from the
same facts, so they decide alike.
"""

from dataclasses import dataclass, field

import trio
from trio.lowlevel import ParkingLot

from replicator.core.dots import format_origin
from replicator.core.known import KnownSet
from replicator.net.address import Address
from replicator.peers.lag import Lag
from replicator.peers.session import Session
from replicator.protocol.effects import Report
from replicator.protocol.messages import Hello
from replicator.protocol.schedule import PeerSchedule
from replicator.status import Direction, PeerStatus, Round

GIVEN = "given"
"""The source of addresses that a person named."""


@dataclass(slots=True, eq=False)
class Link:
    """An address that is dialled whenever its schedule says so.

    Attributes:
        sources: who named it: `GIVEN` for a person (R15), or whatever found it.
        schedule: when to dial.
        origin: who greeted there last.
        is_self: whether that was this very node.
        error: why the last attempt or conversation failed.
        is_put_off: whether that was because the peer has something else to do first.
        settled: set when the first attempt has led to catching up, or to nothing.
        is_removed: whether it is dialled no more.
        changed: where the dialling task waits for news.
        is_attempting: whether an attempt, or the conversation it led to, is under way.
        attempts: how many are over.
        news: where those wait who want to know what comes of the next one.
        is_urgent: whether somebody waits for the next attempt.
        waiting: what the dialling task is in between two conversations.
    """

    address: Address
    schedule: PeerSchedule
    sources: set[str] = field(default_factory=set)
    origin: int | None = None
    is_self: bool = False
    error: str | None = None
    is_put_off: bool = False
    settled: trio.Event = field(default_factory=trio.Event)
    is_removed: bool = False
    changed: ParkingLot = field(default_factory=ParkingLot)
    is_attempting: bool = False
    attempts: int = 0
    news: ParkingLot = field(default_factory=ParkingLot)
    is_urgent: bool = False
    waiting: trio.CancelScope = field(default_factory=trio.CancelScope)

    @property
    def explicit(self) -> bool:
        """Whether a person named it (R15)."""
        return GIVEN in self.sources

    def retire(self) -> None:
        """Be dialled no more; who waits for it, waits no longer."""
        self.is_removed = True
        self.waiting.cancel()
        self.settled.set()
        self.news.unpark_all()

    def attempt_over(self) -> None:
        """An attempt has failed, or the conversation it led to is over."""
        self.is_attempting = False
        self.attempts += 1
        self.news.unpark_all()


@dataclass(slots=True, eq=False)
class Contact:
    """A node that has greeted and belongs here.

    Attributes:
        origin, name: as it said last.
        blocked: why it is left alone until a person has looked at it (R13).
        caught_up: whether this node held, once, all that was known there.
        sessions: open conversations with it; more than one only for a moment.
        newest: the last conversation with it, open or over.
        known: what it has announced, as of that.
        lag: how far it is behind.
        clock_ahead_seconds: how far its clock was ahead of this node's when it greeted last.
    """

    origin: int
    name: str
    blocked: str | None = None
    caught_up: bool = False
    sessions: list[Session] = field(default_factory=list)
    newest: Session | None = None
    known: KnownSet = field(default_factory=KnownSet)
    rounds: int = 0
    records_in: int = 0
    records_out: int = 0
    lag: Lag = field(default_factory=Lag)
    clock_ahead_seconds: float = 0.0

    def count(self, report: Report) -> None:
        """A round from it, or for it, is complete."""
        if report.kind == "round":
            self.rounds += 1
            self.records_in += report.records
        else:
            self.records_out += report.records


class Contacts:
    """All links and contacts of a node. For one trio thread.

    Args:
        origin, instance: this node's; the origin changes with a fork.

    Attributes:
        origin, instance: the same.
        links: what is dialled.
        by_origin: who has greeted.
    """

    def __init__(self, origin: int, instance: bytes) -> None:
        self.origin = origin
        self.links: dict[Address, Link] = {}
        self.by_origin: dict[int, Contact] = {}
        self.instance = instance

    def of(self, session: Session) -> Contact | None:
        """The contact that a session talks to, once it has greeted and if it belongs here."""
        peer = session.conversation.peer
        return None if peer is None else self.by_origin.get(peer.origin)

    def at(self, link: Link) -> Contact | None:
        """The contact that answered at a link last."""
        return None if link.origin is None else self.by_origin.get(link.origin)

    def open_count(self) -> int:
        """How many nodes there is a conversation with."""
        return sum(1 for contact in self.by_origin.values() if contact.sessions)

    def best_link(self, link: Link) -> bool:
        """Whether no other address of the same node is the better one to dial: it failed less
        often, or is the first in order."""

        def rank(one: Link) -> tuple[int, Address]:
            return one.schedule.failures, one.address

        return link.origin is None or rank(link) == min(map(rank, self.links_of(link.origin)))

    def links_of(self, origin: int) -> list[Link]:
        return [link for link in self.links.values() if link.origin == origin]

    def met(self, session: Session, link: Link | None) -> tuple[Contact, list[Session]]:
        """A peer has greeted and belongs here.

        Returns:
            The contact, and which conversations with it are surplus, perhaps this one.
        """
        peer = session.conversation.peer
        assert peer is not None, "a peer is met when it has greeted"
        if link is not None:
            self.answered(link, peer.origin)
        contact = self.by_origin.setdefault(peer.origin, Contact(peer.origin, peer.node))
        contact.name = peer.node
        surplus = []
        for other in contact.sessions:
            loser = self._surplus(session, other)
            if loser is not None:
                surplus.append(loser)
        contact.sessions.append(session)
        if session not in surplus:
            contact.newest, contact.known = session, session.conversation.peer_known
        return contact, surplus

    def parted(self, session: Session) -> Contact | None:
        """A session is over. A contact that is not dialled is forgotten with its last session.

        Returns:
            The contact it had.
        """
        contact = self.of(session)
        if contact is None or session not in contact.sessions:
            return None
        contact.sessions.remove(session)
        if contact.newest is session and contact.sessions:
            contact.newest = contact.sessions[-1]
            contact.known = contact.newest.conversation.peer_known
        self._drop_if_done(contact.origin)
        return contact

    def answered(self, link: Link, origin: int) -> None:
        """Who greeted at a link; another one than before may be gone."""
        before, link.origin = link.origin, origin
        if before is not None and before != origin:
            self._drop_if_done(before)

    def remove(self, link: Link) -> None:
        """A link is dialled no more."""
        del self.links[link.address]
        if link.origin is not None:
            self._drop_if_done(link.origin)

    def _drop_if_done(self, origin: int) -> None:
        """Forget a contact that is neither talked to nor dialled, unless a person has to look."""
        contact = self.by_origin.get(origin)
        if contact and not (contact.sessions or contact.blocked or self.links_of(origin)):
            del self.by_origin[origin]

    def _surplus(self, newer: Session, older: Session) -> Session | None:
        """Which of two conversations with one origin is to end; None leaves it to the peer.

        Where each side dialled one, the one that the smaller origin dialled stays. Where one side
        dialled both, under two addresses, that side ends the newer one. A new instance of the peer
        has been started since: the older connection is dead.
        """
        mine, theirs = newer.conversation.peer, older.conversation.peer
        assert mine is not None and theirs is not None, "both were met"
        if mine.instance != theirs.instance:
            return older
        if newer.dialled != older.dialled:
            own_is_smaller = (self.origin, self.instance) < (mine.origin, mine.instance)
            return older if newer.dialled == own_is_smaller else newer
        return newer if newer.dialled else None

    def status(self, ours: KnownSet, now: float) -> tuple[PeerStatus, ...]:
        """Every link, then those who only dialled us.

        Args:
            ours: the own known set.
        """
        dialled = {link.origin for link in self.links.values()}
        rows = [
            _row(str(link.address), self.at(link), link.error, ours, now)
            for link in self.links.values()
        ]
        rows += [
            _row(_source(contact), contact, None, ours, now)
            for contact in self.by_origin.values()
            if contact.origin not in dialled
        ]
        return tuple(sorted(rows, key=lambda row: row.address))


def round_of(session: Session, peer: Hello, report: Report) -> Round:
    """What the `round` event tells."""
    return Round(
        address=str(session.stream.remote),
        name=peer.node,
        origin=format_origin(peer.origin),
        records=report.records,
        changed=report.changed,
        full=report.full,
    )


def _source(contact: Contact) -> str:
    return str(contact.sessions[-1].stream.remote) if contact.sessions else contact.name


def _row(
    address: str, contact: Contact | None, error: str | None, ours: KnownSet, now: float
) -> PeerStatus:
    if contact is None:
        return PeerStatus(
            address, None, None, False, None, "", None, None, error, False, 0, 0, 0, None
        )
    session = contact.sessions[-1] if contact.sessions else None
    entries, seconds = contact.lag.measure(ours, contact.known, now)
    direction: Direction | None = None
    if session is not None:
        direction = "dialled" if session.dialled else "accepted"
    return PeerStatus(
        address=address,
        name=contact.name,
        origin=format_origin(contact.origin),
        connected=session is not None,
        direction=direction,
        doing=", ".join(session.conversation.states) if session else "",
        lag_entries=entries,
        lag_seconds=seconds,
        last_error=contact.blocked or error,
        blocked=contact.blocked is not None,
        rounds=contact.rounds,
        records_in=contact.records_in,
        records_out=contact.records_out,
        clock_ahead_seconds=contact.clock_ahead_seconds,
    )
