"""Addresses as people write them: ``host:port``, IPv6 in brackets."""

import ipaddress
import re
from typing import NamedTuple

from replicator.errors import ConfigError

PORT_MAX = 65535
HOST_LENGTH_MAX = 255

_ADDRESS = re.compile(r"(?:\[(?P<ipv6>[^\[\]]*)\]|(?P<host>[^\[\]:]*)):(?P<port>[^:\[\]]*)")
_IPV6 = re.compile(r"[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(?:%[\w.-]+)?")
_HOST = re.compile(r"[\w.-]+")
"""Loose on purpose: what a name may hold is the resolver's business, what it cannot is ours."""


class Address(NamedTuple):
    """Where a node listens: a name or an IP address without brackets, and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def is_numeric(host: str) -> bool:
    """Whether a host is an IP address, and no name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Whether a host, by its name or IP address, means the machine itself."""
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def parse_address(text: str, *, listening: bool = False) -> Address:
    """The address that `text` writes.

    Args:
        text: ``host:port`` or ``[IPv6]:port``.
        listening: whether port 0 (take a free one) is meaningful.

    Raises:
        ConfigError: it writes none; the message says what to write.
    """
    match = _ADDRESS.fullmatch(text)
    if match is None:
        raise ConfigError(_advice(text))
    host = match["host"] if match["ipv6"] is None else match["ipv6"]
    allowed = _HOST if match["ipv6"] is None else _IPV6
    if len(host) > HOST_LENGTH_MAX or not allowed.fullmatch(host):
        raise ConfigError(_advice(text))
    return Address(host, _port(match["port"], text, listening))


def _port(digits: str, text: str, listening: bool) -> int:
    lowest = 0 if listening else 1
    if not re.fullmatch("[0-9]{1,5}", digits) or not lowest <= int(digits) <= PORT_MAX:
        raise ConfigError(
            f"{text!r} is no address: its port must be a number from {lowest} to {PORT_MAX}"
        )
    return int(digits)


def _advice(text: str) -> str:
    if "//" in text:
        hint = "leave out the scheme and any path: host:port"
    elif "[" not in text and text.count(":") > 1:
        hint = "write IPv6 addresses in brackets: [::1]:9000"
    elif ":" not in text:
        hint = f"the port is missing: {text or 'host'}:9000"
    else:
        hint = "write host:port, or [IPv6]:port"
    return f"{text!r} is no address: {hint}"
