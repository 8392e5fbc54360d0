"""A thousand nodes in virtual time: how a write spreads, and what it costs each of them.

    python -m benchmarks.bench_gossip [--nodes 1000] [--quick] [--seconds 2]

Each node runs the code that runs in production wherever that is pure: `Conversation`, `Pulls`,
`Gossip`, `PeerSchedule`, `Fanout`, `WriteVelocity`. The store is a set of dots in memory, the
network takes `LATENCY_SECONDS` and loses nothing, and each node knows the addresses of all. The
driver follows `replicator.peers`: changes are announced together, dialling waits for its turn.

For 10, 100 and ``--nodes`` nodes: traffic while nothing is written, a single write until all know
it, then steady writing at random nodes. Messages and bytes count at the sender. What is looked for:
the number of steps grows with the logarithm of the nodes, traffic per node not at all.
"""

import argparse
import gc
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from heapq import heappop, heappush
from itertools import count
from math import inf, log2
from random import Random
from statistics import mean

from replicator.config import Settings
from replicator.core.chunk import Chunk
from replicator.core.dots import Dot
from replicator.core.known import KnownSet
from replicator.core.members import Member, Roster
from replicator.protocol import effects
from replicator.protocol.codec import encode
from replicator.protocol.conversation import Conversation
from replicator.protocol.me import Me
from replicator.protocol.messages import Message, Revisions
from replicator.protocol.pulls import Pulls
from replicator.protocol.schedule import Fanout, PeerSchedule, WriteVelocity

SETTINGS = Settings()
LATENCY_SECONDS = 0.001
FRAME_HEADER_BYTES = 4
VALUE = b"v" * 100

COALESCE_SECONDS = 0.002
GOSSIP_SECONDS = 0.5
ACK_SECONDS = 2.0
FEW_MEMBERS = 16
"""As in `replicator.peers.upkeep` and `replicator.peers.membership`."""

WARM_UP_SECONDS = 5.0
IDLE_SECONDS = 5.0
SPREAD_SECONDS_MAX = 120.0
AFTERMATH_SECONDS = 5.0
"""From the write on: for how long it is watched what it sets off."""

WRITES_PER_SECOND = 10
TRIES = 8
"""Peers looked at, at random, before all are, for one that is due."""


class Loop:
    """Virtual time."""

    def __init__(self) -> None:
        self.now = 0.0
        self._actions: list[tuple[float, int, Callable[[], None]]] = []
        self._count = count()

    def at(self, moment: float, action: Callable[[], None]) -> None:
        heappush(self._actions, (max(moment, self.now), next(self._count), action))

    def run(self, until: float, stop: Callable[[], bool] = lambda: False) -> None:
        while self._actions and self._actions[0][0] <= until and not stop():
            self.now, _, action = heappop(self._actions)
            action()
        if not stop():
            self.now = until


class End:
    """One end of one conversation, with its effects carried out at once."""

    def __init__(self, node: "Node", peer: int, dialled: bool) -> None:
        self.node = node
        self.peer = peer
        self.dialled = dialled
        self.other: End
        cluster = node.cluster
        self.conversation = Conversation(
            next(cluster.numbers),
            node.me,
            node.pulls,
            SETTINGS,
            address="there" if dialled else "",
            explicit=False,
            now=cluster.loop.now,
        )
        self.is_open = True
        self._events: deque[effects.Event] = deque()
        self._lack: list[Dot] | None = None
        self._alarm = inf

    def start(self) -> None:
        self._carry_out(self.conversation.start(self.node.cluster.loop.now))

    def receive(self, message: Message) -> None:
        if self.is_open:
            self._carry_out(self.conversation.receive(message, self.node.cluster.loop.now))

    def tell(self, event: effects.Event) -> None:
        if self.is_open:
            self._carry_out(self.conversation.handle(event, self.node.cluster.loop.now))

    def _carry_out(self, wanted: list[effects.Effect]) -> None:
        for effect in wanted:
            self._begin(effect)
        while self._events and self.is_open:
            event = self._events.popleft()
            for effect in self.conversation.handle(event, self.node.cluster.loop.now):
                self._begin(effect)
        if self.is_open and self.conversation.deadline < self._alarm:
            self._alarm = self.conversation.deadline
            self.node.cluster.loop.at(self._alarm, self._ring)

    def _ring(self) -> None:
        now = self.node.cluster.loop.now
        if not self.is_open or now < self._alarm:
            return
        self._alarm = inf
        self._carry_out(self.conversation.tick(now))

    def _begin(self, effect: effects.Effect) -> None:
        node = self.node
        match effect:
            case effects.Send(message):
                node.cluster.sent(node, message)
                moment = node.cluster.loop.now + LATENCY_SECONDS
                node.cluster.loop.at(moment, partial(self.other.receive, message))
            case effects.Show(seq):
                node.shown = seq
            case effects.OpenSource():
                self._lack = None
                self._events.append(effects.SourceOpened(node.known.copy(), {}))
            case effects.ReadChunk(lack):
                assert lack is not None, "no floor is ever raised here"
                chunk = None if self._lack is not None else _chunk(lack)
                self._lack = []
                self._events.append(effects.ChunkRead(chunk))
            case effects.Apply(chunk) | effects.Finish(chunk):
                claim = effect.claim if isinstance(effect, effects.Finish) else None
                self._events.append(effects.Applied(len(chunk), len(chunk)))
                node.apply(self, chunk, claim)
            case effects.Learn(members):
                node.learn(members)
                self._events.append(effects.RosterChanged())
            case effects.PokeOthers():
                for end in list(node.ends):
                    if end is not self:
                        node.cluster.loop.at(0, partial(end.tell, effects.Poke()))
            case effects.Close():
                self.is_open = False
                node.parted(self)


