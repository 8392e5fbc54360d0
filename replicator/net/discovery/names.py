"""Peers by DNS names: the addresses of one name, or the services that SRV records list (RFC 2782).

The name servers and search domains of ``/etc/resolv.conf`` are asked, so short names work in
Kubernetes; ``/etc/hosts`` is not read. A name is asked for again when its records expire, within
bounds. While a server fails nothing is dropped; what a server says to be gone is.
"""

import importlib.util
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from replicator.config import DISCOVERED_ADDRESSES_MAX, DISCOVERY_INTERVAL
from replicator.errors import ConfigError, MissingExtraError
from replicator.net.address import HOST_LENGTH_MAX, Address, is_numeric, parse_address
from replicator.net.discovery.lines import summary
from replicator.net.discovery.pace import Finding, checked_interval, keep_looking
from replicator.net.discovery.provider import Advert, Outlook
from replicator.net.discovery.questions import Questions

TTL_SECONDS_MIN = 1.0
"""A name is not asked for more often, whatever its records say."""

_NAME = re.compile(r"[\w.-]+")


@dataclass(frozen=True, slots=True)
class Dns:
    """The IPv4 and IPv6 addresses of a name, all with one port.

    Args:
        name_and_port: ``host:port``.
        interval: most seconds between two questions; fewer where the records live shorter.
        nameserver: whom to ask, address and port; None takes those of this machine.

    Raises:
        ConfigError: an argument is none.
        MissingExtraError: dnspython is not installed.
    """

    name_and_port: str
    interval: float = DISCOVERY_INTERVAL
    nameserver: tuple[str, int] | None = None

    def __post_init__(self) -> None:
        if is_numeric(parse_address(self.name_and_port).host):
            raise ConfigError(
                f"{self.name_and_port!r} is an address and no name: put it into peers="
            )
        checked_interval("the interval of the name", self.interval)
        _demand_dnspython()

    @property
    def name(self) -> str:
        return f"dns {self.name_and_port}"

    async def run(self, outlook: Outlook, advert: Advert | None) -> None:
        """See `Provider`."""
        host, port = parse_address(self.name_and_port)

        async def ask(questions: Questions) -> list[Address]:
            return [Address(one, port) for one in await questions.hosts(host, search=True)]

        await _keep_asking(outlook, ask, self.interval, self.nameserver)


@dataclass(frozen=True, slots=True)
class Srv:
    """The addresses and ports of all services that the SRV records of a name list, those of a
    Kubernetes headless service, for example. Priority and weight order what is tried first.

    Args:
        service: a name such as ``_replication._tcp.db.example``.
        interval, nameserver: as for `Dns`.

    Raises:
        ConfigError: an argument is none.
        MissingExtraError: dnspython is not installed.
    """

    service: str
    interval: float = DISCOVERY_INTERVAL
    nameserver: tuple[str, int] | None = None

    def __post_init__(self) -> None:
        service: object = self.service
        is_fine = isinstance(service, str) and _NAME.fullmatch(service) is not None
        if not is_fine or len(self.service) > HOST_LENGTH_MAX or is_numeric(self.service):
            raise ConfigError(
                f"{service!r} is no name: give the name of SRV records without a port, such as "
                "'_replication._tcp.db.example'"
            )
        checked_interval("the interval of the name", self.interval)
        _demand_dnspython()

    @property
    def name(self) -> str:
        return f"srv {self.service}"

    async def run(self, outlook: Outlook, advert: Advert | None) -> None:
        """See `Provider`."""

        async def ask(questions: Questions) -> list[Address]:
            return await questions.services(self.service)

        await _keep_asking(outlook, ask, self.interval, self.nameserver)


async def _keep_asking(
    outlook: Outlook,
    ask: Callable[[Questions], Awaitable[list[Address]]],
    interval: float,
    nameserver: tuple[str, int] | None,
) -> None:
    last: list[Address] = []

    async def look() -> Finding:
        nonlocal last
        questions = await Questions.prepare(nameserver)
        addresses = await ask(questions)
        if questions.is_unanswered:
            # What is new leads: the list is cut at its end.
            addresses = list(dict.fromkeys([*addresses, *last]))[:DISCOVERED_ADDRESSES_MAX]
        last = addresses
        return Finding(
            addresses if addresses or not questions.is_unanswered else None,
            summary(questions.faults),
            pause=min(max(questions.ttl, TTL_SECONDS_MIN), interval),
            is_complete=bool(addresses) and not questions.is_unanswered,
        )

    await keep_looking(outlook, look, interval)


def _demand_dnspython() -> None:
    if importlib.util.find_spec("dns") is None:
        raise MissingExtraError(
            "peers by DNS names need dnspython: pip install 'level-replicator[dns]'"
        )
