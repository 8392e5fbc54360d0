"""The server's side of a round that compares: judging ranges of the peer by one snapshot (R9)."""

from collections import deque
from collections.abc import Callable

from replicator.config import COMPARE_OPEN_MAX, COMPARES_AHEAD_MAX
from replicator.core.compare import SPLIT, Key, Part, precedes
from replicator.errors import ProtocolError
from replicator.protocol.comparison import ReadAnswer
from replicator.protocol.effects import Effect

WAITING_MAX = COMPARES_AHEAD_MAX + 1
"""Messages that wait for their answer: behind one whose last records are being read, a peer may
have sent as many as it may."""


class Answering:
    """One round of one conversation: what the peer has yet to compare, and what it has asked.

    Args:
        moment_ms: which records count in fingerprints; see `ReadAnswer`.
        emit: takes the effects.
    """

    def __init__(self, moment_ms: int | None, emit: Callable[[Effect], None]) -> None:
        self._moment_ms = moment_ms
        self._emit = emit
        self._open: dict[Key, Key] = {None: None}
        self._waiting: deque[tuple[Part, ...]] = deque()
        self._judging: deque[tuple[Key, Key]] = deque()

    @property
    def is_done(self) -> bool:
        """Whether everything was compared and answered."""
        return not (self._open or self._waiting)

    def compare(self, parts: tuple[Part, ...]) -> None:
        """The peer asks about ranges.

        Raises:
            ProtocolError: it has compared them already, they are out of order, or it asks too much.
        """
        if len(self._waiting) >= WAITING_MAX:
            raise ProtocolError("more ranges are to be compared than may wait")
        for part in parts:
            self._check(part)
        self._waiting.append(parts)
        if len(self._waiting) == 1:
            self._begin()

    def _check(self, part: Part) -> None:
        """Take what the part covers from what is open."""
        if part.after not in self._open:
            raise ProtocolError("a range is compared that is not open")
        end = self._open.pop(part.after)
        last = part.after
        for place, one in enumerate(part.ranges):
            is_open_ended = one.upto is None and (end is not None or place < len(part.ranges) - 1)
            if is_open_ended or not precedes(last, one.upto):
                raise ProtocolError("the ranges of a Compare are not in key order")
            last = one.upto
        if end is not None and last is not None and last > end:
            raise ProtocolError("a range is compared that is not open")
        if last != end:
            self._open[last] = end

    def _begin(self) -> None:
        for part in self._waiting[0]:
            after = part.after
            for one in part.ranges:
                self._judging.append((after, one.upto))
                after = one.upto
        self.read()

    def read(self) -> None:
        """Read on in the answer to what was asked first."""
        self._emit(ReadAnswer(self._waiting[0], self._moment_ms))

    def judged(self, verdicts: bytes) -> None:
        """These verdicts are about to be sent: what is to be split is open again.

        Raises:
            ProtocolError: the peer leaves too much open.
        """
        for verdict in verdicts:
            after, upto = self._judging.popleft()
            if verdict == SPLIT:
                self._open[after] = upto
        if len(self._open) > COMPARE_OPEN_MAX:
            raise ProtocolError(f"more than {COMPARE_OPEN_MAX} stretches are left to be compared")

    def answered(self) -> None:
        """All of one answer was read."""
        self._waiting.popleft()
        if self._waiting:
            self._begin()
