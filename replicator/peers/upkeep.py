"""What a node does by itself when its store changes: announce it, dial sooner, make it durable."""

import time
from collections.abc import Callable

import trio

from replicator.chance import random
from replicator.config import Settings
from replicator.peers.contacts import Contacts, Link
from replicator.peers.hosting import Hosting
from replicator.peers.membership import Membership
from replicator.protocol.schedule import WriteVelocity
from replicator.store.store import Store

COALESCE_SECONDS = 0.002
"""Changes within that time are announced together."""

GAP_SECONDS = 100e-6
"""So much more for each gap of the known set: while a large round comes in, which leaves gaps until
it is complete, comparing known sets must not take the time that the round needs."""

LAG_SAMPLE_SECONDS = 0.1
"""How often it is looked how far the peers are behind while this node writes."""


class Upkeep:
    """Follows the commits of one store. For one trio thread.

    Attributes:
        on_changed: called when there were commits; those that come from then on are told anew.
        on_hastened: called when the links have been hastened.
    """

    def __init__(
        self,
        store: Store,
        settings: Settings,
        contacts: Contacts,
        hosting: Hosting,
        membership: Membership,
    ) -> None:
        self._store = store
        self._settings = settings
        self._contacts = contacts
        self._hosting = hosting
        self._membership = membership
        self._velocity = WriteVelocity(trio.current_time())
        self._commits = 0
        self._sampled_at = 0.0
        self._changed = trio.Event()
        self._dirty = trio.Event()
        self._dirty.set()  # what was committed before the node ran
        self.on_changed: Callable[[], None] = lambda: None
        self.on_hastened: Callable[[], None] = lambda: None

    def changed(self) -> None:
        """There are commits that were not there before."""
        self._changed.set()
        self._dirty.set()

    @property
    def rate(self) -> float:
        """Commits per second, as of now."""
        return self._velocity.rate(trio.current_time())

    def rest(self, link: Link, *, well: bool) -> None:
        """An attempt or a conversation at `link` is over: when to dial again."""
        now = trio.current_time()
        if well:
            link.schedule.ended(now, self._velocity.rate(now), random())
        else:
            link.schedule.failed(now, random())
        link.changed.unpark_all()

    async def announce(self) -> None:
        """Tell the conversations of changes, at most every `COALESCE_SECONDS` and more; where there
        is none, dial sooner."""
        self._changed.set()
        while True:
            await self._changed.wait()
            self._changed = trio.Event()
            self._store.rearm()
            self.on_changed()
            self._hosting.clocks.mind_own()
            for session in self._hosting:
                session.known_changed()
            self._hasten(trio.current_time())
            await trio.sleep(COALESCE_SECONDS + GAP_SECONDS * self._store.known_gaps())

    async def sync_points(self) -> None:
        """Make a sync point whenever there are new commits, every `sync_interval` (R11)."""
        while True:
            await self._dirty.wait()
            self._dirty = trio.Event()
            try:
                await self._hosting.sync_points.make()
            except Exception as error:
                self._hosting.complain("sync point", error)
            self._membership.synced()
            await trio.sleep(self._settings.sync_interval)

    def _hasten(self, now: float) -> None:
        counters = self._store.counters()
        commits = counters.writes + counters.applied
        self._velocity.add(commits - self._commits, now)
        self._commits = commits
        rate = self._velocity.rate(now)
        for link in self._contacts.links.values():
            due = link.schedule.due
            link.schedule.hasten(rate)
            if link.schedule.due != due:
                link.changed.unpark_all()
        self.on_hastened()
        if now >= self._sampled_at + LAG_SAMPLE_SECONDS:
            self._sampled_at = now
            known = self._store.known()
            for contact in self._contacts.by_origin.values():
                contact.lag.watch(known, contact.known, time.monotonic())
