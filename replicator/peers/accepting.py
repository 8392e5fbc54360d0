"""Where a node listens: who comes in, and what the connections are made of."""

import trio

from replicator.config import Settings
from replicator.errors import ConfigError, PeerError
from replicator.net.address import Address
from replicator.net.listen import (
    Admission,
    listening_on,
    open_listeners,
    refuse_strangers,
    remote_of,
    turn_away,
    welcome,
)
from replicator.net.tls import Tls
from replicator.peers.hosting import Hosting
from replicator.peers.journal import Journal


class Accepting:
    """The listening side of one node. For one trio thread.

    Args:
        patience: see `FramedStream`.
        tls: makes every connection a safe one.

    Attributes:
        address: where it listens; None before it does, and where it does not.
        admission: counts the connections.
    """

    def __init__(
        self,
        settings: Settings,
        hosting: Hosting,
        journal: Journal,
        patience: float,
        tls: Tls | None,
    ) -> None:
        self.address: Address | None = None
        self.admission = Admission(settings.connections_max)
        self._settings = settings
        self._hosting = hosting
        self._journal = journal
        self._patience = patience
        self._tls = tls
        self._listeners: list[trio.SocketListener] = []
        self._scope = trio.CancelScope()

    async def listen(self) -> None:
        """Open the port, if there is to be one.

        Raises:
            ConfigError, UsageError: it cannot listen there; the message says what to do.
        """
        settings = self._settings
        if settings.port is not None:
            await refuse_strangers(settings.host, self._tls, settings.insecure)
            self._listeners = await open_listeners(settings.host, settings.port)
            self.address = listening_on(self._listeners[0])

    async def serve(self) -> None:
        """Take in whoever comes, until `stop`; conversations go on behind that."""
        if not self._listeners:
            return
        self._journal.info(f"listens on {self.address}")
        async with trio.open_nursery() as nursery:
            try:
                with self._scope:
                    await trio.serve_listeners(
                        self._accept, self._listeners, handler_nursery=nursery
                    )
            except OSError as error:
                self._hosting.complain("listening", error)

    def stop(self) -> None:
        """Take nobody in any more."""
        self._scope.cancel()

    async def keep_credentials(self) -> None:
        """Follow the files of TLS, and part with whom they no longer admit; never ends."""
        if self._tls is None:
            await trio.sleep_forever()
        else:
            await self._tls.keep_fresh(self._hosting.part_with_revoked, self._trouble)

    def _trouble(self, text: str) -> None:
        self._hosting.complain("TLS", ConfigError(text))

    async def _accept(self, stream: trio.SocketStream) -> None:
        remote = remote_of(stream)
        try:
            with self.admission.admit(remote.host) as full:
                if full is not None:
                    await turn_away(stream, full)
                    raise PeerError(f"turned away: {full}")
                framed = await welcome(
                    stream,
                    timeout=self._settings.connect_timeout,
                    patience=self._patience,
                    tls=self._tls,
                )
                await self._hosting.converse(framed, None)
        except Exception as error:
            self._hosting.complain(f"connections from {remote.host}", error)
