"""What is announced around a node: which of it are peers, and what makes no sense.

Told by whoever listens to the network; this module knows of no socket and no thread.
"""

import logging
from collections.abc import Callable, Mapping, Sequence

from replicator.config import MULTICAST_SERVICES_MAX
from replicator.net.address import Address
from replicator.net.discovery.announcement import (
    SERVICE_TYPE,
    NonsenseError,
    addresses_in,
    is_of_cluster,
    origin_in,
)
from replicator.net.discovery.interfaces import Plan
from replicator.net.discovery.lines import excerpt
from replicator.net.discovery.pace import Finding
from replicator.net.discovery.provider import Advert

FAULT_SECONDS = 600.0
"""How long nonsense that went away is remembered: what comes and goes is logged once."""

FAULTS_MAX = 100
FAULTS_SHOWN_MAX = 2

logger = logging.getLogger("replicator")


class Neighbourhood:
    """The announcements heard. Its methods are for one thread at a time; `view` is for any.

    Args:
        advert: the own announcement. None takes those of every cluster: who does not belong
            together finds out when greeting.
        changed: called when `view` has changed.
    """

    def __init__(self, advert: Advert | None, changed: Callable[[], None]) -> None:
        self._advert = advert
        self._changed = changed
        self._services: dict[str, list[Address]] = {}
        self._fresh: set[str] = set()
        self._faults: dict[str, tuple[str, float | None]] = {}
        self._strangers: set[str] = set()
        self._is_settled = False
        self._is_full = False
        self._trouble: str | None = None
        self.hears_itself = False
        """Whether the own announcement has come back."""
        self.view = Finding(None)
        """What there is, immutable; its addresses are None until that is known."""

    def begin(self, trouble: str | None) -> None:
        """Listening begins anew: until `settle`, what was heard before counts as there.

        Args:
            trouble: what does not work, and what to do.
        """
        self._fresh.clear()
        self._trouble = trouble
        self._is_settled = False
        self.hears_itself = False
        self._publish()

    def settle(self, now: float, trouble: str | None, is_late: bool) -> None:
        """Everybody has had the time to answer.

        Args:
            now: seconds on any clock that only goes forward.
            trouble: as in `begin`.
            is_late: whether who was there before this session, and has not answered, is gone.
        """
        if is_late:
            for name in self._services.keys() - self._fresh:
                del self._services[name]
        for name, (_, gone) in list(self._faults.items()):
            if gone is not None and now - gone > FAULT_SECONDS:
                del self._faults[name]
        is_first = not self._is_settled
        self._is_settled = True
        self._trouble = trouble
        self._publish(is_news=is_first)

    def hear(
        self,
        name: str,
        txt: Mapping[bytes, bytes | None],
        port: int | None,
        hosts: Sequence[str],
        plan: Plan,
    ) -> None:
        """Take in what an announcement says now.

        Args:
            name: of the announcement.
            hosts: IP addresses, the latest first.
            plan: which of them can be of interest.
        """
        if name not in self._services and len(self._services) >= MULTICAST_SERVICES_MAX:
            self._is_full = True
        else:
            self._services[name] = []
            self._fresh.add(name)
            self._faults.pop(name, None)
            try:
                self._services[name] = self._peer(txt, port, hosts, plan)
            except NonsenseError as error:
                self._fault(name, str(error))
        self._publish()

    def lose(self, name: str, now: float) -> None:
        """An announcement was taken back, or has expired."""
        self._services.pop(name, None)
        self._fresh.discard(name)
        self._is_full = False
        if name in self._faults:
            self._faults[name] = (self._faults[name][0], now)
        self._publish()

    def _peer(
        self, txt: Mapping[bytes, bytes | None], port: int | None, hosts: Sequence[str], plan: Plan
    ) -> list[Address]:
        """Where an announcement says that a peer listens; nowhere for one that is none."""
        if self._advert is not None and not is_of_cluster(txt, self._advert.cluster):
            self._note_cluster(excerpt((txt.get(b"cluster") or b"").decode(errors="replace")))
            return []
        if self._advert is not None and origin_in(txt) == self._advert.origin:
            self.hears_itself = True
            return []
        origin_in(txt)
        return [one for one in addresses_in(port, hosts) if plan.reaches(one.host)]

    def _note_cluster(self, cluster: str) -> None:
        """Many clusters may share a network: that is told once, and no trouble."""
        if cluster not in self._strangers and len(self._strangers) < FAULTS_MAX:
            self._strangers.add(cluster)
            logger.info(
                "multicast: cluster %r is on this network, too; nodes of different cluster names "
                "never talk: give all nodes the same name if they belong together",
                cluster,
            )

    def _fault(self, name: str, why: str) -> None:
        if len(self._faults) < FAULTS_MAX:
            self._faults[name] = (why, None)

    def _publish(self, is_news: bool = False) -> None:
        addresses = [one for group in self._services.values() for one in group]
        is_known = self._is_settled or addresses
        view = Finding(tuple(addresses) if is_known else None, self._complaint())
        if view != self.view or is_news:
            self.view = view
            self._changed()

    def _complaint(self) -> str | None:
        """What goes wrong, in one bounded text that does not change with every stranger."""
        if self._trouble is not None:
            return self._trouble
        if self._is_full:
            return (
                f"more than {MULTICAST_SERVICES_MAX} announcements: the rest is left out; choose "
                "the interfaces, or name a few peers with peers="
            )
        if not self._faults:
            return None
        shown = [
            f"{excerpt(name.removesuffix('.' + SERVICE_TYPE))!r} {why}"
            for name, (why, _) in list(self._faults.items())[:FAULTS_SHOWN_MAX]
        ]
        more = ["and others"] if len(self._faults) > FAULTS_SHOWN_MAX else []
        return (
            "left out announcements that make no sense (stop or update what sends them): "
            + "; ".join([*shown, *more])
        )
