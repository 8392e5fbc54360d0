"""Joining: a node tries to replicate before its first own write is accepted (R13)."""

import trio

from replicator.config import Settings
from replicator.peers.contacts import Contacts
from replicator.peers.dialling import Dialling
from replicator.peers.discovering import Discovering
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
        discovering: Discovering,
        journal: Journal,
    ) -> None:
        self._store = store
        self._settings = settings
        self._contacts = contacts
        self._dialling = dialling
        self._discovering = discovering
        self._journal = journal

    async def run(self) -> None:
        """Wait for the peers, for ``join_timeout`` at most, and open the gate."""
        with trio.move_on_after(self._settings.join_timeout) as limit:
            await self._attempted()
        self._store.gate.open(self._outcome(limit.cancelled_caught))
        self._journal.info(f"write gate open: {self._store.gate.outcome}")

    async def _attempted(self) -> None:
        """Wait for all peers that were named; where there are none, for one of those that were
        found or are remembered."""
        named = [link for link in self._contacts.links.values() if link.explicit]
        if named:
            await self._dialling.attempted(named)
            return
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._search, nursery.cancel_scope)
            await self._dialling.caught_up.wait()
            nursery.cancel_scope.cancel()

    async def _search(self, scope: trio.CancelScope) -> None:
        """Wait until everybody who can be found has been tried, then give up."""
        await self._discovering.looked()
        await self._dialling.attempted(list(self._contacts.links.values()))
        scope.cancel()

    def _outcome(self, timed_out: bool) -> GateOutcome:
        if self._dialling.caught_up.is_set():
            return "caught up"
        return "timed out" if timed_out and self._is_promising() else "nobody there"

    def _is_promising(self) -> bool:
        """Whether somebody was named, or met, who might have brought this node up to date."""
        is_named = any(link.explicit for link in self._contacts.links.values())
        return is_named or bool(self._contacts.by_origin)
