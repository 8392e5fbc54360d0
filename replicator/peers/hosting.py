"""The open conversations of one node: what they need, and what becomes of what they report."""

import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count

import trio
from trio.lowlevel import ParkingLot

from replicator.config import Settings
from replicator.core.dots import format_origin
from replicator.core.known import KnownSet
from replicator.core.members import Member
from replicator.core.resolvers import announced_name
from replicator.errors import ForkedContentsError, PeerError, ReplicatorError
from replicator.events import Events
from replicator.net.address import Address
from replicator.net.tls import Tls
from replicator.net.transport import FramedStream
from replicator.peers.clocks import ClockWatch
from replicator.peers.comparisons import Comparisons
from replicator.peers.contacts import Contact, Contacts, Link, round_of
from replicator.peers.host import Workers
from replicator.peers.journal import Journal, printable
from replicator.peers.membership import Membership
from replicator.peers.session import Session
from replicator.peers.syncpoints import SyncPoints
from replicator.peers.traffic import Traffic
from replicator.peers.waiting import Waiting
from replicator.protocol.conversation import Conversation
from replicator.protocol.effects import Close, MadeDurable, MakeDurable, Report
from replicator.protocol.me import Me
from replicator.protocol.messages import Hello
from replicator.protocol.pulls import Pulls
from replicator.store.apply import Applied
from replicator.store.store import Store
from replicator.store.tally import Conflict

FORK_SECONDS = 5.0
"""How long the other conversations may take to end before a fork."""

_REMARKABLE = ("refused", "protocol", "silent", "lost")
"""How conversations end that should not; "failed" is told when it happens, and what one does
because it is "closing" or "busy" is no mistake."""


