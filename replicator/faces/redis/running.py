"""One turn of the server: requests of many clients, one commit, replies.

A reply is sent only when the commit that it stands on has happened. Where that fails, every
command that has written, or has seen what was written, answers with the failure; all other
replies stand.
"""

from collections import deque
from collections.abc import Callable
from time import perf_counter
from typing import Final

from replicator.faces.failures import failure, unknown, wrong_count
from replicator.faces.handle import Replica
from replicator.faces.redis.client import GATHERS, LISTENS, STRANGER, Client
from replicator.faces.redis.limits import RESP_REQUESTS_AT_ONCE
from replicator.faces.redis.table import OK, Command, Table, Work
from replicator.faces.redis.turn import Turn
from replicator.faces.resp import Failure, Reply, Request, Status, encode

_OK: Final = b"+OK\r\n"
_QUEUED: Final = Status("QUEUED")
_LATER: Final = Status("")
"""Instead of a reply: it comes when the turn is over."""

LISTENING: Final = frozenset(
    {b"SUBSCRIBE", b"UNSUBSCRIBE", b"PSUBSCRIBE", b"PUNSUBSCRIBE", b"PING", b"QUIT", b"RESET"}
)
"""What a client may ask for in RESP2 while it has subscribed."""


class Counts:
    """What was counted since the start.

    Attributes:
        commands: how often each command was run, by its name in capitals.
        reads, writes: keys read, and written.
        commits, failures: the commits that the writes took, and those that failed.
    """

    def __init__(self) -> None:
        self.commands: dict[bytes, int] = {}
        self.reads = self.writes = self.commits = self.failures = 0


class Running:
    """Runs requests. For the thread of the server.

    Args:
        table: the commands, by their names in capitals.
        goes_on: begins, behind the commit, what a client's request goes on with: a `Work`, or the
            command itself where it waits in a thread. The client `is_busy` until it ends.
        admits: the same where a request waits until the store takes writes; it is run then.
    """

    def __init__(
        self,
        replica: Replica,
        table: Table,
        goes_on: Callable[[Client, Work | Command, Request], None],
        admits: Callable[[Client], None],
    ) -> None:
        self.counts = Counts()
        self._replica = replica
        self._store = replica._engine.store
        self._table = table
        self._goes_on = goes_on
        self._admits = admits
        self._turn: Turn
        self._touched: list[tuple[Client, int]] = []
        self._later: list[Callable[[], None]] = []

    def turn(self, ready: deque[Client], seconds: float) -> list[Client]:
        """Run requests of clients, from the left, until there are none or the time is over.

        Args:
            ready: those whose turn has come are taken off; who has more requests than there was
                time for goes to the end.

        Returns:
            Those for whom something was run. The caller sends the replies, after `go_on`.

        Raises:
            ClosedError: the handle is closed.
        """
        until = perf_counter() + seconds
        served: list[Client] = []
        self._touched.clear()
        self._turn = turn = Turn(self._replica)
        try:
            while ready:
                client = ready.popleft()
                client.is_ready = False
                served.append(client)
                self._run(client)
                if client.requests and not client.is_busy:
                    client.is_ready = True
                    ready.append(client)
                if perf_counter() > until:
                    break
            self._commit()
        finally:
            turn.abandon()
        return served

    def go_on(self) -> None:
        """Begin what the turn's requests go on with."""
        later, self._later = self._later, []
        for begin in later:
            begin()

    @property
    def has_written(self) -> bool:
        """Whether replies of the last turn stand on its commit."""
        return bool(self._touched)

    def fail(self, error: Exception) -> None:
        """Let what has written in the last turn, or seen what was written, answer with a failure.

        Call it before the replies are sent.
        """
        reply = failure(error)
        for client, place in self._touched:
            if not client.is_gone:
                client.parts[place] = encode(reply, client.protocol)
        self._touched.clear()

    def _commit(self) -> None:
        turn, counts = self._turn, self.counts
        counts.reads += turn.reads
        if not turn.writes:
            return
        try:
            turn.commit()
        except Exception as error:
            counts.failures += 1
            self.fail(error)
        else:
            counts.commits += 1
            counts.writes += len(turn.writes)

    def _run(self, client: Client) -> None:
        """Run some requests of a client, until one is answered only later."""
        turn, table, counts = self._turn, self._table, self.counts.commands
        requests, parts = client.requests, client.parts
        for _ in range(min(len(requests), RESP_REQUESTS_AT_ONCE)):
            request = requests.popleft()
            name = request[0]
            command = table.get(name)
            if command is None:
                name = name.upper()
                command = table.get(name)
            if command is None or client.mode:
                reply = self._unusual(client, name, command, request)
            else:
                counts[name] = counts.get(name, 0) + 1
                reply = self._execute(client, command, request)
            if reply is OK:
                parts.append(_OK)
            elif type(reply) is bytes:
                parts.append(b"$%d\r\n%b\r\n" % (len(reply), reply))
            elif reply is _LATER:
                return
            else:
                parts.append(encode(reply, client.protocol))
            if turn.is_touched:
                self._touched.append((client, len(parts) - 1))
                turn.is_touched = False
            if client.closing:
                requests.clear()
                return

    def _execute(self, client: Client, command: Command, request: Request) -> Reply:
        count = len(request)
        if count < command.least or (command.most is not None and count > command.most):
            return wrong_count(request)
        if command.needs is not None and (client.role is None or client.role < command.needs):
            return Failure("NOPERM", f"this user has no permissions to run '{named(request)}'")
        if command.run is None:
            self._put_off(client, lambda: self._goes_on(client, command, request))
            return _LATER
        if command.writes and not self._store.is_admitted:
            client.requests.appendleft(request)
            self._put_off(client, lambda: self._admits(client))
            return _LATER
        try:
            reply = command.run(self._turn, client, request)
        except Exception as error:
            return failure(error)
        if isinstance(reply, Work | Command):
            what = reply
            self._put_off(client, lambda: self._goes_on(client, what, request))
            return _LATER
        return reply

    def _put_off(self, client: Client, begin: Callable[[], None]) -> None:
        client.is_busy = True
        self._later.append(begin)

    def _unusual(
        self, client: Client, name: bytes, command: Command | None, request: Request
    ) -> Reply:
        """A command that is not there, or one of a client in a mode."""
        mode = client.mode
        if command is None:
            client.is_dirty = True
            return unknown(request)
        if mode & STRANGER and command.needs is not None:
            return Failure("NOAUTH", "Authentication required.")
        if mode & LISTENS and name not in LISTENING:
            return Failure(
                "ERR",
                f"Can't execute '{named(request)}': only (P)SUBSCRIBE / (P)UNSUBSCRIBE / PING / "
                "QUIT / RESET are allowed in this context",
            )
        if mode & GATHERS and not command.at_once:
            return self._gather(client, command, request)
        self.counts.commands[name] = self.counts.commands.get(name, 0) + 1
        return self._execute(client, command, request)

    def _gather(self, client: Client, command: Command, request: Request) -> Reply:
        """Put a request into the client's transaction."""
        if len(request) < command.least or (
            command.most is not None and len(request) > command.most
        ):
            client.is_dirty = True
            return wrong_count(request)
        assert client.queue is not None
        client.queue.append(request)
        return _QUEUED


def named(request: Request) -> str:
    """The name of a request's command, for people."""
    return request[0][:128].decode(errors="backslashreplace").lower()
