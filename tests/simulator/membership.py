"""The roster of one node, kept as `replicator.peers.membership` keeps it: read from the store at
open, told and stored without haste, so that a kill or a power cut may take the newest of it.

A node speaks for itself when it starts, after each sync point, and where others know something
else of it; it learns what peers pass on; and people forget members at it.
"""

from typing import TYPE_CHECKING

from replicator.core.closing import closable, seen
from replicator.core.known import KnownSet
from replicator.core.members import Member, Roster, Watermark
from replicator.protocol.effects import RosterChanged, Stop

if TYPE_CHECKING:
    from .node import Node
    from .session import Session

GOSSIP_SECONDS = 0.3
"""How long changes wait at most until they are passed on and stored."""


class Membership:
    """The members as one process of a node knows them.

    Attributes:
        roster: read by the conversations.
        met: origins that this process has talked to itself.
    """

    def __init__(self, node: "Node") -> None:
        self.node = node
        self.roster: Roster = node.cluster.parts.roster(node.store.members())
        self.met: set[int] = set()
        self._seen: dict[int, int] = self.roster.revisions()
        self._told = KnownSet()
        self._unsaved: set[int] = set()
        self._is_waiting = False

    def begin(self) -> None:
        """The process is up."""
        former = self.node.store.former
        if former and self.roster.forget(former):
            self._touch(former)
        self.speak()

    # Speaking

    def acknowledgement(self) -> KnownSet:
        """What this node says that it holds durably."""
        return self.node.store.durable_known()

    def speak(self) -> None:
        """Say anew what this node holds; nothing under an origin that was forgotten."""
        node = self.node
        origin, wall_ms = node.store.origin, node.wall_ms()
        own = self.roster.get(origin)
        if own is not None and own.is_forgotten:
            self.was_forgotten()
            return
        self._told = self.acknowledgement()
        account = Member(
            origin=origin,
            revision=max(wall_ms, self.roster.revision(origin) + 1),
            name=node.name,
            since_ms=wall_ms if own is None else own.since_ms,
            said_ms=wall_ms,
            known=self._told,
            seen=self.seen(),
        )
        node.cluster.oracle.acknowledged(account, node.store.safe_known())
        self._take(account)

    def synced(self) -> None:
        """There was a sync point."""
        own = self.roster.get(self.node.store.origin)
        if (
            own is None
            or own.is_forgotten
            or self.node.store.durable_known() != self._told
            or own.seen != self.seen()
        ):
            self.speak()
        self._close_what_may_be()
        if self.node.store.closed_now() and self.node.cluster.versions.closes(self.node):
            self.node.later(self._reissue)

    def _reissue(self) -> None:
        def reissued(result: object) -> None:
            if isinstance(result, int):
                self.node.cluster.counts["closed dots issued again"] += result

        self.node.attempt(self.node.store.reissue_closed, reissued)

    def was_forgotten(self) -> None:
        """The cluster has forgotten this node: it takes a new origin (R10)."""
        self.node.fork_soon()

    # Learning

    def heard_of(self, origin: int, name: str) -> None:
        self.met.add(origin)
        if self.roster.revision(origin) < 0:
            self._take(Member(origin, 0, name))

    def learn(self, session: "Session", members: tuple[Member, ...]) -> None:
        """A peer has said what it knows of members."""
        for member in members:
            self._take(member)
        self.node.guarantees.roster_changed([member.origin for member in members])
        self._part_with_forgotten()
        self.node.later(self._close_what_may_be)
        session.tell_later(RosterChanged())
        self.node.later(self.node.tempt_to_collect)
        own = self.roster.get(self.node.store.origin)
        if own is not None and own.is_forgotten:
            self.was_forgotten()
        elif own is None or own.known is not self._told:
            self.node.later(self.speak)

    def forget(self, origin: int) -> None:
        """A person takes a member off."""
        account = self.roster.get(origin)
        assert account is not None
        self._take(account.forgotten())
        self._part_with_forgotten()

    def _part_with_forgotten(self) -> None:
        """Nothing more is heard of who was forgotten: what was seen of it can be told (R10)."""
        if not self.node.cluster.versions.closes(self.node):
            return
        for session in list(self.node.sessions):
            peer = session.conversation.peer
            if peer is not None and self.roster.is_forgotten(peer.origin):
                session.tell_later(Stop("forgotten", "the cluster has forgotten this node"))
                self._touch(peer.origin)

    # Closing

    def seen(self) -> KnownSet:
        """All that this node knows of forgotten origins, where it is for good and has gaps."""
        if not self.node.cluster.versions.closes(self.node):
            return KnownSet()
        peers = [session.conversation.peer for session in self.node.sessions]
        connected = {peer.origin for peer in peers if peer is not None}
        store = self.node.store
        return seen(self.roster, store.known_now(), store.closed_now(), connected)

    def _close_what_may_be(self) -> None:
        store = self.node.store
        if not self.node.cluster.versions.closes(self.node):
            return
        self.close(closable(self.roster, store.origin, self.seen(), store.closed_now()))

    def close(self, dots: KnownSet) -> None:
        """These are closed."""
        if not self.node.store.closed_now().issuperset(dots):
            self.node.cluster.counts["dots closed"] += dots.count()
            self.node.attempt(lambda: self.learn_closed(dots), lambda result: None)

    def learn_closed(self, dots: KnownSet) -> None:
        """They are, here or at a peer: store that, and tell."""
        self.node.store.close(dots)
        for session in list(self.node.sessions):
            session.tell_later(RosterChanged())

    def _take(self, account: Member) -> None:
        if self.roster.take(account):
            self._touch(account.origin)
        self.node.cluster.oracle.check_roster(self.node.name, self.roster, self._seen)

    # Passing on, storing

    def _touch(self, origin: int) -> None:
        self._unsaved.add(origin)
        if not self._is_waiting and self.node.up:
            self._is_waiting = True
            self.node.later(self._pass_on, GOSSIP_SECONDS)

    def _pass_on(self) -> None:
        self._is_waiting = False
        unsaved, self._unsaved = self._unsaved, set()
        for session in list(self.node.sessions):
            session.tell_later(RosterChanged())
        accounts = [self.roster.get(origin) for origin in sorted(unsaved)]
        known = [account for account in accounts if account is not None]

        def saved(result: object) -> None:
            if isinstance(result, Exception):
                self._unsaved |= unsaved

        self.node.attempt(lambda: self.node.store.save_members(known), saved)

    # What it is for

    def watermark(self) -> Watermark:
        """What every member holds durably (R7)."""
        store = self.node.store
        return self.roster.watermark(
            store.origin, store.durable_known(), store.closed_now(), self.node.wall_ms()
        )

    def members(self) -> frozenset[int]:
        """The origins that the watermark has to cover."""
        return frozenset(member.origin for member in self.roster.members())