class Hosting:
    """Holds conversations, and is the `Host` of their sessions. For one trio thread.

    Args:
        contacts: kept up to date.
        events: told of everything that programs may want to know.

    Attributes:
        instance: 8 random bytes, by which a node recognises itself.
        name, port: the node's name and where it listens (0: it does not), once that is known.
        clocks: tells of those that are wrong.
        workers: bounds the threads of the sessions.
        sync_points: makes those that peers and people wait for.
        waiting: who waits until peers hold something.
        nursery: where sync points for peers are made, while the node runs.
        comparisons: of the data with that of peers.
        traffic: what all conversations have carried.
        on_met, on_parted: called when a conversation with a contact has begun, is over.
        on_dialled: called when one has begun that the peer has dialled.
    """

    def __init__(
        self,
        store: Store,
        settings: Settings,
        contacts: Contacts,
        events: Events,
        journal: Journal,
        membership: Membership,
        tls: Tls | None,
    ) -> None:
        self.instance = contacts.instance
        self.name = ""
        self.port = 0
        self.workers = Workers.make()
        self.sync_points = SyncPoints(store, self.workers.common)
        self.waiting = Waiting(store, contacts, membership.roster)
        self.nursery: trio.Nursery | None = None
        self._store = store
        self._settings = settings
        self._contacts = contacts
        self._events = events
        self._journal = journal
        self._membership = membership
        self._tls = tls
        self._pulls = Pulls(settings.reask_timeout)
        self.comparisons = Comparisons(settings.digest_interval, journal, events)
        self.traffic = Traffic()
        self._numbers = count(1)
        self._open: dict[Session, Link | None] = {}
        self._ended = ParkingLot()
        self._is_forking = False
        self.clocks = ClockWatch(store, settings, membership, journal)
        self.on_met: Callable[[Session, Contact], None] = _ignore
        self.on_parted: Callable[[Session, Contact], None] = _ignore
        self.on_dialled: Callable[[Session], None] = _ignore

    def __iter__(self) -> Iterator[Session]:
        return iter(list(self._open))

    async def converse(self, stream: FramedStream, link: Link | None) -> Close:
        """Hold one conversation to its end.

        Args:
            stream: closed in the end.
            link: which was dialled; None where the peer dialled.
        """
        while self._is_forking:
            await self._ended.park()
        conversation = Conversation(
            next(self._numbers),
            self._me(),
            self._pulls,
            self._settings,
            address="" if link is None else str(link.address),
            explicit=link is not None and link.explicit,
            now=trio.current_time(),
        )
        session = Session(stream, self._store, conversation, self, self.workers, link is not None)
        self._open[session] = link
        self._part_if_revoked(session)
        self.traffic.met(stream)
        try:
            close = await session.run()
            self._judge(session, close)
            return close
        finally:
            self._pulls.left(conversation.conversation_id)
            self.traffic.parted(stream)
            self._part(session, link)
            del self._open[session]
            self._ended.unpark_all()

    def hello(self, address: Address) -> Hello:
        """What this node says when it dials an address."""
        me = self._me()
        return me.hello(me.presentable(), False, str(address))

    def of(self, link: Link) -> list[Session]:
        """The conversations that came of dialling `link`."""
        return [session for session, at in self._open.items() if at is link]

    def link_of(self, session: Session) -> Link | None:
        """The link that was dialled for an open session; None where the peer dialled."""
        return self._open[session]

    def part_with_revoked(self) -> None:
        """End the conversations with peers whose certificates were revoked meanwhile."""
        for session in self:
            self._part_if_revoked(session)

    def _part_if_revoked(self, session: Session) -> None:
        certificate = session.stream.certificate
        if certificate and self._tls and self._tls.is_revoked(certificate.serial):
            session.stop("closing", f"the certificate {certificate.name!r} is revoked")

    async def end_all(self, reason: str) -> None:
        """End every conversation politely, and wait for that."""
        while self._open:
            for session in self:
                session.stop("closing", reason)
            await self._ended.park()

    def complain(self, subject: str, error: Exception) -> None:
        """Log a failure and raise the `error` event, unless both happened already."""
        if not isinstance(error, ReplicatorError):
            self._journal.bug(subject, error)
            self._events.emit("error", error)
        elif self._journal.failed(subject, str(error)):
            self._events.emit("error", error)

    # What sessions tell

    def reported(self, session: Session, report: Report) -> None:
        contact, peer = self._contacts.of(session), session.conversation.peer
        if report.kind == "reached":
            self._membership.reached(report.text)
        elif report.kind == "met":
            self._met(session)
        elif contact is None or peer is None:
            pass
        elif report.kind in ("resolver", "skew"):
            self._journal.failed(f"{report.kind} of node {peer.node}", report.text)
        elif report.kind in ("compared", "differs", "mended"):
            self.comparisons.reported(contact, report)
        else:
            contact.count(report)
            self.traffic.count(report)
            if report.kind == "round":
                self._journal.works(self._subject(session))
                self._events.emit("round", round_of(session, peer, report))

    def applied(self, session: Session, applied: Applied) -> None:
        for conflict in applied.conflicts:
            self.arisen(conflict)
        self.clocks.skewed(applied.skewed)

    def arisen(self, conflict: Conflict) -> None:
        """A key has come into conflict, by what a peer has sent or by an own write."""
        self._events.emit("conflict", conflict.key, list(conflict.versions))
        if conflict.fault is not None:
            self._journal.failed("resolver", f"key {conflict.key!r}: {conflict.fault!r}")

    def learned(self, session: Session, members: tuple[Member, ...]) -> None:
        self._membership.learn(self._subject(session), members)
        self._part_with_forgotten()
        self.waiting.roster_changed({member.origin for member in members})

    def _part_with_forgotten(self) -> None:
        """Nothing more is heard of who was forgotten; it is told so (R10)."""
        for session in self:
            peer = session.conversation.peer
            if peer is not None and self._membership.roster.is_forgotten(peer.origin):
                session.stop(
                    "forgotten",
                    f"the cluster has forgotten node {peer.node!r}: it takes a new origin",
                )

    def closed(self) -> None:
        for session in self:
            session.roster_changed()

    def make_durable(self, session: Session, effect: MakeDurable) -> None:
        if self.nursery is not None:
            self.nursery.start_soon(self._make_durable, session, effect)

    async def _make_durable(self, session: Session, effect: MakeDurable) -> None:
        try:
            durable = await self.sync_points.cover(effect.dots)
        except Exception as error:
            session.effect_failed(effect, error)
        else:
            session.post(MadeDurable(durable))
            self._membership.synced()

    def secured(self, session: Session, known: KnownSet) -> None:
        self.waiting.secured(session, known)

    def failed(self, session: Session, error: Exception) -> None:
        contact = self._contacts.of(session)
        if contact is not None and isinstance(error, ForkedContentsError):
            contact.blocked = str(error)
        self.complain(self._subject(session), error)

    def poke_others(self, session: Session) -> None:
        for other in self:
            if other is not session:
                other.poke()

    async def fork(self, session: Session | None, was_forgotten: bool) -> None:
        """Give the store a new origin.

        Args:
            session: which found out that it needs one; it ends by itself.
            was_forgotten: whether that is because the cluster has forgotten this node (R10), not
                because of a fork (R13).
        """
        if self._is_forking:
            return  # another session has found it out too, and waits for this one to end
        self._is_forking = True
        try:
            await self._end_others(session)
            await trio.to_thread.run_sync(
                partial(self._store.fork, was_forgotten), limiter=self.workers.common
            )
            self._contacts.origin = self._store.origin
            self._membership.speak()
            self.waiting.forked()
            what = "was forgotten by the cluster"
            if not was_forgotten:
                what = "was rolled back or cloned while it ran"
            self._journal.failed(
                "this directory",
                f"{what}; this node goes on as origin {format_origin(self._store.origin)}",
            )
        finally:
            self._is_forking = False
            self._ended.unpark_all()

    async def _end_others(self, session: Session | None) -> None:
        for other in self:
            if other is not session:
                other.stop("fork", "this node takes a new origin")
        with trio.move_on_after(FORK_SECONDS):
            await self._alone(session)
        for other in self:
            if other is not session:
                other.cancel()
        await self._alone(session)

    async def _alone(self, session: Session | None) -> None:
        while self._open.keys() - {session}:
            await self._ended.park()

    def _met(self, session: Session) -> None:
        link = self._open[session]
        contact, surplus = self._contacts.met(session, link)
        for one in surplus:
            one.stop("busy", "another conversation of these two nodes stays")
        if contact.blocked is not None:
            session.stop("busy", f"blocked until a person has looked at it: {contact.blocked}")
        if session in surplus or contact.blocked is not None:
            return
        self._membership.met(contact.origin, contact.name)
        assert session.conversation.peer is not None, "a peer is met when it has greeted"
        self.clocks.met(session.conversation.peer, contact)
        remote = session.stream.remote
        self._events.emit("connection" if link is None else "connect", remote.host, remote.port)
        self.waiting.met(session)
        self.on_met(session, contact)
        if link is None:
            self.on_dialled(session)

    def _part(self, session: Session, link: Link | None) -> None:
        peer = session.conversation.peer
        if peer is not None and link is not None:
            self._contacts.answered(link, peer.origin)
            link.is_self = self._is_own(session)
        contact = self._contacts.parted(session)
        if contact is not None:
            self._membership.parted(contact.origin)
            self.on_parted(session, contact)

    def _judge(self, session: Session, close: Close) -> None:
        """Complain of a conversation that ended as it should not."""
        if self._is_own(session):
            return
        is_wrong = close.code in _REMARKABLE
        if close.code == "idle":
            self._journal.works(self._subject(session))
        elif is_wrong or (close.by_peer and self._is_turned_away(session)):
            self.complain(self._subject(session), PeerError(printable(close.reason)))

    def _is_turned_away(self, session: Session) -> bool:
        """Whether a peer that was dialled keeps sending this node away, without there being
        another conversation with it. Once is no harm: it may just settle something else."""
        link, contact = self._open[session], self._contacts.of(session)
        others = [] if contact is None else [one for one in contact.sessions if one is not session]
        return link is not None and not others and link.schedule.failures > 0

    def _subject(self, session: Session) -> str:
        """What the log calls the peer of a session."""
        link, peer = self._open[session], session.conversation.peer
        if link is not None:
            return f"peer {link.address}"
        who = "connections" if peer is None else f"node {peer.node}"
        return f"{who} from {session.stream.remote.host}"

    def _is_own(self, session: Session) -> bool:
        peer = session.conversation.peer
        return peer is not None and peer.instance == self.instance

    def _me(self) -> Me:
        store = self._store
        return Me(
            cluster=self._settings.cluster,
            node=self.name,
            origin=store.origin,
            instance=self.instance,
            resolver=announced_name(store.settler.resolver, store.settler.mode),
            known=store.known,
            shown=lambda: store.shown,
            cluster_id=lambda: store.cluster_id,
            has_data=store.has_data,
            wall_ms=lambda: time.time_ns() // 1_000_000,
            roster=self._membership.roster,
            port=self.port,
            closed=lambda: store.closed_dots,
            wants_full=lambda: store.wants_full,
            digests=self.comparisons.digests,
        )


def _ignore(*_: object) -> None:
    """Nobody wants to know."""
