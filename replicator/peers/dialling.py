"""The peers that a node dials: when, what comes of it, and what waits for that."""

from math import inf

import trio

from replicator.config import Settings
from replicator.net.address import Address
from replicator.net.dial import dial
from replicator.net.transport import FramedStream, Tls
from replicator.peers.contacts import Contact, Contacts, Link
from replicator.peers.hosting import Hosting
from replicator.peers.journal import printable
from replicator.peers.session import Session
from replicator.peers.upkeep import Upkeep
from replicator.protocol.schedule import PeerSchedule
from replicator.store.gate import GateOutcome

SYNC_ATTEMPTS = 3
"""Conversations that a `synchronize` tries with one peer: an open one may just be ending, or the
peer settle something else first."""


class Dialling:
    """One task per link, which dials when it is due and while nobody is connected.

    For one trio thread.

    Args:
        nursery: where the tasks run.
        patience: see `FramedStream`.
    """

    def __init__(
        self,
        nursery: trio.Nursery,
        settings: Settings,
        contacts: Contacts,
        hosting: Hosting,
        upkeep: Upkeep,
        patience: float,
        tls: Tls | None,
    ) -> None:
        self._nursery = nursery
        self._settings = settings
        self._contacts = contacts
        self._hosting = hosting
        self._upkeep = upkeep
        self._patience = patience
        self._tls = tls
        hosting.on_met = self._met
        hosting.on_parted = self._parted

    def add(self, address: Address) -> None:
        """Dial this address from now on, as one that a person named (R15). Idempotent."""
        if address not in self._contacts.links:
            schedule = PeerSchedule(self._settings, trio.current_time())
            link = self._contacts.links[address] = Link(address, True, schedule)
            self._nursery.start_soon(self._keep_talking, link)

    def remove(self, address: Address) -> None:
        """Dial this address no more, and end the conversation with it. Idempotent."""
        link = self._contacts.links.pop(address, None)
        if link is not None:
            link.retire()
            for session in self._hosting.of(link):
                session.stop("closing", "this peer was taken off the list")

    def stop(self) -> None:
        """Dial nobody any more. Conversations go on."""
        for link in self._contacts.links.values():
            link.retire()

    async def attempted(self) -> GateOutcome:
        """Wait until the first attempt with every link has come to something (R13)."""
        links = list(self._contacts.links.values())
        for link in links:
            await link.settled.wait()
        caught_up = any(contact.caught_up for contact in self._contacts.by_origin.values())
        return "caught up" if caught_up else "nobody there"

    async def synchronize(self, timeout: float | None) -> bool:
        """See `Node.synchronize`."""
        outcomes: list[bool] = []

        async def attempt(link: Link | None, session: Session | None) -> None:
            outcomes.append(await self._synchronize_with(link, session))

        links = [link for link in self._contacts.links.values() if not link.is_self]
        dialled = {link.origin for link in links}
        others = [
            contact.sessions[-1]
            for contact in self._contacts.by_origin.values()
            if contact.sessions and contact.origin not in dialled
        ]
        with trio.move_on_after(inf if timeout is None else timeout):
            async with trio.open_nursery() as nursery:
                for link in links:
                    nursery.start_soon(attempt, link, None)
                for session in others:
                    nursery.start_soon(attempt, None, session)
        return len(outcomes) == len(links) + len(others) and all(outcomes)

    async def _synchronize_with(self, link: Link | None, session: Session | None) -> bool:
        if link is None:
            return session is not None and await session.in_step(fresh=False)
        for _ in range(SYNC_ATTEMPTS):
            session = self._session_at(link)
            is_fresh = session is None
            if session is None:
                session = await self._dial_now(link)
            if session is None and not link.is_put_off:
                return link.is_self
            if session is not None and await session.in_step(fresh=is_fresh):
                return True
        return False

    async def _dial_now(self, link: Link) -> Session | None:
        """Dial, due or not; the conversation that comes of it, if any."""
        contact = self._contacts.at(link)
        if contact is not None and contact.blocked is not None:
            return None
        before = contact and contact.newest
        over = link.attempts + link.is_attempting
        while link.attempts <= over and not link.is_removed:
            contact = self._contacts.at(link)
            if contact is not None and contact.newest is not before:
                return contact.newest
            link.schedule.due = trio.current_time()
            link.changed.unpark_all()
            await link.news.park()
        return None

    def _session_at(self, link: Link) -> Session | None:
        contact = self._contacts.at(link)
        open_ones = [] if contact is None else [one for one in contact.sessions if one.over is None]
        return open_ones[-1] if open_ones else None

    # Conversations come and go

    def _met(self, session: Session, contact: Contact) -> None:
        for link in self._contacts.links_of(contact.origin):
            link.error = None
            link.news.unpark_all()
        if not contact.caught_up:
            self._nursery.start_soon(self._await_catching_up, session, contact)

    def _parted(self, session: Session, contact: Contact) -> None:
        """A conversation with a contact has ended: the pauses of its links begin now. That of the
        link that was dialled begins with what is made of it."""
        well = session.over is not None and session.over.code == "idle"
        dialled = self._hosting.link_of(session)
        for link in self._contacts.links_of(contact.origin):
            if link is not dialled:
                self._upkeep.rest(link, well=well)

    async def _await_catching_up(self, session: Session, contact: Contact) -> None:
        if await session.caught_up():
            contact.caught_up = True
            for link in self._contacts.links_of(contact.origin):
                link.settled.set()

    # One link

    async def _keep_talking(self, link: Link) -> None:
        while not link.is_removed:
            link.error = await self._attempt(link)
            self._upkeep.rest(link, well=link.error is None)
            contact = self._contacts.at(link)
            is_open = contact is not None and bool(contact.sessions)
            if (contact is not None and contact.caught_up) or not (is_open or link.is_put_off):
                link.settled.set()
            link.attempt_over()

    async def _attempt(self, link: Link) -> str | None:
        """One conversation, when it is due; what went wrong, safe to show."""
        link.is_put_off = False
        try:
            stream = await self._dial(link)
            if stream is None:
                return None
            close = await self._hosting.converse(stream, link)
        except Exception as error:
            self._hosting.complain(f"peer {link.address}", error)
            return printable(str(error))
        is_fine = close.code == "idle" or link.is_self or link.is_removed
        is_surplus = close.code == "busy" and self._session_at(link) is not None
        link.is_put_off = close.code == "busy" and not is_surplus
        return None if is_fine or is_surplus else printable(close.reason)

    async def _dial(self, link: Link) -> FramedStream | None:
        """Connect when it is due; None where the link was removed before."""
        with trio.CancelScope() as link.waiting:
            while (due := self._due(link)) > trio.current_time():
                with trio.move_on_at(due):
                    await link.changed.park()
            link.is_attempting = True
            return await dial(
                link.address,
                timeout=self._settings.connect_timeout,
                patience=self._patience,
                tls=self._tls,
            )
        return None

    def _due(self, link: Link) -> float:
        """When to dial: not while somebody is connected, or a person has to look first (R13)."""
        contact = self._contacts.at(link)
        if contact is not None and (contact.sessions or contact.blocked is not None):
            return inf
        return link.schedule.due
