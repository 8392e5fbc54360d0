"""The serve half of a conversation: giving the peer what it lacks, from one snapshot (R4).

One round at a time, one chunk at a time: the next is read when the transport has taken the last,
so a slow peer costs a snapshot and no memory. The source never outlives the round. In a round that
compares, the peer leads (`answering`).
"""

from collections.abc import Callable

from replicator.config import FRAME_BYTES_MAX, KEY_BYTES_MAX, VALUE_BYTES_MAX
from replicator.core.chunk import Chunk
from replicator.core.known import KnownSet, below_floor
from replicator.errors import PeerRefusedError, ProtocolError
from replicator.protocol.answering import Answering
from replicator.protocol.comparison import AnswerRead
from replicator.protocol.effects import (
    ChunkRead,
    CloseSource,
    Effect,
    OpenSource,
    ReadChunk,
    Report,
    Send,
    SourceOpened,
)
from replicator.protocol.messages import (
    Begin,
    Compare,
    Digest,
    End,
    Records,
    Verdict,
    Want,
    WantFull,
)
from replicator.protocol.states import SERVE, Machine

HEADER_BYTES = 5
"""What msgpack puts before a byte string or a list, at most. Those of keys and rows are within
what a chunk counts for each record."""

ORIGIN_BYTES = 15
"""What an origin and its number take in a chunk, at most."""

FRAME_REST_BYTES = 64
"""The tag, the round, and the headers of the columns."""


def frame_bytes(chunk: Chunk) -> int:
    """What a chunk takes as `Records`, at most."""
    values = HEADER_BYTES * len(chunk.values)
    return chunk.size_bytes + values + ORIGIN_BYTES * len(chunk.origins) + FRAME_REST_BYTES


def check_size(chunk: Chunk) -> None:
    """Whether the chunk may be sent. What a store has adopted may be larger than what it takes.

    Raises:
        PeerRefusedError: a peer would refuse it, which has to be told to a person here.
    """
    if frame_bytes(chunk) > FRAME_BYTES_MAX:
        raise PeerRefusedError(
            f"what is stored under key {_shortened(chunk.keys[-1])} is larger than a frame of "
            f"{FRAME_BYTES_MAX} bytes: write the key once more, so that its siblings go"
        )
    if chunk.size_bytes > KEY_BYTES_MAX:
        for key in chunk.keys:
            if len(key) > KEY_BYTES_MAX:
                raise PeerRefusedError(
                    f"key {_shortened(key)} is longer than the {KEY_BYTES_MAX} bytes that are "
                    "replicated: delete it"
                )
        if any(len(value) > VALUE_BYTES_MAX for value in chunk.values):
            raise PeerRefusedError(
                f"a value is longer than the {VALUE_BYTES_MAX} bytes that are replicated; its key "
                f"is one of {', '.join(map(_shortened, chunk.keys[-3:]))}: replace or delete it"
            )


def _shortened(key: bytes) -> str:
    return repr(key) if len(key) <= 64 else f"{key[:64]!r}…"


