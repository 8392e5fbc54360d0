"""The border of a conversation, continued (`replicator.protocol.effects`): what concerns comparing
two nodes range by range (R9) and by digests (R16)."""

from collections.abc import Mapping
from dataclasses import dataclass

from replicator.core.chunk import Chunk
from replicator.core.compare import Part, Piece, Stretch
from replicator.core.known import KnownSet


@dataclass(frozen=True, slots=True)
class ReadAnswer:
    """Read the next part of the source's answer to ranges of the peer
    (`replicator.core.compare.answer`). Answered by `AnswerRead`; a source effect.

    Attributes:
        parts: the ranges, the same until the answer is complete.
        moment_ms: which records count, the same for a whole round; see `Scan`.
    """

    parts: tuple[Part, ...]
    moment_ms: int | None


@dataclass(frozen=True, slots=True)
class Scan:
    """Cut own keys into ranges, as they are now, as many as go into one message. Answered by
    `Scanned`.

    Attributes:
        stretches: disjoint.
        moment_ms: records without a put that expires after this wall clock do not count; None
            counts all.
    """

    stretches: tuple[Stretch, ...]
    moment_ms: int | None


@dataclass(frozen=True, slots=True)
class TakeDigest:
    """Compute the digest as of a moment (R16). Answered by `DigestTaken`."""

    moment_ms: int


@dataclass(frozen=True, slots=True)
class ApplyRanges:
    """Apply ranges of keys, where absence counts, in few WriteBatches. Answered by `Applied`.

    Attributes:
        pieces: disjoint; in each all records of the peer that lie there.
        remote_known, floor: as of `ApplyFull`.
        mends: whether a difference is mended (R16): then what either side knows is not asked.
    """

    pieces: tuple[Piece, ...]
    remote_known: KnownSet
    floor: Mapping[int, int]
    mends: bool


@dataclass(frozen=True, slots=True)
class AnswerRead:
    """A part of the source's answer: verdicts, or records; None behind the last."""

    item: bytes | Chunk | None


@dataclass(frozen=True, slots=True)
class Scanned:
    """Own keys are cut into ranges.

    Attributes:
        parts: the ranges, at least one for the first stretch.
        left: what of the stretches they do not cover.
    """

    parts: tuple[Part, ...]
    left: tuple[Stretch, ...]


@dataclass(frozen=True, slots=True)
class DigestTaken:
    """The digest is computed.

    Attributes:
        known, closed: the known and the closed set of the snapshot that it is of.
        digest: as of the moment.
        is_settled: whether it says something: not while a full-state round is incomplete.
    """

    known: KnownSet
    closed: KnownSet
    digest: bytes
    is_settled: bool
