"""What came out: whether the nodes agree, and how conflicts were settled."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mainjob.nodes import bytes_of
from mainjob.plan import Plan
from mainjob.screen import Screen

EXAMPLES = 3
VALUE_CHARACTERS_MAX = 70

Conflict = dict[str, Any]
"""As ``replicator conflicts --json`` prints it: key and versions, winner first."""


@dataclass(frozen=True)
class Outcome:
    """What was found once the nodes had agreed.

    Attributes:
        seconds: from the first load's start until nobody lacked anything.
        digests: by node.
        conflicts: as one node has them; equal digests say that all have the same.
        contents: what every node shows.
    """

    plan: Plan
    seconds: float
    digests: dict[str, str]
    conflicts: list[Conflict]
    contents: dict[str, dict[bytes, bytes]]

    @property
    def equal(self) -> bool:
        return len(set(self.digests.values())) == 1

    @property
    def wrong(self) -> dict[str, list[bytes]]:
        """By node, the keys that are lacking, unknown, or show what nobody wrote."""
        return {
            name: [
                key
                for key in self.plan.written.keys() | shown.keys()
                if shown.get(key) not in self.plan.written.get(key, ())
            ]
            for name, shown in self.contents.items()
        }

    @property
    def agrees(self) -> bool:
        return self.equal and not any(self.wrong.values())


def print_summary(screen: Screen, outcome: Outcome) -> None:
    """Print the result, each fact behind its name."""
    screen.say("")
    screen.fact("records", *_records(outcome))
    screen.fact("conflicts", *_conflicts(outcome.conflicts))
    screen.fact("speed", *_speed(outcome))
    screen.fact("digests", *_digests(outcome))


def _records(outcome: Outcome) -> Iterator[str]:
    count = len(outcome.plan.written)
    if not any(outcome.wrong.values()):
        yield f"{count:,}: every node shows each of them, with a value that was written"
    for name, keys in outcome.wrong.items():
        if keys:
            some = ", ".join(text_of(key) for key in keys[:EXAMPLES])
            yield f"WRONG: {len(keys):,} of {count:,} on node {name}, such as {some}"


def _conflicts(conflicts: list[Conflict]) -> Iterator[str]:
    ways = Counter(settled_by(conflict["versions"]) for conflict in conflicts)
    how = ", ".join(f"{count:,} by the {way}" for way, count in ways.most_common())
    yield f"{len(conflicts):,}, settled alike on all nodes: {how}" if conflicts else "none"
    by_way = {settled_by(conflict["versions"]): conflict for conflict in reversed(conflicts)}
    for way, conflict in by_way.items():
        yield ""
        yield f"for example {text_of(bytes_of(conflict['key']))}, by the {way}:"
        for place, version in enumerate(conflict["versions"]):
            yield f"{'>' if place == 0 else ' '} {_value(version)}"
            yield f"    {version['dot']}, clock {version['clock']}"
    if by_way:
        yield ""


def settled_by(versions: list[dict[str, Any]]) -> str:
    """What in the default order made the first version win."""
    winner, *losers = versions
    if all(winner["clock"] > loser["clock"] for loser in losers):
        return "higher clock"
    if all(winner["timestamp"] > loser["timestamp"] for loser in losers):
        return "later timestamp"
    return "greater dot"


def _speed(outcome: Outcome) -> Iterator[str]:
    count = sum(len(share) for share in outcome.plan.shares.values())
    yield f"{count / outcome.seconds:,.0f} records/s"
    yield (
        f"{count:,} records in {outcome.seconds:.1f} s: from when the three began to load until no "
        "node lacked anything of another, the kill and the second load included"
    )


def _digests(outcome: Outcome) -> Iterator[str]:
    for name, digest in outcome.digests.items():
        yield f"{name}  {digest}"
    yield "equal" if outcome.equal else "NOT EQUAL"


def _value(version: dict[str, Any]) -> str:
    value = version["value"]
    return "(deleted)" if value is None else _shortened(text_of(bytes_of(value)))


def text_of(data: bytes) -> str:
    return data.decode(errors="backslashreplace")


def _shortened(text: str) -> str:
    """The beginning and the end of a long text: the end tells values apart here."""
    half = VALUE_CHARACTERS_MAX // 2
    return text if len(text) <= 2 * half else f"{text[:half]} … {text[-half:]}"
