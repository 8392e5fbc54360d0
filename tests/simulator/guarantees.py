"""What programs are promised beside convergence: writes that peers hold on disk, writes that
supersede only what was read, and feeds that readers resume with tokens.

Which dots count as held where is decided by the code of production
(`replicator.protocol.acknowledging`, `replicator.protocol.securing`); where a reader stands too
(`replicator.core.feeding`, `replicator.core.token`). All of it draws from dice of its own.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import TYPE_CHECKING

from replicator.core.dots import Dot
from replicator.core.feeding import Position, behind, can_go_on
from replicator.core.known import KnownSet
from replicator.core.record import Version
from replicator.core.token import read_position, write_token
from replicator.errors import ReplicatorError
from replicator.protocol.acknowledging import Acknowledgements, Waiter
from replicator.protocol.effects import MadeDurable, MakeDurable, SecureWanted, StoreFailed

from .model_store import ModelStore
from .oracle import Violation

if TYPE_CHECKING:
    from .cluster import Cluster
    from .node import Node
    from .session import Session

READS_MAX = 500
"""Batches in which a reader has to come to an end at quiet."""


@dataclass(frozen=True, slots=True)
class Promise:
    """Writes of which a user was told that peers hold them on disk.

    Attributes:
        holders: those peers, each with the number of its directory.
    """

    versions: Sequence[Version]
    holders: tuple[tuple["Node", int], ...]


class Desk:
    """What one run promises to programs.

    Attributes:
        dice: for everything here.
        promises: what was promised so far.
    """

    def __init__(self, cluster: "Cluster") -> None:
        plan = cluster.plan
        self.dice = dice = Random(f"{plan.profile.about} {plan.seed} guarantees")
        self._cluster = cluster
        self.waits = dice.random() < 0.4
        self.sees = dice.random() < 0.5
        self.promises: list[Promise] = []
        self.readers = [
            cluster.parts.reader(cluster, dice, dice.choice(plan.names))
            for _ in range(dice.choice((1, 1, 2)))
        ]
        if cluster.resolving.is_on:
            self.readers.clear()

    def plan(self) -> None:
        """Let the readers read."""
        for reader in self.readers:
            reader.begin()

    def promise(self, waiter: Waiter, versions: Sequence[Version]) -> None:
        """A user is told that peers hold a write on disk.

        Raises:
            Violation: one of them does not.
        """
        holders = []
        for origin in sorted(waiter.holders):
            node, directory = self._cluster.lives[origin]
            if node.directory == directory:
                holders.append((node, directory))
                self._check_disk(node, waiter.dots)
        self._cluster.count("writes promised to be at peers")
        self.promises.append(Promise(versions, tuple(holders)))

    def _check_disk(self, node: "Node", dots: KnownSet) -> None:
        missing = dots.difference(node.store.safe_known())
        if missing:
            raise Violation(
                f"a user was told that {node.name} holds {missing!r} on disk, which a power cut "
                "would take"
            )

    def judge(self, staying: Sequence["Node"]) -> None:
        """At quiet.

        Raises:
            Violation: a promise is not kept.
        """
        for promise in self.promises:
            if any(
                node in staying and node.directory == number for node, number in promise.holders
            ):
                for version in promise.versions:
                    for node in staying:
                        self._cluster.oracle.check_promised(node.store, version)
        for reader in self.readers:
            reader.judge(staying)


class Guarantees:
    """One node's part.

    Args:
        node: whose.
    """

    def __init__(self, node: "Node") -> None:
        self._node = node
        self._reads: dict[bytes, list[Version]] = {}
        self._acknowledgements: Acknowledgements | None = None

    @property
    def _desk(self) -> Desk:
        return self._node.cluster.desk

    def begin(self) -> None:
        """A process is up: nobody waits yet, nobody has read anything."""
        node = self._node
        self._reads.clear()
        self._acknowledgements = Acknowledgements(
            node.membership.roster,
            lambda: node.store.origin,
            lambda: node.store.shown,
            node.store.known,
        )

    # Users

    def seen(self, keys: Sequence[bytes]) -> list[Version] | None:
        """What a user has read of a key, a while ago; None for all there is."""
        desk, store = self._desk, self._node.store
        if not desk.sees:
            return None
        key = keys[0]
        seen = self._reads.get(key, []) if len(keys) == 1 and desk.dice.random() < 0.4 else None
        if desk.dice.random() < 0.6:
            self._reads[key] = list(store.record(key).versions)
        if seen is not None and not self._node.cluster.oracle.may_write_over(store, key, seen):
            return None
        if seen is not None:
            self._node.cluster.count("writes that saw only some")
        return seen

    def written(self, versions: object) -> None:
        """A write is in; its user may wait until peers hold it."""
        desk = self._desk
        if not desk.waits or isinstance(versions, Exception) or desk.dice.random() < 0.5:
            return
        assert isinstance(versions, list) and self._acknowledgements is not None
        replicas = desk.dice.randint(1, max(1, len(self._node.peers)))
        dots = KnownSet.of(*(version.dot for version in versions))
        waiter = Waiter(dots, replicas)

        def done() -> None:
            desk.promise(waiter, versions)
            self._node.say(f"is told: {waiter.dots!r} at {len(waiter.holders)} peers")

        waiter.on_done = done
        self._acknowledgements.begin(waiter)
        if not waiter.is_done:
            for session in self._node.sessions:
                self._ask(session, waiter.dots)

    def _ask(self, session: "Session", dots: KnownSet) -> None:
        if dots and getattr(session.conversation, "version", 1) >= 2:
            delay = self._desk.dice.random() * 0.004
            self._node.loop.after(delay, lambda: session.tell(SecureWanted(dots)))

    # What conversations ask and tell

    def met(self, session: "Session") -> None:
        peer = session.conversation.peer
        assert peer is not None and self._acknowledgements is not None
        self._acknowledgements.met(peer.instance, peer.origin)
        self._ask(session, self._acknowledgements.wanted())

    def make_durable(self, session: "Session", effect: MakeDurable) -> None:
        """Make a sync point, then say so."""
        node = self._node

        def operation() -> None:
            node.store.sync_point()
            node.cluster.oracle.durable(node.store)

        def made(result: ReplicatorError | None) -> None:
            if isinstance(result, ReplicatorError):
                session.tell(StoreFailed(effect, result))
            else:
                durable = node.store.durable_known()
                session.tell(MadeDurable(durable.intersection(effect.dots)))

        self._later(lambda: node.attempt(operation, made))

    def _later(self, action: Callable[[], None]) -> None:
        node, life = self._node, self._node.life
        delay = self._desk.dice.random() * 0.01
        node.loop.after(delay, lambda: action() if node.life == life else None)

    def secured(self, session: "Session", known: KnownSet) -> None:
        peer = session.conversation.peer
        assert peer is not None and self._acknowledgements is not None
        self._acknowledgements.secured(peer.origin, known)

    def roster_changed(self, origins: Sequence[int]) -> None:
        if self._acknowledgements is not None:
            self._acknowledgements.roster_changed(origins)

    def forked(self) -> None:
        if self._acknowledgements is not None:
            self._acknowledgements.forked()


class Reader:
    """A program that keeps a copy of what a node shows, by its feed: it reads a batch now and then,
    stores copy and token now and then, crashes and goes on from there, and moves to other nodes.
    """

    def __init__(self, cluster: "Cluster", dice: Random, name: str) -> None:
        self._cluster = cluster
        self._dice = dice
        self._name = name
        self._mirror: dict[bytes, bytes] = {}
        self.position = Position()
        self._saved: tuple[dict[bytes, bytes], str] = ({}, write_token(Position()))
        self._turn = -1

    def begin(self) -> None:
        self._cluster.loop.after(self._dice.uniform(0.0, 0.6), self._step)

    def _step(self) -> None:
        if self._cluster.settled:
            return
        self.begin()
        node = self._cluster.nodes[self._name]
        if self._dice.random() < 0.05:
            self._name = self._dice.choice(self._cluster.plan.names)
        elif node.up and not self._cluster.is_quarantined(node):
            self.read(node.store, self._dice.randint(1, 4))
            if self._dice.random() < 0.5:
                self._saved = (dict(self._mirror), self.token())
        if self._dice.random() < 0.1:
            self._crash()

    def _crash(self) -> None:
        self._mirror, self.position = dict(self._saved[0]), read_position(self._saved[1])

    def rolled_back(self, name: str) -> None:
        """The machine of a node went back: what it issues again a reader may have seen as something
        else, which no token can tell (R13). So the reader begins anew."""
        self._mirror, self.position = {}, Position()
        self._saved = ({}, write_token(Position()))

    def judge(self, staying: Sequence["Node"]) -> None:
        """At quiet, read all there is."""
        node = self._cluster.nodes[self._name]
        store = (node if node in staying else staying[0]).store
        for _ in range(READS_MAX):
            if not self.read(store, 3):
                break
        else:
            raise Violation(f"a reader at {store.habits.node} comes to no end")
        if "expiry" in self._cluster.plan.faults or self._cluster.oracle.has_rot:
            return  # neither an expiry nor what is mended (R16) is a write: the feed tells of none
        if self._mirror != store.visible():
            raise Violation(
                f"a reader that has read all at {store.habits.node} shows {self._mirror} instead "
                f"of {store.visible()}"
            )

    def read(self, store: ModelStore, most: int) -> bool:
        """A batch; whether there may be more."""
        known = store.known_now()
        if not self.can_go_on(known, store.floor(), store.closed_now()):
            self._cluster.count("resets of readers")
            self._mirror, self.position = {}, self.reset(known)
            return True
        self.position = replace(self.position, shown=self.showing(known))
        if self.position.listing is not None:
            self._list(store, most)
        else:
            lack = known.difference(self.position.known)
            if not lack:
                return False
            origins = sorted(lack.origins())
            self._turn = next((one for one in origins if one > self._turn), origins[0])
            self._walk(store, known, lack, most)
        return True

    def _walk(self, store: ModelStore, known: KnownSet, lack: KnownSet, most: int) -> None:
        keys = {v.dot: key for key, record in store.records().items() for v in record.versions}
        shown = store.visible()
        origin = self._turn
        upto = lack.highest(origin)
        for dot in KnownSet({origin: lack.bounds(origin)}).dots():
            if (key := keys.get(Dot(*dot))) is None:
                continue
            if not most:
                upto = dot.seq - 1
                break
            most -= 1
            self._show(key, shown.get(key))
        self.advance(known, origin, upto)

    def _list(self, store: ModelStore, most: int) -> None:
        after = self.position.after
        keys = sorted(key for key in store.visible() if after is None or key > after)
        for key in keys[:most]:
            self._show(key, store.visible()[key])
            self.position = replace(self.position, after=key)
        if len(keys) <= most:
            self.position = self.position.completed()

    def _show(self, key: bytes, value: bytes | None) -> None:
        if value is None:
            self._mirror.pop(key, None)
        else:
            self._mirror[key] = value

    # What planted bugs change

    def can_go_on(self, known: KnownSet, floor: dict[int, int], closed: KnownSet) -> bool:
        return can_go_on(self.position, known, floor, closed)

    def reset(self, known: KnownSet) -> Position:
        return Position(KnownSet(), known, known)

    def showing(self, known: KnownSet) -> KnownSet:
        return known

    def token(self) -> str:
        return write_token(self.position)

    def advance(self, known: KnownSet, origin: int, seq: int) -> None:
        behind_it = behind(self.position.known, known, origin, seq)
        self.position = replace(self.position, known=behind_it)
