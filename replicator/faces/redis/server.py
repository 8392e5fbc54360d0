"""The server: every client's socket in one epoll set, read, run and answered in turns.

One trio task owns it all. A task for each client would cost several times what a small command
does, and would leave no moment at which the writes of many are at hand for one commit. Between two
turns the loop belongs to the node and to HTTP.

What takes long does not hold a turn up: it goes on in slices of about a millisecond between turns
(`Work`), or in a worker thread where it waits for the disk or for peers. Then its client waits, and
what that sends meanwhile waits in the kernel; so it does where it does not read its replies.
"""

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from time import perf_counter

import trio

from replicator.errors import ClosedError, NotReplicated, StorageError
from replicator.faces.access import OPEN_ACCESS, Access
from replicator.faces.commands import COMMANDS
from replicator.faces.failures import failure
from replicator.faces.nursery import TrioReplica
from replicator.faces.redis.client import Client
from replicator.faces.redis.clients import Clients
from replicator.faces.redis.entrances import Entrance
from replicator.faces.redis.following import Following, written_after, written_before
from replicator.faces.redis.limits import (
    RESP_CLIENTS_MAX,
    RESP_DRAIN_SECONDS,
    RESP_PUSH_SECONDS,
    RESP_SLICE_SECONDS,
    RESP_THREADS_MAX,
    RESP_TURN_SECONDS,
)
from replicator.faces.redis.notifications import Event, events_of
from replicator.faces.redis.promise import Promise, encoded
from replicator.faces.redis.running import Running
from replicator.faces.redis.shared import Shared
from replicator.faces.redis.table import Awaited, Command, Work
from replicator.faces.redis.transactions import end
from replicator.faces.redis.turn import Written
from replicator.faces.resp import Failure, Reply, Request, encode

logger = logging.getLogger("replicator")

TICK_SECONDS = 1.0
DRAIN_POLL_SECONDS = 0.01


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """What the server did since it was started.

    Attributes:
        clients: how many there are now.
        accepted, refused: how many were let in, and sent away because there were too many.
        auth_failures: how many wrong passwords were shown.
        subscriptions: to how many channels and patterns anybody has subscribed.
        messages: how many messages were given to a subscriber.
        notifications_dropped: keyspace notifications that came too fast to be published.
        commands: how often each command was run, by its name in capitals.
        reads, writes: keys read, and written.
        commits, commit_failures: how many commits the writes took; those that failed.
        bytes_in, bytes_out: read from clients and sent.
        waiting_bytes: what clients have not yet read.
    """

    clients: int
    accepted: int
    refused: int
    auth_failures: int
    commands: dict[str, int]
    reads: int
    writes: int
    commits: int
    commit_failures: int
    bytes_in: int
    bytes_out: int
    waiting_bytes: int
    subscriptions: int
    messages: int
    notifications_dropped: int


