"""``serve``: the daemon."""

import ipaddress
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from replicator.faces.cli.codes import Exit
from replicator.faces.cli.options import Where, json_option, store_options
from replicator.faces.cli.output import escaped, print_json
from replicator.faces.configfile import Config
from replicator.net.address import parse_address

if TYPE_CHECKING:
    from replicator.faces.handle import Replica

logger = logging.getLogger("replicator")


@click.command()
@store_options("Directory of the store; made where it is not there.  [env: REPLICATOR_DATA]")
@click.option(
    "--listen",
    metavar="HOST:PORT",
    help="Where peers reach this node; port 0 takes a free one.  [default: 127.0.0.1:9000]",
)
@click.option(
    "--peer",
    "peers",
    metavar="HOST:PORT",
    multiple=True,
    help="A node to exchange data with; may be given several times.",
)
@click.option(
    "--no-multicast", is_flag=True, help="Do not look for nodes on the network by multicast."
)
@click.option("--name", help="What people call this node.  [default: where it listens]")
@click.option(
    "--insecure",
    is_flag=True,
    help="Listen without TLS on more than loopback: nobody else can reach that network.",
)
@json_option
def serve(
    where: Where,
    listen: str | None,
    peers: tuple[str, ...],
    no_multicast: bool,
    name: str | None,
    insecure: bool,
    as_json: bool,
) -> int:
    """Run a node on a directory until SIGTERM or Ctrl-C.

    The directory is made, closed to other users, where it is not there; a LevelDB that is there
    is taken over with its data. Options override what the configuration file says. One line on
    standard output tells that the node is ready; the log goes to standard error.

    \b
        replicator serve --data ./a --name a --listen 127.0.0.1:9000
        replicator serve --data ./b --name b --listen 127.0.0.1:9001 --peer 127.0.0.1:9000
        replicator serve --config configs/static-vpc.toml --name c
    """
    # Here, not at the top: it takes ten times as long to import as what other commands need.
    import trio

    from replicator.faces.daemon import run_daemon

    logger.setLevel(logging.INFO)
    config = overridden(where.config, listen, peers, name, insecure)
    if no_multicast:
        config = config.without_multicast()
    data = where.directory
    _warn_of_strangers(config)
    trio.run(run_daemon, data, config, lambda replica: _tell_ready(replica, data, as_json))
    return Exit.OK


def overridden(
    config: Config,
    listen: str | None,
    peers: tuple[str, ...],
    name: str | None,
    insecure: bool = False,
) -> Config:
    """The configuration with what the command line says instead.

    Raises:
        ConfigError: an address or the name is malformed.
    """
    changes: dict[str, object] = {}
    if listen is not None:
        changes["host"], changes["port"] = parse_address(listen, listening=True)
    if peers:
        changes["peers"] = peers
    if name is not None:
        changes["name"] = name
    if insecure:
        changes["insecure"] = True
    return config.override(**changes)


def _warn_of_strangers(config: Config) -> None:
    """Warn of what was allowed; what was not, the node refuses."""
    host = config.settings.host
    if config.settings.tls is not None or not config.settings.insecure:
        return
    try:
        is_loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_loopback = host == "localhost"
    if not is_loopback:
        logger.warning(
            "listening on %s without TLS: whoever reaches that address can read and write "
            "everything; keep it within a network you trust",
            host,
        )


def _tell_ready(replica: "Replica", data: Path, as_json: bool) -> None:
    status = replica.status()
    if as_json:
        print_json(
            {
                "ready": True,
                "name": status.name,
                "origin": status.origin,
                "address": status.address,
                "data": str(data),
            }
        )
    else:
        click.echo(
            f"ready: {escaped(status.name)} at {status.address}, data in {escaped(str(data))}"
        )
    sys.stdout.flush()
