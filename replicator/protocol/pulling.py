"""The pull half of a conversation: asking for what this node lacks, and applying it.

A log round of at most ``atomic_round_bytes`` is collected and finished in one piece, so readers
see it whole or not at all (R4). A larger one is applied piece by piece as it arrives. A full-state
round covers all keys, range by range: each chunk stands for the keys above the last key of the one
before, up to its own last key, and the last chunk for all keys that follow (R9). So one chunk is
always kept back, until it is seen whether it is the last. From protocol version 2 on it compares
range by range (`comparing`), and only records of ranges that differ are sent.

Whatever the round: at most one piece is being applied, the rest waits in a bounded queue, and the
peer's known set is claimed with the last piece and not before (R3).
"""

from collections.abc import Callable
from math import inf

from replicator.config import QUEUE_CHUNKS_MAX, Settings
from replicator.core.chunk import Chunk
from replicator.core.known import KnownSet
from replicator.core.record import merge_contexts
from replicator.errors import ProtocolError, UsageError
from replicator.protocol.comparing import Comparing
from replicator.protocol.comparison import ApplyRanges, Scanned
from replicator.protocol.effects import (
    Applied,
    Apply,
    ApplyFull,
    Effect,
    Finish,
    PokeOthers,
    Report,
    Send,
)
from replicator.protocol.messages import Begin, Digest, End, Records, Verdict, Want, WantFull
from replicator.protocol.pulls import ConversationId, Pulls
from replicator.protocol.round import Round
from replicator.protocol.states import PULL, Machine

STALL_TIMEOUTS = 3
"""A peer that owes the next message of a round for so many re-ask timeouts is dropped."""


