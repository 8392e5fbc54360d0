"""Whole conversations between model stores, over streams of frames, step by step at random.

Everything that takes time in a real driver takes a step here: a frame's way, a source's chunk, an
apply, and the news of each. So every order in which they may happen does happen.
"""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from random import Random

from replicator.config import PROTOCOL_VERSION, PROTOCOL_VERSION_LEAST, Settings
from replicator.core.chunk import Chunk
from replicator.errors import ReplicatorError
from replicator.protocol.codec import decode, encode
from replicator.protocol.comparison import AnswerRead, ApplyRanges, ReadAnswer, Scan, Scanned
from replicator.protocol.conversation import Conversation
from replicator.protocol.effects import (
    AdoptCluster,
    Apply,
    ApplyFull,
    ChunkRead,
    Close,
    CloseSource,
    Effect,
    Event,
    Finish,
    Fork,
    KnownChanged,
    Lost,
    OpenSource,
    Poke,
    PokeOthers,
    ReadChunk,
    Report,
    Send,
    Show,
    SourceOpened,
    StoreFailed,
)
from replicator.protocol.frames import FrameReader, frame
from replicator.protocol.messages import SINCE, Known
from replicator.protocol.pulls import Pulls
from tests.comparing import scan
from tests.protocol.model import ModelStore, Oracle, Source

MS = 0.001


