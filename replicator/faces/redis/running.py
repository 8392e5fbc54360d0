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
from replicator.faces.redis.client import GATHERS, LISTENS, MUTE, MUTE_ONCE, STRANGER, Client
from replicator.faces.redis.limits import RESP_REQUESTS_AT_ONCE, RESP_TURN_WRITES_MAX
from replicator.faces.redis.notifications import Event, events_of
from replicator.faces.redis.promise import Promise, encoded
from replicator.faces.redis.shared import Shared
from replicator.faces.redis.table import OK, Awaited, Command, Work
from replicator.faces.redis.transactions import gather
from replicator.faces.redis.turn import NotingTurn, Turn
from replicator.faces.resp import Failure, Reply, Request, Several, Status
from replicator.faces.stepwise import CommandError

_OK: Final = b"+OK\r\n"
_QUEUED: Final = Status("QUEUED")
_LATER: Final = Status("")
"""Instead of a reply: it comes when the turn is over."""
_NONE: Final = Several(())
"""No reply at all."""

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
        shared: what the clients share; its commands are run.
        goes_on: begins, behind the commit, what a client's request goes on with: what it has
            returned, or the command itself where it waits in a thread. The client `is_busy` until
            that ends.
        admits: the same where a request waits until the store takes writes; it is run then.
    """

    def __init__(
        self,
        shared: Shared,
        goes_on: Callable[[Client, Work | Awaited | Command, Request], None],
        admits: Callable[[Client], None],
    ) -> None:
        self.counts = Counts()
        self._shared = shared
        self._replica = shared.replica
        self._store = shared.store
        self._table = shared.table
        self._hub = shared.hub
        self._events: list[Event] = []
        shared.counts = self.counts
        shared.run = self._run_queued
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
        self._events.clear()
        self._hub.begin_turn()
        self._turn = turn = self._new_turn()
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
                is_full = len(turn.writes) > RESP_TURN_WRITES_MAX or self._hub.is_full
                if perf_counter() > until or is_full:
                    break
            self._commit()
        finally:
            turn.abandon()
        return served

    def _new_turn(self) -> Turn:
        tell = self._shared.tell
        if tell is None or not self._shared.notifications.are_on:
            return Turn(self._replica)
        return NotingTurn(self._replica, tell)

    def go_on(self) -> None:
        """Tell what the turn has done, and begin what its requests go on with."""
        if self._events:
            for event in self._events:
                self._shared.notifications.add(event)
            self._events.clear()
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
            dots = turn.commit()
        except Exception as error:
            counts.failures += 1
            self._fail(error)
            return
        counts.commits += 1
        counts.writes += len(turn.writes)
        for client in self._promises:
            client.note_commit(dots, self._store.origin)

    def _fail(self, error: Exception) -> None:
        for promise in self._promises.values():
            promise.fail(error)
            if promise.is_staked:
                del self._later[promise.client]
                promise.client.is_busy = False
        self._promises = {}
        self._hub.withdraw()
        self._events.clear()

    def _run(self, client: Client, until: float) -> None:
        """Run requests of a client, until there are none, one is answered only later, or the time
        is over."""
        turn, table, counts = self._turn, self._table, self.counts.commands
        requests, parts, hub = client.requests, client.parts, self._hub
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
            client.last_command = name
            if reply is OK:
                parts.append(_OK)
            elif type(reply) is bytes:
                parts.append(b"$%d\r\n%b\r\n" % (len(reply), reply))
            elif reply is _LATER:
                if turn.is_touched:
                    self._promise(client).is_staked = True
                    turn.is_touched = False
                return
            elif reply is _NONE:
                if turn.is_touched:
                    self._promise(client)
                    turn.is_touched = False
            else:
                parts.append(encoded(reply, client.protocol))
            if turn.is_touched:
                self._promise(client).places.append(len(parts) - 1)
                turn.is_touched = False
            if client.closing:
                requests.clear()
                return
            if perf_counter() > until or len(turn.writes) > RESP_TURN_WRITES_MAX or hub.is_full:
                return

    def _execute(self, client: Client, command: Command, request: Request) -> Reply:
        refusal = _refusal(client, command, request)
        if refusal is not None:
            return refusal
        if command.run is None:
            self._put_off(client, lambda: self._goes_on(client, command, request))
            return _LATER
        if command.writes and not self._store.is_admitted:
            client.requests.appendleft(request)
            self.counts.commands[request[0].upper()] -= 1
            self._put_off(client, lambda: self._admits(client))
            return _LATER
        turn = self._turn
        try:
            reply = command.run(turn, client, request)
        except Exception as error:
            return failure(error)
        if isinstance(turn, NotingTurn) and turn.written:
            self._note(turn, request)
        if isinstance(reply, Work | Awaited | Command):
            more = reply
            self._put_off(client, lambda: self._goes_on(client, more, request))
            return _LATER
        return reply

    def _run_queued(self, client: Client, request: Request) -> Reply:
        """Run a request of a transaction; it was looked at when it was queued."""
        name, turn = request[0].upper(), self._turn
        command = self._table[name]
        assert command.run is not None
        self.counts.commands[name] = self.counts.commands.get(name, 0) + 1
        try:
            reply = command.run(turn, client, request)
            if isinstance(reply, Work | Awaited | Command):
                if isinstance(reply, Work):
                    reply.slices.close()
                raise _refused(request)
        except Exception as error:
            return failure(error)
        if isinstance(turn, NotingTurn) and turn.written:
            self._note(turn, request)
        return reply

    def _note(self, turn: NotingTurn, request: Request) -> None:
        """Keep in mind what there is to tell of a command, for when it is committed."""
        self._events += events_of(request[0].upper(), request, turn.written)
        turn.written.clear()

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
        client.set_mode(MUTE_ONCE, False)
        reply = self._in_mode(client, name, command, request)
        if not mode & MUTE_ONCE and not mode & client.mode & MUTE:
            return reply
        if reply is not _LATER:
            return _NONE
        if client.requests and client.requests[0] is request:  # it is run again
            client.mode |= mode & MUTE_ONCE
        else:
            client.is_mute = True
        return _LATER

    def _in_mode(
        self, client: Client, name: bytes, command: Command | None, request: Request
    ) -> Reply:
        mode = client.mode
        if command is None:
            client.is_dirty = True
            return unknown(request)
        if mode & STRANGER and command.needs is not None:
            return Failure("NOAUTH", "Authentication required.")
        if mode & LISTENS and name not in LISTENING:
            return Failure(
                "ERR",
                f"Can't execute '{named(request)}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING "
                "/ QUIT / RESET are allowed in this context",
            )
        if mode & GATHERS and not command.at_once:
            return self._gather(client, command, request)
        self.counts.commands[name] = self.counts.commands.get(name, 0) + 1
        return self._execute(client, command, request)

    def _gather(self, client: Client, command: Command, request: Request) -> Reply:
        """Put a request into the client's transaction, or refuse the whole of it."""
        refusal = _refusal(client, command, request)
        if refusal is None:
            try:
                if command.alone or command.run is None:
                    raise _refused(request)
                gather(client, request)
                return _QUEUED
            except CommandError as error:
                refusal = failure(error)
        client.is_dirty = True
        return refusal


def _refusal(client: Client, command: Command, request: Request) -> Failure | None:
    """Why a client may not have that run, if it may not."""
    count = len(request)
    if count < command.least or (command.most is not None and count > command.most):
        return wrong_count(request)
    if command.needs is not None and (client.role is None or client.role < command.needs):
        return Failure("NOPERM", f"this user has no permissions to run '{named(request)}'")
    return None


def _refused(request: Request) -> CommandError:
    return CommandError(
        f"ERR Command not allowed inside a transaction: '{named(request)}' goes on for a while, or "
        "changes the connection"
    )


def named(request: Request) -> str:
    """The name of a request's command, for people."""
    return request[0][:128].decode(errors="backslashreplace").lower()
