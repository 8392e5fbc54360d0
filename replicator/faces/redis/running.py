"""One turn of the server: requests of many clients, one commit, replies.

A reply is sent only when the commit that it stands on has happened. Where that fails, every
command that has written, or has seen what was written, answers with the failure; all other
replies stand.

Whatever a command raises is its reply, and nothing else happens.
"""

from collections import deque
from collections.abc import Callable
from time import perf_counter
from typing import Final

from replicator.faces.failures import failure, unknown, wrong_count
from replicator.faces.handle import Replica
from replicator.faces.redis.client import GATHERS, LISTENS, STRANGER, Client
from replicator.faces.redis.limits import RESP_REQUESTS_AT_ONCE, RESP_TURN_WRITES_MAX
from replicator.faces.redis.table import OK, Awaited, Command, Table, Work
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


class Promise:
    """What of one client stands on a commit: it has written, or has seen what was written.

    Attributes:
        client: whose it is.
        parts: its replies of the turn; those at `places` stand on the commit.
        begin: begins what its last request goes on with, or None; it stands on the commit, too,
            where `is_staked`.
    """

    __slots__ = ("begin", "client", "is_staked", "parts", "places")

    def __init__(self, client: Client) -> None:
        self.client = client
        self.parts = client.parts
        self.places: list[int] = []
        self.begin: Callable[[], None] | None = None
        self.is_staked = False

    def fail(self, error: Exception) -> None:
        """Let what stands on the commit be a failure."""
        if self.client.is_gone:
            return
        text = encode(failure(error), self.client.protocol)
        for place in self.places:
            self.parts[place] = text
        if self.is_staked:
            self.parts.append(text)
            self.begin = None

    def keep(self) -> None:
        """Give back what was withheld, and begin what goes on."""
        client = self.client
        client.is_busy = False
        if client.is_gone:
            return
        client.parts[:0] = self.parts
        if self.begin is not None:
            client.is_busy = True
            self.begin()


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
        goes_on: begins, behind the commit, what a client's request goes on with: what it has
            returned, or the command itself where it waits in a thread. The client `is_busy` until
            that ends.
        admits: the same where a request waits until the store takes writes; it is run then.
    """

    def __init__(
        self,
        replica: Replica,
        table: Table,
        goes_on: Callable[[Client, Work | Awaited | Command, Request], None],
        admits: Callable[[Client], None],
    ) -> None:
        self.counts = Counts()
        self._replica = replica
        self._store = replica._engine.store
        self._table = table
        self._goes_on = goes_on
        self._admits = admits
        self._turn: Turn
        self._promises: dict[Client, Promise] = {}
        self._later: dict[Client, Callable[[], None]] = {}

    def turn(self, ready: deque[Client], seconds: float) -> list[Client]:
        """Run requests of clients, from the left, until there are none or the time is over.

        Args:
            ready: those whose turn has come are taken off; who has more requests than there was
                time for goes to the end. Who is stuffed by now has none.

        Returns:
            Those for whom something was run. The caller sends the replies, after `go_on`, where
            none of them wait for the disk.

        Raises:
            ClosedError: the handle is closed.
        """
        until = perf_counter() + seconds
        served: list[Client] = []
        self._promises = {}
        self._turn = turn = Turn(self._replica)
        try:
            while ready:
                client = ready.popleft()
                client.is_ready = False
                if client.is_stuffed:
                    continue
                served.append(client)
                try:
                    self._run(client, until)
                except Exception as error:  # a mistake of ours, not the command's
                    client.parts.append(encoded(failure(error), client.protocol))
                if client.requests and not client.is_busy:
                    client.is_ready = True
                    ready.append(client)
                if perf_counter() > until or len(turn.writes) > RESP_TURN_WRITES_MAX:
                    break
            self._commit()
        finally:
            turn.abandon()
        return served

    def go_on(self) -> None:
        """Begin what the turn's requests go on with."""
        if self._later:
            later, self._later = self._later, {}
            for begin in later.values():
                begin()

    @property
    def has_written(self) -> bool:
        """Whether replies of the last turn stand on its commit."""
        return bool(self._promises)

    def withhold(self) -> list[Promise]:
        """Take all replies of those clients of the last turn of which any stands on its commit,
        and what their requests go on with. They are busy until the promise is kept."""
        promises = list(self._promises.values())
        for promise in promises:
            client = promise.client
            promise.begin = self._later.pop(client, None)
            client.parts = []
            client.is_busy = True
        self._promises = {}
        return promises

    def _commit(self) -> None:
        turn, counts = self._turn, self.counts
        counts.reads += turn.reads
        if not turn.writes:
            return
        try:
            turn.commit()
        except Exception as error:
            counts.failures += 1
            self._fail(error)
        else:
            counts.commits += 1
            counts.writes += len(turn.writes)

    def _fail(self, error: Exception) -> None:
        for promise in self._promises.values():
            promise.fail(error)
            if promise.is_staked:
                del self._later[promise.client]
                promise.client.is_busy = False
        self._promises = {}

    def _run(self, client: Client, until: float) -> None:
        """Run requests of a client, until there are none, one is answered only later, or the time
        is over."""
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
                if turn.is_touched:
                    self._promise(client).is_staked = True
                    turn.is_touched = False
                return
            else:
                parts.append(encoded(reply, client.protocol))
            if turn.is_touched:
                self._promise(client).places.append(len(parts) - 1)
                turn.is_touched = False
            if client.closing:
                requests.clear()
                return
            if perf_counter() > until or len(turn.writes) > RESP_TURN_WRITES_MAX:
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
            self.counts.commands[request[0].upper()] -= 1
            self._put_off(client, lambda: self._admits(client))
            return _LATER
        try:
            reply = command.run(self._turn, client, request)
        except Exception as error:
            return failure(error)
        if isinstance(reply, Work | Awaited | Command):
            more = reply
            self._put_off(client, lambda: self._goes_on(client, more, request))
            return _LATER
        return reply

    def _promise(self, client: Client) -> Promise:
        promise = self._promises.get(client)
        if promise is None:
            promise = self._promises[client] = Promise(client)
        return promise

    def _put_off(self, client: Client, begin: Callable[[], None]) -> None:
        client.is_busy = True
        self._later[client] = begin

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


def encoded(reply: Reply, protocol: int) -> bytes:
    """A reply as bytes, or the failure to make it."""
    try:
        return encode(reply, protocol)
    except Exception as error:
        return encode(failure(error), protocol)


def named(request: Request) -> str:
    """The name of a request's command, for people."""
    return request[0][:128].decode(errors="backslashreplace").lower()
