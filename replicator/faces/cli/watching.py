"""What a watched node did between two looks: rates, and what has happened. No terminal here."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from replicator.faces.cli.output import escaped

SAMPLES_MAX = 240
"""Looks that are remembered for the plots."""

EVENTS_MAX = 50
"""Events that are remembered."""

RATES = ("writes", "records in", "records out", "bytes in", "bytes out")
"""What is counted per second."""

COUNTED_EVENTS = {
    "conflicts": "new conflicts",
    "resolver_faults": "failures of the resolver",
    "commit_failures": "commits that failed",
    "skewed": "writes dated too far ahead",
    "forks": "forks of this directory that were found",
}
"""Counters whose growth is an event, and what is said of it."""


@dataclass(frozen=True, slots=True)
class Look:
    """A node at one moment.

    Attributes:
        at: seconds, of a clock that nobody sets.
        status, members: what the daemon told; None where it did not answer.
        problem: why it did not.
    """

    at: float
    status: dict[str, Any] | None = None
    members: tuple[dict[str, Any], ...] = ()
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that has happened.

    Attributes:
        clock: wall clock, seconds since the epoch.
        text: for people, safe for a terminal.
        is_bad: whether somebody may have to do something.
        counts: how many there were of what has happened, 0 where that makes no sense. Those of the
            same text that follow each other are one, which grows.
    """

    clock: float
    text: str
    is_bad: bool = False
    counts: int = 0

    def __str__(self) -> str:
        return f"{self.text}: {self.counts:,}" if self.counts else self.text


class History:
    """The looks of one watch.

    Attributes:
        now: the latest look.
        events: what has happened, the oldest first.
        rates: by the names of `RATES`, per second, a value for each two looks.
    """

    def __init__(self) -> None:
        self.now = Look(0.0)
        self.events: deque[Event] = deque(maxlen=EVENTS_MAX)
        self.rates: dict[str, deque[float]] = {name: deque(maxlen=SAMPLES_MAX) for name in RATES}
        self._last: Look | None = None
        """The latest look that the daemon has answered."""

    def add(self, look: Look, clock: float) -> list[Event]:
        """Take in a look.

        Args:
            clock: the wall clock, seconds since the epoch.

        Returns:
            What has happened since the one before.
        """
        events = list(self._events(look, clock))
        for event in events:
            last = self.events[-1] if self.events else None
            if event.counts and last is not None and last.text == event.text:
                self.events.pop()
                event = replace(event, counts=event.counts + last.counts)
            self.events.append(event)
        self._count(look)
        return events

    def _count(self, look: Look) -> None:
        before, self.now = self._last, look
        if look.status is None:
            for rates in self.rates.values():
                rates.append(0.0)
            return
        self._last = look
        if before is not None and before.status is not None:
            seconds = max(look.at - before.at, 1e-3)
            counts, then = _counts(look.status), _counts(before.status)
            for name, rates in self.rates.items():
                # A daemon that was started again counts from 0.
                rates.append(max(counts[name] - then[name], 0) / seconds)

    def rate(self, name: str) -> float:
        """The latest rate, per second."""
        rates = self.rates[name]
        return rates[-1] if rates else 0.0

    def _events(self, look: Look, clock: float) -> Iterator[Event]:
        if look.status is None:
            if not self.now.problem:
                yield Event(clock, escaped(look.problem), is_bad=True)
            return
        if self.now.problem:
            yield Event(clock, "the daemon answers again")
        before = self._last
        if before is None or before.status is None:
            return
        told, then = look.status, before.status
        if told["origin"] != then["origin"]:
            yield Event(clock, f"this node is of another origin now: {told['origin']}", is_bad=True)
        if told["write_gate"] != then["write_gate"]:
            yield Event(clock, f"the write gate: {escaped(told['write_gate'])}")
        for name, text in COUNTED_EVENTS.items():
            grown = told["counters"].get(name, 0) - then["counters"].get(name, 0)
            if grown > 0:
                yield Event(clock, text, is_bad=name != "conflicts", counts=grown)
        if told["digests"]["differing"] > then["digests"]["differing"]:
            yield Event(clock, "the data of a peer differs; it is being mended", is_bad=True)
        yield from _peer_events(told["peers"], then["peers"], clock)
        yield from _member_events(look.members, before.members, clock)


def _peer_events(
    told: list[dict[str, Any]], then: list[dict[str, Any]], clock: float
) -> Iterator[Event]:
    known = {peer["address"]: peer for peer in then}
    for peer in told:
        was = known.get(peer["address"], {})
        name = called(peer)
        # Conversations begin and end all the time; what counts is one after a failure.
        if peer["connected"] and (not was or was["last_error"] or was["name"] is None):
            yield Event(clock, f"connected with {name}")
        error = peer["last_error"]
        if error is not None and error != was.get("last_error"):
            yield Event(clock, f"{name}: {escaped(error)}", is_bad=True)
        if peer["blocked"] and not was.get("blocked"):
            text = f"{name} is left alone until a person has looked at it"
            yield Event(clock, text, is_bad=True)


def _member_events(
    told: tuple[dict[str, Any], ...], then: tuple[dict[str, Any], ...], clock: float
) -> Iterator[Event]:
    known = {member["origin"]: member for member in then}
    for member in told:
        was = known.pop(member["origin"], None)
        name = escaped(member["name"])
        if was is None:
            yield Event(clock, f"{name} is a member now")
        elif was["alive"] and not member["alive"]:
            yield Event(clock, f"{name} is silent", is_bad=True)
        elif member["alive"] and not was["alive"]:
            yield Event(clock, f"{name} was heard of again")
    for member in known.values():
        yield Event(clock, f"{escaped(member['name'])} is no member any more")


def called(peer: dict[str, Any]) -> str:
    """What a peer is called, safe for a terminal; its address where it has never greeted."""
    return escaped(peer["address"] if peer["name"] is None else peer["name"])


def _counts(status: dict[str, Any]) -> dict[str, int]:
    peers = status["peers"]
    traffic = status.get("traffic") or {  # a daemon of version 0.2.0 says less
        "records_in": sum(peer["records_in"] for peer in peers),
        "records_out": sum(peer["records_out"] for peer in peers),
        "bytes_in": 0,
        "bytes_out": 0,
    }
    return {
        "writes": status["counters"]["writes"],
        "records in": traffic["records_in"],
        "records out": traffic["records_out"],
        "bytes in": traffic["bytes_in"],
        "bytes out": traffic["bytes_out"],
    }
