"""Peers on the same network, by multicast DNS (RFC 6762, RFC 6763)."""

from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass

import trio

from replicator.config import MULTICAST_RETRY_SECONDS_MAX
from replicator.errors import ConfigError
from replicator.net.discovery.interfaces import ADVICE
from replicator.net.discovery.neighbourhood import Neighbourhood
from replicator.net.discovery.pace import Backoff, LookError, Report
from replicator.net.discovery.provider import Advert, Outlook

FAREWELL_SECONDS = 1.0
"""How long a run that ends waits for the goodbye."""


@dataclass(frozen=True, slots=True)
class Multicast:
    """Announces this node on its networks, and finds those that others announce.

    What it has found, or that there is nobody, is known `LOOK_SECONDS` after the start; somebody
    who is there is found in a tenth of a second.

    Args:
        interfaces: addresses or names of network interfaces; None takes those that the node
            listens on, and the loopback interface where it does not listen.

    Raises:
        ConfigError: it is no list of them.
    """

    interfaces: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        chosen: object = self.interfaces
        is_fine = isinstance(chosen, tuple) and all(isinstance(one, str) for one in chosen)
        if chosen is not None and not (chosen and is_fine):
            raise ConfigError(
                f"interfaces is {chosen!r}: list addresses or names of network interfaces, such as "
                "['192.168.1.17'] or ['eth0'], or leave it out"
            )

    @property
    def name(self) -> str:
        return "multicast"

    async def run(self, outlook: Outlook, advert: Advert | None) -> None:
        """See `Provider`."""
        report = Report(outlook)
        backoff = Backoff(MULTICAST_RETRY_SECONDS_MAX)
        token = trio.lowlevel.current_trio_token()
        is_running = True

        def tell() -> None:
            if is_running:
                view = neighbourhood.view
                if view.addresses is not None:
                    backoff.reset()
                report.tell(view)

        def changed() -> None:
            with suppress(trio.RunFinishedError):  # the node is gone, and the thread about to end
                token.run_sync_soon(tell, idempotent=True)

        neighbourhood = Neighbourhood(advert, changed)
        try:
            while True:
                error = await self._session(advert, neighbourhood)
                if error is not None:
                    report.failed(_explained(error))
                    await trio.sleep(backoff.next())
        finally:
            is_running = False

    async def _session(
        self, advert: Advert | None, neighbourhood: Neighbourhood
    ) -> Exception | None:
        """Run one session in a thread; when cancelled, end it within a bound.

        Returns:
            Why it failed; None where it is only to begin anew.
        """
        stop: Future[None] = Future()
        failure: Exception | None = None
        farewell = trio.CancelScope(shield=True)

        async def session() -> None:
            nonlocal failure
            with farewell:
                try:
                    await trio.to_thread.run_sync(
                        _serve,
                        self.interfaces,
                        advert,
                        neighbourhood,
                        stop,
                        abandon_on_cancel=True,
                        limiter=trio.CapacityLimiter(1),
                    )
                except Exception as error:
                    failure = error
            nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(session)
            try:
                await trio.sleep_forever()
            finally:
                stop.cancel()
                farewell.deadline = trio.current_time() + FAREWELL_SECONDS
        return failure


def _serve(
    chosen: tuple[str, ...] | None,
    advert: Advert | None,
    neighbourhood: Neighbourhood,
    stop: "Future[None]",
) -> None:
    """See `serve`. What it needs takes a while to import, so it is in its thread."""
    from replicator.net.discovery.mdns import serve

    serve(chosen, advert, neighbourhood, stop)


def _explained(error: Exception) -> LookError:
    if isinstance(error, LookError):
        return error
    return LookError(f"multicast does not work here ({error}); {ADVICE}")
