"""Multicast DNS: announces a node and listens for others, in a thread of its own.

zeroconf lives in asyncio, so one thread runs an event loop of asyncio with nothing but one
`Zeroconf` in it; all that leaves the thread is the `view` of a `Neighbourhood`. When the addresses
of the machine change, a session ends, and the next begins with those that there are then.

Three choices make nodes of one machine find each other in a tenth of a second:

- no probing for a free name, which takes a second: the name holds the random origin;
- questions whose answers are multicast: all processes of a machine share port 5353, and an answer
  sent to one address reaches just one of them;
- one goodbye, and no waiting for its repetition.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from replicator.config import MULTICAST_SERVICES_MAX
from replicator.net.discovery.announcement import SERVICE_TYPE, host_name, instance_name, txt_of
from replicator.net.discovery.interfaces import ADVICE, MDNS_PORT, Plan, make_plan, usable
from replicator.net.discovery.neighbourhood import Neighbourhood
from replicator.net.discovery.pace import LookError
from replicator.net.discovery.provider import Advert

if TYPE_CHECKING:
    from zeroconf import ServiceInfo, ServiceStateChange, Zeroconf
    from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

LOOK_SECONDS = 1.5
"""Between two looks at the machine's addresses. Until the first, everybody has had the time to
answer."""

LATE_LOOKS = 2
"""Looks after which those are gone that were found by an earlier session and have not answered."""

SILENT_LOOKS = 3
"""Looks after which the own announcement must have come back."""

RECORD_SECONDS = 1125
"""How long others keep an announcement that is not renewed; zeroconf takes no shorter one."""

ASKING_SECONDS = 3.0
"""How long to ask for what an announcement leaves out."""

ASKING_MAX = 16
"""Announcements that are asked for at a time."""


def serve(
    chosen: Sequence[str] | None,
    advert: Advert | None,
    neighbourhood: Neighbourhood,
    stop: Future[None],
) -> None:
    """One session: until `stop` is cancelled, or the addresses of the machine change.

    Raises:
        LookError: multicast does not work here.
        OSError: neither.
    """
    host = None if advert is None else advert.address.host
    plan = make_plan(chosen, host)
    interfaces, faults = usable(plan.interfaces)
    if not interfaces:
        raise LookError(f"multicast does not work here ({'; '.join(faults)}); {ADVICE}")
    trouble = None
    if faults:
        trouble = f"multicast does not work on {'; '.join(faults)}; choose the interfaces"
    session = _Session(plan, interfaces, advert, neighbourhood, trouble)

    def is_over() -> bool:
        return make_plan(chosen, host) != plan

    asyncio.run(session.run(stop, is_over))


class _Session:
    """One `Zeroconf`: announces, listens, asks."""

    def __init__(
        self,
        plan: Plan,
        interfaces: list[str],
        advert: Advert | None,
        neighbourhood: Neighbourhood,
        trouble: str | None,
    ) -> None:
        self._plan = plan
        self._interfaces = interfaces
        self._advert = advert
        self._neighbourhood = neighbourhood
        self._trouble = trouble
        self._browser: AsyncServiceBrowser | None = None
        self._asking: dict[str, asyncio.Task[None]] = {}
        self._is_announced = False
        self._turns = asyncio.Semaphore(ASKING_MAX)
        self._again: dict[str, int] = {}
        """Names to look up again, and how often: the addresses that a node has left expire a
        second after it announced its new ones."""

    async def run(self, stop: "Future[None]", is_over: Callable[[], bool]) -> None:
        """Until `stop` is cancelled, with a goodbye, or `is_over`, without."""
        from zeroconf.asyncio import AsyncZeroconf

        self._neighbourhood.begin(self._trouble)
        service = AsyncZeroconf(interfaces=self._interfaces)
        try:
            announcing = await self._start(service)
            is_stopped = await self._watch(service, stop, is_over)
            if announcing is not None:
                announcing.cancel()
            goodbye = service.zeroconf.generate_unregister_all_services()
            if is_stopped and goodbye is not None:
                service.zeroconf.async_send(goodbye)
        finally:
            for task in self._asking.values():
                task.cancel()
            if self._browser is not None:
                await self._browser.async_cancel()
            await service.async_close()

    async def _start(self, service: "AsyncZeroconf") -> "asyncio.Future[Any] | None":
        """Listen and announce; what repeats the announcement."""
        from zeroconf import DNSQuestionType
        from zeroconf.asyncio import AsyncServiceBrowser

        await service.zeroconf.async_wait_for_start()
        self._browser = AsyncServiceBrowser(
            service.zeroconf,
            SERVICE_TYPE,
            handlers=[self._changed],
            question_type=DNSQuestionType.QM,
        )
        if self._advert is None or self._advert.address.port == 0:
            return None
        self._is_announced = True
        announcing = await service.async_register_service(
            self._info(self._advert), cooperating_responders=True, strict=False
        )
        return asyncio.ensure_future(announcing)

    def _info(self, advert: Advert) -> "ServiceInfo":
        from zeroconf import ServiceInfo

        return ServiceInfo(
            SERVICE_TYPE,
            instance_name(advert.origin),
            port=advert.address.port,
            properties=txt_of(advert),
            server=host_name(advert.origin),
            parsed_addresses=[one.partition("%")[0] for one in self._plan.announced],
            other_ttl=RECORD_SECONDS,
        )

    async def _watch(
        self, service: "AsyncZeroconf", stop: "Future[None]", is_over: Callable[[], bool]
    ) -> bool:
        """Look at the machine now and then.

        Returns:
            Whether it was `stop` that ended it.
        """
        stopped = asyncio.wrap_future(stop)
        looks = 0
        while not (await asyncio.wait([stopped], timeout=LOOK_SECONDS))[0]:
            if is_over():
                return False
            looks += 1
            is_late = looks >= LATE_LOOKS
            self._neighbourhood.settle(time.monotonic(), self._trouble_after(looks), is_late)
            for name, times in list(self._again.items()):
                self._look_up(service.zeroconf, name)
                self._again[name] = times - 1
                if times == 1:
                    del self._again[name]
        return True

    def _trouble_after(self, looks: int) -> str | None:
        is_heard = self._neighbourhood.hears_itself or not self._is_announced
        if is_heard or looks < SILENT_LOOKS or self._trouble is not None:
            return self._trouble
        return (
            "multicast does not work here: the own announcement on "
            f"{', '.join(self._interfaces[:3])} does not come back; let the firewall pass UDP port "
            f"{MDNS_PORT}, {ADVICE}"
        )

    # Announcements come, change and go

    def _changed(
        self,
        zeroconf: "Zeroconf",
        service_type: str,
        name: str,
        state_change: "ServiceStateChange",
    ) -> None:
        if state_change.name == "Removed":
            asking = self._asking.pop(name, None)
            if asking is not None:
                asking.cancel()
            self._again.pop(name, None)
            self._neighbourhood.lose(name, time.monotonic())
            return
        if state_change.name == "Updated" and len(self._again) < MULTICAST_SERVICES_MAX:
            self._again[name] = 2
        self._look_up(zeroconf, name)

    def _look_up(self, zeroconf: "Zeroconf", name: str) -> None:
        """Take in what is known of an announcement; ask for what is not."""
        from zeroconf import BadTypeInNameException
        from zeroconf.asyncio import AsyncServiceInfo

        try:
            info = AsyncServiceInfo(SERVICE_TYPE, name)
        except BadTypeInNameException:
            self._neighbourhood.hear(name, {}, None, (), self._plan)
            return
        if info.load_from_cache(zeroconf):
            self._take_in(info)
        elif name not in self._asking and len(self._asking) < MULTICAST_SERVICES_MAX:
            self._asking[name] = asyncio.ensure_future(self._ask(zeroconf, name, info))

    async def _ask(self, zeroconf: "Zeroconf", name: str, info: "AsyncServiceInfo") -> None:
        from zeroconf import DNSQuestionType

        async with self._turns:
            await info.async_request(zeroconf, ASKING_SECONDS * 1000, DNSQuestionType.QM)
        self._asking.pop(name, None)
        self._take_in(info)

    def _take_in(self, info: "AsyncServiceInfo") -> None:
        hosts = info.parsed_scoped_addresses()
        self._neighbourhood.hear(info.name, info.properties, info.port, hosts, self._plan)
