"""A node: one store, the peers it dials, those that dial it, in one trio nursery.

What happens to one peer stays with it: whatever a session, a dial or a store call raises ends in
the log, the status and the `error` event, and everything else goes on.
"""

import os
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

import trio

from replicator.config import HOST_DEFAULT, Settings
from replicator.core.dots import format_origin
from replicator.errors import PeerError, UsageError
from replicator.events import Events
from replicator.net.address import Address, is_numeric, parse_address
from replicator.net.discovery.provider import Advert
from replicator.net.tls import Tls
from replicator.peers.accepting import Accepting
from replicator.peers.collecting import Collecting
from replicator.peers.contacts import Contacts
from replicator.peers.dialling import Dialling
from replicator.peers.discovering import Discovering
from replicator.peers.forgetting import Forgetting
from replicator.peers.hosting import Hosting
from replicator.peers.joining import Joining
from replicator.peers.journal import Journal
from replicator.peers.loopcalls import LoopCalls
from replicator.peers.membership import Membership
from replicator.peers.replicated import Replicated
from replicator.peers.reporting import Reporting
from replicator.peers.sweeping import Sweeping
from replicator.peers.synchronizing import Synchronizing
from replicator.peers.upkeep import Upkeep
from replicator.protocol.timing import SILENCES_MAX
from replicator.status import MemberStatus, Status
from replicator.store.store import Store

DRAIN_SECONDS = 5.0
"""How long conversations may take to say farewell when the node stops."""

RESTART_SECONDS = 1.0
"""Pause before a task of the node goes on after a bug in it."""

T = TypeVar("T")