def _chunk(lack: KnownSet) -> Chunk | None:
    """A record for each dot: its key is the dot, and it is never overwritten."""
    chunk = Chunk()
    for dot in lack.dots():
        chunk.append(b"%020d:%010d" % dot, bytes(40), [VALUE])
    return chunk if len(chunk) else None


class Node:
    """One node: what `replicator.peers` does, in virtual time."""

    def __init__(self, cluster: "Cluster", number: int) -> None:
        self.cluster = cluster
        self.origin = number + 1
        self.known = KnownSet()
        self.durable = KnownSet()
        self.shown = 0
        self.ends: list[End] = []
        self.roster = Roster()
        self.pulls = Pulls(SETTINGS.reask_timeout)
        self.me = Me(
            cluster="benchmark",
            node=f"node-{number}.example:9000",
            origin=self.origin,
            instance=number.to_bytes(8, "big"),
            resolver="default",
            known=lambda: self.known.copy(),
            shown=lambda: self.shown,
            cluster_id=lambda: b"benchmark",
            has_data=lambda: True,
            wall_ms=cluster.wall_ms,
            roster=self.roster,
            port=9000,
        )
        self.velocity = WriteVelocity(0.0)
        self.schedules: dict[int, tuple[PeerSchedule, float]] = {}
        self.fanout = Fanout(SETTINGS)
        # As after hours without a write: the last dials lie anywhere within the longest pause.
        ages = sorted(cluster.random.random() for _ in range(SETTINGS.fanout))
        for age in reversed(ages):
            self.fanout.dialled(-age * SETTINGS.interval_max)
        self.spoke_at = -cluster.random.random() * self._ack_seconds()
        # Times and rates of commits, of which no later one was as great.
        self._peaks: deque[tuple[float, float]] = deque()
        self._turn_at = inf
        self._announced_at = self._passed_on_at = -inf
        self._is_announcing = self._is_passing_on = self._is_speaking = False

    def _ack_seconds(self) -> float:
        return ACK_SECONDS * max(1.0, self.cluster.size / FEW_MEMBERS)

    # Writes and what comes of them

    def write(self) -> Dot:
        dot = Dot(self.origin, self.known.highest(self.origin) + 1)
        self.known.add(*dot)
        self.cluster.learnt(self, dot, 0)
        self._committed(1)
        return dot

    def apply(self, end: End, chunk: Chunk, claim: KnownSet | None) -> None:
        for key in chunk.keys:
            origin, _, seq = key.partition(b":")
            dot = Dot(int(origin), int(seq))
            self.cluster.crossed += 1
            if dot not in self.known:
                self.known.add(*dot)
                self.cluster.learnt(self, dot, self.cluster.hops[dot, end.peer + 1] + 1)
        if claim is not None:
            self.known.update(claim)
        if len(chunk):
            self._committed(len(chunk))

    def _committed(self, commits: int) -> None:
        loop = self.cluster.loop
        self.velocity.add(commits, loop.now)
        if not self._is_announcing:
            self._is_announcing = True
            loop.at(self._announced_at + COALESCE_SECONDS, self._announce)
        if not self._is_speaking:
            self._is_speaking = True
            synced_at = loop.now + SETTINGS.sync_interval
            loop.at(max(synced_at, self.spoke_at + self._ack_seconds()), self._speak)

    def _announce(self) -> None:
        now = self.cluster.loop.now
        self._is_announcing, self._announced_at = False, now
        for end in list(self.ends):
            end.tell(effects.KnownChanged())
        rate = self.velocity.rate(now)
        while self._peaks and self._peaks[-1][1] <= rate:
            self._peaks.pop()
        self._peaks.append((now, rate))
        while self._peaks[0][0] < now - SETTINGS.interval_max:
            self._peaks.popleft()
        self.take_turn()

    # Members

    def _speak(self) -> None:
        self._is_speaking = False
        self.spoke_at = self.cluster.loop.now
        self.roster.take(self.cluster.account(self, self.known.copy()))
        self._roster_changed()

    def learn(self, members: tuple[Member, ...]) -> None:
        news = [self.roster.take(member) for member in members]
        if any(news):
            self._roster_changed()

    def _roster_changed(self) -> None:
        if not self._is_passing_on:
            self._is_passing_on = True
            self.cluster.loop.at(self._passed_on_at + GOSSIP_SECONDS, self._pass_on)

    def _pass_on(self) -> None:
        self._is_passing_on, self._passed_on_at = False, self.cluster.loop.now
        for end in list(self.ends):
            end.tell(effects.RosterChanged())

    # Dialling

    def take_turn(self) -> None:
        """Dial as many as there is room for, and look again when there is more."""
        now = self.cluster.loop.now
        while True:
            room = self.fanout.ready_at(len(self.ends), self.velocity.rate(now))
            if room > now:
                return self._look_again(room)
            peer, due = self._next_peer(now)
            if due > now:
                return self._look_again(due)
            self.fanout.dialled(now)
            self.cluster.connect(self, peer)

    def _look_again(self, moment: float) -> None:
        if moment < self._turn_at:
            self._turn_at = moment
            self.cluster.loop.at(moment, self._look)

    def _look(self) -> None:
        if self.cluster.loop.now >= self._turn_at:
            self._turn_at = inf
            self.take_turn()

    def _next_peer(self, now: float) -> tuple[int, float]:
        """Somebody who is due, or who will be first."""
        busy = {end.peer for end in self.ends} | {self.origin - 1}
        for _ in range(TRIES):
            peer = self.cluster.random.randrange(self.cluster.size)
            if peer not in busy and self._due(peer) <= now:
                return peer, now
        found = [(self._due(peer), peer) for peer in self.cluster.shuffled if peer not in busy]
        due, peer = min(found, default=(inf, 0), key=lambda pair: max(now, pair[0]))
        return peer, due

    def _due(self, peer: int) -> float:
        """When a peer is to be dialled; it is hastened only now, by all commits since."""
        found = self.schedules.get(peer)
        if found is None:
            return -inf
        schedule, ended_at = found
        schedule.hasten(next((rate for at, rate in self._peaks if at >= ended_at), 0.0))
        return schedule.due

    def parted(self, end: End) -> None:
        now = self.cluster.loop.now
        self.ends.remove(end)
        schedule = PeerSchedule(SETTINGS, now)
        self.schedules[end.peer] = schedule, now
        schedule.ended(now, self.velocity.rate(now), self.cluster.random.random())
        self.cluster.loop.at(0, self.take_turn)


