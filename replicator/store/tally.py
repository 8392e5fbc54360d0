"""Who won conflicts, and why: counted as they arise."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from replicator.core.dots import format_origin
from replicator.core.resolve import Reason

WINNERS_MAX = 64
"""Origins whose won conflicts are told apart."""


@dataclass(frozen=True, slots=True)
class ConflictCounts:
    """The conflicts that arose since the store was opened.

    Attributes:
        by_reason: why their keys show what they show: ``clock``, ``timestamp`` or ``dot`` in the
            default order, ``resolver`` (it chose), ``merged`` (by the resolver), ``fault`` (the
            resolver failed, and the default order decided).
        by_origin: whose version won, by 16 hex digits. Merged ones have no winner.
        other_origins: what was won by further origins.
    """

    by_reason: Mapping[str, int]
    by_origin: Mapping[str, int]
    other_origins: int


class Tally:
    """Counts outcomes. Not thread-safe: applies take turns."""

    def __init__(self) -> None:
        self._by_reason: Counter[str] = Counter()
        self._by_origin: Counter[int] = Counter()
        self._others = 0

    def note(self, reason: Reason, winner: int) -> None:
        """One conflict was settled.

        Args:
            winner: the origin of the version that is shown; of no meaning where it was merged.
        """
        self._by_reason[reason] += 1
        if reason == "merged":
            return
        if winner in self._by_origin or len(self._by_origin) < WINNERS_MAX:
            self._by_origin[winner] += 1
        else:
            self._others += 1

    def counts(self) -> ConflictCounts:
        """What was counted so far; from any thread."""
        winners = self._by_origin.copy().most_common()
        return ConflictCounts(
            by_reason=dict(self._by_reason.copy().most_common()),
            by_origin={format_origin(origin): count for origin, count in winners},
            other_origins=self._others,
        )
