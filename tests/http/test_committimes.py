"""How long commits take."""

import pytest

from replicator.faces.http.committimes import BOUNDS_SECONDS, CommitTimes


def test_a_bucket_holds_what_is_up_to_its_bound() -> None:
    times = CommitTimes()
    for seconds in (0.0, BOUNDS_SECONDS[0], BOUNDS_SECONDS[0] * 1.01, BOUNDS_SECONDS[-1], 60.0):
        times.observe(seconds)
    counts = times.counts()
    assert counts.counts[:2] == (2, 1)
    assert counts.counts[-2:] == (1, 1)
    assert sum(counts.counts) == 5
    assert counts.seconds == pytest.approx(62.5, abs=0.001)


def test_counts_are_of_their_moment() -> None:
    times = CommitTimes()
    before = times.counts()
    times.observe(1.0)
    assert sum(before.counts) == 0


def test_bounds_grow() -> None:
    assert list(BOUNDS_SECONDS) == sorted(set(BOUNDS_SECONDS))
