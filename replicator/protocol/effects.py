"""The border between a conversation and the world: what it asks for and what it is told.

A conversation returns *effects*; a driver carries them out and answers with *events*. What a
driver owes:

- Effects are begun in the order in which they were returned, those of one call before those of
  the next. `Show`, `AdoptCluster`, `LearnClosed` and `Fork` are done, not only begun, before the
  next effect is; where one fails, what follows it in the same call is not begun but for `Close`.
  `Learn` is no more than a change in memory: it is done at once.
- The source effects (`OpenSource`, `ReadChunk`, `ReadAnswer`, `CloseSource`) are carried out one
  after the other, and so are the applying ones (`Apply`, `Finish`, `ApplyFull`, `ApplyRanges`: at
  most one is ever under way). Of `Scan` and of `TakeDigest` at most one each is under way. Each but
  `CloseSource` is answered by exactly one event: its own, or `StoreFailed`. So is `MakeDurable`,
  which waits for none of the others.
- `Send` only queues. `ReadChunk` and `ReadAnswer` wait until the transport has taken what was
  queued before, so a slow reader holds back the next chunk, and `KnownChanged` is held back
  likewise: one is enough for any number of changes. The queue is thereby bounded, but for a peer
  that asks without reading: stop reading from it while the queue is long.
- While `Conversation.wants_input` is False nothing is read from the peer.
- Calls to all conversations of one node come from one thread.
- After `Close` the stream is closed, once what was queued is sent or a time limit has passed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from replicator.core.chunk import Chunk
from replicator.core.known import KnownSet
from replicator.core.members import Member
from replicator.protocol.comparison import (
    AnswerRead,
    ApplyRanges,
    DigestTaken,
    ReadAnswer,
    Scan,
    Scanned,
    TakeDigest,
)
from replicator.protocol.messages import Message
from replicator.protocol.report import Report as Report


@dataclass(frozen=True, slots=True)
class Send:
    """Send a message to the peer."""

    message: Message


@dataclass(frozen=True, slots=True)
class Show:
    """Before the next message is sent: store that own seqs up to `seq` were shown (R13)."""

    seq: int


@dataclass(frozen=True, slots=True)
class OpenSource:
    """Open a snapshot to serve a round from. Answered by `SourceOpened`."""


@dataclass(frozen=True, slots=True)
class ReadChunk:
    """Read the next chunk of the source. Answered by `ChunkRead`.

    Attributes:
        lack: the dots whose records are to be read, the same for a whole round; None for all
            records in key order (R9).
    """

    lack: KnownSet | None


@dataclass(frozen=True, slots=True)
class CloseSource:
    """Close the source; the effects before it on the source are done or given up. No answer."""


@dataclass(frozen=True, slots=True)
class Apply:
    """Apply a piece of a round, in one WriteBatch. Answered by `Applied`."""

    chunk: Chunk
    remote_known: KnownSet


@dataclass(frozen=True, slots=True)
class Finish:
    """Apply the last piece of a round and, in the same WriteBatch, claim (R3).

    Answered by `Applied`.

    Attributes:
        chunk: may be empty.
        remote_known: the known set of the peer's snapshot.
        claim: what is known from now on; None where withheld dots forbid it as yet (R5).
        floor: the purge floor to rise to, together with the claim; empty without one.
        full: whether a full-state round is complete with that.
    """

    chunk: Chunk
    remote_known: KnownSet
    claim: KnownSet | None
    floor: Mapping[int, int]
    full: bool = False


@dataclass(frozen=True, slots=True)
class ApplyFull:
    """Apply a range of keys of a full-state round, where absence counts (R9).

    Answered by `Applied`.

    Attributes:
        chunk: all records of the peer with ``after < key <= upto``.
        after: None for the first range.
        upto: None for the last range.
    """

    chunk: Chunk
    remote_known: KnownSet
    floor: Mapping[int, int]
    after: bytes | None
    upto: bytes | None


@dataclass(frozen=True, slots=True)
class AdoptCluster:
    """Take this cluster id (R15), unless the store has taken another one meanwhile.

    Attributes:
        expected: the id that the greeting was about; where the store has another one by now, it
            raises `ClusterChangedError`. Several peers of different clusters may greet an empty
            store at the same time.
        is_forced: whether it is taken all the same: a person said so.
        is_binding: whether the store belongs there from now on, as if it held data: it is about to
            get some.
    """

    cluster_id: bytes
    expected: bytes | None
    is_forced: bool
    is_binding: bool


@dataclass(frozen=True, slots=True)
class LearnClosed:
    """Store what the peer has closed (R10), before the next effect: a purge floor that comes behind
    it may rely on it."""

    closed: KnownSet


@dataclass(frozen=True, slots=True)
class Learn:
    """Take in what the peer says of members (R7), before the next call."""

    members: tuple[Member, ...]


@dataclass(frozen=True, slots=True)
class MakeDurable:
    """Make a sync point, which many may share (R11): the peer waits for it. Answered by
    `MadeDurable`; one is under way in a conversation at most.

    Attributes:
        dots: what it is about; they are known here.
    """

    dots: KnownSet


@dataclass(frozen=True, slots=True)
class Secured:
    """The peer holds these durably: `SecureWanted` is answered, perhaps in part."""

    known: KnownSet


@dataclass(frozen=True, slots=True)
class Fork:
    """This directory was rolled back or cloned (R13), or the cluster has forgotten this node
    (R10): take a new origin. `Close` follows.

    First every other conversation of this node must end (`Stop`): it greeted as the old origin
    and would show the new one's dots without a `Show`. Conversations that begin afterwards get a
    new `Me`.

    Attributes:
        was_forgotten: whether the peer said that the cluster has forgotten this node.
    """

    was_forgotten: bool = False


@dataclass(frozen=True, slots=True)
class PokeOthers:
    """Tell every other conversation of this node `Poke`: what held them back may be gone."""


CloseCode = Literal[
    "idle",
    "refused",
    "protocol",
    "closing",
    "busy",
    "fork",
    "forgotten",
    "failed",
    "silent",
    "lost",
]


@dataclass(frozen=True, slots=True)
class Close:
    """The conversation is over: close the stream. Every later call returns no effects.

    Attributes:
        code: why, for programs: the peer's or our `Bye` code, or "failed" (our store failed),
            "silent" (the peer said nothing for too long), "lost" (the stream ended).
        reason: why, for people. Holds the peer's own words: not safe for a terminal as it is.
        by_peer: whether the peer said so, of its own accord.
    """

    code: CloseCode
    reason: str
    by_peer: bool = False


Effect = (
    Send
    | Show
    | OpenSource
    | ReadChunk
    | ReadAnswer
    | Scan
    | TakeDigest
    | CloseSource
    | Apply
    | Finish
    | ApplyFull
    | ApplyRanges
    | AdoptCluster
    | Learn
    | LearnClosed
    | MakeDurable
    | Secured
    | Fork
    | PokeOthers
    | Report
    | Close
)


@dataclass(frozen=True, slots=True)
class SourceOpened:
    """The snapshot is open.

    Attributes:
        known: the known set of the snapshot; not changed by anyone from now on.
        floor: the purge floor of the snapshot.
    """

    known: KnownSet
    floor: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class ChunkRead:
    """The next chunk of the source, None after the last.

    The origin numbers mean the same in all chunks of one source.
    """

    chunk: Chunk | None


@dataclass(frozen=True, slots=True)
class Applied:
    """The piece is committed.

    Attributes:
        records: how many records it had.
        changed: how many of them changed something here.
    """

    records: int
    changed: int


@dataclass(frozen=True, slots=True)
class KnownChanged:
    """The own known set has grown: commits of this node, or rounds of other conversations."""


@dataclass(frozen=True, slots=True)
class RosterChanged:
    """This node knows something new of a member: one is enough for any number of changes."""


@dataclass(frozen=True, slots=True)
class SecureWanted:
    """Somebody waits until peers hold these durably. Peers that speak an older version of the
    protocol are not asked: what they hold is heard of by gossip.

    Attributes:
        dots: of the known set.
    """

    dots: KnownSet


@dataclass(frozen=True, slots=True)
class MadeDurable:
    """A sync point has been made that began after it was asked for.

    Attributes:
        durable: what is durable by now of what it was about.
    """

    durable: KnownSet


@dataclass(frozen=True, slots=True)
class Heard:
    """Some bytes have come of a message that is not complete yet: the peer is slow, not silent."""


@dataclass(frozen=True, slots=True)
class StoreFailed:
    """An effect on the store failed; the conversation ends.

    Attributes:
        effect: which one.
        error: what the store raised. A `ForkError` leads to a `Fork`; a `ProtocolError`,
            `FormatError` or `ForkedContentsError` is told to the peer.
    """

    effect: Effect
    error: Exception


@dataclass(frozen=True, slots=True)
class Poke:
    """Another conversation of this node has ended or has released something: plan again."""


@dataclass(frozen=True, slots=True)
class Stop:
    """End the conversation politely, for a reason of the driver's.

    Attributes:
        code: "idle" where others wait for their turn, "closing", "busy", "fork", or "protocol"
            where the peer's bytes did not decode.
    """

    code: Literal["idle", "closing", "busy", "fork", "forgotten", "protocol"]
    reason: str


@dataclass(frozen=True, slots=True)
class Lost:
    """The stream has ended or failed; nothing can be sent any more."""

    reason: str


Event = (
    SourceOpened
    | ChunkRead
    | AnswerRead
    | Scanned
    | DigestTaken
    | Applied
    | KnownChanged
    | RosterChanged
    | SecureWanted
    | MadeDurable
    | Heard
    | StoreFailed
    | Poke
    | Stop
    | Lost
)