class PullHalf:
    """Gets what this node lacks from one peer.

    Args:
        conversation_id: by which `pulls` tells the conversations apart.
        known: reads what the store knows now.
        emit: takes the effects.
    """

    def __init__(
        self,
        conversation_id: ConversationId,
        pulls: Pulls,
        settings: Settings,
        known: Callable[[], KnownSet],
        emit: Callable[[Effect], None],
    ) -> None:
        self._id = conversation_id
        self._pulls = pulls
        self._settings = settings
        self._known = known
        self._emit = emit
        self._machine = Machine(PULL)
        self._rounds = 0
        self._round: Round | None = None
        self._heard_at = inf
        self.compares = False
        """Whether full-state rounds compare range by range: not in the first version."""
        self.in_flight = False
        """Whether a piece, or a claim, is being applied."""

    @property
    def state(self) -> str:
        return self._machine.state

    @property
    def is_idle(self) -> bool:
        return self.state == "idle"

    @property
    def in_burst(self) -> bool:
        """Whether a round is coming in, so that the known set grows with every piece."""
        return self.state not in ("idle", "asked")

    @property
    def wants_input(self) -> bool:
        """False while as many chunks wait as may; a round that is still being collected waits
        for the rest and is bounded by ``atomic_round_bytes``."""
        current = self._round
        if current is not None and current.comparing is not None:
            return current.comparing.has_room
        return (
            current is None
            or not (current.full or current.in_pieces)
            or len(current.queue) < QUEUE_CHUNKS_MAX
        )

    @property
    def stalled_at(self) -> float:
        """When a peer that owes the next message is to be given up."""
        owes = self.state in ("asked", "log", "full")
        if self.state == "comparing" and self._round is not None and self._round.comparing:
            owes = self._round.comparing.waits_for_peer
        owes = owes and not self.in_flight and self.wants_input
        return self._heard_at + STALL_TIMEOUTS * self._settings.reask_timeout if owes else inf

    def ask(
        self, peer: int, peer_known: KnownSet, known: KnownSet, now: float, *, full: bool = False
    ) -> None:
        """Ask the peer, by its origin, for a round, if it has something that nobody else is asked
        for; or for a full-state round in any case."""
        if not self.is_idle:
            return
        ask = self._pulls.plan(self._id, peer, peer_known, known, now, full)
        if ask is None:
            return
        self._machine.step("ask")
        self._rounds += 1
        self._round = Round(self._rounds, ask.wanted, peer_known.copy())
        self._heard_at = now
        want = WantFull(self._rounds) if full else Want(self._rounds, ask.wanted)
        self._emit(Send(want))

    def mend(self, peer_known: KnownSet, moment_ms: int, now: float) -> None:
        """Ask the peer, between two rounds, for one that mends a difference (R16).

        Args:
            moment_ms: as of which the digests differ.
        """
        self._machine.step("mend")
        self._rounds += 1
        comparing = Comparing(self._rounds, moment_ms, self._emit)
        self._round = Round(self._rounds, None, peer_known.copy(), comparing=comparing)
        self._heard_at = now
        self._emit(Send(Digest("mend", self._rounds, moment_ms, b"", b"")))

    def begin(self, message: Begin, now: float) -> None:
        """The peer's snapshot is open: its known set comes before its first record (R2).

        Raises:
            ProtocolError: nobody asked, or the snapshot is older than the question.
        """
        full = "Begin compare" if self.compares else "Begin full"
        self._machine.step(full if message.full else "Begin")
        current = self._current(message.round, now)
        if current.comparing is not None and not message.full:
            raise ProtocolError("a round that mends a difference compares everything")
        if message.full and self.compares and current.comparing is None:
            current.comparing = Comparing(current.number, None, self._emit)
        if not message.known.issuperset(current.announced):
            raise ProtocolError("the known set of a snapshot lacks what was announced before")
        current.remote_known, current.floor = message.known, message.floor
        current.full = message.full
        if message.full:
            self._pulls.exclusive(self._id)
        lack = message.known.difference(self._known())
        if not message.full and current.wanted is not None:
            lack = lack.intersection(current.wanted)
        self._pulls.promised(self._id, lack)
        self.advance()

    def records(self, message: Records, now: float) -> None:
        """Some records have come.

        Raises:
            ProtocolError: no round is open, or they contradict what came before.
        """
        self._machine.step("Records")
        current = self._current(message.round, now)
        current.take(message.chunk)
        if current.size_bytes > self._settings.atomic_round_bytes:
            current.in_pieces = True
        self.advance()

    def end(self, message: End, now: float) -> None:
        """The last record has come.

        Raises:
            ProtocolError: no round is open.
        """
        self._machine.step("End")
        current = self._current(message.round, now)
        if current.comparing is not None:
            current.comparing.end()
        self.advance()

    def judged(self, message: Verdict, now: float) -> None:
        """The peer has judged ranges.

        Raises:
            ProtocolError: it was not asked, or see `Comparing.judged`.
        """
        self._machine.step("Verdict")
        current = self._current(message.round, now)
        assert current.comparing is not None, "the table lets no Verdict in without it"
        current.comparing.judged(message.verdicts)
        self.advance()

    def scanned(self, event: Scanned, now: float) -> None:
        """Own keys are cut into ranges.

        Raises:
            UsageError: nobody asked for that.
        """
        self._machine.step("Scanned")
        current = self._round
        assert current is not None and current.comparing is not None, "the table sees to that"
        self._heard_at = now
        current.comparing.scanned(event)
        self.advance()

    def _current(self, number: int, now: float) -> Round:
        """The open round, which the peer's message must belong to."""
        current = self._round
        assert current is not None, "the table lets none of a round's messages in without a round"
        if number != current.number:
            raise ProtocolError(f"round {number} was not asked for; {current.number} was")
        self.heard(now)
        return current

    def heard(self, now: float) -> None:
        """The peer is sending what it owes."""
        self._heard_at = now
        self._pulls.progress(self._id, now)

    def advance(self) -> None:
        """Begin to apply the next piece, if there is one and it is this conversation's turn; or,
        between two rounds, a claim that has become ripe."""
        current = self._round
        comparing = current.comparing if current and self.state == "comparing" else None
        # Not before its turn: what was compared must not be changed by other peers' records.
        if comparing is not None and self._pulls.exclusive(self._id):
            comparing.scan()
        if self.is_idle:
            self._claim_ripe()
        elif current is not None and not self.in_flight and self._is_ready(current):
            turn = self._pulls.exclusive if current.full else self._pulls.begin_apply
            if turn(self._id):
                self._apply(self._next_full(current) if current.full else self._next_log(current))

    def _claim_ripe(self) -> None:
        """Commit the pending claims whose time has come, of whichever peer (R5)."""
        if not self._pulls.pending or not self._pulls.begin_apply(self._id):
            return
        ripe = self._pulls.ripe(self._known())
        if not ripe:
            self._pulls.end_apply(self._id)
            return
        claims, floors = KnownSet(), dict[int, int]()
        for claim, floor in ripe:
            claims.update(claim)
            floors = merge_contexts(floors, floor)
        self._machine.step("claim")
        self._apply(Finish(Chunk(), claims, claims, floors))

    def _is_ready(self, current: Round) -> bool:
        match self.state:
            case "log":
                return current.in_pieces and bool(current.queue)
            case "full":
                return len(current.queue) > 1
            case "comparing":
                return current.comparing is not None and current.comparing.has_pieces
            case _:
                return self.state in ("log_ended", "full_ended")

    def _next_log(self, current: Round) -> Effect:
        ended = self.state == "log_ended"
        if ended and (len(current.queue) < 2 or not current.in_pieces):
            return self._finish(current, current.join())
        return Apply(current.queue.popleft(), current.remote_known)

    def _next_piece(self, current: Round, comparing: Comparing) -> Effect:
        is_mend = comparing.moment_ms is not None
        if not comparing.has_pieces:
            return self._finish(current, Chunk(), claims=not is_mend)
        return ApplyRanges(comparing.take(), current.remote_known, current.floor, is_mend)

    def _next_full(self, current: Round) -> Effect:
        if current.comparing is not None:
            return self._next_piece(current, current.comparing)
        if current.covered_all:
            return self._finish(current, Chunk())
        is_last = len(current.queue) < 2
        chunk = current.queue.popleft() if current.queue else Chunk()
        after, upto = current.covered, None if is_last else chunk.keys[-1]
        current.covered, current.covered_all = upto, is_last
        return ApplyFull(chunk, current.remote_known, current.floor, after, upto)

    def _finish(self, current: Round, chunk: Chunk, *, claims: bool = True) -> Effect:
        """The last piece, with the claim, unless withheld dots are still unknown (R5). A
        full-state round left nothing out; one that mends says nothing of known sets (R16)."""
        self._machine.step("finish")
        if not claims:
            return Finish(chunk, current.remote_known, None, {})
        if not current.full and current.wanted is not None:
            withheld = current.remote_known.difference(current.wanted).difference(self._known())
            if withheld:
                current.pend = withheld
                return Finish(chunk, current.remote_known, None, {})
        return Finish(
            chunk, current.remote_known, current.remote_known, current.floor, current.full
        )

    def _apply(self, effect: Effect) -> None:
        self.in_flight = True
        self._emit(effect)

    def applied(self, event: Applied, now: float) -> None:
        """The piece is committed: on with the next, or the round is complete.

        Raises:
            UsageError: nothing was being applied.
        """
        if not self.in_flight:
            raise UsageError("a piece was said to be committed, and none was being applied")
        self._machine.step("Applied")
        self._landed()
        self._heard_at = now
        if self._round is not None:
            self._round.changed += event.changed
        if self.is_idle:
            self._complete(now)
        self.advance()

    def _landed(self) -> None:
        self.in_flight = False
        if self._pulls.end_apply(self._id):
            self._emit(PokeOthers())

    def _complete(self, now: float) -> None:
        current, self._round = self._round, None
        if current is None:
            return
        if current.pend is not None:
            self._pulls.pend(current.remote_known, current.floor, current.pend, now)
        self._pulls.finished(self._id)
        is_mend = current.comparing is not None and current.comparing.moment_ms is not None
        self._emit(
            Report(
                "mended" if is_mend else "round",
                records=current.records,
                changed=current.changed,
                size_bytes=current.size_bytes,
                full=current.full,
            )
        )
        self._emit(PokeOthers())

    def abandon(self) -> None:
        """The conversation ends: drop what waits. What is being applied is not called back."""
        if self._round is not None:
            self._round.queue.clear()
            if self._round.comparing is not None:
                self._round.comparing.abandon()

    def settled(self) -> None:
        """What was being applied when the conversation began to end has been committed, or has
        failed."""
        self.in_flight = False
