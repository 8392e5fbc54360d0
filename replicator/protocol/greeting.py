"""What two hellos come to: whether the two nodes belong together, and which cluster id they take.

Both sides decide from the same two messages and the same known sets, so they decide alike.
"""

import hashlib
from collections.abc import Iterator

from replicator.config import CLUSTER_DEFAULT
from replicator.core.clock import roughly
from replicator.core.dots import format_origin
from replicator.core.known import BLOCKS, KnownSet
from replicator.errors import (
    ClusterChangedError,
    ForkError,
    PeerForgottenError,
    PeerRefusedError,
)
from replicator.protocol.effects import AdoptCluster, Effect, Report
from replicator.protocol.me import Me
from replicator.protocol.messages import Hello

CLUSTER_ID_BYTES = 16


class Greeting:
    """One side's part in one greeting.

    Args:
        me: this node.
        explicit: whether a person told it the peer's address.
        dialled: that address, where this side has dialled it; else empty.

    Attributes:
        known: what the first `Known` is about: the store's known set as it was when the greeting
            began, without own dots that were never shown to anyone (R13).
        hello: what is said first.
        version: of the protocol, the greatest that both speak; until the peer has greeted the
            least one.
    """

    __slots__ = ("_me", "hello", "known", "version")

    def __init__(self, me: Me, explicit: bool, dialled: str) -> None:
        self._me = me
        self.known = me.presentable()
        self.hello = me.hello(self.known, explicit, dialled)
        self.version = self.hello.versions[0]

    def meet(self, peer: Hello) -> tuple[KnownSet, KnownSet]:
        """The peer's `Hello` has come.

        Returns:
            What both know, and what the peer is to be told.

        Raises:
            PeerRefusedError: see `check_peer`.
            ForkError: the peer lives under this node's origin: this directory, or the peer's, was
                copied or cloned (R13).
            PeerForgottenError: the cluster has forgotten the peer (R10).
        """
        self.version = check_peer(self.hello, peer)
        if self._me.roster.is_forgotten(peer.origin):
            raise PeerForgottenError(
                f"the cluster has forgotten node {peer.node!r} (origin "
                f"{format_origin(peer.origin)}): it takes a new origin and joins anew"
            )
        if peer.origin == self.hello.origin:
            raise ForkError(f"node {peer.node!r} lives under this node's origin")
        differing = differing_blocks(self.hello, peer)
        equal = set(range(BLOCKS)) - differing
        return self.known.blocks(equal), self.known.blocks(differing)

    def settle(self, peer: Hello, peer_known: KnownSet) -> list[Effect]:
        """The peer's known set has come as well: whether the two belong to one cluster.

        Raises:
            PeerRefusedError: they do not, see `choose_cluster`.
            ClusterChangedError: a store that was empty in its `Hello` has data by now, and nobody
                said that they may be merged with the peer's.
        """
        shared = bool(self.known.intersection(peer_known))
        chosen = choose_cluster(self.hello, peer, shared)
        current = self._me.cluster_id()
        if chosen == current:
            return []
        changed = (current, self._me.has_data()) != (self.hello.cluster_id, self.hello.has_data)
        is_forced = _permitted(self.hello, peer, shared)
        if changed and peer.has_data and not is_forced:
            raise ClusterChangedError("the first write came during the greeting: greet again")
        return [AdoptCluster(chosen, self.hello.cluster_id, is_forced, peer.has_data)]


def check_peer(mine: Hello, theirs: Hello) -> int:
    """Whether the peer may be talked to, as far as its `Hello` tells.

    Returns:
        The greatest protocol version that both speak.

    Raises:
        PeerRefusedError: no common protocol version, another cluster name, or this very node.
    """
    low = max(mine.versions[0], theirs.versions[0])
    high = min(mine.versions[1], theirs.versions[1])
    if low > high:
        raise PeerRefusedError(
            f"no common protocol version: this node speaks {_versions(mine)}, node "
            f"{theirs.node!r} speaks {_versions(theirs)}; upgrade the older one"
        )
    if theirs.cluster != mine.cluster:
        raise PeerRefusedError(
            f"node {theirs.node!r} is of cluster {theirs.cluster!r}, this one of "
            f"{mine.cluster!r}: nodes of different cluster names never talk"
        )
    if theirs.instance == mine.instance:
        raise PeerRefusedError("self: this address leads to this very node; leave it out")
    return high


def differing_blocks(mine: Hello, theirs: Hello) -> set[int]:
    """The blocks of origins whose known sets differ."""
    pairs = zip(mine.block_hashes, theirs.block_hashes, strict=True)
    return {block for block, (ours, other) in enumerate(pairs) if ours != other}


def choose_cluster(mine: Hello, theirs: Hello, shared: bool) -> bytes:
    """The cluster id that both stores have from now on (R15).

    A store without data takes the other's id. Two stores with data and different ids are merged
    only where a person said so, and then take the smaller id.

    Args:
        shared: whether the two known sets have a dot in common. Then the stores were one cluster
            already, and one of them has taken another id since: when two clusters are merged, the
            nodes that were not there follow.

    Raises:
        PeerRefusedError: the two may not be merged.
    """
    if mine.cluster_id is not None and mine.cluster_id == theirs.cluster_id:
        return mine.cluster_id
    if mine.has_data and theirs.has_data and not _permitted(mine, theirs, shared):
        raise PeerRefusedError(
            f"node {theirs.node!r} (origin {format_origin(theirs.origin)}) holds data of another "
            f"cluster of the name {mine.cluster!r}. To merge the two for good, run `replicator "
            "join` with its address, or give that as a peer, or give both the same cluster name of "
            "your own; else give them different cluster names"
        )
    if mine.has_data == theirs.has_data:
        ids = [mine.cluster_id, theirs.cluster_id]
    else:
        ids = [mine.cluster_id if mine.has_data else theirs.cluster_id]
    known = [one for one in ids if one is not None]
    spare = [one for one in (mine.cluster_id, theirs.cluster_id) if one is not None]
    return min(known or spare or [_new_id(mine, theirs)])


def _permitted(mine: Hello, theirs: Hello, shared: bool) -> bool:
    """Whether data of the two may be merged: they were before, or a person said so."""
    return shared or mine.explicit or theirs.explicit or mine.cluster != CLUSTER_DEFAULT


def _new_id(mine: Hello, theirs: Hello) -> bytes:
    """An id for a cluster that has none yet: random, as the instances are, and equal on both
    sides without another message."""
    instances = sorted((mine.instance, theirs.instance))
    return hashlib.blake2b(b"".join(instances), digest_size=CLUSTER_ID_BYTES).digest()


def _versions(hello: Hello) -> str:
    low, high = hello.versions
    return str(low) if low == high else f"{low} to {high}"


def warnings(mine: Hello, theirs: Hello, skew_max: float) -> Iterator[Report]:
    """What a person should know about an otherwise welcome peer.

    Args:
        skew_max: seconds that the wall clocks may lie apart.
    """
    if theirs.resolver != mine.resolver:
        yield Report(
            "resolver",
            f"node {theirs.node!r} settles conflicts with {theirs.resolver!r}, this one with "
            f"{mine.resolver!r}: the two may show different values for one key",
        )
    skew = (theirs.wall_ms - mine.wall_ms) / 1000
    if abs(skew) > skew_max:
        yield Report(
            "skew",
            f"the clock of node {theirs.node!r} is about {roughly(abs(skew))} "
            f"{'ahead of' if skew > 0 else 'behind'} this one's: set the wrong one right",
        )
