"""An outlook that remembers what it was told, and providers run against it."""

from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager

import trio

from replicator.net.address import Address
from replicator.net.discovery.provider import Advert, Provider

PATIENCE_SECONDS = 20.0


class Told:
    """What a provider said: as it stands, and each change of it."""

    def __init__(self) -> None:
        self.found_lists: list[set[str]] = []
        self.troubles: list[str] = []
        self.trouble_now: str | None = None
        self.works_count = 0
        self._lot = trio.lowlevel.ParkingLot()

    @property
    def addresses(self) -> set[str] | None:
        return self.found_lists[-1] if self.found_lists else None

    def found(self, addresses: Collection[Address]) -> None:
        assert len(set(addresses)) == len(addresses)
        self.found_lists.append({str(one) for one in addresses})
        self._lot.unpark_all()

    def trouble(self, text: str) -> None:
        if text != self.trouble_now:
            self.troubles.append(text)
        self.trouble_now = text
        self._lot.unpark_all()

    def works(self) -> None:
        self.trouble_now = None
        self.works_count += 1
        self._lot.unpark_all()

    async def until(self, condition: Callable[[], bool]) -> None:
        with trio.fail_after(PATIENCE_SECONDS):
            while not condition():
                await self._lot.park()

    async def until_found(self, *addresses: str) -> None:
        await self.until(lambda: self.addresses == set(addresses))

    async def until_trouble(self, *parts: str) -> str:
        """Wait for trouble that speaks of all `parts`."""
        await self.until(
            lambda: self.trouble_now is not None and all(part in self.trouble_now for part in parts)
        )
        return self.trouble_now or ""

    async def until_fine(self) -> None:
        await self.until(lambda: self.trouble_now is None and self.works_count > 0)

    async def until_looked(self, times: int = 2) -> None:
        """Wait until it said that it works, that often more."""
        goal = self.works_count + times
        await self.until(lambda: self.works_count >= goal)


@asynccontextmanager
async def running(provider: Provider, advert: Advert | None = None) -> AsyncIterator[Told]:
    """Run a provider; at the end it is cancelled, and must give way."""
    told = Told()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(provider.run, told, advert)
        try:
            yield told
        finally:
            nursery.cancel_scope.cancel()
