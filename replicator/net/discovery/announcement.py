"""The announcement of a node in DNS-SD (RFC 6763): its name, its TXT record, and sense in others'.

    service   _level-replicator._tcp.local.
    instance  the origin as 16 hex digits: nobody else can have it, so it need not be probed for
    TXT       cluster=  the cluster's name      node=  the node's name
              origin=   16 hex digits           version=  of the protocol, the least spoken
              versions= of the protocol, least-greatest; not in announcements of version 1

Names are cut to `TXT_VALUE_BYTES`, since a TXT string holds 255 bytes; two clusters with names so
long that only the cut parts are equal find out when they greet.
"""

from collections.abc import Mapping, Sequence

from replicator.config import (
    MULTICAST_ADDRESSES_MAX,
    PROTOCOL_VERSION,
    PROTOCOL_VERSION_LEAST,
)
from replicator.core.dots import format_origin, parse_origin
from replicator.errors import UsageError
from replicator.net.address import PORT_MAX, Address
from replicator.net.discovery.lines import excerpt
from replicator.net.discovery.provider import Advert

SERVICE_TYPE = "_level-replicator._tcp.local."

TXT_VALUE_BYTES = 200

VERSIONS_BYTES = 11
"""Longest text of two protocol versions, of 16 bits each."""


class NonsenseError(Exception):
    """An announcement that no node makes; the text says why."""


def instance_name(origin: int) -> str:
    """The full name of a node's announcement."""
    return f"{format_origin(origin)}.{SERVICE_TYPE}"


def host_name(origin: int) -> str:
    """The name under which its addresses stand."""
    return f"{format_origin(origin)}.local."


def txt_of(advert: Advert) -> dict[str, bytes]:
    """What the TXT record says."""
    return {
        "cluster": _cut(advert.cluster),
        "node": _cut(advert.node),
        "origin": format_origin(advert.origin).encode(),
        # Nodes of version 1 look for that very text; `versions` is what later ones go by.
        "version": str(PROTOCOL_VERSION_LEAST).encode(),
        "versions": f"{PROTOCOL_VERSION_LEAST}-{PROTOCOL_VERSION}".encode(),
    }


def is_of_cluster(txt: Mapping[bytes, bytes | None], cluster: str) -> bool:
    """Whether an announcement is one of this cluster.

    Raises:
        NonsenseError: it is of none.
    """
    theirs = txt.get(b"cluster")
    if theirs is None:
        raise NonsenseError("names no cluster")
    return theirs == _cut(cluster)


def origin_in(txt: Mapping[bytes, bytes | None]) -> int:
    """Who makes the announcement.

    Raises:
        NonsenseError: it does not say, or speaks another protocol.
    """
    versions = txt.get(b"versions") or txt.get(b"version") or b""
    if not _speaks_ours(versions):
        raise NonsenseError(
            f"speaks protocol version {_shown(versions)}, this node {PROTOCOL_VERSION_LEAST} to "
            f"{PROTOCOL_VERSION}: update the older one"
        )
    try:
        return parse_origin((txt.get(b"origin") or b"").decode("ascii"))
    except (UsageError, UnicodeDecodeError):
        raise NonsenseError(f"has no origin but {_shown(txt.get(b'origin') or b'')}") from None


def _speaks_ours(versions: bytes) -> bool:
    """Whether some version in a text like ``1-2`` or ``1`` is spoken here, too."""
    least, _, greatest = versions.partition(b"-")
    greatest = greatest or least
    if not (least.isdigit() and greatest.isdigit() and len(versions) <= VERSIONS_BYTES):
        return False
    return int(least) <= PROTOCOL_VERSION and int(greatest) >= PROTOCOL_VERSION_LEAST


def addresses_in(port: int | None, hosts: Sequence[str]) -> list[Address]:
    """Where it says that the node listens, the latest first.

    Raises:
        NonsenseError: nowhere, or everywhere. While a node changes its addresses, the old ones
            stand beside the new for a moment.
    """
    if port is None or not 1 <= port <= PORT_MAX:
        raise NonsenseError(f"names port {port}")
    if not hosts:
        raise NonsenseError("does not say where it listens")
    if len(hosts) > 2 * MULTICAST_ADDRESSES_MAX:
        raise NonsenseError(f"names more than {2 * MULTICAST_ADDRESSES_MAX} addresses")
    return [Address(host, port) for host in hosts[:MULTICAST_ADDRESSES_MAX]]


def _cut(text: str) -> bytes:
    return text.encode(errors="replace")[:TXT_VALUE_BYTES]


def _shown(value: bytes) -> str:
    return repr(excerpt(value.decode(errors="replace")))
