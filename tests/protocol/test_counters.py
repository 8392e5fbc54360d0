"""Counters follow the reports."""

from replicator.protocol.counters import Counters
from replicator.protocol.effects import Report


def test_rounds_are_counted_by_direction() -> None:
    counters = Counters()
    for report in [
        Report("met", "peer"),
        Report("round", records=3, changed=1, size_bytes=50),
        Report("round", records=2, size_bytes=7, full=True),
        Report("served", records=5, size_bytes=11),
        Report("skew", "late"),
    ]:
        counters = counters.after(report)
    assert counters == Counters(
        rounds=2,
        records=5,
        size_bytes=57,
        rounds_served=1,
        records_served=5,
        size_bytes_served=11,
    )