@dataclass(slots=True)
class Traffic:
    """What was sent since the last look."""

    messages: Counter[str] = field(default_factory=Counter)
    size_bytes: Counter[str] = field(default_factory=Counter)
    conversations: int = 0


class Cluster:
    """So many nodes, each with the whole roster."""

    def __init__(self, size: int, seed: int) -> None:
        self.size = size
        self.random = Random(seed)
        self.loop = Loop()
        self.numbers = count(1)
        self.traffic = Traffic()
        self.hops: dict[tuple[Dot, int], int] = {}
        self.crossed = 0
        self.sizes: dict[int, int] = {}
        self.shuffled = list(range(size))
        self.random.shuffle(self.shuffled)
        self.nodes = [Node(self, number) for number in range(size)]
        accounts = [self.account(node, KnownSet()) for node in self.nodes]
        for node in self.nodes:
            for account in accounts:
                node.roster.take(account)
            node.take_turn()

    def wall_ms(self) -> int:
        return 1_700_000_000_000 + int(self.loop.now * 1000)

    def account(self, node: Node, known: KnownSet) -> Member:
        name = node.me.node
        wall_ms = self.wall_ms()
        revision = max(wall_ms, node.roster.revision(node.origin) + 1)
        return Member(node.origin, revision, name, 0, wall_ms, "1.0", (name,), known)

    def connect(self, node: Node, peer: int) -> None:
        self.traffic.conversations += 1
        ends = End(node, peer, True), End(self.nodes[peer], node.origin - 1, False)
        for end, other in (ends, ends[::-1]):
            end.other = other
            end.node.ends.append(end)
            self.loop.at(self.loop.now + LATENCY_SECONDS, end.start)

    def sent(self, node: Node, message: Message) -> None:
        name = type(message).__name__
        self.traffic.messages[name] += 1
        self.traffic.size_bytes[name] += self._size(message) + FRAME_HEADER_BYTES

    def _size(self, message: Message) -> int:
        """The long ones of equal length take equally many bytes here."""
        if not isinstance(message, Revisions):
            return len(encode(message))
        length = len(message.revisions)
        if length not in self.sizes:
            self.sizes[length] = len(encode(message))
        return self.sizes[length]

    def learnt(self, node: Node, dot: Dot, hops: int) -> None:
        self.hops[dot, node.origin] = hops

    # What is measured

    def per_node_second(self, seconds: float) -> str:
        """The traffic since the last look."""
        traffic, self.traffic = self.traffic, Traffic()
        share = self.size * seconds
        messages = sum(traffic.messages.values()) / share
        size_bytes = sum(traffic.size_bytes.values()) / share
        largest = ", ".join(
            f"{name} {100 * bytes_ / max(1, sum(traffic.size_bytes.values())):.0f} %"
            for name, bytes_ in traffic.size_bytes.most_common(3)
        )
        return (
            f"{messages:8.2f} messages {size_bytes:10.0f} bytes "
            f"{traffic.conversations / share:6.3f} conversations a node and second ({largest})"
        )

    def idle(self) -> None:
        self.loop.run(WARM_UP_SECONDS)
        self.traffic = Traffic()
        self.loop.run(self.loop.now + IDLE_SECONDS)
        print(f"{self.size:5} nodes, idle     {self.per_node_second(IDLE_SECONDS)}", flush=True)

    def spread(self) -> None:
        """One write, until all know it."""
        began = self.loop.now
        dot = self.nodes[self.random.randrange(self.size)].write()
        moments: list[float] = []
        known = 0

        def learnt(node: Node, one: Dot, hops: int) -> None:
            nonlocal known
            self.hops[one, node.origin] = hops
            moments.append(self.loop.now - began)
            known += 1

        self.learnt = learnt  # type: ignore[method-assign]
        self.loop.run(began + SPREAD_SECONDS_MAX, lambda: known >= self.size - 1)
        del self.learnt
        hops = [self.hops[dot, node.origin] for node in self.nodes if dot in node.known]
        moments.sort()
        wants = self.traffic.messages["Want"] / self.size
        messages = sum(self.traffic.messages.values()) / self.size
        print(
            f"{self.size:5} nodes, a write  known to {len(hops)} after {moments[-1]:.3f} s (half: "
            f"{moments[len(moments) // 2]:.3f}, 99 %: {moments[int(len(moments) * 0.99)]:.3f}), "
            f"{max(hops)} hops (mean {mean(hops):.1f}, log2 n {log2(self.size):.1f}), a node: "
            f"{wants:.2f} rounds, {messages:.1f} messages, value crossed "
            f"{self.crossed / (self.size - 1):.2f} times",
            flush=True,
        )
        self.loop.run(began + AFTERMATH_SECONDS)
        seconds = self.loop.now - began
        print(f"{self.size:5} nodes, since    {self.per_node_second(seconds)}", flush=True)

    def steady(self, seconds: float) -> None:
        """Writes at random nodes."""
        self.traffic, self.crossed = Traffic(), 0
        began = self.loop.now
        writes = int(seconds * WRITES_PER_SECOND)
        for number in range(writes):
            node = self.nodes[self.random.randrange(self.size)]
            self.loop.at(began + number / WRITES_PER_SECOND, lambda node=node: node.write())  # type: ignore[misc]
        self.loop.run(began + seconds)
        crossed = self.crossed / max(1, writes * (self.size - 1))
        conversations = mean(len(node.ends) for node in self.nodes)
        print(
            f"{self.size:5} nodes, steady   {self.per_node_second(seconds)}, {conversations:.1f} "
            f"open, a value crossed {crossed:.2f} times",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--quick", action="store_true", help="up to 100 nodes")
    parser.add_argument("--seconds", type=float, default=2.0, help="of steady writing")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    largest = min(options.nodes, 100) if options.quick else options.nodes
    gc.disable()  # a cluster is garbage only when it is over
    started = time.process_time()
    sizes = [size for size in (10, 100) if size < largest]
    for size in [*sizes, largest]:
        cluster = Cluster(size, options.seed)
        cluster.idle()
        cluster.spread()
        cluster.steady(options.seconds)
        print(f"{size:5} nodes, done at  {time.process_time() - started:.1f} s of CPU", flush=True)
        del cluster
        gc.collect()


if __name__ == "__main__":
    main()
