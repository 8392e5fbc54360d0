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
from math import inf

from replicator.config import Settings
from replicator.core.known import KnownSet
from replicator.errors import PeerError, ProtocolError
from replicator.protocol import effects, messages
from replicator.protocol.announcing import Announcements
from replicator.protocol.closings import Closings
from replicator.protocol.comparison import AnswerRead, DigestTaken, Scanned
from replicator.protocol.counters import Counters
from replicator.protocol.effects import Effect, Event, Report, Send
from replicator.protocol.ending import Ending
from replicator.protocol.gossip import Gossip
from replicator.protocol.greeting import Greeting, warnings
from replicator.protocol.me import Me as Me
from replicator.protocol.pulling import PullHalf
from replicator.protocol.pulls import ConversationId, Pulls
from replicator.protocol.securing import Securing
from replicator.protocol.serving import ServeHalf
from replicator.protocol.states import LINK, Machine
from replicator.protocol.timing import Timing
from replicator.protocol.watch import Watch


class Conversation:
    """One side of one conversation. All conversations of a node are used from one thread.

    Args:
        conversation_id: unique among this node's conversations.
        me: this node.
        pulls: shared by all conversations of this node.
        settings: its timeouts and limits.
        address: the peer's, where this side has dialled it; else empty.
        explicit: whether a person told this side that address (R15).
        now: seconds of a monotonic clock, as everywhere here.

    Attributes:
        peer: the peer's `Hello`, None before it came.
        counters: what was done so far.
        is_awaited: whether somebody waits for what the peer says: not left yet, then.
    """

    def __init__(
        self,
        conversation_id: ConversationId,
        me: Me,
        pulls: Pulls,
        settings: Settings,
        *,
        address: str,
        explicit: bool,
        now: float,
    ) -> None:
        self.conversation_id = conversation_id
        self.peer: messages.Hello | None = None
        self.counters = Counters()
        self.is_awaited = False
        self._known = me.known
        self._me = me
        self._closings = Closings(me.closed, self._emit)
        self._pulls = pulls
        self._settings = settings
        self._timing = Timing(settings, bool(address), now)
        self._out: list[Effect] = []
        self._link = Machine(LINK)
        self._pull = PullHalf(conversation_id, pulls, settings, me.known, self._emit)
        self._serve = ServeHalf(self._emit)
        self._greeting = Greeting(me, explicit, address)
        self._gossip = Gossip(me.roster, self._emit)
        self._securing = Securing(self._emit)
        self._news = Announcements(me, self._greeting.known.copy())
        self._watch = Watch(me.origin, pulls, me.digests, me.wall_ms, self._emit)
        self._lacking = False
        self._retry_at = inf
        self._ending = Ending(
            self._link, self._pull, self._serve, lambda: pulls.left(conversation_id), self._emit
        )

    # What a driver and a status page look at

    @property
    def peer_known(self) -> KnownSet:
        """What the peer has announced that it knows; not to be changed."""
        return self._news.peer_known

    @property
    def version(self) -> int:
        """Of the protocol, as this conversation speaks it; the least until the peer has greeted."""
        return self._greeting.version

    @property
    def states(self) -> tuple[str, str, str]:
        """The states of the link, the pull half and the serve half, for people."""
        return self._link.state, self._pull.state, self._serve.state

    @property
    def is_open(self) -> bool:
        """Whether the peer belongs here and both known sets have been exchanged."""
        return self._link.state == "open"

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
        self._send(self._greeting.hello)
        return self._flush(now)

    def receive(self, message: messages.Message, now: float) -> list[Effect]:
        """A message of the peer. Whatever it is, nothing is raised."""
        if self._ending.is_over:
            return []
        self._timing.heard(now, active=self._gossip.keeps_open(message))
        try:
            self._take(message, now)
        except PeerError as error:
            self._ending.fail(error)
        return self._flush(now)

    def handle(self, event: Event, now: float) -> list[Effect]:
        """An answer to an effect, or news of this node.

        Raises:
            UsageError: the driver answered an effect that is not under way.
        """
        if self._ending.is_over:
            self._ending.settle(event)
            return self._flush(now)
        try:
            self._meet(event, now)
        except PeerError as error:
            self._ending.fail(error)
        return self._flush(now)

    def tick(self, now: float) -> list[Effect]:
        """Time has passed. Due at `deadline`; harmless at any other time."""
        for moment, action in self._agenda():
            if now >= moment and not self._ending.is_over:
                action(now)
        return self._flush(now)

    def _take(self, message: messages.Message, now: float) -> None:
        before = self._link.state
        if messages.SINCE.get(type(message), 0) > self.version:
            raise ProtocolError(f"{type(message).__name__} is of a later protocol version")
        self._link.step(type(message).__name__)
        match before, message:
            case _, messages.Bye():
                self._ending.on_bye(message, is_answer=before == "leaving")
            case "leaving" | "parting", _:
                pass
            case _, messages.Ping():
                self._send(messages.Pong())
            case "greeting", messages.Hello():
                self._on_hello(message)
                self._watch.met(message.origin, now)
            case "comparing", messages.Known(known):
                self._on_first_known(known, now)
            case _:
                self._take_open(message, now)

    def _take_open(self, message: messages.Message, now: float) -> None:
        match message:
            case messages.Known(known):
                self._news.learn(known)
                self._refresh(now, announcing=False)
            case messages.Want() | messages.WantFull():
                self._serve.want(message)
            case messages.Begin():
                self._news.learn(message.known)
                self._pull.begin(message, now)
            case messages.Records():
                self._pull.records(message, now)
            case messages.End():
                self._pull.end(message, now)
            case messages.Closed(closed):
                self._closings.take(closed)
            case messages.Revisions() | messages.Call() | messages.Members() | messages.Accounts():
                self._gossip.take(message)
            case messages.Secure():
                self._securing.asked(message)
                self._securing.advance(self._known())
            case messages.Durable(known):
                self._news.learn(known)
                self._securing.answered(message)
            case messages.Compare():
                self._serve.compare(message)
            case messages.Verdict():
                self._pull.judged(message, now)
            case messages.Digest(step="mend"):
                self._serve.mend(message)
            case messages.Digest():
                self._watch.take(message, now)
                self._refresh(now)

    def _meet(self, event: Event, now: float) -> None:
        match event:
            case effects.KnownChanged() | effects.Poke():
                self._pull.advance()
                self._refresh(now)
            case effects.SourceOpened(known, _):
                self._closings.tell(self.version)  # before a floor that may rely on it
                self._out += self._news.showing(known)
                self._news.revealed(known)
                self._serve.opened(event, self.peer_known, self._me.closed())
            case effects.ChunkRead():
                self._serve.chunk_read(event)
            case AnswerRead():
                self._serve.answer_read(event)
            case Scanned():
                self._pull.scanned(event, now)
            case DigestTaken():
                self._timing.active_at = now
                self._watch.taken(event, now)
                self._refresh(now)
            case effects.Applied():
                self._timing.active_at = now
                self._pull.applied(event, now)
                self._refresh(now, announcing=not self._pull.in_burst)
            case effects.RosterChanged():
                if self.is_open:
                    self._gossip.advance()
                    self._closings.tell(self.version)
            case effects.SecureWanted(dots):
                if self.version >= messages.SINCE[messages.Secure]:
                    self._securing.want(dots)
                    self._refresh(now)
            case effects.MadeDurable(durable):
                if self.is_open:
                    self._securing.made(durable)
                    self._securing.advance(self._known())
            case effects.Heard():
                self._timing.heard(now, active=self._gossip.is_waiting)
                self._pull.heard(now)
            case effects.StoreFailed(effect, error):
                self._ending.settled(effect)
                self._ending.fail(error)
            case effects.Stop(code, reason):
                self._ending.end(code, reason)
            case effects.Lost(reason):
                self._ending.end("lost", reason, tell=False)

    def _on_hello(self, peer: messages.Hello) -> None:
        self.peer = peer
        common, different = self._greeting.meet(peer)
        self._pull.compares = self.version >= messages.SINCE[messages.Compare]
        self._serve.compares = self._pull.compares
        self._gossip.greeted(peer.members == self._greeting.hello.members, self.version)
        self._news.learn(common)
        if peer.dialled:
            self._emit(Report("reached", peer.dialled))
        self._send(messages.Known(different))

    def _on_first_known(self, known: KnownSet, now: float) -> None:
        assert self.peer is not None
        self._news.learn(known)
        self._out += self._greeting.settle(self.peer, self.peer_known)
        self._pulls.joined(self.conversation_id)
        self._emit(Report("met", self.peer.node))
        self._out += warnings(self._greeting.hello, self.peer, self._settings.clock_skew_max)
        self._gossip.advance()
        self._closings.tell(self.version)
        self._refresh(now)

    # What the two sides know

    def _refresh(self, now: float, announcing: bool = True) -> None:
        """Announce what is new here, then ask for what is lacking."""
        if not self.is_open or not (announcing or self._pull.is_idle or self._securing.is_asked):
            return
        known = self._known()
        if announcing:
            self._announce(known)
            self._securing.ask(self._news.announced)
        self._securing.advance(known)
        if self._pull.is_idle and self._watch.mends is not None:
            moment_ms, self._watch.mends = self._watch.mends, None
            self._pull.mend(self.peer_known, moment_ms, now)
        elif self._pull.is_idle:
            assert self.peer is not None
            full = self.version >= messages.SINCE[messages.WantFull] and self._me.wants_full()
            self._pull.ask(self.peer.origin, self.peer_known, known, now, full=full)
        self._lacking = not (
            self._pull.is_idle
            and known.issuperset(self.peer_known)
            and self.peer_known.issuperset(known)
        )

    def _announce(self, known: KnownSet) -> None:
        # While a round comes in, what the peer itself sends is not told back piece by piece.
        apart_from = self.peer_known if self._pull.in_burst else KnownSet()
        news = self._news.news(known, apart_from)
        if news:
            self._out += self._news.showing(news)
            self._send(messages.Known(news))

    # Time

    def _agenda(self) -> list[tuple[float, Callable[[float], None]]]:
        """What is to be done when, as things stand."""
        timing = self._timing
        match self._link.state:
            case "greeting" | "comparing" | "leaving" | "parting":
                return [(timing.limit_at, self._on_limit)]
            case "open":
                idle = self._pull.is_idle and self._serve.is_idle
                asks = self._pull.compares and idle and not self._lacking
                idle = idle and self._watch.is_idle
                waiting = self._lacking or self.is_awaited
                waiting = waiting or self._gossip.is_waiting or self._securing.is_waiting
                return [
                    (timing.silent_at(self.wants_input), self._on_silence),
                    (self._pull.stalled_at, self._on_silence),
                    (timing.ping_at, self._on_keepalive),
                    (self._retry_at, self._refresh),
                    (
                        self._watch.due if asks else inf,
                        lambda now: self._watch.ask(self._known(), self._me.closed(), now),
                    ),
                    (timing.quiet_at(waiting) if idle else inf, self._leave),
                ]
        return []

    def _on_limit(self, now: float) -> None:
        if self._link.state == "leaving":
            self._ending.end("idle", "nothing more to say", tell=False)
        else:
            self._ending.end("silent", f"no greeting within {self._settings.connect_timeout:g} s")

    def _on_silence(self, now: float) -> None:
        self._ending.end("silent", "the peer owed a message for too long")

    def _on_keepalive(self, now: float) -> None:
        """So the peer hears that this side lives, even while it has reason not to read."""
        self._send(messages.Ping())

    def _leave(self, now: float) -> None:
        if not self._watch.is_idle:
            return  # it has been due at the same moment
        self._link.step("leave")
        self._timing.limit(now)
        self._send(messages.Bye("nothing more to say", "idle"))

    # What goes out

    def _emit(self, effect: Effect) -> None:
        self._out.append(effect)

    def _send(self, message: messages.Message) -> None:
        self._emit(Send(message))

    def _flush(self, now: float) -> list[Effect]:
        """All effects of one call."""
        out, self._out = self._out, []
        for effect in out:
            match effect:
                case Send(message):
                    self._timing.sent(now, active=not isinstance(message, messages.Quiet))
                case Report(kind, changed=changed):
                    self.counters = self.counters.after(effect)
                    if kind == "mended":
                        self._watch.mended(changed, now)
        if not self.wants_input:
            self._timing.heard_at = now  # a peer that is not read is not silent
        self._retry_at = inf
        if self._lacking and self._pull.is_idle:
            self._retry_at = self._pulls.retry_at(self.conversation_id, now)
        return out