class Node:
    """One store among its peers. `run` belongs to trio; the rest is thread-safe.

    Made before the store's first own write, which then waits for an attempt to replicate (R13).

    Args:
        store: open; stays the caller's, who closes it after `run` has returned.
        settings: where to listen, whom to dial, all intervals.
        events: told of what happens; stays the caller's.
        tls: makes every connection a safe one.

    Attributes:
        replicated: waits until peers hold writes on disk.

    Raises:
        ConfigError: a peer's address is malformed.
    """

    def __init__(
        self, store: Store, settings: Settings, events: Events, *, tls: Tls | None = None
    ) -> None:
        self._store = store
        self._settings = settings
        self._events = events
        self._tls = tls
        self._peers = {parse_address(text): None for text in settings.peers}
        self._journal = Journal()
        self._contacts = Contacts(store.origin, os.urandom(8))
        self._membership = Membership(store, self._contacts, self._journal)
        self._hosting = Hosting(
            store, settings, self._contacts, events, self._journal, self._membership, tls
        )
        self.replicated = Replicated(self._hosting.waiting)
        self._patience = SILENCES_MAX * settings.keepalive
        self._accepting = Accepting(settings, self._hosting, self._journal, self._patience, tls)
        self._reporting = Reporting(
            store,
            settings,
            self._contacts,
            self._membership,
            self._hosting,
            self._accepting,
            events,
        )
        self._stopping = trio.Event()
        self._calls: LoopCalls | None = None
        self._running = False
        self._dialling: Dialling
        self._discovering: Discovering
        self._synchronizing: Synchronizing
        if self._peers or settings.discovery or self._remembered():
            store.gate.guard()

    @property
    def name(self) -> str:
        """What people call this node: from the settings, else its address, else its origin."""
        address = "" if self.address is None else str(self.address)
        return self._settings.name or address or format_origin(self._store.origin)

    @property
    def address(self) -> Address | None:
        """Where it listens; None before it does, and where it does not."""
        return self._accepting.address

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run until `stop` or cancelled; reports itself started when it listens.

        On cancellation nobody is told farewell, and what is being applied is applied to the end.

        Raises:
            ConfigError, UsageError: it cannot listen there; the message says what to do.
        """
        try:
            await self._accepting.listen()
            self._hosting.name = self._journal.who = self.name
            self._hosting.port = 0 if self.address is None else self.address.port
            self._membership.begin(self.name, self.address)
            async with trio.open_nursery() as nursery:
                self._begin(nursery)
                task_status.started()
                await self._stopping.wait()
                await self._drain()
                nursery.cancel_scope.cancel()
        finally:
            self._running = False
            self._store.on_change = self._store.on_conflict = None
            self._store.gate.open("nobody there")

    def _begin(self, nursery: trio.Nursery) -> None:
        upkeep = Upkeep(
            self._store, self._settings, self._contacts, self._hosting, self._membership
        )
        self._dialling = Dialling(
            nursery,
            self._settings,
            self._contacts,
            self._hosting,
            upkeep,
            self._patience,
            self._tls,
        )
        self._discovering = Discovering(
            nursery,
            self._settings,
            self._contacts,
            self._hosting,
            self._dialling,
            self._membership,
            self._journal,
            self._tls,
        )
        self._synchronizing = Synchronizing(self._contacts, self._dialling)
        self._hosting.nursery = nursery
        self._hosting.waiting.on_short = self._dialling.hurry
        self._hosting.on_dialled = self._discovering.dialled_by
        self._membership.on_change = self._roster_changed
        self._membership.on_forgotten = lambda: nursery.start_soon(self._take_new_origin)
        self._calls = calls = LoopCalls(nursery)
        self.replicated.begin(calls)
        self._running = True

        sweeping = Sweeping(self._store, self._hosting.workers.common)

        upkeep.on_changed = sweeping.changed

        def changed() -> None:
            calls.soon(upkeep.changed)

        self._store.on_change = changed
        self._store.on_conflict = lambda one: calls.soon(partial(self._hosting.arisen, one))
        for address in self._peers:
            self._dialling.add(address)
        self._discovering.begin(self._advert())
        collecting = Collecting(
            self._store,
            self._membership,
            self._hosting,
            Forgetting(self._membership, self._journal, self._settings.forget_after),
        )
        nursery.start_soon(self._accepting.serve)
        for task in (
            upkeep.announce,
            upkeep.sync_points,
            self._membership.keep,
            collecting.keep,
            sweeping.keep,
            self._dialling.take_turns,
            self._accepting.keep_credentials,
        ):
            nursery.start_soon(self._kept_up, task)
        joining = Joining(
            self._store,
            self._settings,
            self._contacts,
            self._dialling,
            self._discovering,
            self._journal,
        )
        nursery.start_soon(joining.run)

    def _remembered(self) -> bool:
        """Whether there are members to dial from an earlier life."""
        return self._settings.dial_members and bool(self._membership.addresses())

    def _advert(self) -> Advert:
        """What providers announce; with port 0, where this node does not listen, nothing. Then
        the host was never resolved, and a name says nothing of networks."""
        address = self.address or Address(self._settings.host, 0)
        if not is_numeric(address.host):
            address = Address(HOST_DEFAULT, 0)
        return Advert(self._settings.cluster, self.name, self._store.origin, address)

    def _roster_changed(self) -> None:
        for session in self._hosting:
            session.roster_changed()
        self._discovering.members_changed()

    async def _kept_up(self, task: Callable[[], Awaitable[None]]) -> None:
        """Run a task that never ends, whatever happens in it."""
        while True:
            try:
                await task()
            except Exception as error:
                self._hosting.complain("upkeep", error)
            await trio.sleep(RESTART_SECONDS)

    async def _take_new_origin(self) -> None:
        """What a node does that the cluster has forgotten (R10). Where that fails, the membership
        finds out anew, and it is tried again."""
        try:
            await self._hosting.fork(None, was_forgotten=True)
        except Exception as error:
            self._hosting.complain("upkeep", error)

    async def _drain(self) -> None:
        self._accepting.stop()
        self._dialling.stop()
        with trio.move_on_after(DRAIN_SECONDS):
            await self._hosting.end_all("the node stops")
            try:
                await self._membership.save()
            except Exception as error:
                self._hosting.complain("upkeep", error)

    # From any thread

    def stop(self) -> None:
        """Have `run` say farewell to the peers and return, within `DRAIN_SECONDS` and what is
        being applied. Idempotent."""
        if self._calls is None or not self._calls.soon(self._stopping.set):
            self._stopping.set()

    def status(self) -> Status:
        """The node and its peers at this moment.

        Raises:
            UsageError: called while this thread holds the store's lock: from within `update` or
                a resolver.
        """
        return self._ask(self._status)

    def add_peer(self, text: str) -> None:
        """Dial this address from now on, as one that a person named (R15). Idempotent.

        Raises:
            ConfigError: it is no address.
        """
        self._ask(partial(self._add, parse_address(text)))

    def remove_peer(self, text: str) -> None:
        """Dial this address no more, and end the conversation with it. Idempotent.

        Raises:
            ConfigError: it is no address.
        """
        self._ask(partial(self._remove, parse_address(text)))

    def sync(self, timeout: float | None = None) -> bool:
        """A round with every known peer now, both ways. Blocks.

        Args:
            timeout: seconds for all of them; None waits as long as they make progress.

        Returns:
            Whether each side now holds what the other one held, for all peers; True where there
            is none, False where the node does not run.

        Raises:
            UsageError: called in the node's own trio thread, where `synchronize` is awaited.
        """
        if self._calls is None:
            return False
        return self._calls.run(partial(self.synchronize, timeout), False)

    async def synchronize(self, timeout: float | None = None) -> bool:
        """`sync`, to be awaited in the trio thread of `run`."""
        return self._running and await self._synchronizing.with_all(timeout)

    def join(self, text: str, timeout: float | None = None) -> None:
        """Dial an address as one that a person named, and merge with whom is found there (R15).
        Blocks.

        Args:
            timeout: seconds; None waits as long as there is progress.

        When it returns, each side holds what the other one held.

        Raises:
            ConfigError: it is no address.
            PeerError: it did not come to that, for the reason given; then the address is not
                dialled any more, unless it was before.
            UsageError: called in the node's own trio thread, or the node does not run.
        """
        address = parse_address(text)
        if self._calls is None or not self._calls.run(partial(self._join, address, timeout), False):
            raise UsageError("the node does not run: open the store again, then join")

    async def _join(self, address: Address, timeout: float | None) -> bool:
        was_named = address in self._peers
        self._add(address)
        if not self._running:
            return False
        link = self._contacts.links[address]
        if not await self._synchronizing.with_one(link, timeout):
            reason = link.error or "it did not get into step in time"
            if not was_named:
                self._remove(address)
            raise PeerError(f"not joined with {address}: {reason}")
        return True

    def members(self) -> tuple[MemberStatus, ...]:
        """Every node of the cluster, as this one knows it (R7).

        Raises:
            UsageError: as `status`.
        """
        return self._ask(lambda: self._membership.status(self._store.known(), time.monotonic()))

    def names(self) -> dict[int, str]:
        """What the nodes behind origins call themselves, those that were forgotten included.

        Raises:
            UsageError: as `status`.
        """
        return self._ask(
            lambda: {account.origin: account.name for account in self._membership.roster}
        )

    def forget(self, text: str) -> None:
        """Take a node off the list of members, for good (R10): should it come back, it takes a new
        origin.

        Args:
            text: its name or origin.

        Raises:
            UsageError: it is no member, it lives, it is this node, or several have that name.
        """
        self._ask(partial(self._membership.forget, text))

    def _ask(self, question: Callable[[], T]) -> T:
        return question() if self._calls is None else self._calls.ask(question)

    def _add(self, address: Address) -> None:
        self._peers[address] = None
        if self._running:
            self._dialling.add(address)

    def _remove(self, address: Address) -> None:
        self._peers.pop(address, None)
        if self._running:
            self._dialling.remove(address)

    def _status(self) -> Status:
        return self._reporting.status(
            self.name,
            self.address,
            self._discovering.summaries() if self._running else {},
            is_running=self._running,
        )
