"""What a node tells of itself: its status, put together from all its parts."""

import time

from replicator.config import Settings
from replicator.core.dots import format_origin
from replicator.core.known import KnownSet
from replicator.events import Events
from replicator.net.address import Address
from replicator.peers.accepting import Accepting
from replicator.peers.contacts import Contacts
from replicator.peers.hosting import Hosting
from replicator.peers.membership import Membership
from replicator.status import Status
from replicator.store.keyspace import FORMAT_VERSION
from replicator.store.store import Store


class Reporting:
    """Reads the parts of one node. For its trio thread."""

    def __init__(
        self,
        store: Store,
        settings: Settings,
        contacts: Contacts,
        membership: Membership,
        hosting: Hosting,
        accepting: Accepting,
        events: Events,
    ) -> None:
        self._store = store
        self._settings = settings
        self._contacts = contacts
        self._membership = membership
        self._hosting = hosting
        self._accepting = accepting
        self._events = events

    def status(
        self, name: str, address: Address | None, discovery: dict[str, str], *, is_running: bool
    ) -> Status:
        """The node at this moment."""
        store, known = self._store, self._store.known()
        watermark = KnownSet()
        for origin, seq in self._membership.watermark().covered.items():
            watermark.add_range(origin, 1, seq + 1)
        return Status(
            name=name,
            origin=format_origin(store.origin),
            cluster=self._settings.cluster,
            cluster_id=None if store.cluster_id is None else store.cluster_id.hex(),
            format=FORMAT_VERSION,
            running=is_running,
            write_gate=store.gate.outcome,
            failed=store.level.failed,
            address=None if address is None else str(address),
            peers=self._contacts.status(known, time.monotonic()),
            members=max(1, len(self._membership.roster.members())),
            entries=known.count(),
            held_by_all=known.intersection(watermark).count(),
            discovery=discovery,
            counters=store.counters(),
            conflicts=store.conflict_counts(),
            revisiting=store.revisiting(),
            digests=self._hosting.comparisons.status(),
            traffic=self._hosting.traffic.status(),
            clock=self._hosting.clocks.status(),
            connections_refused=self._accepting.admission.refused,
            events_dropped=self._events.dropped,
        )
