"""One node of the cluster: a store, its conversations, and what goes on by itself."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from replicator.core.chunk import Chunk
from replicator.core.dots import Dot
from replicator.core.record import Record
from replicator.errors import CommitError, ReplicatorError
from replicator.protocol.comparison import ApplyRanges
from replicator.protocol.conversation import Me
from replicator.protocol.digests import Digests
from replicator.protocol.effects import Apply, ApplyFull, Finish, Report, Stop

from .disk import Crash, Disk
from .membership import Membership
from .model_store import Habits, ModelStore, Outcome
from .network import Connection
from .session import Session

if TYPE_CHECKING:
    from .cluster import Cluster

T = TypeVar("T")

MANY_PEERS = 4
"""Beyond that many a node dials each of them less often, as the fan-out has it."""


class Node:
    """One node.

    Attributes:
        name: a letter.
        life: counts processes; whatever belongs to an earlier one is void.
        up: whether a process runs.
        joined: whether one ever ran: then it is a member (R7).
        store: the open store; of a node that is down, what its next process will find.
        sessions: its conversations.
        membership: the roster, as the same knows it.
        directory: counts the times that another directory took the place of this one's.
        gone: whether it is down for good.
        forking: whether it is about to take a new origin: nobody greets meanwhile.
        quarantine: the origin of a machine that was rolled back, until the fork is noticed.
    """

    def __init__(self, cluster: "Cluster", name: str) -> None:
        self.cluster = cluster
        self.name = name
        self.loop = cluster.loop
        self.transcript = cluster.transcript
        self.life = 0
        self.up = self.joined = self.gone = self.forking = False
        self.directory = 0
        self._crossed: set[Dot] = set()
        self.sessions: list[Session] = []
        self.peers: list[str] = []
        self.quarantine: int | None = None
        self._random = cluster.plan.random
        plan = cluster.plan
        self.disk = Disk(plan.random, plan.switch)
        self._pulls = cluster.versions.pulls(self)
        self._digests = Digests(0, cluster.plan.dice.random)
        self._instance = b""
        self._announced: object = None
        self._slowness = 1.0
        self.habits = Habits(
            node=name,
            random=plan.random,
            wall_ms=self.wall_ms,
            resolver=plan.resolver,
            mode=plan.mode,
            chunk_records=plan.chunk_records,
            resolver_name=plan.resolver_name if "resolver" in plan.faults else "",
        )
        self.guarantees = cluster.parts.guarantees(self)
        self.store: ModelStore
        self.membership: Membership
        self.open_store(lost_power=False, copied=False)

    def wall_ms(self) -> int:
        now_ms = self.cluster.clocks.wall_ms(self.name)
        self.cluster.expiring.seen(self.name, now_ms)
        return now_ms

    def delay(self) -> float:
        """How long the next call to the store, or the next turn of the loop, takes."""
        return self._random.random() * 0.004 * self._slowness

    def delay_of(self, effect: Apply | Finish | ApplyFull | ApplyRanges) -> float:
        """The same, where a profile dwells on full-state rounds."""
        dwell = self.cluster.plan.profile.dwell
        if dwell and isinstance(effect, ApplyFull | ApplyRanges):
            return self.cluster.plan.dice.uniform(0, dwell)
        return self.delay()

    def say(self, text: str) -> None:
        self.transcript.say(self.loop.now, self.name, text)

    # Up and down

    def open_store(self, *, lost_power: bool, copied: bool) -> None:
        """Open what is on the disk, as a new process does first."""
        self.cluster.clocks.opened(self.name)
        self.store = self.cluster.parts.store.open(
            self.disk, self.habits, self.cluster.oracle, lost_power=lost_power, copied=copied
        )
        self.membership = self.cluster.parts.membership(self)
        self._named()

    def _named(self) -> None:
        self.transcript.name_origin(self.store.origin, self.name)
        self.cluster.lives.setdefault(self.store.origin, (self, self.directory))

    def start(self) -> None:
        """A process is up: it dials, syncs and collects from now on."""
        self.up = self.joined = True
        self.life += 1
        self.cluster.versions.start(self)
        self._pulls = self.cluster.versions.pulls(self)
        plan = self.cluster.plan
        self._digests = Digests(plan.settings.digest_interval, plan.dice.random)
        self._instance = self._random.randbytes(8)
        self._announced = self.store.known_now()
        self.say(f"up as {self.store.origin:016x}")
        self.membership.begin()
        self.guarantees.begin()
        for peer in self.peers:
            most = 0.8 * max(1.0, len(self.peers) / MANY_PEERS)
            self._every(0.1, most, partial(self._dial, peer))
        plan = self.cluster.plan
        is_slow = "slow" in plan.faults and self._random.random() < 0.3
        self._slowness = 40.0 if is_slow else 1.0
        self._every(0.2, plan.sync_interval, self.sync)
        self.cluster.expiring.started(self)
        self.cluster.resolving.started(self)
        if self.name in plan.collect_intervals and self.cluster.versions.collects(self):
            self._every(0.1, plan.collect_intervals[self.name], self._collect)

    def stop(self, hear: bool) -> None:
        """The process is gone; its peers hear of it at once or later."""
        self.up = self.forking = False
        self.life += 1
        for session in self.sessions:
            session.cut(hear)
        self.sessions.clear()

    def later(self, action: Callable[[], None], most: float = 0.0) -> None:
        """Do something within `most` seconds, or soon, unless this process dies before."""
        life = self.life
        delay = self._random.uniform(0, most) if most else self.delay()
        self.loop.after(delay, lambda: action() if self.life == life else None)

    def _every(self, least: float, most: float, action: Callable[[], None]) -> None:
        """Do something again and again while this process lives."""
        life = self.life

        def again() -> None:
            if self.life == life:
                action()
                if self.life == life:
                    self.loop.after(self._random.uniform(least, most), again)

        self.loop.after(self._random.uniform(0, most), again)

    # The store

    def attempt(
        self, operation: Callable[[], T], then: Callable[[T | ReplicatorError], None]
    ) -> None:
        """Call the store; `then` gets what it returned or raised, unless the node went down."""
        result: T | ReplicatorError
        try:
            result = operation()
        except Crash as crash:
            self.cluster.crash(self, crash.power)
            return
        except ReplicatorError as error:
            result = error
        self._look()
        then(result)

    def _look(self) -> None:
        """Let the oracle look at what changed, and the conversations too."""
        store = self.store
        keys = list(store.touched)
        store.touched.clear()
        self.cluster.oracle.check(store, keys)
        if store.known_now() is not self._announced:
            self._announced = store.known_now()
            for session in self.sessions:
                session.known_changed()
        self._compare()

    def rot(self, key: bytes, record: Record | None) -> None:
        """A record is another one, or gone, behind the back of everybody."""
        self.disk.damage({key: None if record is None else self.store.entry(record)})

    def _compare(self) -> None:
        """Compare digests with whoever knows the same, as R16 allows."""
        if not self.is_comparable:
            return
        known = self.store.known_now()
        for other in self.cluster.nodes.values():
            if other is self or other.gone or other.store.known_now() != known:
                continue
            if other.is_comparable:
                self.cluster.oracle.check_digests(self.store, other.store)

    def write(
        self,
        operations: list[tuple[bytes, bytes | None]],
        sync: bool,
        expiries: Mapping[bytes, int] | None = None,
    ) -> None:
        """A user's write; with `sync` it is acknowledged after a sync point (R11)."""

        seen = self.guarantees.seen([key for key, _ in operations])

        def written(result: object) -> None:
            saw = "" if seen is None else f" having seen {[str(one.dot) for one in seen]}"
            until = f" until {expiries}" if expiries else ""
            self.say(f"writes {operations}{saw}{until} → {_names(result)}")
            self.guarantees.written(result)
            if sync:
                self.sync()

        self.attempt(lambda: self.store.write(operations, seen, expiries), written)

    def sync(self) -> None:
        def operation() -> None:
            self.store.sync_point()
            self.cluster.oracle.durable(self.store)

        def synced(result: object) -> None:
            self.say("sync point")
            self.membership.synced()

        self.attempt(operation, synced)

    def _collect(self) -> None:
        """Take a watermark now, use it later (R8)."""
        watermark, members = self.membership.watermark(), self.membership.members()
        origin = self.store.origin

        def use() -> None:
            if self.store.origin != origin:
                return  # a fork has made it void (R13)
            self.cluster.check_watermark(self, watermark, members)
            self.attempt(lambda: self.store.collect(watermark), self._collected)

        self.later(use, 0.5)

    def tempt_to_collect(self) -> None:
        """Acknowledgements have come: a moment at which what they knew may not be known here."""
        may = self.name in self.cluster.plan.collect_intervals
        if may and self.cluster.versions.collects(self) and self._random.random() < 0.5:
            watermark, members = self.membership.watermark(), self.membership.members()
            self.cluster.check_watermark(self, watermark, members)
            self.attempt(lambda: self.store.collect(watermark), self._collected)

    def _collected(self, result: int | ReplicatorError) -> None:
        if isinstance(result, int) and result:
            self.say(f"collects: {result}")
            self.cluster.counts["records collected"] += result

    def apply(self, effect: Apply | Finish | ApplyFull | ApplyRanges) -> Outcome:
        store = self.store
        match effect:
            case Apply(chunk, remote_known):
                return store.apply(chunk, remote_known)
            case Finish(chunk, remote_known, claim, floor, full):
                return store.finish(chunk, remote_known, claim, floor, full)
            case ApplyFull(chunk, remote_known, floor, after, upto):
                return store.apply_full(chunk, remote_known, floor, after, upto)
            case ApplyRanges(pieces, remote_known, floor, mends_ms):
                return store.apply_ranges(pieces, remote_known, floor, mends_ms)

    def begin_fork(self, session: Session | None) -> None:
        """End all other conversations, and let none begin before the fork is done."""
        self.forking = True
        self.stop_others(session, "fork", "this node takes a new origin")

    def fork_soon(self) -> None:
        """Take a new origin although no conversation asks for it (R10)."""
        if not self.forking:
            self.begin_fork(None)
            self.later(lambda: self.attempt(lambda: self.fork(True), lambda result: None))

    def fork(self, was_forgotten: bool = False) -> None:
        """Take a new origin, by the book."""
        try:
            self._fork(was_forgotten)
        finally:
            self.forking = False
        self.membership.speak()

    def _fork(self, was_forgotten: bool) -> None:
        oracle = self.cluster.oracle
        before, promised = oracle.held(self.store), oracle.recorded(self.store)
        self.store.fork(was_forgotten and self.cluster.versions.closes(self))
        self.cluster.count("forks")
        self._named()
        self.say(f"forked: goes on as {self.store.origin:016x}")
        self.quarantine = None
        self.cluster.tempt(self)
        self.cluster.came_back(self, before, "a fork", promised)
        self.guarantees.forked()
        oracle.forked(self.name, promised)

    # Conversations

    def _dial(self, peer: str) -> None:
        """Dial a peer unless there is a conversation with it; now and then the peer's own dialling
        is not noticed, and there are two."""
        with_peer = [session for session in self.sessions if session.peer == peer]
        careless = self._random.random() < 0.2
        busy = any(session.dialled or not careless for session in with_peer)
        if not busy and not self.cluster.settled:
            self.cluster.connect(self, peer)

    def join(self, peer: str, connection: Connection, end: int) -> Session:
        """Take one end of a connection."""
        plan = self.cluster.plan
        store = self.store
        me = Me(
            cluster=plan.settings.cluster,
            node=self.name,
            origin=store.origin,
            instance=self._instance,
            resolver=plan.resolver_name,
            known=store.known,
            shown=lambda: store.shown,
            cluster_id=lambda: store.cluster_id,
            has_data=store.has_data,
            wall_ms=self.wall_ms,
            roster=self.membership.roster,
            port=1,
            digests=self._digests,
            versions=self.cluster.versions.spoken(self),
            closed=store.closed_now,
            wants_full=lambda: store.wants_full,
        )
        conversation = self.cluster.versions.conversation(self)(
            self.cluster.next_number(),
            me,
            self._pulls,
            plan.settings,
            address=peer if end == 0 else "",
            explicit=end == 0,
            now=self.loop.now,
        )
        session = Session(self, peer, connection, end, conversation)
        self.sessions.append(session)
        return session

    def stop_others(self, session: Session | None, code: str, reason: str) -> None:
        for other in list(self.sessions):
            if other is not session:
                other.tell(Stop(code, reason))  # type: ignore[arg-type]

    def ended(self, session: Session) -> None:
        self.sessions.remove(session)

    def crossed(self, chunk: Chunk, is_full: bool) -> None:
        """Count how often values come here in meshes, other than by full-state rounds."""
        if self.cluster.plan.topology != "mesh" or is_full:
            return
        for _, record in chunk.records():
            for version in record.versions:
                self.cluster.count("values crossed in meshes")
                if version.dot not in self._crossed:
                    self._crossed.add(version.dot)
                    self.cluster.count("values new in meshes")

    def reported(self, session: Session, report: Report) -> None:
        if report.kind == "met":
            peer = session.conversation.peer
            assert peer is not None
            self.membership.heard_of(peer.origin, peer.node)
            self.guarantees.met(session)
        elif report.kind == "differs":
            self.cluster.difference(self, session.peer)
        elif report.kind in ("compared", "mended"):
            self.cluster.count(f"digests {report.kind}")
        elif report.kind == "round":
            self.cluster.count("full-state rounds" if report.full else "rounds")
            if report.full:
                self.cluster.tempt(self)

    @property
    def is_comparable(self) -> bool:
        """Whether no round is open here and no claim is pending, and none was cut that counts
        absence: its keys are ahead of the known set until it is complete. A fork that is not
        noticed yet has dots of two meanings."""
        return (
            self.quarantine is None
            and not self._pulls.pending
            and not self.store.in_full_round
            and all(session.is_idle and session.pull_is_idle for session in self.sessions)
        )

    @property
    def is_quiet(self) -> bool:
        """Whether no round is under way. A claim may be pending for good: for a dot that was lost
        everywhere."""
        return all(session.is_idle for session in self.sessions)


def _names(result: object) -> str:
    if isinstance(result, CommitError):
        return f"failed: {result}"
    return ", ".join(str(version.dot) for version in result)  # type: ignore[attr-defined]
