"""Where multicast is used on this machine, and what a node announces of its addresses."""

import ipaddress
import os
import socket
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from replicator.config import HOST_DEFAULT, MULTICAST_ADDRESSES_MAX, MULTICAST_INTERFACES_MAX
from replicator.net.discovery.pace import LookError

MDNS_PORT = 5353
MDNS_GROUPS = {4: "224.0.0.251", 6: "ff02::fb"}

ADVICE = "name peers with peers=, or choose another discovery"


@dataclass(frozen=True, slots=True)
class Plan:
    """What a node does with this machine's addresses. Two that differ: the machine has changed.

    Attributes:
        interfaces: addresses on whose networks multicast is used.
        announced: where others may dial this node; empty where it does not listen.
        own: all addresses of this machine.
        is_local: whether nothing beyond this machine is of interest. A socket also hears what
            others joined on its port, so it may hear more.
    """

    interfaces: tuple[str, ...]
    announced: tuple[str, ...]
    own: frozenset[str]
    is_local: bool

    def reaches(self, host: str) -> bool:
        """Whether an address that somebody announced can be meant for this node to dial."""
        address = ipaddress.ip_address(host)
        if address.is_unspecified or address.is_multicast:
            return False
        if _is_link_local_ipv6(host):
            return False
        is_here = address.is_loopback or host in self.own
        return is_here if self.is_local else not address.is_loopback or self._uses_loopback

    @property
    def _uses_loopback(self) -> bool:
        return any(ipaddress.ip_address(one).is_loopback for one in self.interfaces)


def make_plan(chosen: Sequence[str] | None, host: str | None) -> Plan:
    """What to do on this machine as it is now.

    Args:
        chosen: names or addresses of interfaces; None takes those that the node listens on.
        host: the IP address on which it listens; None where it does not.

    Raises:
        LookError: there is nothing that could be used.
    """
    machine = {
        address: name for address, name in _machine_addresses() if not _is_link_local_ipv6(address)
    }
    own = sorted(machine, key=_preference)
    if chosen is None:
        interfaces = _listened_on(host or HOST_DEFAULT, own)
    else:
        interfaces = [one for name in chosen for one in _addresses_of(name, machine)]
    if not interfaces:
        raise LookError(f"multicast does not work here: no network interface is up; {ADVICE}")
    interfaces = list(dict.fromkeys(interfaces))[:MULTICAST_INTERFACES_MAX]
    return Plan(
        tuple(interfaces),
        tuple(_announced(host, interfaces, own)[:MULTICAST_ADDRESSES_MAX]) if host else (),
        frozenset(own),
        all(ipaddress.ip_address(one).is_loopback for one in interfaces),
    )


def usable(interfaces: Sequence[str]) -> tuple[list[str], list[str]]:
    """Try whether multicast can be received.

    Returns:
        The addresses that work, and what is wrong with the others.
    """
    fine, faults = [], []
    for interface in interfaces:
        try:
            _join(interface)
            fine.append(interface)
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
            faults.append(f"{interface}: {reason}")
    return fine, faults


def _machine_addresses() -> Iterator[tuple[str, str]]:
    """Every address of this machine, with the name of its interface."""
    import ifaddr

    for adapter in ifaddr.get_adapters():
        for one in adapter.ips:
            yield one.ip if isinstance(one.ip, str) else one.ip[0], adapter.name


def _is_link_local_ipv6(host: str) -> bool:
    """Whether an address needs a scope, which is another one on each machine: these are neither
    used nor announced, and every container on this machine brings and takes one."""
    address = ipaddress.ip_address(host)
    return address.version == 6 and address.is_link_local


def _preference(host: str) -> tuple[bool, int, str]:
    """What others can most probably dial comes first."""
    address = ipaddress.ip_address(host)
    return address.is_loopback, address.version, host


def _listened_on(host: str, own: Sequence[str]) -> list[str]:
    address = ipaddress.ip_address(host)
    if address.is_loopback:
        return [HOST_DEFAULT]  # IPv6 knows no multicast on the loopback interface
    if not address.is_unspecified:
        return [host]
    # Without the loopback interface, nodes that listen on nothing else would not be heard.
    return [HOST_DEFAULT] * (HOST_DEFAULT in own) + [
        one for one in own if ipaddress.ip_address(one).version <= address.version and one != "::1"
    ]


def _addresses_of(name: str, machine: dict[str, str]) -> list[str]:
    """The addresses of an interface that a person chose."""
    if name in machine:
        return [HOST_DEFAULT if ipaddress.ip_address(name).is_loopback else name]
    found = [address for address, interface in machine.items() if interface == name]
    if not found:
        raise LookError(
            f"multicast does not work here: this machine has no interface or address {name!r}; "
            f"write one of {', '.join(sorted(set(machine.values()))[:8])}, or {ADVICE}"
        )
    return [one for one in found if one != "::1"]


def _announced(host: str, interfaces: Sequence[str], own: Sequence[str]) -> list[str]:
    address = ipaddress.ip_address(host)
    if not address.is_unspecified:
        return [host]
    same = [one for one in own if ipaddress.ip_address(one).version == address.version]
    on_interfaces = [one for one in same if one in interfaces] or same
    far = [one for one in on_interfaces if not ipaddress.ip_address(one).is_loopback]
    return far or on_interfaces


def _join(interface: str) -> None:
    """Join the group as multicast DNS does, and leave it at once.

    Raises:
        OSError: that is not possible.
    """
    version = ipaddress.ip_address(interface).version
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    group = socket.inet_pton(family, MDNS_GROUPS[version])
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        probe.bind((interface, MDNS_PORT))
        if version == 4:
            member = group + socket.inet_aton(interface)
            probe.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
        else:
            index = probe.getsockname()[3] or _index_of(interface)
            member = group + struct.pack("@I", index)
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, member)


def _index_of(interface: str) -> int:
    import ifaddr

    for adapter in ifaddr.get_adapters():
        for one in adapter.ips:
            if not isinstance(one.ip, str) and one.ip[0] == interface:
                return adapter.index or 0
    return 0