class Server:
    """Serves clients on some listening sockets. For one trio thread.

    Args:
        replica: the handle; it stays open until `run` has returned.
        entrances: where clients come in; they are the server's from now on.
        clients_max: how many there may be.
        access: what judges passwords now; it is asked for every time, for it may change.
        stop: has the daemon end, for SHUTDOWN.

    Attributes:
        shared: what its clients share.
    """

    def __init__(
        self,
        replica: TrioReplica,
        entrances: list[Entrance],
        clients_max: int = RESP_CLIENTS_MAX,
        *,
        access: Callable[[], Access] = lambda: OPEN_ACCESS,
        stop: Callable[[], object] | None = None,
    ) -> None:
        self._replica = replica
        self._store = replica._engine.store
        self.shared = Shared(replica, COMMANDS, access, stop)
        self._clients = Clients(self.shared, entrances, clients_max)
        self._following = Following(self.shared)
        self._running = Running(self.shared, self._go_on, self._wait_for_gate)
        self._threads = trio.CapacityLimiter(RESP_THREADS_MAX)
        self._nursery: trio.Nursery
        self._wants_drain = False
        self._promises: list[Promise] = []
        self._promised = trio.Event()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled, or `drain` has ended; then every client is disconnected.

        A command that waits in a thread is left to end there: closing the handle waits for it.
        """
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                nursery.start_soon(self._tick)
                nursery.start_soon(self._keep_promises)
                nursery.start_soon(self._following.keep)
                task_status.started()
                with suppress(ClosedError):
                    while True:
                        await self._step()
                nursery.cancel_scope.cancel()
        finally:
            self._following.close()
            self._clients.close()

    async def drain(self, seconds: float = RESP_DRAIN_SECONDS) -> None:
        """Let nobody in, read no more requests, let those that were read end and their replies be
        taken, for so many seconds at most; then `run` returns.

        What only waits for something to happen is told that the node closes.
        """
        self._wants_drain = True
        self._clients.ring()
        with trio.move_on_after(seconds):
            while self._wants_drain or self._clients.are_occupied:
                await trio.sleep(DRAIN_POLL_SECONDS)
        self._nursery.cancel_scope.cancel()

    def status(self) -> ServerStatus:
        """What was counted so far."""
        clients, counts, hub = self._clients, self._running.counts, self.shared.hub
        return ServerStatus(
            clients=len(clients),
            accepted=clients.accepted,
            refused=clients.refused,
            auth_failures=self.shared.logins.failures,
            commands={name.decode(): count for name, count in counts.commands.items()},
            reads=counts.reads,
            writes=counts.writes,
            commits=counts.commits,
            commit_failures=counts.failures,
            bytes_in=clients.bytes_in,
            bytes_out=clients.bytes_out,
            waiting_bytes=clients.waiting_bytes,
            subscriptions=sum(1 for _ in hub.channels()) + hub.pattern_count,
            messages=hub.delivered,
            notifications_dropped=self.shared.notifications.dropped,
        )

    async def _step(self) -> None:
        """One turn, and some of what takes long; or wait until there is something to do."""
        clients, hub = self._clients, self.shared.hub
        notifications = self.shared.notifications
        is_due = clients.ready or clients.sliced or hub.touched or notifications.waits
        if not clients.look() and not is_due:
            await trio.lowlevel.wait_readable(clients.descriptor)
            clients.look()
        if self._wants_drain:
            self._begin_drain()
        until = perf_counter() + RESP_TURN_SECONDS
        while clients.ready:
            self._turn()
            # Short turns follow one another: a way round through the loop costs as much as
            # several small commands. Messages of a turn go out before the next one's replies.
            is_due = hub.touched or notifications.waits or perf_counter() > until
            if is_due or not clients.look():
                break
        if clients.sliced:
            self._slices()
        if hub.touched or notifications.waits:
            self._push()
        await trio.lowlevel.checkpoint()

    def _turn(self) -> None:
        running, clients = self._running, self._clients
        served = running.turn(clients.ready, RESP_TURN_SECONDS)
        if running.has_written and self._store.settings.sync:
            self._promises += running.withhold()
            self._promised.set()
        running.go_on()
        for client in served:
            clients.flush(client)

    def _push(self) -> None:
        """Publish notifications, and send messages to some of those for whom there are any."""
        until = perf_counter() + RESP_PUSH_SECONDS
        touched = self.shared.hub.touched
        self.shared.notifications.publish_some(until)
        while touched:
            client = touched.popleft()
            client.is_touched = False
            self._clients.flush(client)
            if perf_counter() > until:
                break

    async def _keep_promises(self) -> None:
        """Send the replies that wait for the disk: one sync for all that came before it began."""
        while True:
            await self._promised.wait()
            self._promised = trio.Event()
            promises, self._promises = self._promises, []
            failed = None
            try:
                await trio.to_thread.run_sync(self._store.level.sync)
            except StorageError as error:
                failed = error
            for promise in promises:
                if failed is not None:
                    promise.fail(failed)
                promise.keep()
                self._clients.flush(promise.client)
            self._clients.ring()

    async def _tick(self) -> None:
        while True:
            await trio.sleep(TICK_SECONDS)
            self._clients.tidy()

    def _begin_drain(self) -> None:
        self._wants_drain = False
        self._clients.begin_drain()
        for client in self._clients:
            if client.scope is not None:
                client.scope.cancel()

    # What takes longer than a turn

    def _go_on(self, client: Client, what: Work | Awaited | Command, request: Request) -> None:
        if isinstance(what, Work):
            client.slices = what.slices
            self._clients.make_ready(client)
        elif isinstance(what, Awaited):
            self._nursery.start_soon(self._await, client, what)
        else:
            self._nursery.start_soon(self._wait, client, what, request)

    def _wait_for_gate(self, client: Client) -> None:
        self._nursery.start_soon(self._admit, client)

    async def _admit(self, client: Client) -> None:
        """Let the request that waits for the gate be run; or answer it, where the store takes no
        writes at all."""
        try:
            await trio.to_thread.run_sync(
                self._store.admit, limiter=self._threads, abandon_on_cancel=True
            )
        except Exception as error:
            if client.requests:  # none where the client went away meanwhile
                client.requests.popleft()
                if client.queue is not None:  # it was an EXEC
                    end(client)
                client.answer(encoded(failure(error), client.protocol))
        self._resume(client)

    async def _wait(self, client: Client, command: Command, request: Request) -> None:
        are_noted = self.shared.notifications.are_on
        reply, events = await trio.to_thread.run_sync(
            partial(waited_for, self._replica, client, command, request, are_noted),
            limiter=self._threads,
            abandon_on_cancel=True,
        )
        self._following.add(events)
        client.answer(reply)
        self._resume(client)

    async def _await(self, client: Client, awaited: Awaited) -> None:
        reply: Reply = Failure("CLOSING", "this node is being closed: ask another one")
        with trio.CancelScope() as scope:
            client.scope = scope
            self._clients.settle(client)
            if self._clients.is_draining:
                scope.cancel()
            try:
                reply = await awaited.reply()
            except Exception as error:
                reply = failure(error)
        client.scope = None
        client.answer(encoded(reply, client.protocol))
        self._resume(client)

    def _resume(self, client: Client) -> None:
        """A client's command has ended: the next one may begin."""
        client.resume()
        self._clients.flush(client)
        self._clients.ring()

    def _slices(self) -> None:
        """Go on with what goes on in slices: each client for its share of the time."""
        clients = self._clients
        now = perf_counter()
        until, share = now + RESP_SLICE_SECONDS, RESP_SLICE_SECONDS / len(clients.sliced)
        for _ in range(len(clients.sliced)):
            client = clients.sliced.popleft()
            client.is_ready = False
            if client.is_gone:
                continue
            if self._has_more(client, perf_counter() + share):
                clients.flush(client)
            else:
                client.slices = None
                self._resume(client)
            if perf_counter() > until:
                break

    def _has_more(self, client: Client, until: float) -> bool:
        """Step a client's work until then; whether there is more."""
        assert client.slices is not None
        try:
            for piece in client.slices:
                if piece:
                    client.answer(piece)
                    client.has_begun = True
                if perf_counter() > until:
                    return True
        except Exception as error:
            if client.has_begun:  # half a reply: nothing that follows would be understood
                logger.error("a command failed in the middle of its reply", exc_info=error)
                client.closing = True
                client.requests.clear()
            else:
                client.answer(encode(failure(error), client.protocol))
        client.has_begun = False
        return False


def waited_for(
    replica: TrioReplica, client: Client, command: Command, request: Request, are_noted: bool
) -> tuple[bytes, list[Event]]:
    """Run a command that waits. In a worker thread.

    Args:
        are_noted: whether there are notifications.

    Returns:
        Its encoded reply, and what there is to tell of it.
    """
    assert command.wait is not None
    written: list[Written] = []
    try:
        if are_noted:
            written = written_before(replica, request)
        reply: Reply = command.wait(replica, client, request[1:])
        if are_noted:
            written += written_after(replica, request)
    except NotReplicated as error:  # the write is in, and stays
        reply = failure(error)
    except Exception as error:
        reply, written = failure(error), []
    events = list(events_of(request[0].upper(), request, written))
    return encoded(reply, client.protocol), events
