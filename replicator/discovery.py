"""Where a node finds its peers: what ``discovery=`` takes, any number at once.

    from replicator import discovery, replicate

    db = replicate(
        plyvel.DB("data"),
        discovery=[discovery.multicast(), discovery.file("/etc/replicator/peers.txt")],
    )

A provider that fails says so in the log, once, and goes on trying; the node carries on with the
others. Its own address, and addresses that are old or named twice, do no harm: nodes know each
other by their origin.
"""

from collections.abc import AsyncIterable, Sequence
from os import PathLike, fspath

from replicator.config import COMMAND_TIMEOUT, DISCOVERY_FILE_INTERVAL, DISCOVERY_INTERVAL
from replicator.errors import ConfigError
from replicator.net.discovery.command import Command
from replicator.net.discovery.function import Function, Peers, Source
from replicator.net.discovery.multicast import Multicast
from replicator.net.discovery.names import Dns, Srv
from replicator.net.discovery.peersfile import PeersFile
from replicator.net.discovery.provider import Provider

__all__ = ["Provider", "command", "dns", "file", "function", "multicast", "srv"]


def multicast(interfaces: Sequence[str] | None = None) -> Provider:
    """Nodes on the same network find each other, with no list: DNS-SD over UDP multicast.

        discovery=[discovery.multicast(["eth0"])]

    Most clouds pass no multicast: name peers there, or choose another provider.

    Args:
        interfaces: names or addresses of network interfaces; None takes those that the node
            listens on, which is this machine alone unless told otherwise.

    Raises:
        ConfigError: `interfaces` is no list of texts.
    """
    if isinstance(interfaces, str):
        raise ConfigError(f"interfaces is {interfaces!r}: make it a list, [{interfaces!r}]")
    return Multicast(None if interfaces is None else tuple(interfaces))


def dns(name_and_port: str, *, interval: float = DISCOVERY_INTERVAL) -> Provider:
    """All addresses of a DNS name are peers. Needs ``pip install 'level-replicator[dns]'``.

        discovery=[discovery.dns("db.internal.example:9000")]

    Args:
        name_and_port: ``host:port``; short names take the search domains of this machine.
        interval: most seconds between two questions; fewer where the records live shorter.

    Raises:
        ConfigError: an argument is none.
        MissingExtraError: dnspython is not installed.
    """
    return Dns(name_and_port, interval)


def srv(name: str, *, interval: float = DISCOVERY_INTERVAL) -> Provider:
    """All services that the SRV records of a name list are peers: those of a Kubernetes headless
    service with a named port. Needs ``pip install 'level-replicator[dns]'``.

        discovery=[discovery.srv("_replication._tcp.db")]

    Args:
        name: of the records; short names take the search domains of this machine.
        interval: as for `dns`.

    Raises:
        ConfigError: an argument is none.
        MissingExtraError: dnspython is not installed.
    """
    return Srv(name, interval)


def file(path: str | PathLike[str], *, interval: float = DISCOVERY_FILE_INTERVAL) -> Provider:
    """The addresses in a file are peers, one a line, ``#`` begins a comment. It is read again when
    it changes; write it aside and rename it.

        discovery=[discovery.file("/etc/replicator/peers.txt")]

    Args:
        path: of the file, which need not be there yet.
        interval: seconds between two looks.

    Raises:
        ConfigError: an argument is none.
    """
    return PeersFile(fspath(path), interval)


def command(
    argv: Sequence[str],
    *,
    interval: float = DISCOVERY_INTERVAL,
    timeout: float = COMMAND_TIMEOUT,
) -> Provider:
    """What a program prints are peers, one address a line, as in a file.

        discovery=[discovery.command(["/usr/local/bin/cloud-peers", "--tag", "db"])]

    Args:
        argv: the program and its arguments; no shell is involved.
        interval: seconds from one end to the next start.
        timeout: seconds for one run; then it is killed with all that it started.

    Raises:
        ConfigError: an argument is none.
    """
    if isinstance(argv, str):
        raise ConfigError(
            f"the command is {argv!r}: list the program and its arguments, such as {argv.split()!r}"
        )
    return Command(tuple(argv), interval, timeout)


def function(
    source: Source | AsyncIterable[Peers], *, interval: float = DISCOVERY_INTERVAL
) -> Provider:
    """What a function of the program gives are peers.

        async def registered():
            return [f"{node.host}:{node.port}" for node in await registry.nodes("db")]

        discovery=[discovery.function(registered)]

    Args:
        source: a plain function (called in a worker thread), an async function, or an async
            generator function or iterator each item of which is a full list; the async ones run
            in trio.
        interval: seconds between two calls.

    Raises:
        ConfigError: an argument is none.
    """
    return Function(source, interval)
