"""Versions and records: what a node holds of one key (DESIGN §1)."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from replicator.core.dots import Dot, format_origin

Context = Mapping[int, int]
"""A version vector of one key, ``{origin: seq}``: every dot of this key up to there is either
live in the record or superseded by it."""


@dataclass(frozen=True, slots=True)
class Version:
    """One write of one key. What a resolver is shown.

    Attributes:
        key: the user's key.
        dot: who wrote it and the number of the write there.
        clock: the per-key logical clock: 0 for a first write, else 1 + the highest it saw.
        timestamp: the hybrid logical clock at the write (`replicator.core.clock`).
        is_delete: whether the operation is a delete; then `value` is None.
        value: the value put.
        expiry_ms: wall clock at which the value expires, milliseconds since the epoch, if ever.
        checksum: CRC-32 of the value, 0 for a delete.
    """

    key: bytes
    dot: Dot
    clock: int
    timestamp: int
    is_delete: bool
    value: bytes | None
    expiry_ms: int | None = None
    checksum: int = 0

    @property
    def origin(self) -> str:
        """The origin that wrote it, as 16 hex digits."""
        return format_origin(self.dot.origin)

    def same_content(self, other: "Version") -> bool:
        """Whether both are equal in operation and value: then they are no conflict."""
        return self.is_delete == other.is_delete and self.value == other.value

    def same_write(self, other: "Version") -> bool:
        """Whether two versions of one dot are the same write; false shows a fork (R13).

        Values are compared by checksum, so that they need not be read."""
        return (
            self.is_delete == other.is_delete
            and self.clock == other.clock
            and self.timestamp == other.timestamp
            and self.expiry_ms == other.expiry_ms
            and self.checksum == other.checksum
        )

    def is_live_put(self, moment_ms: int) -> bool:
        """Whether it is a put that expires after a wall clock, in milliseconds, if ever: what a
        digest as of that moment counts a record for (R16)."""
        return not self.is_delete and (self.expiry_ms is None or self.expiry_ms > moment_ms)


@dataclass(frozen=True, slots=True)
class Record:
    """Everything a node holds of one key. Its live versions are in dot order.

    An absent key is the record without versions and with an empty context.
    """

    versions: tuple[Version, ...] = ()
    context: Context = field(default_factory=dict)

    def __post_init__(self) -> None:
        assert list(self.versions) == sorted(self.versions, key=lambda version: version.dot)

    def covers(self, dot: Dot) -> bool:
        """Whether the context covers `dot`: it is live here, or superseded."""
        return self.context.get(dot.origin, 0) >= dot.seq


ABSENT = Record()


def merge_contexts(a: Context, b: Context) -> dict[int, int]:
    """The pointwise maximum."""
    result = dict(a)
    for origin, seq in b.items():
        if seq > result.get(origin, 0):
            result[origin] = seq
    return result
