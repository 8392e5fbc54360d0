"""How a node finds peers that nobody named: by its providers, by what members tell, and by asking
back who has dialled it.

What is found is an address and no more: who lives there, whether that is this node itself, and
whether it may be talked to (R15), is seen when it greets. An address at which a member was reached
is told to the whole cluster by that member; so a node asks those back who dial it, once, under the
address of their connection and the port that they say they listen on.
"""

from collections.abc import Callable, Collection
from contextlib import suppress
from typing import cast

import trio

from replicator.config import DISCOVERED_ADDRESSES_MAX, PROBES_MAX, Settings
from replicator.errors import PeerError, ProtocolError
from replicator.net.address import Address
from replicator.net.dial import dial
from replicator.net.discovery.provider import Advert, Provider
from replicator.net.tls import Tls
from replicator.net.transport import FramedStream
from replicator.peers.contacts import Contacts
from replicator.peers.dialling import Dialling
from replicator.peers.hosting import Hosting
from replicator.peers.journal import Journal, printable
from replicator.peers.membership import Membership
from replicator.peers.session import Session
from replicator.protocol.codec import decode, encode
from replicator.protocol.messages import Bye, Hello

RESTART_SECONDS = 5.0
"""Pause before a provider that has failed runs again."""

MEMBERS = "members"
"""The source of addresses that members tell."""


class Lookout:
    """What one provider has told. Implements `Outlook`.

    Attributes:
        has_looked: set when it has said for the first time what it finds, or why it cannot look.
    """

    def __init__(
        self, name: str, journal: Journal, replace: Callable[[str, Collection[Address]], None]
    ) -> None:
        self._name = name
        self._journal = journal
        self._replace = replace
        self._count = 0
        self._trouble: str | None = None
        self.has_looked = trio.Event()

    @property
    def summary(self) -> str:
        """For `status()`."""
        found = f"{self._count} found"
        return found if self._trouble is None else f"{found}; {printable(self._trouble)}"

    def found(self, addresses: Collection[Address]) -> None:
        kept = list(dict.fromkeys(addresses))[:DISCOVERED_ADDRESSES_MAX]
        if len(kept) < len(set(addresses)):
            self._journal.failed(
                f"discovery by {self._name}",
                f"finds {len(set(addresses))} addresses, of which {len(kept)} are used: look at "
                "what announces so many",
            )
        self._count = len(kept)
        self._replace(self._name, kept)
        self.has_looked.set()

    def trouble(self, text: str) -> None:
        self._trouble = text
        self._journal.failed(f"discovery by {self._name}", text)
        self.has_looked.set()

    def works(self) -> None:
        self._trouble = None
        self._journal.works(f"discovery by {self._name}")


class Discovering:
    """Runs the providers of one node, and dials what they and the members tell. For one trio
    thread."""

    def __init__(
        self,
        nursery: trio.Nursery,
        settings: Settings,
        contacts: Contacts,
        hosting: Hosting,
        dialling: Dialling,
        membership: Membership,
        journal: Journal,
        tls: Tls | None,
    ) -> None:
        self._nursery = nursery
        self._settings = settings
        self._contacts = contacts
        self._hosting = hosting
        self._dialling = dialling
        self._membership = membership
        self._journal = journal
        self._tls = tls
        self._lookouts: dict[str, Lookout] = {}
        self._probed: dict[tuple[int, Address], None] = {}

    def begin(self, advert: Advert) -> None:
        """Look out from now on, and take up what was stored."""
        for provider in cast(tuple[Provider, ...], self._settings.discovery or ()):
            name = provider.name
            while name in self._lookouts:
                name += "'"
            self._lookouts[name] = Lookout(name, self._journal, self._dialling.replace)
            self._nursery.start_soon(self._run, provider, self._lookouts[name], advert)
        self.members_changed()

    async def _run(self, provider: Provider, lookout: Lookout, advert: Advert) -> None:
        while True:
            try:
                await provider.run(lookout, advert)
            except Exception as error:
                self._hosting.complain(f"discovery by {provider.name}", error)
            await trio.sleep(RESTART_SECONDS)

    def members_changed(self) -> None:
        """Dial where members were reached, if that is wanted."""
        if not self._settings.dial_members:
            return
        addresses = self._membership.addresses()
        self._dialling.replace(MEMBERS, addresses)
        for address, origin in addresses.items():
            self._dialling.expect(address, origin)

    async def looked(self) -> None:
        """Return when every provider has looked once."""
        for lookout in self._lookouts.values():
            await lookout.has_looked.wait()

    def summaries(self) -> dict[str, str]:
        """What each provider has found, for `status()`."""
        return {name: lookout.summary for name, lookout in self._lookouts.items()}

    # Asking back

    def dialled_by(self, session: Session) -> None:
        """A peer has dialled this node and belongs here: find out whether it can be dialled."""
        peer = session.conversation.peer
        if peer is None or not peer.port:
            return
        address = Address(session.stream.remote.host, peer.port)
        member = self._membership.roster.get(peer.origin)
        is_known = member is not None and str(address) in member.addresses
        if is_known or (peer.origin, address) in self._probed:
            return
        self._probed[peer.origin, address] = None
        if len(self._probed) > PROBES_MAX:
            del self._probed[next(iter(self._probed))]
        self._nursery.start_soon(self._ask_back, address)

    async def _ask_back(self, address: Address) -> None:
        """Greet at an address and leave: who is there learns that it can be reached. That nobody
        is there is no failure."""
        try:
            with suppress(PeerError, trio.TooSlowError):
                stream = await dial(
                    address,
                    timeout=self._settings.connect_timeout,
                    patience=self._settings.keepalive,
                    tls=self._tls,
                )
                try:
                    with trio.fail_after(self._settings.connect_timeout):
                        await self._greet(stream, address)
                finally:
                    with trio.CancelScope(shield=True):
                        await stream.aclose()
        except Exception as error:
            self._hosting.complain(f"asking back at {address}", error)

    async def _greet(self, stream: FramedStream, address: Address) -> None:
        await stream.send([encode(self._hosting.hello(address))])
        while (payloads := await stream.receive()) is not None:
            if payloads:
                if not isinstance(decode(payloads[0]), Hello):
                    raise ProtocolError(f"{address} does not greet")
                await stream.send([encode(Bye("only asked back", "idle"))])
                return
