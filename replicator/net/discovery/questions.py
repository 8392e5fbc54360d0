"""Questions to name servers, and what becomes of them."""

from typing import TYPE_CHECKING, Self, cast

import trio

from replicator.config import DISCOVERED_ADDRESSES_MAX, DNS_QUESTIONS_MAX, DNS_TIMEOUT
from replicator.net.address import PORT_MAX, Address
from replicator.net.discovery.lines import excerpt
from replicator.net.discovery.pace import LookError

if TYPE_CHECKING:
    from dns.asyncresolver import Resolver
    from dns.rdtypes.IN.SRV import SRV
    from dns.resolver import Answer

RESOLV_CONF = "/etc/resolv.conf"


class Questions:
    """The questions of one look, asked with trio.

    Args:
        resolver: whom to ask.
    """

    def __init__(self, resolver: "Resolver") -> None:
        self._resolver = resolver
        self._turns = trio.CapacityLimiter(DNS_QUESTIONS_MAX)
        self.ttl = float("inf")
        """Seconds after which the first of the answers expires."""
        self.faults: list[str] = []
        """What went wrong, and what to do."""
        self.is_unanswered = False
        """Whether a question is still open, because a server failed."""

    @classmethod
    async def prepare(cls, nameserver: tuple[str, int] | None) -> Self:
        """Read how this machine asks.

        Args:
            nameserver: whom to ask instead, address and port; the search domains stay.

        Raises:
            LookError: it is not set up for asking.
        """
        return cls(await trio.to_thread.run_sync(_resolver, nameserver))

    async def hosts(self, name: str, *, search: bool = False) -> list[str]:
        """The IP addresses of a name, sorted; none for one that is gone or not answered for."""
        first = await self._ask(name, "A", search)
        if first is None:
            return []
        # The search ended with this name; the other addresses are to be of the same.
        second = await self._ask(first.qname.to_text(), "AAAA", False)
        found = [
            str(record) for answer in (first, second) if answer is not None for record in answer
        ]
        if not found and not self.is_unanswered:
            self.faults.append(_gone(name, "no addresses"))
        return sorted(found)

    async def services(self, name: str) -> list[Address]:
        """Where the SRV records of a name point to, the preferred first."""
        answer = await self._ask(name, "SRV", True)
        if answer is None:
            return []
        records = sorted(
            (cast("SRV", record) for record in answer),
            key=lambda record: (record.priority, -record.weight, record.target, record.port),
        )[:DISCOVERED_ADDRESSES_MAX]
        if not records:
            self.faults.append(_gone(name, "no SRV records"))
        hosts: dict[str, list[str]] = {}
        async with trio.open_nursery() as nursery:
            for target in sorted({record.target.to_text() for record in records} - {"."}):
                nursery.start_soon(self._resolve, target, hosts)
        found: list[Address] = []
        for record in records:
            if 1 <= record.port <= PORT_MAX:
                target = record.target.to_text()
                found += [Address(host, record.port) for host in hosts.get(target, ())]
            else:
                self.faults.append(f"an SRV record of {name} names port {record.port}: correct it")
        return found

    async def _resolve(self, target: str, hosts: dict[str, list[str]]) -> None:
        hosts[target] = await self.hosts(target)

    async def _ask(self, name: str, kind: str, search: bool) -> "Answer | None":
        """The records of one kind, perhaps none; None where the name is gone or a server fails."""
        import dns.asyncbackend
        import dns.exception
        import dns.resolver

        try:
            async with self._turns:
                answer = await self._resolver.resolve(
                    name,
                    kind,
                    search=search,
                    raise_on_no_answer=False,
                    backend=dns.asyncbackend.get_backend("trio"),
                )
        except dns.resolver.NXDOMAIN:
            self.faults.append(_gone(name, "no such name"))
            return None
        except dns.exception.DNSException as error:
            self.is_unanswered = True
            self.faults.append(_failed(name, error))
            return None
        self.ttl = min(self.ttl, answer.chaining_result.minimum_ttl)
        return answer


def _resolver(nameserver: tuple[str, int] | None) -> "Resolver":
    import dns.asyncresolver
    import dns.resolver

    try:
        resolver = dns.asyncresolver.Resolver(RESOLV_CONF)
    except dns.resolver.NoResolverConfiguration as error:
        raise LookError(
            f"this machine has no name servers: name them in {RESOLV_CONF}, or choose another "
            "discovery"
        ) from error
    resolver.lifetime = DNS_TIMEOUT
    if nameserver is not None:
        resolver.nameservers = [nameserver[0]]
        resolver.port = nameserver[1]
    return resolver


def _gone(name: str, what: str) -> str:
    return (
        f"{excerpt(name)}: {what}; there will be when the first node is up, else correct the name"
    )


def _failed(name: str, error: Exception) -> str:
    """What a failure means; dnspython's own words hold times, which change with each of them."""
    import dns.resolver

    if isinstance(error, dns.resolver.LifetimeTimeout):
        reason = f"no name server answers within {DNS_TIMEOUT:g} s"
    elif isinstance(error, dns.resolver.NoNameservers):
        reason = "no name server is able to answer"
    else:
        reason = f"{type(error).__name__}: {error}"
    return f"{excerpt(name)}: {reason}; look at {RESOLV_CONF}; what was found before stays"
