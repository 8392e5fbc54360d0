"""Joining: a node tries to replicate before its first own write is accepted (R13)."""

import trio

from replicator.config import Settings
from replicator.peers.contacts import Contacts
from replicator.peers.dialling import Dialling
from replicator.peers.journal import Journal
from replicator.store.gate import GateOutcome
from replicator.store.store import Store


class Joining:
    """Opens the write gate of one node when the attempt has come to something. For one trio
    thread."""

    def __init__(
        self,
        store: Store,
        settings: Settings,
        contacts: Contacts,
        dialling: Dialling,
        journal: Journal,
    ) -> None:
        self._store = store
        self._settings = settings
        self._contacts = contacts
        self._dialling = dialling
        self._journal = journal

    async def run(self) -> None:
        """Wait for the peers, for ``join_timeout`` at most, and open the gate."""
        with trio.move_on_after(self._settings.join_timeout) as limit:
            await self._attempted()
        self._store.gate.open(self._outcome(limit.cancelled_caught))
        self._journal.info(f"write gate open: {self._store.gate.outcome}")

    async def _attempted(self) -> None:
        """Wait for the peers that were named; where there are none, for one that was found or is
        remembered."""
        links = list(self._contacts.links.values())
        named = [link for link in links if link.explicit]
        await self._dialling.attempted(named or links)
        if not named and self._settings.discovery:
            await self._dialling.caught_up.wait()

    def _outcome(self, timed_out: bool) -> GateOutcome:
        if self._dialling.caught_up.is_set():
            return "caught up"
        return "timed out" if timed_out and self._is_promising() else "nobody there"

    def _is_promising(self) -> bool:
        """Whether somebody was named, or met, who might have brought this node up to date."""
        is_named = any(link.explicit for link in self._contacts.links.values())
        return is_named or bool(self._contacts.by_origin)
