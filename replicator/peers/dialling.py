"""The peers that a node dials: when, what comes of it, and what waits for that."""

from collections.abc import Iterable
from math import inf

import trio
from trio.lowlevel import ParkingLot

from replicator.config import LINKS_MAX, Settings
from replicator.errors import PeerError
from replicator.net.address import Address
from replicator.net.dial import dial
from replicator.net.tls import Tls
from replicator.net.transport import FramedStream
from replicator.peers.contacts import GIVEN, Contact, Contacts, Link
from replicator.peers.hosting import Hosting
from replicator.peers.journal import printable
from replicator.peers.session import Session
from replicator.peers.upkeep import Upkeep
from replicator.protocol.schedule import Fanout, PeerSchedule


class Dialling:
    """One task per link, which dials when it is due and while nobody is connected.

    For one trio thread.

    Args:
        nursery: where the tasks run.
        patience: see `FramedStream`.

    Attributes:
        caught_up: set when this node held, once, all that one of its peers knew.
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
        self._fanout = Fanout(settings)
        self._waiting_for_room = ParkingLot()
        self._unmet: set[Link] = set()
        self.caught_up = trio.Event()
        hosting.on_met = self._met
        hosting.on_parted = self._parted
        upkeep.on_hastened = self._hastened

    # Whom to dial

    def add(self, address: Address, source: str = GIVEN) -> None:
        """Dial this address from now on. Idempotent.

        Args:
            source: who named it; `GIVEN` for a person, who thereby permits a merge (R15).
        """
        links = self._contacts.links
        link = links.get(address)
        if link is None:
            if source != GIVEN and len(links) >= LINKS_MAX:
                return
            schedule = PeerSchedule(self._settings, trio.current_time())
            link = links[address] = Link(address, schedule, {source})
            self._nursery.start_soon(self._keep_talking, link)
        elif source not in link.sources:
            link.sources.add(source)
            link.schedule.due = trio.current_time()  # what was refused may be permitted now
            link.changed.unpark_all()

    def remove(self, address: Address) -> None:
        """Dial this address no more, whoever named it, and end the conversation with it.
        Idempotent."""
        link = self._contacts.links.get(address)
        if link is not None:
            self._retire(link)
            for session in self._hosting.of(link):
                session.stop("closing", "this peer was taken off the list")

    def replace(self, source: str, addresses: Iterable[Address]) -> None:
        """Dial what a source names now, and what it does not name any more only if another one
        does. Conversations go on."""
        named = set(addresses)
        for link in list(self._contacts.links.values()):
            if source in link.sources and link.address not in named:
                link.sources.discard(source)
                if not link.sources:
                    self._retire(link)
        for address in named:
            self.add(address, source)

    def expect(self, address: Address, origin: int) -> None:
        """Who is thought to be at an address: it need not be dialled to find out."""
        link = self._contacts.links.get(address)
        if link is not None and link.origin is None:
            link.origin = origin

    def _retire(self, link: Link) -> None:
        self._contacts.remove(link)
        link.retire()

    def stop(self) -> None:
        """Dial nobody any more. Conversations go on."""
        for link in self._contacts.links.values():
            link.retire()

    async def attempted(self, links: Iterable[Link]) -> None:
        """Wait until the first attempt with each of these links has come to something (R13)."""
        for link in links:
            await link.settled.wait()

    async def dial_now(self, link: Link) -> Session | None:
        """Dial, due or not; the conversation that comes of it, if any."""
        contact = self._contacts.at(link)
        if contact is not None and contact.blocked is not None:
            return None
        before = contact and contact.newest
        over = link.attempts + link.is_attempting
        link.is_urgent = True
        while link.attempts <= over and not link.is_removed:
            contact = self._contacts.at(link)
            if contact is not None and contact.newest is not before:
                return contact.newest
            link.changed.unpark_all()
            self._waiting_for_room.unpark_all()
            await link.news.park()
        return None

    def hurry(self) -> None:
        """Dial whom nobody talks to now, unless that has just failed: somebody waits for more peers
        than there are conversations."""
        now = trio.current_time()
        for link in self._contacts.links.values():
            contact = self._contacts.at(link)
            is_open = contact is not None and bool(contact.sessions)
            if not (is_open or link.is_self or link.schedule.failures):
                link.schedule.due = min(link.schedule.due, now)
                link.changed.unpark_all()
        self._waiting_for_room.unpark(count=self._settings.fanout)

    def session_at(self, link: Link) -> Session | None:
        """The open conversation with whom was found at a link, if there is one."""
        contact = self._contacts.at(link)
        open_ones = [] if contact is None else [one for one in contact.sessions if one.over is None]
        return open_ones[-1] if open_ones else None

    async def take_turns(self) -> None:
        """Now and then end a conversation where others wait for room, one that this node began if
        there is any: who has dialled comes back; never ends."""
        while True:
            await trio.sleep(self._settings.interval_max)
            if len(self._waiting_for_room) and self._contacts.open_count() >= self._settings.fanout:
                at_rest = [one for one in self._hosting if one.is_at_rest]
                # In the order in which they began; the sort keeps it.
                for oldest in sorted(at_rest, key=lambda one: not one.dialled)[:1]:
                    oldest.stop("idle", "others wait for their turn")

    # Conversations come and go

    def _met(self, session: Session, contact: Contact) -> None:
        dialled = self._hosting.link_of(session)
        if dialled is not None:
            self._unmet.discard(dialled)
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
        self._waiting_for_room.unpark()

    async def _await_catching_up(self, session: Session, contact: Contact) -> None:
        if await session.caught_up():
            contact.caught_up = True
            self.caught_up.set()
            for link in self._contacts.links_of(contact.origin):
                link.settled.set()

    # One link

    async def _keep_talking(self, link: Link) -> None:
        while not link.is_removed:
            link.error = await self._attempt(link)
            # Whoever dials itself need not do so more often because it writes.
            self._rest(link, well=link.error is None and not link.is_self)
            contact = self._contacts.at(link)
            is_open = contact is not None and bool(contact.sessions)
            if (contact is not None and contact.caught_up) or not (is_open or link.is_put_off):
                link.settled.set()
            link.attempt_over()
            self._unmet.discard(link)
            self._waiting_for_room.unpark()

    def _rest(self, link: Link, *, well: bool) -> None:
        """Pause; where it failed, another address of the same node may be the better one now."""
        self._upkeep.rest(link, well=well)
        if not well and link.origin is not None:
            for other in self._contacts.links_of(link.origin):
                other.changed.unpark_all()

    def _hastened(self) -> None:
        """Commits were made: there may be room sooner than those who wait for it think."""
        self._waiting_for_room.unpark(count=self._settings.fanout)

    async def _attempt(self, link: Link) -> str | None:
        """One conversation, when it is due; what went wrong, safe to show.

        That nobody is at an address which was only found is for the status, not for the log: found
        addresses are old now and then.
        """
        link.is_put_off = False
        try:
            stream = await self._dial(link)
            if stream is None:
                return None
            self._fanout.dialled(trio.current_time())
            close = await self._hosting.converse(stream, link)
        except Exception as error:
            if link.explicit or not isinstance(error, PeerError):
                self._hosting.complain(f"peer {link.address}", error)
            return printable(str(error))
        is_fine = close.code == "idle" or link.is_self or link.is_removed
        is_surplus = close.code == "busy" and self.session_at(link) is not None
        link.is_put_off = close.code == "busy" and not is_surplus
        return None if is_fine or is_surplus else printable(close.reason)

    async def _dial(self, link: Link) -> FramedStream | None:
        """Connect when it is due; None where the link was removed before."""
        with trio.CancelScope() as link.waiting:
            await self._turn_of(link)
            link.is_attempting = True
            self._unmet.add(link)
            link.is_urgent = False
            return await dial(
                link.address,
                timeout=self._settings.connect_timeout,
                patience=self._patience,
                tls=self._tls,
            )
        return None

    async def _turn_of(self, link: Link) -> None:
        """Return when a link is due and there is room for one more conversation."""
        while True:
            now = trio.current_time()
            due, room = self._due(link), self._room_at(link)
            if due <= now and room <= now:
                return
            if due <= now:
                # Who was woken may have had no use for the room: look now and then.
                with trio.move_on_at(min(room, now + self._settings.interval_max)):
                    await self._waiting_for_room.park()
            else:
                with trio.move_on_at(due):
                    await link.changed.park()

    def _due(self, link: Link) -> float:
        """When to dial: not while somebody is connected, another address of the same node is the
        better one, or a person has to look first (R13)."""
        contact = self._contacts.at(link)
        if contact is not None and (contact.sessions or contact.blocked is not None):
            return inf
        if link.is_urgent:
            return -inf
        if link.settled.is_set() and not self._contacts.best_link(link):
            return max(link.schedule.due, trio.current_time() + self._settings.interval_max)
        return link.schedule.due

    def _room_at(self, link: Link) -> float:
        """When there is room for one more conversation, attempts that are under way counted as
        such; at once for who is awaited: by the write gate or by a person."""
        if link.is_urgent or (link.explicit and not link.settled.is_set()):
            return -inf
        under_way = self._contacts.open_count() + len(self._unmet)
        return self._fanout.ready_at(under_way, self._upkeep.rate)
