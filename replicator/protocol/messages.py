"""The messages of a conversation. How they travel is in `replicator.protocol.codec`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from replicator.config import ORIGINS_MAX
from replicator.core.chunk import Chunk
from replicator.core.compare import Part
from replicator.core.known import KnownSet
from replicator.core.members import Member

INSTANCE_BYTES = 8
HASH_BYTES = 8
CLUSTER_ID_BYTES_MAX = 32
REASON_BYTES_MAX = 1000
"""Longest text of a `Bye`."""

BOUNDS_MAX = 8 * ORIGINS_MAX
"""Most bounds of one known set, all origins together."""

ROUND_MAX = 2**63 - 1
VERSION_MAX = 2**16 - 1
WALL_MS_MAX = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Hello:
    """The first message of both sides.

    Attributes:
        versions: least and greatest protocol version spoken.
        cluster: the cluster name from the configuration.
        cluster_id: the store's cluster id, None before there is one (R15).
        node: the node's name, for people.
        origin: who issues this node's writes.
        instance: 8 random bytes of the process: by them a node recognises itself.
        resolver: name of the resolver (R6).
        explicit: whether a person told the sender this peer's address (R15).
        has_data: whether the sender's store holds anything.
        wall_ms: the sender's wall clock, milliseconds since the epoch.
        block_hashes: of the known set that the sender announces (`KnownSet.block_hashes`).
        members: fingerprint of the sender's roster (`replicator.core.members`), 8 bytes.
        port: where the sender listens, on whichever address; 0 where it does not.
        dialled: the address at which the sender has reached the receiver, ``host:port``; empty
            where it was dialled itself.
    """

    versions: tuple[int, int]
    cluster: str
    cluster_id: bytes | None
    node: str
    origin: int
    instance: bytes
    resolver: str
    explicit: bool
    has_data: bool
    wall_ms: int
    block_hashes: list[bytes]
    members: bytes
    port: int
    dialled: str


@dataclass(frozen=True, slots=True)
class Known:
    """What the sender knows beyond what it announced before in this conversation. The first one
    holds the blocks that differ, whole."""

    known: KnownSet


@dataclass(frozen=True, slots=True)
class Want:
    """Ask for a round.

    Attributes:
        wanted: the dots that the sender of this lacks and asks nobody else for (R5); None for
            everything it lacks.
    """

    round: int
    wanted: KnownSet | None


@dataclass(frozen=True, slots=True)
class Begin:
    """A round begins.

    Attributes:
        round: the number from the `Want`.
        known: the known set of the snapshot that is read (R2).
        floor: the purge floor of the snapshot.
        full: whether it is a full-state round (R9): all records in key order.
    """

    round: int
    known: KnownSet
    floor: Mapping[int, int]
    full: bool


@dataclass(frozen=True, slots=True)
class Records:
    """Some records of the round. In a full-state round they cover the keys above the last one of
    the message before, up to and with their own last one."""

    round: int
    chunk: Chunk


@dataclass(frozen=True, slots=True)
class End:
    """All records of the round were sent."""

    round: int


@dataclass(frozen=True, slots=True)
class Bye:
    """The sender leaves. Answered by a `Bye` if the code is "idle", by nothing otherwise.

    Attributes:
        reason: for people.
        code: one of `BYE_CODES`.
    """

    reason: str
    code: str


@dataclass(frozen=True, slots=True)
class Ping:
    """Are you there? Answered by `Pong`."""


@dataclass(frozen=True, slots=True)
class Pong:
    """I am."""


@dataclass(frozen=True, slots=True)
class Revisions:
    """Of which members the sender knows what, where that has changed since it last said so (R7).

    Attributes:
        revisions: origin → revision (`replicator.core.members`).
    """

    revisions: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Call:
    """Ask for what the receiver of this knows of some members.

    Attributes:
        origins: ascending.
    """

    origins: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Members:
    """What the sender knows of members that were called for."""

    members: tuple[Member, ...]


@dataclass(frozen=True, slots=True)
class Compare:
    """Ranges of the sender's keys, to be compared with the snapshot of a full-state round (R9).

    Attributes:
        parts: of what has not been compared yet, or was to be split; in all parts together at most
            `COMPARE_RANGES_MAX` ranges.
    """

    round: int
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the sender's snapshot says to ranges of the receiver, in the order of the `Compare`s.

    Attributes:
        verdicts: one octet a range (`replicator.core.compare`), all of one `Compare`. Behind one
            that ends with `RECORDS` come the records of that run of ranges, as `Records`, until the
            next `Verdict` or `End`.
    """

    round: int
    verdicts: bytes


DigestStep = Literal["ask", "answer", "mend"]


@dataclass(frozen=True, slots=True)
class Digest:
    """About the digests of both sides as of a moment (R16).

    Attributes:
        step: "ask" has both sides compute their digests, and "answer" tells one; "mend" asks for a
            round that compares everything as of that moment and asks no known set.
        number: counts the asker's questions; of a "mend" the round, as in `Want`.
        moment_ms: the asker's wall clock, milliseconds since the epoch.
        known: in an answer, hash of the known and closed sets that the digest is of; empty where
            the sender cannot be compared just now.
        digest: in an answer, as of the moment; empty like `known`.
    """

    step: DigestStep
    number: int
    moment_ms: int
    known: bytes
    digest: bytes


@dataclass(frozen=True, slots=True)
class Accounts:
    """The same, whole: what each has seen of forgotten origins included (R10)."""

    members: tuple[Member, ...]


@dataclass(frozen=True, slots=True)
class Closed:
    """What the sender has closed beyond what it announced before in this conversation (R10)."""

    closed: KnownSet


@dataclass(frozen=True, slots=True)
class WantFull:
    """Ask for a full-state round of everything, whatever the purge floors say (R10)."""

    round: int


@dataclass(frozen=True, slots=True)
class Durable:
    """What the sender holds durably, of what it was asked for by `Secure` and has not said yet."""

    known: KnownSet


@dataclass(frozen=True, slots=True)
class Secure:
    """Make these durable as soon as you know them, and say so by `Durable`."""

    dots: KnownSet


Message = (
    Hello
    | Known
    | Want
    | Begin
    | Records
    | End
    | Bye
    | Ping
    | Pong
    | Revisions
    | Call
    | Members
    | Accounts
    | Closed
    | Durable
    | Secure
    | WantFull
    | Compare
    | Verdict
    | Digest
)

SINCE: Mapping[type, int] = {
    Accounts: 2,
    Closed: 2,
    Durable: 2,
    Secure: 2,
    WantFull: 2,
    Compare: 2,
    Verdict: 2,
    Digest: 2,
}
"""The protocol version with which a message came, where that is not the first: it is neither sent
to a peer that does not speak it nor taken from one."""

Quiet = Ping | Pong | Revisions | Call | Members | Accounts | Closed | Digest
"""Messages that do not keep an idle conversation open."""

BYE_CODES = ("idle", "refused", "protocol", "closing", "busy", "fork", "forgotten")
