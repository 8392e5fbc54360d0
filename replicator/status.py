"""What a node tells of itself: `status()` and the `round` event. Plain data, made once."""

from dataclasses import dataclass, field
from typing import Literal

from replicator.store.gate import GateOutcome
from replicator.store.keyspace import FORMAT_VERSION
from replicator.store.revisit import RevisitStatus
from replicator.store.store import StoreCounters
from replicator.store.tally import ConflictCounts

Direction = Literal["dialled", "accepted"]
"""Which side opened the connection of a conversation: this node, or its peer."""


@dataclass(frozen=True, slots=True)
class PeerStatus:
    """One other node, as this one sees it.

    Attributes:
        address: where this node dials it, or where its connection comes from.
        name, origin: as it said last; None before it has ever greeted. The origin is 16 hex
            digits; the name is a stranger's text.
        connected: whether a conversation is open.
        direction: who opened that; None without one.
        doing: what its two halves do: what is pulled, what is served; empty without one.
        lag_entries: how many dots this node knows that the peer has not announced; None before it
            has ever announced any.
        lag_seconds: for how long that has been so; 0 when the peer lacks nothing.
        last_error: why the last attempt or conversation failed, None where it did not.
        blocked: whether it is left alone until a person has looked at it (R13).
        rounds: rounds completed from this peer since this node started.
        records_in: records received in them.
        records_out: records sent to it in rounds completed.
        clock_ahead_seconds: how far its clock was ahead of this node's (below 0: behind) when it
            greeted last; None before it has ever greeted.
    """

    address: str
    name: str | None
    origin: str | None
    connected: bool
    direction: Direction | None
    doing: str
    lag_entries: int | None
    lag_seconds: float | None
    last_error: str | None
    blocked: bool
    rounds: int
    records_in: int
    records_out: int
    clock_ahead_seconds: float | None


@dataclass(frozen=True, slots=True)
class AheadStatus:
    """An origin whose writes are dated too far ahead for its clock to be followed.

    Attributes:
        name: of its node; None where this node has never heard of it.
        writes: how many came since this store was opened.
        seconds: how far ahead of this node's clock the latest one was, the last time.
    """

    name: str | None
    writes: int
    seconds: float


@dataclass(frozen=True, slots=True)
class ClockStatus:
    """What is wrong with clocks.

    Attributes:
        set_backs: how often this node's own clock was found set back by more than
            `clock_skew_max`.
        ahead: by origin, whose writes came dated further ahead than that.
    """

    set_backs: int
    ahead: dict[str, AheadStatus]


@dataclass(frozen=True, slots=True)
class MemberStatus:
    """One member of the cluster, as this node knows it (R7).

    Attributes:
        name: what it calls itself: a stranger's text.
        origin: who issues its writes, 16 hex digits.
        is_self: whether it is this node.
        connected: whether a conversation with it is open here.
        alive: whether it was heard of lately, here or by others.
        addresses: where peers have reached it, ``host:port``, the newest first.
        since_ms: when it joined, by its own clock, milliseconds since the epoch; 0 where it has
            not said so yet.
        last_seen_seconds: how long ago this node last heard from or of it.
        lag_entries: how many dots this node knows that the member is not known to hold.
        lag_seconds: for how long that has been so.
        version: of its software; empty where it has not said so yet.
    """

    name: str
    origin: str
    is_self: bool
    connected: bool
    alive: bool
    addresses: tuple[str, ...]
    since_ms: int
    last_seen_seconds: float
    lag_entries: int
    lag_seconds: float
    version: str


@dataclass(frozen=True, slots=True)
class DigestStatus:
    """What came of comparing digests with peers since this node started (R16).

    Attributes:
        equal: how often they were equal.
        differing: how often they were not, although both knew the same.
        mended: how many rounds were completed here that mend such a difference.
    """

    equal: int
    differing: int
    mended: int


@dataclass(frozen=True, slots=True)
class TrafficStatus:
    """What all conversations with peers have carried since this node started.

    Attributes:
        rounds: rounds completed here.
        records_in: records received in them.
        records_out: records sent in rounds completed.
        bytes_in, bytes_out: everything that was received and sent, without what TLS adds.
    """

    rounds: int
    records_in: int
    records_out: int
    bytes_in: int
    bytes_out: int


@dataclass(frozen=True, slots=True)
class Status:
    """One node at one moment.

    Attributes:
        name: what people call it.
        origin: who issues its writes, 16 hex digits; a new one after a fork (R13).
        cluster: the cluster name.
        cluster_id: in hex; None before the first write or peer (R15).
        format: of the store's rows on the disk; a version of this package opens those up to its
            own (`docs/UPGRADE.md`).
        running: whether the node runs; without it the store works, alone.
        write_gate: how the attempt to replicate before the first own write ended (R13).
        failed: why LevelDB takes no more writes until it is opened anew (R12); None where it does.
        address: ``host:port`` it listens on, None where it does not.
        peers: in the order of their addresses.
        members: how many nodes the cluster has, this one included.
        held_by_all: how many of the writes that this node knows every member has acknowledged to
            hold on disk; of `entries`, all there are.
        discovery: what each provider of peers has found, or why it finds nothing.
        counters: what the store did since it was opened.
        conflicts: who won the conflicts that arose since then, and why.
        revisiting: how far looking at all conflicts again is, after a change of the resolver; None
            where that is not under way.
        clock: clocks that are wrong.
        digests: what came of comparing the data with that of peers.
        traffic: what all conversations have carried.
        connections_refused: connections that found no room.
        events_dropped: events lost because callbacks are too slow.
    """

    name: str
    origin: str
    cluster: str
    cluster_id: str | None
    format: int = field(default=FORMAT_VERSION, kw_only=True)
    running: bool
    write_gate: GateOutcome
    failed: str | None
    address: str | None
    peers: tuple[PeerStatus, ...]
    members: int
    entries: int
    held_by_all: int
    discovery: dict[str, str]
    counters: StoreCounters
    conflicts: ConflictCounts
    revisiting: RevisitStatus | None
    clock: ClockStatus
    digests: DigestStatus
    traffic: TrafficStatus
    connections_refused: int
    events_dropped: int


@dataclass(frozen=True, slots=True)
class Round:
    """This node has caught up with one snapshot of a peer.

    Attributes:
        address, name, origin: of the peer, as in `PeerStatus`.
        records: records received.
        changed: how many of them changed something here.
        full: whether all keys of both sides were compared (R9).
    """

    address: str
    name: str
    origin: str
    records: int
    changed: int
    full: bool
