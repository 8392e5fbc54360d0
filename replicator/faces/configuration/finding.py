"""``[discovery]``: what finds peers, made from what the section says."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from replicator.config import DISCOVERY_INTERVAL
from replicator.errors import UsageError
from replicator.faces.configuration.sections import DiscoverySection

if TYPE_CHECKING:
    from replicator.net.discovery.provider import Provider


def providers(section: DiscoverySection) -> Iterator[tuple[str, Callable[[], "Provider"]]]:
    """What finds peers: by which key, and how it is made."""
    if section == DiscoverySection(multicast=False):
        return
    # Here, not at the top: this imports trio, which most commands never need.
    from replicator import discovery

    interval = section.interval
    if section.multicast:
        yield "interfaces", partial(discovery.multicast, section.interfaces)
    for name in section.dns:
        yield "dns", partial(discovery.dns, name, interval=interval)
    for name in section.srv:
        yield "srv", partial(discovery.srv, name, interval=interval)
    if section.file is not None:
        yield "file", partial(discovery.file, section.file)
    if section.command:
        yield "command", partial(discovery.command, section.command, interval=interval)


def undiscoverable(section: DiscoverySection) -> Iterator[tuple[str, str]]:
    """What is wrong with the ways of finding peers: dotted keys, and the reasons."""
    if section == DiscoverySection():
        return
    if section.interfaces is not None and not section.multicast:
        yield "discovery.interfaces", "is for multicast, which is switched off"
    if section.interval != DISCOVERY_INTERVAL:
        from replicator.net.discovery.pace import checked_interval

        try:
            checked_interval("interval", section.interval)
        except UsageError as error:
            yield "discovery.interval", str(error)
            section = msgspec.structs.replace(section, interval=DISCOVERY_INTERVAL)
    for key, make in providers(section):
        try:
            make()
        except UsageError as error:
            yield f"discovery.{key}", str(error)
