"""Who won conflicts, and why: counted as they arise."""

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from replicator.core.dots import format_origin
from replicator.core.record import Version
from replicator.core.resolve import Reason, Resolution

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


@dataclass(frozen=True, slots=True)
class Conflict:
    """A key that came into conflict.

    Attributes:
        key: the user's key.
        versions: its live versions, the winner first.
        fault: what the resolver did wrong, where the default order decided instead.
        reason: why the key shows what it shows.
    """

    key: bytes
    versions: tuple[Version, ...]
    fault: Exception | None
    reason: Reason


def conflict_of(
    key: bytes, versions: tuple[Version, ...], resolution: Resolution
) -> Conflict | None:
    """The conflict of a key that has just got these live versions; None where there is none."""
    if resolution.reason is None:
        return None
    shown = resolution.visible
    order = sorted(versions, key=lambda one: (one is not shown, one.dot))
    return Conflict(key, tuple(order), resolution.fault, resolution.reason)


class Tally:
    """Counts outcomes. Thread-safe.

    Attributes:
        total: how many conflicts there were.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.total = 0
        self._by_reason: Counter[str] = Counter()
        self._by_origin: Counter[int] = Counter()
        self._others = 0

    def note(self, reason: Reason, winner: int) -> None:
        """One conflict was settled.

        Args:
            winner: the origin of the version that is shown; of no meaning where it was merged.
        """
        with self._lock:
            self.total += 1
            self._by_reason[reason] += 1
            if reason == "merged":
                return
            if winner in self._by_origin or len(self._by_origin) < WINNERS_MAX:
                self._by_origin[winner] += 1
            else:
                self._others += 1

    def counts(self) -> ConflictCounts:
        """What was counted so far."""
        with self._lock:
            winners = self._by_origin.most_common()
            return ConflictCounts(
                by_reason=dict(self._by_reason.most_common()),
                by_origin={format_origin(origin): count for origin, count in winners},
                other_origins=self._others,
            )
