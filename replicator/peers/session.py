"""One conversation over one stream: carries out its effects against the store and the peer.

Six tasks a session: `_drive` alone calls the conversation; the inbox receives and decodes ahead
of it; the outbox encodes and sends; the source reader reads snapshots ahead; one task applies; and
one scans what there is here. So on the serving side LevelDB reads, encoding and sending overlap, on
the pulling side receiving, decoding and applying do. Every queue in between is bounded, and what is
not taken holds up the peer.

Whatever happens here, wrong bytes, a failing store, a bug, ends this session with a reason and
touches no other.
"""

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Literal, TypeVar

import trio
from trio.lowlevel import ParkingLot

from replicator.config import OUTBOX_MESSAGES_MAX
from replicator.core.known import KnownSet
from replicator.errors import PeerError, UsageError
from replicator.net.transport import FAREWELL_SECONDS, FramedStream, StalledError
from replicator.peers.applying import Applying
from replicator.peers.host import Host, Workers
from replicator.peers.inbox import Inbox, Item
from replicator.peers.outbox import Outbox
from replicator.peers.readahead import SourceReader
from replicator.peers.scanning import Scanning
from replicator.protocol.comparison import ApplyRanges, ReadAnswer, Scan, TakeDigest
from replicator.protocol.conversation import Conversation
from replicator.protocol.effects import (
    AdoptCluster,
    Apply,
    ApplyFull,
    Close,
    CloseSource,
    Effect,
    Event,
    Finish,
    Fork,
    Heard,
    KnownChanged,
    Learn,
    LearnClosed,
    Lost,
    MakeDurable,
    OpenSource,
    Poke,
    PokeOthers,
    ReadChunk,
    Report,
    RosterChanged,
    Secured,
    SecureWanted,
    Send,
    Show,
    Stop,
    StoreFailed,
)
from replicator.protocol.messages import Message, Ping, Pong
from replicator.store.store import Store

FLUSH_SECONDS = 2.0
"""How long the last messages may take once a conversation is over."""

T = TypeVar("T")
StopCode = Literal["idle", "closing", "busy", "fork", "forgotten", "protocol"]


