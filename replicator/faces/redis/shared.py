"""What all clients of one server share."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from replicator.faces.access import OPEN_ACCESS, Access
from replicator.faces.handle import Replica
from replicator.faces.redis.client import Client
from replicator.faces.redis.hub import Hub
from replicator.faces.redis.logins import Logins
from replicator.faces.redis.notifications import Notifications
from replicator.faces.redis.turn import Written
from replicator.faces.resp import Reply, Request
from replicator.faces.stepwise import CommandError, Session

if TYPE_CHECKING:
    from replicator.faces.redis.clients import Clients
    from replicator.faces.redis.running import Counts
    from replicator.faces.redis.table import Table


class Shared:
    """One server's. For the thread of the server.

    Args:
        replica: the handle.
        table: all commands, by their names in capitals.
        access: what judges passwords now; it is asked for every time, for it may change.
        stop: has the daemon end, as SIGTERM does; without one a client cannot ask for that.

    Attributes:
        clients: all that are connected.
        counts: what was counted.
        tell: tells of what a request has written outside of a turn, for notifications.
        run: runs one request of a transaction in the present turn; what goes wrong is the reply.
        statistics_before: what was counted before CONFIG RESETSTAT.
        idle_seconds: after how long without a request a client is disconnected; 0 for never.
    """

    clients: "Clients"
    counts: "Counts"
    run: Callable[[Client, Request], Reply]

    def __init__(
        self,
        replica: Replica,
        table: "Table",
        access: Callable[[], Access] = lambda: OPEN_ACCESS,
        stop: Callable[[], object] | None = None,
    ) -> None:
        self.replica = replica
        self.table = table
        self.store = replica._engine.store
        self.access = access
        self.stop = stop
        self.hub = Hub()
        self.notifications = Notifications(self.hub)
        self.logins = Logins()
        self.started = time.monotonic()
        self.idle_seconds = 0
        self.tell: Callable[[Request, list[Written]], None] | None = None
        self.statistics_before: dict[str, int] = {}

    def statistics(self) -> dict[str, int]:
        """What was counted since the start, under Redis's names."""
        clients, counts = self.clients, self.counts
        return {
            "total_connections_received": clients.accepted,
            "total_commands_processed": sum(counts.commands.values()),
            "total_net_input_bytes": clients.bytes_in,
            "total_net_output_bytes": clients.bytes_out,
            "rejected_connections": clients.refused,
            "acl_access_denied_auth": self.logins.failures,
            "keys_read": counts.reads,
            "keys_written": counts.writes,
            "commits": counts.commits,
            "messages_delivered": self.hub.delivered,
        }

    def reset_statistics(self) -> None:
        """Let INFO count from now on; what monitoring reads goes on."""
        self.statistics_before = self.statistics()


def client_of(session: Session) -> Client:
    """The client that a request came from.

    Raises:
        CommandError: it came from no client of a server.
    """
    if isinstance(session, Client):
        return session
    raise CommandError("ERR only a running daemon does that: start one with `replicator serve`")
