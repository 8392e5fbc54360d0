"""This node, as its conversations see it: names, and reads of its store."""

from collections.abc import Callable
from dataclasses import dataclass, field

from replicator.config import PROTOCOL_VERSION, PROTOCOL_VERSION_LEAST
from replicator.core.known import KnownSet
from replicator.core.members import Roster
from replicator.protocol.digests import Digests
from replicator.protocol.messages import Hello


@dataclass(frozen=True, slots=True)
class Me:
    """One node under one origin; a fork needs a new one. The reads are quick and never block.

    Attributes:
        cluster, node, resolver: names, as the peer is told them.
        origin: who issues this node's writes.
        instance: 8 random bytes of this process.
        known: reads a copy of the store's known set, own seqs included.
        shown: reads the highest own seq that was ever shown to a peer (R13).
        cluster_id: reads the store's cluster id (R15).
        has_data: reads whether the store holds anything.
        wall_ms: reads the wall clock, milliseconds since the epoch.
        roster: what this node knows of all members; the conversations only read it.
        digests: when to compare digests with whom (R16), shared by its conversations.
        port: where it listens, 0 where it does not.
        versions: least and greatest protocol version that it speaks.
        closed: reads the closed set (R10), which is not to be changed.
        wants_full: reads whether this node has to begin with a full-state round (R10).
    """

    cluster: str
    node: str
    origin: int
    instance: bytes
    resolver: str
    known: Callable[[], KnownSet]
    shown: Callable[[], int]
    cluster_id: Callable[[], bytes | None]
    has_data: Callable[[], bool]
    wall_ms: Callable[[], int]
    roster: Roster
    port: int
    digests: Digests = field(default_factory=lambda: Digests(0, lambda: 0.0))
    versions: tuple[int, int] = (PROTOCOL_VERSION_LEAST, PROTOCOL_VERSION)
    closed: Callable[[], KnownSet] = KnownSet
    wants_full: Callable[[], bool] = bool

    def presentable(self) -> KnownSet:
        """The known set without own dots that no peer was ever shown.

        This is what a stranger is told first: a peer that knows one of the dots left out has it
        from another life of this directory (R13), for it cannot have it from here.
        """
        known = self.known()
        known.discard_above(self.origin, self.shown())
        return known

    def hello(self, known: KnownSet, explicit: bool, dialled: str) -> Hello:
        """The greeting of a conversation that begins with announcing `known`."""
        return Hello(
            versions=self.versions,
            cluster=self.cluster,
            cluster_id=self.cluster_id(),
            node=self.node,
            origin=self.origin,
            instance=self.instance,
            resolver=self.resolver,
            explicit=explicit,
            has_data=self.has_data(),
            wall_ms=self.wall_ms(),
            block_hashes=known.block_hashes(),
            members=self.roster.fingerprint.to_bytes(8, "big"),
            port=self.port,
            dialled=dialled,
        )