class ServeHalf:
    """Serves rounds to one peer.

    Args:
        emit: takes the effects.
    """

    def __init__(self, emit: Callable[[Effect], None]) -> None:
        self.compares = False
        """Whether full-state rounds compare range by range: not in the first version."""
        self._emit = emit
        self._machine = Machine(SERVE)
        self._round = 0
        self._wanted: KnownSet | None = None
        self._must_be_full = False
        self._lack: KnownSet | None = None
        self._answering: Answering | None = None
        self._records = 0
        self._size_bytes = 0

    @property
    def state(self) -> str:
        return self._machine.state

    @property
    def is_idle(self) -> bool:
        return self.state == "idle"

    def want(self, message: Want | WantFull) -> None:
        """The peer asks for a round.

        Raises:
            ProtocolError: one is being served already.
        """
        self._machine.step(type(message).__name__)
        self._must_be_full = isinstance(message, WantFull)
        self._round = message.round
        self._wanted = message.wanted if isinstance(message, Want) else None
        self._records = self._size_bytes = 0
        self._emit(OpenSource())

    def mend(self, message: Digest) -> None:
        """The peer asks for a round that mends a difference (R16).

        Raises:
            ProtocolError: a round is being served already.
        """
        self._machine.step("Digest mend")
        self._round, self._wanted, self._must_be_full = message.number, None, True
        self._records = self._size_bytes = 0
        self._answering = Answering(message.moment_ms, self._emit)
        self._emit(OpenSource())

    def opened(self, event: SourceOpened, peer_known: KnownSet, closed: KnownSet) -> None:
        """The snapshot is open; own seqs in it have been shown (R13).

        Args:
            peer_known: what the peer has announced that it knows.
            closed: dots that it need not know, because nobody does (R10).

        Raises:
            UsageError: no source was asked for.
        """
        held = peer_known.union(closed) if closed else peer_known
        full = self._must_be_full or below_floor(held, event.floor)
        if full and self.compares:
            self._machine.step("SourceOpened compare")
            if self._answering is None:
                self._answering = Answering(None, self._emit)
            self._emit(Send(Begin(self._round, event.known, event.floor, True)))
            return
        self._machine.step("SourceOpened")
        lack = event.known.difference(peer_known)
        if self._wanted is not None:
            lack = lack.intersection(self._wanted)
        self._lack = None if full else lack
        self._emit(Send(Begin(self._round, event.known, event.floor, full)))
        self._emit(ReadChunk(self._lack))

    def chunk_read(self, event: ChunkRead) -> None:
        """Send the chunk and read the next, or end the round.

        Raises:
            PeerRefusedError: see `check_size`.
            UsageError: no chunk was asked for.
        """
        if event.chunk is None:
            self._end()
            return
        self._machine.step("ChunkRead")
        if len(event.chunk):
            self._send(event.chunk)
        self._emit(ReadChunk(self._lack))

    def compare(self, message: Compare) -> None:
        """The peer asks about ranges.

        Raises:
            ProtocolError: no round that compares is open, or see `Answering.compare`.
        """
        self._machine.step("Compare")
        if message.round != self._round:
            raise ProtocolError(f"round {message.round} is not open; {self._round} is")
        assert self._answering is not None, "the table lets no Compare in without it"
        self._answering.compare(message.parts)

    def answer_read(self, event: AnswerRead) -> None:
        """Send this part of the answer and read on, or end the round.

        Raises:
            PeerRefusedError: see `check_size`.
            ProtocolError: see `Answering.judged`.
            UsageError: no answer was asked for.
        """
        answering = self._answering
        if answering is not None and event.item is None:
            answering.answered()
            if answering.is_done:
                self._machine.step("AnswerRead last")
                self._finish(full=True)
                return
        self._machine.step("AnswerRead")
        assert answering is not None, "the table lets no AnswerRead in without it"
        if isinstance(event.item, bytes):
            answering.judged(event.item)
            self._emit(Send(Verdict(self._round, event.item)))
            answering.read()
        elif event.item is not None:
            self._send(event.item)
            answering.read()

    def _send(self, chunk: Chunk) -> None:
        check_size(chunk)
        self._records += len(chunk)
        self._size_bytes += chunk.size_bytes
        self._emit(Send(Records(self._round, chunk)))

    def _end(self) -> None:
        self._machine.step("ChunkRead last")
        self._finish(full=self._lack is None)

    def _finish(self, *, full: bool) -> None:
        self._answering = None
        self._emit(CloseSource())
        self._emit(Send(End(self._round)))
        self._emit(
            Report(
                "served",
                records=self._records,
                size_bytes=self._size_bytes,
                full=full,
            )
        )

    def abandon(self) -> None:
        """The conversation ends: a source never outlives it."""
        if not self.is_idle:
            self._emit(CloseSource())