@dataclass(eq=False)
class Side:
    """One end of one conversation: a driver that does one thing a step."""

    party: "Party"
    conversation: Conversation
    inbox: deque[bytes] = field(default_factory=deque)
    outbox: deque[bytes] = field(default_factory=deque)
    work: deque[Effect] = field(default_factory=deque)
    reading: deque[Effect] = field(default_factory=deque)
    applied: Event | None = None
    scans: deque[Scan] = field(default_factory=deque)
    scanned: Event | None = None
    read: Event | None = None
    frames: FrameReader = field(default_factory=FrameReader)
    source: Source | None = None
    chunks: Iterator[Chunk] | None = None
    answer: Iterator[bytes | Chunk] | None = None
    dirty: bool = False
    closed: Close | None = None

    def do(self, effects: list[Effect]) -> None:
        for effect in effects:
            assert self.closed is None, "an effect after Close"
            match effect:
                case Send(message):
                    assert SINCE.get(type(message), 1) <= self.conversation.version
                    own = message.known if isinstance(message, Known) else None
                    if own is not None:
                        assert own.highest(self.party.store.origin) <= self.party.store.shown
                    self.outbox.append(frame(encode(message)))
                case Show(seq):
                    self.party.store.shown = max(self.party.store.shown, seq)
                case AdoptCluster(cluster_id=cluster_id):
                    self.party.store.cluster_id = cluster_id
                case Apply() | Finish() | ApplyFull() | ApplyRanges():
                    assert not self.work and not self.applied, "a second apply in flight"
                    self.work.append(effect)
                case OpenSource() | ReadChunk() | ReadAnswer() | CloseSource():
                    self.reading.append(effect)
                case Scan():
                    assert not self.scans and not self.scanned, "a second scan in flight"
                    self.scans.append(effect)
                case PokeOthers():
                    self.party.poke(self)
                case Report():
                    self.party.reports.append(effect)
                case Fork():
                    raise AssertionError("no fork was played")
                case Close():
                    self.closed = effect

    def party_round(self) -> int:
        """Changes with every round that is complete."""
        return self.conversation.counters.rounds

    def steps(self) -> list[str]:
        """What could happen here next."""
        possible = []
        if self.applied:
            possible.append("tell applied")
        elif self.work:
            possible.append("apply")
        if self.read:
            possible.append("tell read")
        elif self.reading and (
            not isinstance(self.reading[0], ReadChunk | ReadAnswer) or not self.outbox
        ):
            possible.append("read")
        if self.scanned:
            possible.append("tell scanned")
        elif self.scans:
            possible.append("scan")
        if self.inbox and self.closed is None and self.conversation.wants_input:
            possible.append("receive")
        if self.dirty and not self.outbox and self.closed is None:
            possible.append("known changed")
        return possible

    def step(self, name: str, now: float) -> None:
        match name:
            case "apply":
                self._apply()
            case "read":
                self._read()
            case "tell applied" if self.applied:
                event, self.applied = self.applied, None
                self.handle(event, now)
            case "tell read" if self.read:
                event, self.read = self.read, None
                self.handle(event, now)
            case "scan":
                effect = self.scans.popleft()
                self.scanned = Scanned(
                    *scan(
                        self.party.store.records,
                        effect.stretches,
                        effect.moment_ms,
                        step=self.party.store.chunk_records,
                        ranges_max=3,
                    )
                )
            case "tell scanned" if self.scanned:
                event, self.scanned = self.scanned, None
                self.handle(event, now)
            case "receive":
                for payload in self.frames.feed(self.inbox.popleft()):
                    self.do(self.conversation.receive(decode(payload), now))
            case "known changed":
                self.dirty = False
                self.handle(KnownChanged(), now)

    def handle(self, event: Event, now: float) -> None:
        self.do(self.conversation.handle(event, now))

    def _apply(self) -> None:
        effect = self.work.popleft()
        store = self.party.store
        self.party.take_turn(self, isinstance(effect, ApplyFull | ApplyRanges))
        try:
            match effect:
                case Apply(chunk, remote_known):
                    self.applied = store.apply(chunk, remote_known)
                case Finish(chunk, remote_known, claim, floor):
                    self.applied = store.finish(chunk, remote_known, claim, floor)
                case ApplyFull(chunk, remote_known, floor, after, upto):
                    self.applied = store.apply_full(chunk, remote_known, floor, after, upto)
                case ApplyRanges(pieces, remote_known, floor, mends):
                    assert not mends, "nothing differs"
                    self.applied = store.apply_ranges(pieces, remote_known, floor)
                case _:
                    raise AssertionError(effect)
        except ReplicatorError as error:
            self.applied = StoreFailed(effect, error)
        self.party.changed()

    def _read(self) -> None:
        match self.reading.popleft():
            case OpenSource():
                assert self.source is None
                self.source = Source(self.party.store)
                self.read = SourceOpened(self.source.known, self.source.floor)
            case ReadChunk(lack):
                assert self.source is not None
                if self.chunks is None:
                    self.chunks = self.source.read(lack)
                self.read = ChunkRead(next(self.chunks, None))
            case ReadAnswer(parts, moment_ms):
                assert self.source is not None
                if self.answer is None:
                    self.answer = self.source.answer(parts, moment_ms)
                item = next(self.answer, None)
                if item is None:
                    self.answer = None
                self.read = AnswerRead(item)
            case CloseSource():
                assert self.source is not None
                self.source.is_open = False
                self.source = self.chunks = self.answer = None


class Party:
    """One node with all its conversations.

    Attributes:
        versions: of the protocol, the least and the greatest that it speaks.
        conversation: what holds its conversations.
    """

    versions = (PROTOCOL_VERSION_LEAST, PROTOCOL_VERSION)
    conversation: Callable[..., Conversation] = Conversation

    def __init__(self, store: ModelStore, settings: Settings) -> None:
        self.store = store
        self.settings = settings
        self.pulls = Pulls(settings.reask_timeout)
        self.sides: list[Side] = []
        self.reports: list[Report] = []
        self.poked: list[Side] = []
        self.full_side: Side | None = None
        self.full_round = 0

    def take_turn(self, side: Side, full: bool) -> None:
        """R9: while a full-state round is open nothing from another peer is applied."""
        holder = self.full_side
        if holder is not None and holder.closed is None and holder.party_round() == self.full_round:
            assert holder is side, "applied while a full-state round of another peer is open"
        self.full_side = side if full else None
        self.full_round = side.party_round()

    def poke(self, by: Side) -> None:
        self.poked += [side for side in self.sides if side is not by]

    def changed(self) -> None:
        for side in self.sides:
            side.dirty = True

    def write(self, key: bytes, value: bytes | None) -> None:
        self.store.write(key, value)
        self.changed()


