"""The last minutes of a node, so that a page that is opened now has them at once."""

from collections import deque
from dataclasses import astuple, dataclass, fields

from replicator.faces.http.limits import (
    HISTORY_SAMPLES,
    SAMPLE_SECONDS,
)


@dataclass(frozen=True, slots=True)
class Totals:
    """What a node has done so far, at one moment.

    Attributes:
        at: seconds of a monotonic clock.
    """

    at: float
    writes: int
    reads: int
    records_in: int
    records_out: int
    bytes_in: int
    bytes_out: int


@dataclass(frozen=True, slots=True)
class Point:
    """One point of the plots: rates since the one before, and how far peers are behind.

    Attributes:
        at_ms: wall clock, milliseconds since the epoch.
        writes, reads, records_in, records_out, bytes_in, bytes_out: per second.
        lag_entries, lag_seconds: of the peer that is furthest behind.
    """

    at_ms: int
    writes: float
    reads: float
    records_in: float
    records_out: float
    bytes_in: float
    bytes_out: float
    lag_entries: int
    lag_seconds: float


FIELDS = tuple(field.name for field in fields(Point))


class History:
    """A ring of the last `HISTORY_SAMPLES` points."""

    def __init__(self) -> None:
        self._points: deque[Point] = deque(maxlen=HISTORY_SAMPLES)
        self._before: Totals | None = None

    def add(self, totals: Totals, at_ms: int, lag_entries: int, lag_seconds: float) -> Point:
        """Note a moment; the first has no rates."""
        before, self._before = self._before, totals
        before = before or totals
        seconds = totals.at - before.at

        def rate(name: str) -> float:
            grown: int = getattr(totals, name) - getattr(before, name)
            return round(max(0, grown) / seconds, 2) if seconds > 0 else 0.0

        point = Point(
            at_ms,
            writes=rate("writes"),
            reads=rate("reads"),
            records_in=rate("records_in"),
            records_out=rate("records_out"),
            bytes_in=rate("bytes_in"),
            bytes_out=rate("bytes_out"),
            lag_entries=lag_entries,
            lag_seconds=round(lag_seconds, 1),
        )
        self._points.append(point)
        return point

    def told(self) -> dict[str, object]:
        """All points, for a page."""
        return {
            "every_seconds": SAMPLE_SECONDS,
            "fields": FIELDS,
            "points": [astuple(point) for point in self._points],
        }
