"""The options of ``serve`` that set keys of the configuration, and of ``config show``, which tells
what they come to.
"""

import functools
from pathlib import Path
from typing import Any, get_args

import click

from replicator.errors import ConfigError
from replicator.faces.cli.options import DIRECTORY, Function, config_option, given_to
from replicator.faces.configuration.sections import LogLevel
from replicator.net.address import parse_address

_OPTIONS = (
    click.option(
        "--data",
        type=DIRECTORY,
        metavar="DIR",
        help="Directory of the store; made where it is not there.  [env: REPLICATOR_DATA]",
    ),
    config_option("Configuration file; `replicator config check` tells its mistakes."),
    click.option(
        "--listen",
        metavar="HOST:PORT",
        help="Where peers reach this node; port 0 takes a free one.  [default: 127.0.0.1:9000]",
    ),
    click.option(
        "--peer",
        "peers",
        metavar="HOST:PORT",
        multiple=True,
        help="A node to exchange data with; may be given several times.",
    ),
    click.option(
        "--no-multicast", is_flag=True, help="Do not look for nodes on the network by multicast."
    ),
    click.option(
        "--resp",
        metavar="[HOST:]PORT",
        help="Where programs reach it by TCP with the protocol of Redis; a port alone is one of "
        "loopback.  [default: only by the socket in DIR]",
    ),
    click.option(
        "--http",
        metavar="[HOST:]PORT",
        help="Where operators reach it: probes, metrics, the page.  [default: nowhere]",
    ),
    click.option("--name", help="What people call this node.  [default: where it listens]"),
    click.option(
        "--log-level",
        type=click.Choice(get_args(LogLevel)),
        help="What to log, from this level on.  [default: info]",
    ),
    click.option(
        "--insecure",
        is_flag=True,
        help="Listen beyond loopback without TLS and passwords: nobody else can reach that "
        "network.",
    ),
)


def node_options(command: Function) -> Function:
    """Give a command the options that set keys; it gets a `Given` as ``given``.

    Raises:
        ConfigError: an address is malformed.
    """

    @functools.wraps(command)
    def with_given(*args: Any, config_file: Path | None, **options: Any) -> int:
        mine = {name: options.pop(name) for name in _NAMES}
        return command(*args, given=given_to(config_file, _flags(**mine)), **options)

    decorated: Function = with_given
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated


_NAMES = (
    "data",
    "listen",
    "peers",
    "no_multicast",
    "resp",
    "http",
    "name",
    "log_level",
    "insecure",
)


def _flags(
    data: Path | None,
    listen: str | None,
    peers: tuple[str, ...],
    no_multicast: bool,
    resp: str | None,
    http: str | None,
    name: str | None,
    log_level: str | None,
    insecure: bool,
) -> dict[str, object]:
    """Values by dotted key; None for those that are not set."""
    host, port = _address(listen)
    sure = True if insecure else None
    return {
        "node.data": None if data is None else str(data),
        "node.name": name,
        "listen.host": host,
        "listen.port": port,
        "listen.insecure": sure,
        "resp.listen": resp,
        "resp.insecure": sure,
        "http.listen": http,
        "http.insecure": sure,
        "peers.static": list(peers) or None,
        "discovery.multicast": False if no_multicast else None,
        "log.level": log_level,
    }


def _address(listen: str | None) -> tuple[str | None, int | None]:
    if listen is None:
        return None, None
    try:
        return parse_address(listen, listening=True)
    except ConfigError as error:
        raise ConfigError(f"--listen: {error}") from error
