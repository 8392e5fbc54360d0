"""A round with every known peer, now: what `sync` waits for."""

from collections.abc import Awaitable, Callable
from functools import partial
from math import inf

import trio

from replicator.peers.contacts import Contacts, Link
from replicator.peers.dialling import Dialling
from replicator.peers.session import Session

SYNC_ATTEMPTS = 3
"""Conversations that a `synchronize` tries with one peer: an open one may just be ending, or the
peer settle something else first."""


class Synchronizing:
    """Brings this node and its peers into step. For one trio thread."""

    def __init__(self, contacts: Contacts, dialling: Dialling) -> None:
        self._contacts = contacts
        self._dialling = dialling

    async def with_all(self, timeout: float | None) -> bool:
        """See `Node.synchronize`."""
        outcomes: list[bool] = []

        async def attempt(with_one: Callable[[], Awaitable[bool]]) -> None:
            outcomes.append(await with_one())

        links = [link for link in self._contacts.links.values() if self._counts(link)]
        dialled = {link.origin for link in links}
        others = [
            contact.sessions[-1]
            for contact in self._contacts.by_origin.values()
            if contact.sessions and contact.origin not in dialled
        ]
        with trio.move_on_after(inf if timeout is None else timeout):
            async with trio.open_nursery() as nursery:
                for link in links:
                    nursery.start_soon(attempt, partial(self._at, link))
                for session in others:
                    nursery.start_soon(attempt, partial(self._through, session))
        return len(outcomes) == len(links) + len(others) and all(outcomes)

    def _counts(self, link: Link) -> bool:
        """Whether an address stands for a peer of its own: who was found, and cannot be reached,
        is a peer only where a person named it."""
        if link.is_self:
            return False
        return link.explicit or (not link.schedule.failures and self._contacts.best_link(link))

    async def with_one(self, link: Link, timeout: float | None) -> bool:
        """A round, both ways, with whom is found at one link."""
        with trio.move_on_after(inf if timeout is None else timeout):
            return await self._at(link)
        return False

    async def _through(self, session: Session) -> bool:
        """A round with who has dialled. Who has left meanwhile, as one does that has nothing more
        to say, is nobody to be asked any more."""
        for _ in range(SYNC_ATTEMPTS):
            if await session.in_step(fresh=False):
                return True
            contact = self._contacts.of(session)
            others = [] if contact is None else [one for one in contact.sessions if not one.over]
            if not others:
                return session.over is not None and session.over.code == "idle"
            session = others[-1]
        return False

    async def _at(self, link: Link) -> bool:
        """A round with whom is found at a link."""
        for _ in range(SYNC_ATTEMPTS):
            session, is_fresh = self._dialling.session_at(link), False
            if session is None:
                is_under_way = link.is_attempting
                session = await self._dialling.dial_now(link)
                is_fresh = session is not None and session.dialled and not is_under_way
            if session is None:  # where the two talk already, that conversation stays
                session, is_fresh = self._dialling.session_at(link), False
            if session is None and not link.is_put_off:
                return link.is_self
            if session is not None and await session.in_step(fresh=is_fresh):
                return True
        return False
