"""The border between a node and its providers of addresses."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

from replicator.net.address import Address


@dataclass(frozen=True, slots=True)
class Advert:
    """What a node tells others of itself.

    Attributes:
        cluster: the name of its cluster.
        node: its name.
        origin: 64 bits; a new one after a fork (R13).
        address: where it listens; the host may be ``0.0.0.0``, ``::``, loopback or one of its
            own addresses. Port 0: it does not, so nothing is announced; the host then says on
            which networks to look.
    """

    cluster: str
    node: str
    origin: int
    address: Address


class Outlook(Protocol):
    """What a provider tells its node. Called in the trio thread; never raises."""

    def found(self, addresses: Collection[Address]) -> None:
        """Everything that the provider finds now; replaces what it said before."""

    def trouble(self, text: str) -> None:
        """What goes wrong, and what to do. The provider goes on trying, and says it again and
        again: what was said last is not logged a second time. It may hold text of strangers."""

    def works(self) -> None:
        """Nothing goes wrong any more."""


class Provider(Protocol):
    """Finds addresses of peers. An object is immutable configuration, and can be run again."""

    @property
    def name(self) -> str:
        """For logs and status: ``multicast``, ``dns db.example:9000``, ``file peers.txt`` …"""

    async def run(self, outlook: Outlook, advert: Advert | None) -> None:
        """Look until cancelled, dealing with every failure.

        Args:
            outlook: is told what is found and what goes wrong.
            advert: what to announce where this provider announces. None looks only, and for
                nodes of every cluster.
        """