class World:
    """Parties, the links between them, a clock, and chance."""

    def __init__(self, seed: int, sizes: list[int], settings: Settings) -> None:
        self.random = Random(seed)
        self.oracle = Oracle()
        self.now = 0.0
        self.settings = settings
        self._ids = count(1)
        self.parties = [
            Party(ModelStore(self.random.getrandbits(64), self.oracle, size), settings)
            for size in sizes
        ]
        self.links: list[tuple[Side, Side]] = []

    def connect(self, a: Party, b: Party) -> None:
        sides = [self._side(a, dialled=True), self._side(b, dialled=False)]
        self.links.append((sides[0], sides[1]))
        for side in sides:
            side.do(side.conversation.start(self.now))

    def _side(self, party: Party, dialled: bool) -> Side:
        conversation = party.conversation(
            next(self._ids),
            party.store.me(versions=party.versions),
            party.pulls,
            self.settings,
            address="peer:1" if dialled else "",
            explicit=True,
            now=self.now,
        )
        side = Side(party, conversation)
        party.sides.append(side)
        return side

    def connected(self, a: Party, b: Party) -> bool:
        return any({one.party, other.party} == {a, b} for one, other in self.links)

    def cut(self, link: tuple[Side, Side]) -> None:
        """Both ends notice, sooner or later; what is under way is lost."""
        for side in link:
            side.inbox.clear()
            side.outbox.clear()
            if side.closed is None:
                side.handle(Lost("cut"), self.now)
        self._clean()

    def step(self) -> bool:
        """One thing happens, if there is any. Every step takes a millisecond."""
        self.now += MS
        self._poke()
        choices: list[tuple[Side, str, Side]] = []
        for one, other in self.links:
            for side, peer in ((one, other), (other, one)):
                choices += [(side, name, peer) for name in side.steps()]
                if side.outbox:
                    choices.append((side, "carry", peer))
        for party in self.parties:
            for side in party.sides:
                if side.closed is None and self.now >= side.conversation.deadline:
                    choices.append((side, "tick", side))
        if not choices:
            return False
        side, name, peer = self.random.choice(choices)
        if name == "carry":
            peer.inbox.append(side.outbox.popleft())
        elif name == "tick":
            side.do(side.conversation.tick(self.now))
        else:
            side.step(name, self.now)
        self._clean()
        return True

    def _poke(self) -> None:
        for party in self.parties:
            poked, party.poked = party.poked, []
            for side in poked:
                if side.closed is None:
                    side.handle(Poke(), self.now)

    def _clean(self) -> None:
        """Streams of which an end is closed go, once the other end has read what was sent."""
        for link in list(self.links):
            for side, peer in (link, link[::-1]):
                if side.closed and not side.outbox and not peer.inbox and peer.closed is None:
                    peer.handle(Lost("closed"), self.now)
            for side in link:
                if side.closed:
                    side.scans.clear()
                    side.scanned = None
            if all(side.closed and not side.work and not side.applied for side in link):
                for side in link:
                    while side.reading or side.read:
                        side.step("tell read" if side.read else "read", self.now)
                    assert side.source is None, "a source outlives its conversation"
                    side.party.sides.remove(side)
                self.links.remove(link)

    def run(self, steps: int = 100_000) -> None:
        """Until nothing happens by itself but with time."""
        for _ in range(steps):
            if not self.step():
                return
        raise AssertionError("no end")

    def settle(self) -> None:
        """Until everyone has said everything and all conversations are over."""
        for _ in range(200):
            self.run()
            deadlines = [
                side.conversation.deadline
                for party in self.parties
                for side in party.sides
                if side.closed is None
            ]
            if not deadlines:
                return
            self.now = max(self.now, min(deadlines))
        raise AssertionError("conversations do not end")
