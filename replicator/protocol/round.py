"""A round that a peer was asked for, as far as it has come (R4, R9)."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from replicator.core.chunk import Chunk
from replicator.core.known import KnownSet
from replicator.errors import ProtocolError
from replicator.protocol.comparing import Comparing


@dataclass(slots=True)
class Round:
    """A round that the peer was asked for.

    Attributes:
        wanted: what it was asked for; None for everything (R5).
        announced: what it had announced by then, and so must have.
        remote_known, floor, full: from its `Begin`.
        comparing: in a round that compares range by range, how far that is; from the beginning in
            one that mends a difference (R16).
        queue: chunks received and not yet applied.
        origins: what the origin numbers stand for.
        in_pieces: whether it has grown too large to be applied at once.
        last_key: the last key received in a full-state round.
        covered: the last key up to which a full-state round was applied.
        covered_all: whether the range without an upper end was applied too.
        pend: the withheld dots that its claim has to wait for: those of the snapshot that were not
            wanted.
    """

    number: int
    wanted: KnownSet | None
    announced: KnownSet
    remote_known: KnownSet = field(default_factory=KnownSet)
    floor: Mapping[int, int] = field(default_factory=dict)
    full: bool = False
    comparing: Comparing | None = None
    queue: deque[Chunk] = field(default_factory=deque)
    origins: dict[int, int] = field(default_factory=dict)
    in_pieces: bool = False
    last_key: bytes | None = None
    covered: bytes | None = None
    covered_all: bool = False
    pend: KnownSet | None = None
    size_bytes: int = 0
    records: int = 0
    changed: int = 0

    def take(self, chunk: Chunk) -> None:
        """Queue a chunk.

        Raises:
            ProtocolError: it contradicts the chunks before it.
        """
        if self.comparing is not None:
            self.comparing.records(chunk)
        elif self.full:
            self._check_order(chunk.keys)
        for number, origin in chunk.origins.items():
            if self.origins.setdefault(number, origin) != origin:
                raise ProtocolError(f"origin number {number} changes its meaning within a round")
        if self.comparing is None:
            self.queue.append(chunk)
        self.size_bytes += chunk.size_bytes
        self.records += len(chunk)

    def _check_order(self, keys: list[bytes]) -> None:
        ascending = self.last_key is None or self.last_key < keys[0]
        if not ascending or any(low >= high for low, high in pairwise(keys)):
            raise ProtocolError("the records of a full-state round are not in key order")
        self.last_key = keys[-1]

    def join(self) -> Chunk:
        """Everything queued as one chunk."""
        if len(self.queue) < 2:
            return self.queue[0] if self.queue else Chunk()
        whole = Chunk(origins=self.origins)
        for chunk in self.queue:
            whole.keys += chunk.keys
            whole.rows += chunk.rows
            whole.values += chunk.values
            whole.size_bytes += chunk.size_bytes
        return whole
