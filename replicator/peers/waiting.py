"""Waiting until peers hold writes on disk: who is asked, and what those are told who wait in vain.

Which peers count is said in `replicator.protocol.acknowledging`.
"""

from collections.abc import Callable, Iterable
from itertools import islice
from math import inf

import trio

from replicator.core.dots import format_origin
from replicator.core.known import KnownSet
from replicator.core.members import Roster
from replicator.errors import NotReplicated
from replicator.peers.contacts import Contacts
from replicator.peers.session import Session
from replicator.protocol.acknowledging import Acknowledgements, Waiter
from replicator.store.store import Store

DOTS_NAMED_MAX = 100
"""Dots that an error names."""


class Waiting:
    """All who wait at one node. For one trio thread.

    Args:
        roster: what is known of the members.

    Attributes:
        on_short: called where more peers are waited for than are talked to.
    """

    def __init__(self, store: Store, contacts: Contacts, roster: Roster) -> None:
        self.on_short: Callable[[], None] = lambda: None
        self._store = store
        self._contacts = contacts
        self._roster = roster
        self._acknowledgements = Acknowledgements(
            roster, lambda: store.origin, lambda: store.shown, store.known
        )

    async def until_held(self, dots: KnownSet, replicas: int, timeout: float | None) -> None:
        """Return when so many peers hold all of `dots` on disk.

        On cancellation nobody waits any more; the writes stay.

        Args:
            dots: own ones, committed here.
            replicas: how many peers, at least 1.
            timeout: seconds; None waits as long as it takes.

        Raises:
            NotReplicated: in that time they did not.
        """
        done = trio.Event()
        waiter = Waiter(dots, replicas, done.set)
        self._acknowledgements.begin(waiter)
        try:
            if not waiter.is_done:
                self._ask(waiter)
                with trio.move_on_after(inf if timeout is None else timeout):
                    await done.wait()
            if not waiter.is_done:
                raise self._failure(waiter, f"within {timeout or 0:g} s")
        finally:
            self._acknowledgements.end(waiter)

    def failure(self, dots: KnownSet, replicas: int, why: str) -> NotReplicated:
        """What to raise for writes that nobody waits for any more."""
        waiter = Waiter(dots, replicas)
        self._acknowledgements.begin(waiter)
        self._acknowledgements.end(waiter)
        return self._failure(waiter, why)

    # What happens meanwhile

    def met(self, session: Session) -> None:
        """A conversation is open: its peer is asked too."""
        peer = session.conversation.peer
        assert peer is not None, "a peer is met when it has greeted"
        self._acknowledgements.met(peer.instance, peer.origin)
        session.secure(self._acknowledgements.wanted())

    def secured(self, session: Session, known: KnownSet) -> None:
        """The peer has made durable what it was asked for."""
        peer = session.conversation.peer
        assert peer is not None, "who answers has greeted"
        self._acknowledgements.secured(peer.origin, known)

    def roster_changed(self, origins: Iterable[int]) -> None:
        """Accounts of these members have come."""
        self._acknowledgements.roster_changed(origins)

    def forked(self) -> None:
        """This node has taken a new origin (R13)."""
        self._acknowledgements.forked()

    def _ask(self, waiter: Waiter) -> None:
        open_ones = 0
        for contact in self._contacts.by_origin.values():
            for session in contact.sessions[-1:]:
                session.secure(waiter.dots)
                open_ones += 1
        if open_ones < waiter.replicas:
            self.on_short()

    def _failure(self, waiter: Waiter, why: str) -> NotReplicated:
        members = [one for one in self._roster.members() if one.origin != self._store.origin]
        durable, held = [], []
        for member in members:
            contact = self._contacts.by_origin.get(member.origin)
            known = member.known if contact is None else member.known.union(contact.known)
            if member.origin in waiter.holders:
                durable.append(member.name or format_origin(member.origin))
            elif known.issuperset(waiter.dots):
                held.append(member.name or format_origin(member.origin))
        others = {0: "there is no other member", 1: "there is 1 other member"}
        return NotReplicated(
            f"the write is in here, and {why} it was on the disks of {len(durable)} peers instead "
            f"of {waiter.replicas}: durable at {_listed(durable)}, known at {_listed(held)}; "
            f"{others.get(len(members), f'there are {len(members)} other members')}. It stays, and "
            "goes on to them: do not write it again, look at status()",
            dots=tuple(map(str, islice(waiter.dots.dots(), DOTS_NAMED_MAX))),
            wanted=waiter.replicas,
            durable_at=tuple(sorted(durable)),
            held_at=tuple(sorted(held)),
            members=1 + len(members),
        )


def _listed(names: list[str]) -> str:
    return ", ".join(sorted(names)) or "none"
