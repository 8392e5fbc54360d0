"""``serve``: the daemon."""

import ipaddress
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from replicator.faces.cli.codes import Exit
from replicator.faces.cli.nodeoptions import node_options
from replicator.faces.cli.options import Where, json_option
from replicator.faces.cli.output import escaped, print_json
from replicator.faces.cli.progress import Bar
from replicator.faces.configuration import Config, Given
from replicator.faces.logs import log_to_stderr

if TYPE_CHECKING:
    from replicator.faces.doors import Doors
    from replicator.faces.handle import Replica

logger = logging.getLogger("replicator")


@click.command()
@node_options
@json_option
def serve(given: Given, as_json: bool) -> int:
    """Run a node on a directory until SIGTERM or Ctrl-C.

    The directory is made, closed to other users, where it is not there; a LevelDB that is there
    is taken over with its data. Options override environment variables, which override the
    configuration file; docs/CONFIG.md tells all three. One line on
    standard output tells that the node is ready; the log goes to standard error.

    \b
        replicator serve --data ./a --name a --listen 127.0.0.1:9000
        replicator serve --data ./b --name b --listen 127.0.0.1:9001 --peer 127.0.0.1:9000
        replicator serve --config configs/static-vpc.toml --name c
    """
    # Here, not at the top: it takes ten times as long to import as what other commands need.
    import trio

    from replicator.faces.daemon import log_adoption, run_daemon

    config = given.read()
    data = Where(config).directory
    log_to_stderr(config.log.level, config.log.format)
    _warn_of_strangers(config)

    def on_ready(replica: "Replica", doors: "Doors") -> None:
        adopting.close()
        _tell_ready(replica, doors, data, as_json)

    def on_adopted(keys: int) -> None:
        if adopting.is_seen:
            adopting(keys, f"{keys:,} keys")
        else:
            log_adoption(keys)

    with Bar("taking over the data that is there") as adopting:
        trio.run(run_daemon, data, given, config, on_ready, on_adopted)
    return Exit.OK


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


def _tell_ready(replica: "Replica", doors: "Doors", data: Path, as_json: bool) -> None:
    status = replica.status()
    resp, http = doors.resp_address, doors.http_address
    if as_json:
        print_json(
            {
                "ready": True,
                "name": status.name,
                "origin": status.origin,
                "address": status.address,
                "data": str(data),
                "resp": None if resp is None else str(resp),
                "http": None if http is None else str(http),
            }
        )
    else:
        more = "".join(
            f", {what} at {address}"
            for what, address in (("Redis protocol", resp), ("HTTP", http))
            if address is not None
        )
        click.echo(
            f"ready: {escaped(status.name)} at {status.address}, data in {escaped(str(data))}{more}"
        )
    sys.stdout.flush()
