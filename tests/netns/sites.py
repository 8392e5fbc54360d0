"""Nodes in namespaces: real daemons, asked through the sockets in their directories.

The file system is one for all namespaces, so that the commands reach every node, also one that is
cut off from all others.
"""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cli.daemons import Daemon, documents, replicator, until
from tests.netns.network import Host

PORT = 9000

CONFIG = """\
[replication]
# What takes minutes on a line that fails now and then has to be over in a test's time.
interval_max = 1.0
holdoff_max = 0.5
connect_timeout = 1.0
keepalive = 0.5
linger = 2.0
dial_members = {dial_members}
"""


class Site:
    """A node on a host.

    Args:
        home: where its directory and its configuration go.
        address: where it listens, without the port.
        peers: addresses of other hosts, without the port.
        multicast: whether it looks for others by multicast.
        dial_members: whether it dials those whom others tell it of.
    """

    def __init__(
        self,
        host: Host,
        home: Path,
        address: str,
        peers: Sequence[str],
        *,
        multicast: bool,
        dial_members: bool,
    ) -> None:
        self.name = host.name
        self.data = home / host.name
        config = home / f"{host.name}.toml"
        config.write_text(CONFIG.format(dial_members=str(dial_members).lower()))
        self._daemon = Daemon(
            self.data,
            *(
                "--config",
                str(config),
                "--name",
                host.name,
                "--listen",
                f"{address}:{PORT}",
            ),
            *("--insecure", *([] if multicast else ["--no-multicast"])),
            *(word for peer in peers for word in ("--peer", f"{peer}:{PORT}")),
            within=host.within,
        )

    def end(self) -> None:
        """Stop it, in good order."""
        assert self._daemon.end() == 0, self.log

    def clean_up(self) -> None:
        self._daemon.clean_up()

    @property
    def log(self) -> str:
        return self._daemon.log

    @property
    def _where(self) -> tuple[str, str]:
        return "--data", str(self.data)

    def put(self, key: str, value: str) -> None:
        done = replicator("put", key, value, *self._where)
        assert done.exit_code == 0, done.output

    def get(self, key: str) -> str | None:
        """The value; None where there is none."""
        done = replicator("get", key, *self._where)
        assert done.exit_code in (0, 1), done.output
        return done.stdout.removesuffix("\n") if done.exit_code == 0 else None

    def load(self, lines: bytes) -> None:
        """Write many records, key TAB value per line."""
        done = replicator("load", "-", *self._where, stdin=lines)
        assert done.exit_code == 0, done.output

    def digest(self) -> str:
        (found,) = documents("digest", *self._where)
        return str(found["digest"])

    def conflicts(self) -> list[Any]:
        return documents("conflicts", *self._where)

    def connected(self) -> set[str]:
        """The names of the nodes that it talks to."""
        (status,) = documents("status", *self._where)
        return {peer["name"] for peer in status["peers"] if peer["connected"]}


@dataclass(frozen=True, slots=True)
class Plan:
    """A node to start; see `Site`."""

    host: Host
    address: str
    peers: Sequence[str] = ()
    multicast: bool = False
    dial_members: bool = True


class Sites:
    """All nodes of one test, under one directory; a context that leaves no process behind."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._sites: list[Site] = []

    def __enter__(self) -> "Sites":
        return self

    def __exit__(self, *exception: object) -> None:
        for site in self._sites:
            site.clean_up()

    def start(self, *plans: Plan) -> list[Site]:
        """Start nodes, all at once, and wait until they are ready."""
        with ThreadPoolExecutor(len(plans)) as pool:
            return list(pool.map(self._start, plans))

    def _start(self, plan: Plan) -> Site:
        site = Site(
            plan.host,
            self._home,
            plan.address,
            plan.peers,
            multicast=plan.multicast,
            dial_members=plan.dial_members,
        )
        self._sites.append(site)
        return site


def until_equal(sites: Iterable[Site]) -> None:
    """Wait until all have the same digest."""
    nodes = list(sites)
    until(lambda: len({site.digest() for site in nodes}) == 1)
