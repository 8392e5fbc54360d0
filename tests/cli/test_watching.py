"""What a watch makes of two looks: rates and events. No terminal, no daemon."""

import copy
from typing import Any

from replicator.faces.cli.watching import SAMPLES_MAX, History, Look

PEER = {
    "address": "10.0.0.2:9000",
    "name": "b",
    "connected": True,
    "direction": "dialled",
    "doing": "open, idle, idle",
    "lag_entries": 0,
    "lag_seconds": 0.0,
    "last_error": None,
    "blocked": False,
    "rounds": 0,
    "records_in": 0,
    "records_out": 0,
}

MEMBER = {
    "name": "b",
    "origin": "b" * 16,
    "is_self": False,
    "alive": True,
    "lag_entries": 0,
    "last_seen_seconds": 1.0,
    "version": "0.2.0",
}

STATUS: dict[str, Any] = {
    "name": "a",
    "origin": "a" * 16,
    "cluster": "default",
    "write_gate": "caught up",
    "address": "127.0.0.1:9000",
    "members": 2,
    "entries": 10,
    "held_by_all": 9,
    "counters": {"writes": 0, "conflicts": 0, "commit_failures": 0, "forks": 0},
    "conflicts": {"by_reason": {}, "by_origin": {}},
    "digests": {"equal": 0, "differing": 0, "mended": 0},
    "traffic": {"rounds": 0, "records_in": 0, "records_out": 0, "bytes_in": 0, "bytes_out": 0},
    "peers": [PEER],
}


def look(at: float = 0.0, members: tuple[dict[str, Any], ...] = (MEMBER,), **told: Any) -> Look:
    """A node at a moment; what is told replaces a part of `STATUS`, by dotted names."""
    status = copy.deepcopy(STATUS)
    for name, value in told.items():
        place = status
        *way, last = name.split("__")
        for step in way:
            place = place[int(step) if step.isdigit() else step]
        place[last] = value
    return Look(at, status, members)


def happened(*looks: Look) -> list[str]:
    history = History()
    return [str(event) for one in looks for event in history.add(one, 0.0)]


def test_rates_are_what_was_done_between_two_looks() -> None:
    history = History()
    history.add(look(10.0, counters__writes=100), 0.0)
    assert history.rate("writes") == 0
    history.add(look(12.0, counters__writes=150, traffic__bytes_in=4000), 0.0)
    assert history.rate("writes") == 25
    assert history.rate("bytes in") == 2000
    history.add(look(14.0, counters__writes=3), 0.0)  # it was started again
    assert history.rate("writes") == 0


def test_a_daemon_that_is_away_makes_no_rate_and_no_leap() -> None:
    history = History()
    history.add(look(1.0, counters__writes=100), 0.0)
    history.add(Look(2.0, problem="it went away"), 0.0)
    history.add(Look(3.0, problem="it went away"), 0.0)
    history.add(look(11.0, counters__writes=200), 0.0)
    assert list(history.rates["writes"]) == [0, 0, 10]
    assert [str(event) for event in history.events] == ["it went away", "the daemon answers again"]


def test_an_old_daemon_tells_less() -> None:
    history = History()
    for at, records in ((1.0, 10), (2.0, 30)):
        one = look(at, peers__0__records_in=records)
        assert one.status is not None
        del one.status["traffic"]
        history.add(one, 0.0)
    assert history.rate("records in") == 20
    assert history.rate("bytes in") == 0


def test_the_past_is_bounded() -> None:
    history = History()
    for second in range(SAMPLES_MAX + 50):
        history.add(look(float(second), peers__0__last_error=f"error {second}"), 0.0)
    assert len(history.rates["writes"]) == SAMPLES_MAX
    assert len(history.events) == 50
    assert str(history.events[-1]) == f"b: error {SAMPLES_MAX + 49}"


def test_what_happens() -> None:
    assert happened(look(), look()) == []
    assert happened(look(), look(origin="c" * 16)) == [
        f"this node is of another origin now: {'c' * 16}"
    ]
    assert happened(look(), look(write_gate="shut")) == ["the write gate: shut"]
    assert happened(look(), look(counters__commit_failures=2)) == ["commits that failed: 2"]
    assert happened(look(), look(digests__differing=1)) == [
        "the data of a peer differs; it is being mended"
    ]
    refused = look(peers__0__last_error="refused", peers__0__connected=False)
    assert happened(look(), refused, refused, look()) == ["b: refused", "connected with b"]
    assert happened(look(), look(peers__0__connected=False), look()) == []  # idle ones come and go
    assert happened(look(), look(peers__0__blocked=True)) == [
        "b is left alone until a person has looked at it"
    ]
    silent = look(members=({**MEMBER, "alive": False},))
    assert happened(look(), silent, look()) == ["b is silent", "b was heard of again"]
    assert happened(look(), look(members=()), look()) == [
        "b is no member any more",
        "b is a member now",
    ]


def test_counts_of_one_kind_that_follow_each_other_are_one_event() -> None:
    history = History()
    for conflicts in (0, 2, 5):
        history.add(look(counters__conflicts=conflicts), 0.0)
    assert [str(event) for event in history.events] == ["new conflicts: 5"]
    history.add(look(counters__conflicts=5, write_gate="open"), 0.0)
    history.add(look(counters__conflicts=6, write_gate="open"), 0.0)
    assert str(history.events[-1]) == "new conflicts: 1"


def test_names_and_errors_of_strangers_are_escaped() -> None:
    evil = "b\x1b[31m\n"
    (event,) = happened(
        look(peers__0__name=evil), look(peers__0__name=evil, peers__0__last_error="x\x07")
    )
    assert event == r"b\x1b[31m\n: x\x07"
    assert happened(look(), look(members=({**MEMBER, "name": evil, "origin": "e"}, MEMBER))) == [
        r"b\x1b[31m\n is a member now"
    ]