class Session:
    """Drives one conversation until it is over. For one trio thread.

    Args:
        stream: this session's alone; closed in the end.
        store: what effects are carried out against, in worker threads.
        conversation: not started yet.
        host: the node.
        workers: shared with all sessions of the node.
        dialled: whether this side opened the connection.

    Attributes:
        stream, conversation, dialled: the same.
        over: why the conversation is over; None before.
    """

    def __init__(
        self,
        stream: FramedStream,
        store: Store,
        conversation: Conversation,
        host: Host,
        workers: Workers,
        dialled: bool,
    ) -> None:
        self.dialled = dialled
        self.conversation = conversation
        self.stream = stream
        self.over: Close | None = None
        self._store = store
        self._host = host
        self._workers = workers
        self._inbox = Inbox(stream, workers.common, self._wake, self._part_came)
        self._outbox = Outbox(stream, workers.common, self._wake)
        self._source = SourceReader(
            store, workers.common, self._outbox.drained, self.post, self.effect_failed
        )
        self._applying = Applying(
            store, workers.applying, self.post, partial(host.applied, self), self.effect_failed
        )
        self._scanning = Scanning(store, workers.common, self.post, self.effect_failed)
        self._events: deque[Event] = deque()
        self._changed = self._heard = self._roster_changed = False
        self._wanted = KnownSet()
        self._pings = self._pongs = self._awaiting = 0
        self._scope = trio.CancelScope()
        self._flushing = trio.CancelScope()
        self._driver = ParkingLot()
        self._watchers = ParkingLot()

    async def run(self) -> Close:
        """Converse until it is over, and close the stream.

        On cancellation the stream is closed at once; what is being applied is applied to the end.
        """
        try:
            with self._scope:
                await self._converse()
                await self.stream.aclose()
        except Exception as error:
            self._host.failed(self, error)
        finally:
            self._leave()
            await self.stream.aclose_forcefully()
        return self.over or Close("failed", "the session failed")

    async def _converse(self) -> None:
        async with trio.open_nursery() as nursery:
            for task in (
                self._inbox.run,
                self._send,
                self._source.run,
                self._applying.run,
                self._scanning.run,
            ):
                nursery.start_soon(task)
            await self._drive()
            self._flushing.deadline = trio.current_time() + FLUSH_SECONDS
            with self._flushing:
                await self._outbox.drained()
            nursery.cancel_scope.cancel()

    def cancel(self) -> None:
        """End the session without another word; `run` returns as soon as the store lets it."""
        self._scope.cancel()

    def stop(self, code: StopCode, reason: str) -> None:
        """End the conversation politely; `run` returns soon."""
        self.post(Stop(code, reason))

    def poke(self) -> None:
        """Another session has ended or has released something."""
        self.post(Poke())

    def known_changed(self) -> None:
        """The own known set has grown; announced when the peer has read what was sent before."""
        self._changed = True
        self._wake()

    def roster_changed(self) -> None:
        """This node knows something new of a member; passed on when the peer has read what was
        sent before."""
        self._roster_changed = True
        self._wake()

    def secure(self, dots: KnownSet) -> None:
        """Somebody waits until peers hold these durably; told when the peer has read what was sent
        before, so that those who come meanwhile are told together."""
        self._wanted.update(dots)
        self._wake()

    @property
    def is_at_rest(self) -> bool:
        """Whether it is open and no round is under way in either direction."""
        return self.conversation.states == ("open", "idle", "idle")

    async def caught_up(self) -> bool:
        """Wait until this node holds all that the peer held when this was called.

        Returns:
            False where the conversation ended before.
        """
        if not await self._heard_out():
            return False
        theirs = self.conversation.peer_known.copy()
        await self._until(lambda: self._store.known().issuperset(theirs))
        return self.over is None

    async def in_step(self, *, fresh: bool) -> bool:
        """Wait until each side holds all that the other one held when this was called.

        Args:
            fresh: whether this side dialled for it; then the peer may also have ended it because
                there was nothing more to say. Where this side left first, that tells nothing: what
                it was never shown the peer announces behind the greeting (R13).
        """
        ours = self._store.known()
        heard = await self._heard_out()
        theirs = self.conversation.peer_known
        then = theirs.copy()
        await self._until(lambda: theirs.issuperset(ours) and self._store.known().issuperset(then))
        if not heard and fresh and self.over is not None:
            heard = self.over.code == "idle" and self.over.by_peer
        return heard and theirs.issuperset(ours) and self._store.known().issuperset(then)

    async def _heard_out(self) -> bool:
        """Wait until the peer has announced all that it held when this was called. Whether it
        has; False where the conversation ended before."""
        self._awaiting += 1
        self.conversation.is_awaited = True
        try:
            await self._until(lambda: self.conversation.is_open)
            if self.over is not None:
                return False
            self._send_message(Ping())
            pongs_due = self._pings
            # A peer announces what it has before it answers.
            await self._until(lambda: self._pongs >= pongs_due)
            return self._pongs >= pongs_due
        finally:
            self._awaiting -= 1
            self.conversation.is_awaited = self._awaiting > 0
            self._wake()

    async def _until(self, condition: Callable[[], bool]) -> None:
        """Wait for a condition on what the conversation knows, or for its end."""
        while self.over is None and not condition():
            await self._watchers.park()

    # Driving

    async def _drive(self) -> None:
        await self._carry_out(self.conversation.start(trio.current_time()))
        while self.over is None:
            effects = self._next(trio.current_time())
            if effects is None:
                with trio.move_on_at(self.conversation.deadline):
                    await self._driver.park()
            else:
                await self._carry_out(effects)
                self._watchers.unpark_all()

    def _next(self, now: float) -> list[Effect] | None:
        """Tell the conversation one thing, if there is any."""
        if self._events:
            return self.conversation.handle(self._events.popleft(), now)
        if self._may_take():
            return self._take(self._inbox.take(), now)
        if self._heard:
            self._heard = False
            return self.conversation.handle(Heard(), now)
        if self._wanted and not self._outbox and self.conversation.is_open:
            wanted, self._wanted = self._wanted, KnownSet()
            return self.conversation.handle(SecureWanted(wanted), now)
        if self._changed and not self._outbox:
            self._changed = False
            return self.conversation.handle(KnownChanged(), now)
        if self._roster_changed and not self._outbox:
            self._roster_changed = False
            return self.conversation.handle(RosterChanged(), now)
        if self.conversation.deadline <= now:
            return self.conversation.tick(now)
        return None

    def _may_take(self) -> bool:
        return (
            len(self._inbox) > 0
            and self.conversation.wants_input
            and len(self._outbox) <= OUTBOX_MESSAGES_MAX
        )

    def _take(self, message: Item, now: float) -> list[Effect]:
        if isinstance(message, Lost | Stop):
            return self.conversation.handle(message, now)
        if isinstance(message, Pong):
            self._pongs += 1
        if isinstance(message, Ping):
            announced = self.conversation.handle(KnownChanged(), now)
            return announced + self.conversation.receive(message, now)
        return self.conversation.receive(message, now)

    async def _carry_out(self, effects: list[Effect]) -> None:
        failed = False
        for effect in effects:
            if failed and not isinstance(effect, Close):
                continue  # what follows a failed `Show` must not be sent
            try:
                await self._begin(effect)
            except Exception as error:
                failed = True
                self.effect_failed(effect, error)

    async def _begin(self, effect: Effect) -> None:
        match effect:
            case Send(message):
                self._send_message(message)
            case Apply() | Finish() | ApplyFull() | ApplyRanges():
                self._applying.put(effect)
            case Scan() | TakeDigest():
                self._scanning.put(effect)
            case OpenSource() | ReadChunk() | ReadAnswer() | CloseSource():
                self._source.put(effect)
            case Show(seq):
                if seq > self._store.shown:
                    await self._in_thread(partial(self._store.show, seq))
            case Report():
                self._host.reported(self, effect)
            case PokeOthers():
                self._host.poke_others(self)
            case AdoptCluster(cluster_id, expected, is_forced, is_binding):
                await self._in_thread(
                    partial(
                        self._store.adopt_cluster,
                        cluster_id,
                        expected=expected,
                        is_forced=is_forced,
                        is_binding=is_binding,
                    )
                )
            case Learn(members):
                self._host.learned(self, members)
                self.roster_changed()
            case LearnClosed(closed):
                await self._in_thread(partial(self._store.closing.close, closed))
                self._host.closed()
            case MakeDurable():
                self._host.make_durable(self, effect)
            case Secured(known):
                self._host.secured(self, known)
            case Fork(was_forgotten):
                await self._host.fork(self, was_forgotten)
            case Close():
                self.over = effect

    def _send_message(self, message: Message) -> None:
        if isinstance(message, Ping):
            self._pings += 1
        self._outbox.put(message)

    def post(self, event: Event) -> None:
        """Tell the conversation something, soon."""
        self._events.append(event)
        self._wake()

    def _part_came(self) -> None:
        self._heard = True
        self._wake()

    def _wake(self) -> None:
        self._driver.unpark_all()

    def effect_failed(self, effect: Effect, error: Exception) -> None:
        """Carrying out an effect has failed: the conversation ends."""
        self._host.failed(self, error)
        # Before anything else: the conversation counts on a `Show` that has failed.
        self._events.appendleft(StoreFailed(effect, error))
        self._wake()

    def _leave(self) -> None:
        """See to it that the conversation holds back no other one, however this one ended."""
        now = trio.current_time()
        with suppress(UsageError):  # where a bug has led here, there may be more of it
            for event in (*self._events, Lost("cancelled")):
                for effect in self.conversation.handle(event, now):
                    if isinstance(effect, PokeOthers):
                        self._host.poke_others(self)
                    elif isinstance(effect, Close):
                        self.over = effect
        self._watchers.unpark_all()

    # The other tasks

    async def _send(self) -> None:
        try:
            await self._outbox.run()
        except PeerError as error:
            stalled = isinstance(error, StalledError)
            self._inbox.end(str(error), 0 if stalled else FAREWELL_SECONDS)
            self._flushing.cancel()
            self._wake()

    async def _in_thread(self, call: Callable[[], T]) -> T:
        return await trio.to_thread.run_sync(call, limiter=self._workers.common)
