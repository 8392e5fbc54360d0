"""The receiver's side of a round that compares range by range (R9, R16).

It cuts its own keys into ranges, has the peer judge them, takes in the records of those that
differ and splits those that are too large for that. What was split goes first, so that little
stands open at a time. Ranges are disjoint and each stands for itself: in which order they are
applied makes no difference, and a local write in between is merged with like any other.

That equal ranges may be skipped: both sides hold the same live versions there, so R2 would change
nothing but contexts. What a skipped record's context lacks of the peer's is superseded by one of
its live versions or was collected; so its dots are in this node's known set once the round is
complete, and until then nothing from another peer is applied, or they are below a purge floor that
this node reaches already.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from replicator.config import (
    CHUNK_BYTES,
    COMPARE_KEYS,
    COMPARE_PARTS,
    COMPARE_RANGES_MAX,
    COMPARES_AHEAD_MAX,
    QUEUE_CHUNKS_MAX,
)
from replicator.core.chunk import Chunk
from replicator.core.compare import RECORDS, SPLIT, Key, Piece, Stretch
from replicator.errors import ProtocolError
from replicator.protocol.comparison import Scan, Scanned
from replicator.protocol.effects import Effect, Send
from replicator.protocol.messages import Compare

STRETCHES_AT_ONCE = COMPARE_RANGES_MAX // COMPARE_PARTS
"""Stretches that are scanned together: split ones fill a message."""


PIECE_OVERHEAD_BYTES = 256
"""What a piece counts beside its records."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """A range that the peer is to judge; `count` records lie there on this side."""

    after: Key
    upto: Key
    count: int


@dataclass(slots=True)
class _Run:
    """Ranges whose records are coming in.

    Attributes:
        after: up to where they were put into pieces.
        held: the last chunk, kept back until it is seen whether it is the last.
    """

    after: Key
    upto: Key
    held: Chunk | None = None


class Comparing:
    """One round of one conversation.

    Args:
        number: of the round.
        moment_ms: which records count in fingerprints; see `Scan`.
        emit: takes the effects.

    Attributes:
        moment_ms: the same.
    """

    def __init__(self, number: int, moment_ms: int | None, emit: Callable[[Effect], None]) -> None:
        self.moment_ms = moment_ms
        self._pieces: deque[Piece] = deque()
        self._size_bytes = 0
        self._number = number
        self._emit = emit
        self._todo = [Stretch(None, None, COMPARE_KEYS)]
        self._is_scanning = False
        self._asked: deque[_Asked] = deque()
        self._unanswered: deque[int] = deque()
        self._run: _Run | None = None

    @property
    def has_room(self) -> bool:
        """Whether more of the peer may be read: not while enough waits to be applied."""
        return self._size_bytes < QUEUE_CHUNKS_MAX * CHUNK_BYTES

    @property
    def waits_for_peer(self) -> bool:
        """Whether it is the peer's turn to say something."""
        return not self._is_scanning and bool(self._asked or self._run or not self._todo)

    def scan(self) -> None:
        """Cut more of the own keys into ranges, if the peer has not too many of them already."""
        if self._is_scanning or not self._todo or len(self._unanswered) >= COMPARES_AHEAD_MAX:
            return
        stretches = tuple(reversed(self._todo[-STRETCHES_AT_ONCE:]))
        del self._todo[-STRETCHES_AT_ONCE:]
        self._is_scanning = True
        self._emit(Scan(stretches, self.moment_ms))

    def scanned(self, event: Scanned) -> None:
        """The ranges are there: let the peer judge them."""
        self._is_scanning = False
        self._todo += reversed(event.left)
        for part in event.parts:
            after = part.after
            for one in part.ranges:
                self._asked.append(_Asked(after, one.upto, one.count))
                after = one.upto
        self._unanswered.append(sum(len(part.ranges) for part in event.parts))
        self._emit(Send(Compare(self._number, event.parts)))

    def judged(self, verdicts: bytes) -> None:
        """The peer has judged some ranges.

        Raises:
            ProtocolError: more than it was asked about, or it contradicts itself.
        """
        self._close_run()
        if not self._unanswered or len(verdicts) > self._unanswered[0]:
            raise ProtocolError("a Verdict about ranges that nobody asked about")
        self._unanswered[0] -= len(verdicts)
        if not self._unanswered[0]:
            self._unanswered.popleft()
        for verdict in verdicts:
            asked = self._asked.popleft()
            if verdict == RECORDS:
                self._extend_run(asked)
            elif self._run is not None:
                raise ProtocolError("a Verdict goes on behind ranges whose records follow")
            elif verdict == SPLIT:
                self._split(asked)

    def _extend_run(self, asked: _Asked) -> None:
        if self._run is None:
            self._run = _Run(asked.after, asked.upto)
        elif self._run.upto == asked.after:
            self._run.upto = asked.upto
        else:
            raise ProtocolError("records of ranges that do not follow one another")

    def _split(self, asked: _Asked) -> None:
        if asked.count < 2:
            raise ProtocolError("a range of less than two records cannot be split")
        step = -(-asked.count // COMPARE_PARTS)
        self._todo.append(Stretch(asked.after, asked.upto, step))

    def records(self, chunk: Chunk) -> None:
        """Records of the ranges judged last.

        Raises:
            ProtocolError: they belong to none, or are not in key order.
        """
        run, keys = self._run, chunk.keys
        if run is None:
            raise ProtocolError("Records without a Verdict that they follow")
        last = run.after if run.held is None else run.held.keys[-1]
        is_behind = last is None or last < keys[0]
        is_within = run.upto is None or keys[-1] <= run.upto
        if not (is_behind and is_within) or any(low >= high for low, high in pairwise(keys)):
            raise ProtocolError("the records of a round that compares are not in key order")
        if run.held is not None:
            self._put(Piece(run.held, run.after, last))
            run.after = last
        run.held = chunk

    def _close_run(self) -> None:
        run, self._run = self._run, None
        if run is not None:
            self._put(Piece(run.held or Chunk(), run.after, run.upto))

    def _put(self, piece: Piece) -> None:
        self._pieces.append(piece)
        self._size_bytes += _size_bytes(piece)

    @property
    def has_pieces(self) -> bool:
        """Whether there is something to apply."""
        return bool(self._pieces)

    def take(self) -> tuple[Piece, ...]:
        """What is to be applied next: about one chunk in all."""
        taken: list[Piece] = []
        size = 0
        while self._pieces and (not taken or size + _size_bytes(self._pieces[0]) <= CHUNK_BYTES):
            piece = self._pieces.popleft()
            taken.append(piece)
            size += _size_bytes(piece)
        self._size_bytes -= size
        return tuple(taken)

    def abandon(self) -> None:
        """Drop what waits."""
        self._pieces.clear()
        self._size_bytes = 0

    def end(self) -> None:
        """The peer has said everything.

        Raises:
            ProtocolError: something was not compared.
        """
        self._close_run()
        if self._todo or self._asked or self._is_scanning:
            raise ProtocolError("a round that compares ends before everything was compared")


def _size_bytes(piece: Piece) -> int:
    """What a piece counts: an empty one is not free either, for keys of this side lie there."""
    return piece.chunk.size_bytes + PIECE_OVERHEAD_BYTES
