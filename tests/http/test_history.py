"""The last minutes of a node."""

from dataclasses import replace

from replicator.faces.http.history import FIELDS, History, Totals
from replicator.faces.http.limits import HISTORY_SAMPLES

NOTHING = Totals(0.0, 0, 0, 0, 0, 0, 0)


def test_rates_are_what_has_grown_by_the_seconds_between() -> None:
    history = History()
    assert history.add(NOTHING, 1000, 0, 0.0).writes == 0.0
    point = history.add(Totals(2.0, 100, 10, 5, 7, 4000, 1), 3000, 17, 3.14)
    assert point == type(point)(3000, 50.0, 5.0, 2.5, 3.5, 2000.0, 0.5, 17, 3.1)


def test_the_first_point_does_not_show_all_that_came_before_as_a_peak() -> None:
    assert History().add(replace(NOTHING, writes=1_000_000), 0, 0, 0.0).writes == 0.0


def test_two_looks_at_one_moment_have_no_rate() -> None:
    history = History()
    history.add(NOTHING, 0, 0, 0.0)
    assert history.add(replace(NOTHING, writes=5), 0, 0, 0.0).writes == 0.0


def test_a_counter_that_begins_anew_gives_no_rate_below_zero() -> None:
    history = History()
    history.add(replace(NOTHING, reads=100), 0, 0, 0.0)
    assert history.add(replace(NOTHING, at=1.0), 0, 0, 0.0).reads == 0.0


def test_it_keeps_ten_minutes() -> None:
    history = History()
    for second in range(HISTORY_SAMPLES + 50):
        history.add(replace(NOTHING, at=float(second)), second, 0, 0.0)
    told = history.told()
    points = told["points"]
    assert isinstance(points, list)
    assert len(points) == HISTORY_SAMPLES == 600
    assert points[0][0] == 50
    assert told["fields"] == FIELDS
    assert {len(point) for point in points} == {len(FIELDS)}
