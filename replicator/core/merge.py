"""Writing to a record and merging two of one key: rules R1 and R2.

Axioms (property-tested as they stand here), for records of one key that arise from writes,
merges and rounds, with K the known set of the node that holds the record:

    merge(a, a) = a
    merge(a, b) = merge(b, a)
    merge(merge(a, b), c) = merge(a, merge(b, c))      with K(a ∪ b) = K(a) ∪ K(b)

and, which is what users feel: a version goes only if a write that had seen it superseded it. A
write that saw only some of the versions leaves the others live, also earlier ones of its own node.
"""

from collections.abc import Collection, Container

from replicator.core.dots import Dot
from replicator.core.record import Context, Record, Version, merge_contexts
from replicator.errors import ForkedContentsError

Seen = Collection[tuple[int, int]] | None
"""The dots that a writer has seen of a key; None is all there are."""


def next_clock(record: Record, seen: Seen = None) -> int:
    """The clock of the next write: 0 for a first one, else 1 + the highest it saw (R1).

    Args:
        seen: see `write`.
    """
    return 1 + max(
        (version.clock for version in record.versions if seen is None or version.dot in seen),
        default=-1,
    )


def write(record: Record, version: Version, seen: Seen = None) -> Record:
    """The record after this node's own write `version` (R1).

    The context keeps every entry and gains the new dot, so the versions the write saw stay
    superseded wherever they turn up again. A version that it did not see stays beside it; that the
    context covers it, if it is an earlier write of the same origin, says only that it is live or
    superseded, and it is live.

    Args:
        seen: the live versions that the writer has seen; None is all of them.
    """
    unseen = () if seen is None else [one for one in record.versions if one.dot not in seen]
    return Record(
        tuple(sorted((*unseen, version), key=_dot_of)),
        {**record.context, version.dot.origin: version.dot.seq},
    )


def counted_as_seen(
    record: Record, seen: Collection[tuple[int, int]], durable: Container[tuple[int, int]], now: int
) -> frozenset[tuple[int, int]]:
    """What a write supersedes beside what its writer has seen: the deletes, and the puts that have
    expired, that lie in the durable known set of its node.

    Everybody may have such a version, and somebody may have collected it (R8), for a write that
    did not see it was not to be expected any more: it would stay here and be gone there. One that
    is not durable here is in no acknowledgement of this node, hence under nobody's watermark; and
    when it is, so is the write beside it, which every node that collects must know.

    Args:
        durable: also what a sync point that is under way will make durable.
        now: wall clock, milliseconds since the epoch (R17).
    """
    return frozenset(seen).union(
        version.dot
        for version in record.versions
        if (version.is_delete or (version.expiry_ms is not None and version.expiry_ms <= now))
        and version.dot in durable
    )


def merge(
    local: Record,
    local_known: Container[tuple[int, int]],
    remote: Record,
    remote_known: Container[tuple[int, int]],
) -> Record:
    """Merge what two nodes hold of one key (R2).

    A side that lacks the key is the empty record: then only its known set speaks.

    Args:
        local: this node's record.
        local_known: this node's known set.
        remote: the peer's record, from one snapshot of the peer.
        remote_known: the known set of that same snapshot.

    Raises:
        ForkedContentsError: both hold one dot with different contents (R13).
    """
    ours = {version.dot: version for version in local.versions}
    theirs = {version.dot: version for version in remote.versions}
    for dot, version in ours.items():
        if dot in theirs and not version.same_write(theirs[dot]):
            raise ForkedContentsError(
                f"dot {dot} of key {version.key!r} has other contents at the peer: two forks of "
                "one directory both served peers; keep one of the two nodes and start the other "
                "with an empty directory"
            )
    kept = [
        version
        for dot, version in ours.items()
        if dot in theirs or not (remote.covers(dot) or dot in remote_known)
    ]
    kept += [
        version
        for dot, version in theirs.items()
        if dot not in ours and not (local.covers(dot) or dot in local_known)
    ]
    kept.sort(key=_dot_of)
    return Record(tuple(kept), merge_contexts(local.context, remote.context))


def raise_context(record: Record, floor: Context) -> Record:
    """The record with its context raised to the sender's purge floor (R9): what a full-state
    round sends, so that what was collected there counts as superseded."""
    return Record(record.versions, merge_contexts(record.context, floor))


def _dot_of(version: Version) -> Dot:
    return version.dot
