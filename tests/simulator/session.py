"""One end of one conversation: the real sans-IO one, driven as `replicator.protocol.effects` asks.

Whatever the driver may take time for takes a random time here: calls to the store, reading a
chunk, telling of changes. So everything that may come between two of them does in some seed.
"""

from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

from replicator.core.chunk import Chunk
from replicator.errors import ProtocolError, ReplicatorError
from replicator.protocol.codec import decode, encode
from replicator.protocol.comparison import (
    AnswerRead,
    ApplyRanges,
    DigestTaken,
    ReadAnswer,
    Scan,
    Scanned,
    TakeDigest,
)
from replicator.protocol.conversation import Conversation
from replicator.protocol.effects import (
    AdoptCluster,
    Applied,
    Apply,
    ApplyFull,
    ChunkRead,
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
    Secured,
    Send,
    Show,
    SourceOpened,
    Stop,
    StoreFailed,
)
from replicator.protocol.messages import SINCE, Durable, Message, Records

from .model_store import Outcome, Source
from .network import Connection
from .oracle import Violation
from .transcript import describe, describe_chunk, describe_known

if TYPE_CHECKING:
    from .node import Node

SourceEffect = OpenSource | ReadChunk | ReadAnswer | CloseSource
Applying = Apply | Finish | ApplyFull | ApplyRanges


