"""One conversation: two nodes greet, compare known sets, pull from each other, and leave.

Sans-IO: calls come in with ``now``, effects go out (`replicator.protocol.effects`). Both sides run
the same tables (`replicator.protocol.states`):

1. Both say `Hello`. Who does not belong here is refused; two nodes of one origin are a fork (R13).
2. Both send the blocks of their known sets that differ, as they stood at their hello and *without
   own dots that were never shown to anyone*. So a peer that knows one of those proves a fork, and
   is found out before it could have learnt of the dot here (R13).
3. With both known sets at hand the cluster id is settled (R15), and the link is open. What has been
   announced is remembered; from then on only differences are sent, at once.
4. Each side asks for what it lacks (`pulling`) and serves what the other lacks (`serving`),
   independently of each other.
5. When both halves have been idle for a while, one says `Bye`, usually the one that dialled, and
   the other answers.

Anything else that a peer does ends the conversation with a reason, and cannot do more than that.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import inf
from typing import cast

from replicator.config import Settings
from replicator.core.known import BLOCKS, KnownSet
from replicator.errors import (
    ForkedContentsError,
    ForkError,
    PeerError,
    PeerRefusedError,
    ProtocolError,
)
from replicator.protocol import greeting
from replicator.protocol.announcing import Announcements
from replicator.protocol.effects import (
    AdoptCluster,
    Applied,
    Apply,
    ApplyFull,
    ChunkRead,
    Close,
    CloseCode,
    Effect,
    Event,
    Finish,
    Fork,
    Heard,
    KnownChanged,
    Lost,
    Poke,
    PokeOthers,
    Report,
    Send,
    Show,
    SourceOpened,
    Stop,
    StoreFailed,
)
from replicator.protocol.me import Me as Me
from replicator.protocol.messages import (
    BYE_CODES,
    REASON_BYTES_MAX,
    Begin,
    Bye,
    End,
    Hello,
    Known,
    Message,
    Ping,
    Pong,
    Records,
    Want,
)
from replicator.protocol.pulling import PullHalf
from replicator.protocol.pulls import ConversationId, Pulls
from replicator.protocol.serving import ServeHalf
from replicator.protocol.states import LINK, Machine

SILENCES_MAX = 3
"""A peer that is silent for so many keepalives is dropped."""

_NOTHING = KnownSet()

_CODES: dict[type[Exception], CloseCode] = {
    ForkError: "fork",
    ProtocolError: "protocol",
    PeerRefusedError: "refused",
    ForkedContentsError: "refused",
}
"""How a conversation ends that failed with this error; "failed" for every other."""


@dataclass(frozen=True, slots=True)
class Counters:
    """What one conversation has done so far: complete rounds only, with their records, and what
    these counted against limits, in bytes."""

    rounds: int = 0
    records: int = 0
    size_bytes: int = 0
    rounds_served: int = 0
    records_served: int = 0
    size_bytes_served: int = 0


class Conversation:
    """One side of one conversation. All conversations of a node are used from one thread.

    Args:
        conversation_id: unique among this node's conversations.
        me: this node.
        pulls: shared by all conversations of this node.
        settings: its timeouts and limits.
        dialled: whether this side opened the connection.
        explicit: whether a person told this side the peer's address (R15).
        now: seconds of a monotonic clock, as everywhere here.

    Attributes:
        peer: the peer's `Hello`, None before it came.
        counters: what was done so far.
    """

    def __init__(
        self,
        conversation_id: ConversationId,
        me: Me,
        pulls: Pulls,
        settings: Settings,
        *,
        dialled: bool,
        explicit: bool,
        now: float,
    ) -> None:
        self.conversation_id = conversation_id
        self.peer: Hello | None = None
        self.counters = Counters()
        self._me = me
        self._pulls = pulls
        self._settings = settings
        self._patience = settings.linger + (0.0 if dialled else settings.reask_timeout)
        self._out: list[Effect] = []
        self._link = Machine(LINK)
        self._pull = PullHalf(conversation_id, pulls, settings, me.known, self._emit)
        self._serve = ServeHalf(self._emit)
        known = me.presentable()
        self._hello = me.hello(known, explicit)
        self._at_hello = known
        self._news = Announcements(known.copy())
        self._shown = me.shown()
        self._lacking = False
        self._limit_at = now + settings.connect_timeout
        self._heard_at = self._sent_at = self._active_at = now
        self._retry_at = inf
        self._ending: list[Effect] = []

    # What a driver and a status page look at

    @property
    def peer_known(self) -> KnownSet:
        """What the peer has announced that it knows; not to be changed."""
        return self._news.peer_known

    @property
    def states(self) -> tuple[str, str, str]:
        """The states of the link, the pull half and the serve half, for people."""
        return self._link.state, self._pull.state, self._serve.state

    @property
    def is_open(self) -> bool:
        """Whether the peer belongs here and both known sets have been exchanged."""
        return self._link.state == "open"

    @property
    def is_closed(self) -> bool:
        return self._link.state == "closed"

    @property
    def wants_input(self) -> bool:
        """Whether the driver should go on reading from the peer."""
        return self._pull.wants_input

    @property
    def deadline(self) -> float:
        """When `tick` is due; changes with every call."""
        return min((moment for moment, _ in self._agenda()), default=inf)

    # What comes in

    def start(self, now: float) -> list[Effect]:
        """Greet. The first call, before anything is received."""
        self._link.step("start")
        self._send(self._hello)
        return self._flush(now)

    def receive(self, message: Message, now: float) -> list[Effect]:
        """A message of the peer. Whatever it is, nothing is raised."""
        if self._is_over():
            return []
        self._heard_at = now
        try:
            self._take(message, now)
        except PeerError as error:
            self._fail(error)
        return self._flush(now)

    def handle(self, event: Event, now: float) -> list[Effect]:
        """An answer to an effect, or news of this node.

        Raises:
            UsageError: the driver answered an effect that is not under way.
        """
        if self._is_over():
            self._settle(event)
            return self._flush(now)
        try:
            self._meet(event, now)
        except PeerError as error:
            self._fail(error)
        return self._flush(now)

    def tick(self, now: float) -> list[Effect]:
        """Time has passed. Due at `deadline`; harmless at any other time."""
        for moment, action in self._agenda():
            if now >= moment and not self._is_over():
                action(now)
        return self._flush(now)

    def _take(self, message: Message, now: float) -> None:
        before = self._link.state
        self._link.step(type(message).__name__)
        if not isinstance(message, Ping | Pong):
            self._active_at = now
        match before, message:
            case _, Bye():
                self._on_bye(message, is_answer=before == "leaving")
            case "leaving", _:
                pass
            case _, Ping():
                self._send(Pong())
            case "greeting", Hello():
                self._on_hello(message)
            case "comparing", Known(known):
                self._on_first_known(known, now)
            case _:
                self._take_open(message, now)

    def _take_open(self, message: Message, now: float) -> None:
        match message:
            case Known(known):
                self._learn(known)
                self._refresh(now)
            case Want():
                self._serve.want(message)
            case Begin():
                self._on_begin(message, now)
            case Records():
                self._pull.records(message, now)
            case End():
                self._pull.end(message, now)

    def _meet(self, event: Event, now: float) -> None:
        match event:
            case KnownChanged() | Poke():
                self._pull.advance()
                self._refresh(now)
            case SourceOpened(known, _):
                self._show(known)
                self._news.revealed(known)
                self._serve.opened(event, self.peer_known)
            case ChunkRead():
                self._serve.chunk_read(event)
            case Applied():
                self._active_at = now
                self._pull.applied(event, now)
                self._refresh(now)
            case Heard():
                self._heard_at = now
                self._pull.heard(now)
            case StoreFailed(effect, error):
                self._settle_failed(effect)
                self._fail(error)
            case Stop(code, reason):
                self._end(code, reason)
            case Lost(reason):
                self._end("lost", reason, bye=False)

    # Greeting

    def _on_hello(self, peer: Hello) -> None:
        self.peer = peer
        greeting.check_peer(self._hello, peer)
        if greeting.same_origin(self._hello, peer):
            raise ForkError(f"node {peer.node!r} lives under this node's origin")
        differing = greeting.differing_blocks(self._hello, peer)
        self._news.learn(self._at_hello.blocks(set(range(BLOCKS)) - differing))
        self._send(Known(self._at_hello.blocks(differing)))

    def _on_first_known(self, known: KnownSet, now: float) -> None:
        assert self.peer is not None
        self._learn(known)
        shared = bool(self._at_hello.intersection(self.peer_known))
        self._settle_cluster(greeting.choose_cluster(self._hello, self.peer, shared))
        if self._is_over():
            return
        self._emit(Report("met", self.peer.node))
        for report in greeting.warnings(self._hello, self.peer, self._settings.clock_skew_max):
            self._emit(report)
        self._refresh(now)

    def _settle_cluster(self, chosen: bytes) -> None:
        """Adopt the cluster id, unless what this node said in its hello is no longer so."""
        current = self._me.cluster_id()
        if chosen == current:
            return
        if (current, self._me.has_data()) == (self._hello.cluster_id, self._hello.has_data):
            self._emit(AdoptCluster(chosen))
        else:
            self._end("busy", "the cluster id was settled with another peer meanwhile: greet again")

    # What the two sides know

    def _learn(self, known: KnownSet) -> None:
        """Believe what the peer announces.

        Raises:
            ForkError: it knows an own dot that it cannot have from this life (R13).
            ProtocolError: it announces too much.
        """
        highest, shown = known.highest(self._me.origin), self._me.shown()
        if highest > shown:
            raise ForkError(
                f"the peer knows own seqs up to {highest}, of which only {shown} were ever shown: "
                "this directory was rolled back or cloned"
            )
        self._news.learn(known)

    def _on_begin(self, message: Begin, now: float) -> None:
        # The snapshot may lack what was announced while it was being opened: then only what it
        # has is claimed, and the rest is asked for afterwards.
        if any(seq > message.known.highest(origin) for origin, seq in message.floor.items()):
            raise ProtocolError("a purge floor lies above the known set")
        self._learn(message.known)
        self._pull.begin(message, now)

    def _refresh(self, now: float) -> None:
        """Announce what is new here, then plan what to ask for."""
        if not self.is_open:
            return
        known = self._me.known()
        # While a round comes in, what the peer itself sends is not told back piece by piece.
        apart_from = self.peer_known if self._pull.in_burst else _NOTHING
        news = self._news.news(known, apart_from)
        if news:
            self._show(news)
            self._send(Known(news))
        self._pull.plan(self.peer_known, known, now)
        self._lacking = not (
            known.issuperset(self.peer_known) and self.peer_known.issuperset(known)
        )

    def _show(self, known: KnownSet) -> None:
        """Have it stored that own seqs are shown, before a message shows them (R13)."""
        seq = known.highest(self._me.origin)
        if seq > self._shown:
            self._shown = seq
            self._emit(Show(seq))

    # Time

    def _agenda(self) -> list[tuple[float, Callable[[float], None]]]:
        """What is to be done when, as things stand."""
        match self._link.state:
            case "greeting" | "comparing" | "leaving":
                return [(self._limit_at, self._on_limit)]
            case "open":
                keepalive = self._settings.keepalive
                silent_at = self._heard_at + SILENCES_MAX * keepalive
                return [
                    (silent_at if self.wants_input else inf, self._on_silence),
                    (self._pull.stalled_at, self._on_silence),
                    (self._sent_at + keepalive, self._on_keepalive),
                    (self._retry_at, self._refresh),
                    (self._quiet_at(), self._leave),
                ]
            case _:
                return []

    def _quiet_at(self) -> float:
        """When it has been idle for long enough: longer where one side still lacks something that
        it has perhaps asked from others, and longer for the side that was dialled."""
        if not (self._pull.is_idle and self._serve.is_idle):
            return inf
        waiting = self._settings.reask_timeout if self._lacking else 0.0
        return self._active_at + self._patience + waiting

    def _on_limit(self, now: float) -> None:
        if self._link.state == "leaving":
            self._end("idle", "nothing more to say", bye=False)
        else:
            self._end("silent", f"no greeting within {self._settings.connect_timeout:g} s")

    def _on_silence(self, now: float) -> None:
        self._end("silent", "the peer owed a message for too long")

    def _on_keepalive(self, now: float) -> None:
        """So the peer hears that this side lives, even while it has reason not to read."""
        self._send(Ping())

    def _leave(self, now: float) -> None:
        self._link.step("leave")
        self._limit_at = now + self._settings.connect_timeout
        self._send(Bye("nothing more to say", "idle"))

    # The end

    def _on_bye(self, message: Bye, is_answer: bool) -> None:
        self._end(
            cast(CloseCode, message.code),
            message.reason,
            bye=message.code == "idle" and not is_answer,
            by_peer=True,
        )

    def _fail(self, error: Exception) -> None:
        kinds = (code for kind, code in _CODES.items() if isinstance(error, kind))
        self._end(next(kinds, "failed"), str(error), fork=isinstance(error, ForkError))

    def _end(
        self,
        code: CloseCode,
        reason: str,
        *,
        bye: bool = True,
        by_peer: bool = False,
        fork: bool = False,
    ) -> None:
        """Say so, let go of everything, and close once nothing is being applied any more."""
        if bye:
            self._send(_bye(code, reason))
        self._serve.abandon()
        self._pull.abandon()
        if self._link.state != "ending":
            self._link.step("end")
        self._ending = [PokeOthers(), *([Fork()] if fork else []), Close(code, reason, by_peer)]
        self._close()

    def _close(self) -> None:
        if not self._pull.in_flight:
            self._pulls.finished(self.conversation_id)
            self._out += self._ending
            self._link.step("close")

    def _settle(self, event: Event) -> None:
        """An event after the end: the last piece is committed, or has failed."""
        if isinstance(event, Applied):
            self._pull.settled()
        elif isinstance(event, StoreFailed):
            self._settle_failed(event.effect)
        if self._link.state == "ending":
            self._close()

    def _settle_failed(self, effect: Effect) -> None:
        if isinstance(effect, Apply | Finish | ApplyFull):
            self._pull.settled()

    def _is_over(self) -> bool:
        return self._link.state in ("ending", "closed")

    # What goes out

    def _emit(self, effect: Effect) -> None:
        self._out.append(effect)

    def _send(self, message: Message) -> None:
        self._emit(Send(message))

    def _flush(self, now: float) -> list[Effect]:
        """All effects of one call."""
        out, self._out = self._out, []
        for effect in out:
            match effect:
                case Send(message):
                    self._sent_at = now
                    if not isinstance(message, Ping | Pong):
                        self._active_at = now
                case Report():
                    self.counters = _counted(self.counters, effect)
        if not self.wants_input:
            self._heard_at = now  # a peer that is not read is not silent
        waits = self._lacking and self._pull.is_idle
        self._retry_at = self._pulls.retry_at(self.conversation_id, now) if waits else inf
        return out


def _bye(code: CloseCode, reason: str) -> Bye:
    """A `Bye` within its limits. What goes wrong inside this node is its own business."""
    if code == "failed":
        reason = "the store of this node failed"
    text = reason.encode(errors="replace")[:REASON_BYTES_MAX].decode(errors="ignore")
    return Bye(text, code if code in BYE_CODES else "closing")


def _counted(counters: Counters, report: Report) -> Counters:
    match report.kind:
        case "round":
            return replace(
                counters,
                rounds=counters.rounds + 1,
                records=counters.records + report.records,
                size_bytes=counters.size_bytes + report.size_bytes,
            )
        case "served":
            return replace(
                counters,
                rounds_served=counters.rounds_served + 1,
                records_served=counters.records_served + report.records,
                size_bytes_served=counters.size_bytes_served + report.size_bytes,
            )
        case _:
            return counters