class Session:
    """One end of a connection at one node.

    Attributes:
        node: the node.
        peer: name of the other node.
        dialled: whether this end opened the connection.
        origin: as whom the node greets.
        is_open: whether the conversation goes on, as far as this end knows.
        applying: whether a piece is on its way into the store.
    """

    def __init__(
        self,
        node: "Node",
        peer: str,
        connection: Connection,
        end: int,
        conversation: Conversation,
    ) -> None:
        self.node = node
        self.peer = peer
        self.dialled = end == 0
        self.origin = node.store.origin
        self.is_open = True
        self.applying = False
        self.conversation = conversation
        self._connection = connection
        self._end = end
        self._life = node.life
        self._started = False
        self._inbox: deque[bytes] = deque()
        self._effects: deque[Effect] = deque()
        self._held_back = False
        self._source_work: deque[SourceEffect] = deque()
        self._source_busy = False
        self._source: Source | None = None
        self._chunks: Iterator[Chunk] | None = None
        self._answer: Iterator[bytes | Chunk] | None = None
        self._scans = 0
        self._changes_waiting = False
        self._alarm = float("inf")
        connection.ends.append(self)

    @property
    def is_idle(self) -> bool:
        """Whether no round is under way in either direction."""
        is_scanning = self._scans > 0
        return not (self._source or self._source_work or self.applying or is_scanning)

    @property
    def pull_is_idle(self) -> bool:
        """Whether no round is open from the peer."""
        return self.conversation.states[1] == "idle"

    # From the network

    def start(self) -> None:
        if self.alive:
            self._started = True
            self.do(self.conversation.start(self.node.loop.now))
            self._take_in()

    def arrived(self, payload: bytes) -> None:
        if self.alive:
            self._inbox.append(payload)
            self._take_in()

    def heard(self) -> None:
        if self._started:
            self.tell(Heard())

    def lost(self, reason: str) -> None:
        if self.alive:
            self.tell(Lost(reason))

    @property
    def alive(self) -> bool:
        return self.is_open and self.node.life == self._life

    def _take_in(self) -> None:
        """Let the conversation see what arrived, as long as it wants to."""
        while self._inbox and self.alive and self._started and self.conversation.wants_input:
            payload = self._inbox.popleft()
            try:
                message = decode(payload)
            except ProtocolError as error:
                self.tell(Stop("protocol", str(error)))
                return
            if isinstance(message, Records):
                is_full = self.conversation.states[1] in ("full", "comparing")
                self.node.crossed(message.chunk, is_full)
            self.do(self.conversation.receive(message, self.node.loop.now))

    # Events and effects

    def tell(self, event: Event) -> None:
        """Hand an event to the conversation."""
        if self.alive:
            self.do(self.conversation.handle(event, self.node.loop.now))
            self._take_in()

    def tell_later(self, event: Event) -> None:
        self.node.loop.after(self.node.delay(), partial(self.tell, event))

    def known_changed(self) -> None:
        """The known set has grown: say so once, when what was sent before is on its way."""
        if not self._changes_waiting:
            self._changes_waiting = True
            delay = self.node.delay() + self._connection.taken(self._end)
            self.node.loop.after(delay, self._tell_change)

    def _tell_change(self) -> None:
        self._changes_waiting = False
        self.tell(KnownChanged())

    def do(self, effects: list[Effect]) -> None:
        self._effects.extend(effects)
        self._work()
        self._set_alarm()

    def _work(self) -> None:
        """Begin the effects in their order, until one has to be done before the next."""
        while self._effects and not self._held_back and self.alive:
            self._begin(self._effects.popleft())

    def _check_version(self, message: Message) -> None:
        """What is sent the peer can read."""
        version, peer = SINCE.get(type(message), 1), self.conversation.peer
        spoken = 1 if peer is None else peer.versions[1]
        if version > spoken:
            raise Violation(
                f"{self.node.name} sends {self.peer}, which speaks protocol version {spoken}, a "
                f"{type(message).__name__}, of version {version}"
            )

    def _begin(self, effect: Effect) -> None:
        match effect:
            case Send(message):
                if self.node.transcript.wanted:
                    self.node.say(f"→ {self.peer}  {describe(message)}")
                self._check_version(message)
                if isinstance(message, Durable):
                    self.node.cluster.oracle.said_durable(
                        self.node.name, message.known, self.node.store.safe_known()
                    )
                self._connection.send(self._end, encode(message))
            case Show(seq):
                self._hold_back(effect, lambda: self.node.store.show(seq))
            case AdoptCluster():
                self._hold_back(effect, lambda: self.node.store.adopt_cluster(effect))
            case OpenSource() | ReadChunk() | ReadAnswer() | CloseSource():
                self._source_work.append(effect)
                self._next_source_work()
            case Apply() | Finish() | ApplyFull() | ApplyRanges():
                self._apply(effect)
            case Scan():
                self._scans += 1
                self._later(self.node.delay(), lambda: self._scan(effect))
            case TakeDigest():
                delay = self.node.cluster.plan.dice.random() * 0.02
                self._later(delay, lambda: self._take_digest(effect))
            case Fork():
                # Another session may have found it out too.
                if self.origin == self.node.store.origin and not self.node.forking:
                    self.node.begin_fork(self)
                    self._hold_back(effect, lambda: self.node.fork(effect.was_forgotten))
            case PokeOthers():
                for other in list(self.node.sessions):
                    if other is not self:
                        other.tell_later(Poke())
            case Learn(members):
                self.node.membership.learn(self, members)
            case MakeDurable():
                self.node.guarantees.make_durable(self, effect)
            case Secured(known):
                self.node.guarantees.secured(self, known)
            case LearnClosed(closed):
                self._hold_back(effect, lambda: self.node.membership.learn_closed(closed))
            case Report():
                self.node.reported(self, effect)
            case Close(code, reason):
                self.close(code, reason)

    def _hold_back(self, effect: Effect, operation: Callable[[], None]) -> None:
        """An effect that is done before the next one is begun."""
        self._held_back = True
        self._later(
            self.node.delay(), lambda: self.node.attempt(operation, partial(self._go_on, effect))
        )

    def _go_on(self, effect: Effect, result: ReplicatorError | None) -> None:
        self._held_back = False
        if isinstance(result, ReplicatorError):
            # What was to be sent behind it must not be; that the conversation ends, stands.
            rest = [queued for queued in self._effects if not isinstance(queued, Send)]
            self._effects = deque(rest)
            self.tell(StoreFailed(effect, result))
        self.do([])
        self._take_in()

    def _later(self, delay: float, action: Callable[[], None]) -> None:
        """Run `action` unless the node goes down before."""
        life = self.node.life
        self.node.loop.after(delay, lambda: action() if self.node.life == life else None)

    def close(self, code: str, reason: str) -> None:
        self.node.say(f"⊣ {self.peer}  {code}: {reason}")
        self.is_open = False
        self._connection.close(self._end)
        self.node.ended(self)

    def cut(self, hear: bool) -> None:
        """This process is gone: the connection breaks; the peer hears of it soon, or not."""
        heard: list[float | None] = [None, None]
        heard[1 - self._end] = 0.02 if hear else None
        self._connection.cut((heard[0], heard[1]))

    def _set_alarm(self) -> None:
        deadline = self.conversation.deadline
        if self.alive and deadline < self._alarm:
            self._alarm = deadline
            self.node.loop.after(max(0.0, deadline - self.node.loop.now), self._ring)

    def _ring(self) -> None:
        if not self.alive or self.node.loop.now < self._alarm:
            return
        self._alarm = float("inf")
        self.do(self.conversation.tick(self.node.loop.now))
        self._take_in()

    # The store

    def _next_source_work(self) -> None:
        if self._source_busy or not self._source_work:
            return
        self._source_busy = True
        delay = self.node.delay()
        if isinstance(self._source_work[0], ReadChunk | ReadAnswer):
            delay += self._connection.taken(self._end)
        self._later(delay, self._do_source_work)

    def _do_source_work(self) -> None:
        effect = self._source_work.popleft()
        self._source_busy = False
        match effect:
            case OpenSource():
                self._source = self.node.store.open_source()
                self._connection.unexplained[self._end] = self.node.store.unexplained()
                self.tell(SourceOpened(self._source.known, self._source.floor))
            case ReadChunk(lack):
                assert self._source is not None
                if self._chunks is None:
                    source = self._source
                    self._chunks = source.read_all() if lack is None else source.read(lack)
                self.tell(ChunkRead(next(self._chunks, None)))
            case ReadAnswer(parts, moment_ms):
                assert self._source is not None
                if self._answer is None:
                    self._answer = self._source.answer(parts, moment_ms)
                item = next(self._answer, None)
                if item is None:
                    self._answer = None
                self.tell(AnswerRead(item))
            case CloseSource():
                self._source = self._chunks = self._answer = None
        self._next_source_work()

    def _scan(self, effect: Scan) -> None:
        self._scans -= 1
        self.tell(Scanned(*self.node.store.scan(effect.stretches, effect.moment_ms)))

    def _take_digest(self, effect: TakeDigest) -> None:
        self.tell(DigestTaken(*self.node.store.take_digest(effect.moment_ms)))

    def _apply(self, effect: Applying) -> None:
        self.applying = True
        self._later(
            self.node.delay_of(effect),
            lambda: self.node.attempt(
                lambda: self._do_apply(effect), partial(self._applied, effect)
            ),
        )

    def _do_apply(self, effect: Applying) -> Outcome:
        if isinstance(effect, ApplyFull | ApplyRanges):
            self.node.store.inherit(self._connection.unexplained[1 - self._end])
        return self.node.apply(effect)

    def _applied(self, effect: Applying, result: Outcome | ReplicatorError) -> None:
        self.applying = False
        if self.node.transcript.wanted:
            self.node.say(f"← {self.peer}  {_describe_effect(effect)} → {result!r}")
        if isinstance(result, ReplicatorError):
            self.tell(StoreFailed(effect, result))
        else:
            self.tell(Applied(result.records, result.changed))
            if isinstance(effect, ApplyFull):
                self.node.cluster.tempt_to_cut(self.node, self.peer)
            elif isinstance(effect, Apply):
                self.node.cluster.tempt_to_leave(self.node, self.peer)


def _describe_effect(effect: Applying) -> str:
    if isinstance(effect, ApplyRanges):
        pieces = [
            f"{describe_chunk(piece.chunk) or 'no records'} in ({piece.after!r}, {piece.upto!r}]"
            for piece in effect.pieces
        ]
        return f"{'mends' if effect.mends else 'ApplyRanges'} {', '.join(pieces)}"
    text = f"{type(effect).__name__} {describe_chunk(effect.chunk) or 'no records'}"
    if isinstance(effect, ApplyFull):
        return f"{text}, all keys in ({effect.after!r}, {effect.upto!r}]"
    if isinstance(effect, Finish):
        claim = "nothing" if effect.claim is None else describe_known(effect.claim)
        return f"{text}, claims {claim}"
    return text
