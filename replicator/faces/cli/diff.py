"""``diff``: which keys two stores hold differently, and how."""

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from replicator.core.dots import parse_origin
from replicator.core.known import KnownSet
from replicator.faces.cli.codes import Exit
from replicator.faces.cli.door import Door, open_door
from replicator.faces.cli.options import DIRECTORY, config_option, given_to, json_option
from replicator.faces.cli.output import escaped, print_json
from replicator.faces.cli.progress import Bar

ONLY_A, ONLY_B = "only-in-a", "only-in-b"
CONFLICT_A, CONFLICT_B = "conflict-in-a", "conflict-in-b"
OTHER_VALUE, OTHER_VERSIONS = "other-value", "other-versions"

WORDS: Mapping[str, str] = {
    ONLY_A: "only in A",
    ONLY_B: "only in B",
    CONFLICT_A: "in conflict in A, not in B",
    CONFLICT_B: "in conflict in B, not in A",
    OTHER_VALUE: "another value",
    OTHER_VERSIONS: "the same value, other versions",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One key of one side.

    Attributes:
        shown: CRC-32 of the value that it shows; None for none.
        versions: [dot, operation, clock, timestamp, expiry, checksum] each, in dot order.
    """

    key: bytes
    shown: int | None
    versions: list[list[Any]]

    def is_over(self, moment_ms: int) -> bool:
        """Whether all of it is deleted, or had expired by then: such records go sooner or later
        (R8), and no digest covers them (R16)."""
        return not any(
            operation == b"put" and (expiry_ms is None or expiry_ms > moment_ms)
            for _, operation, _, _, expiry_ms, _ in self.versions
        )

    @property
    def is_conflict(self) -> bool:
        """Whether two of its versions differ in operation or value."""
        return len({(version[1], version[5]) for version in self.versions}) > 1


class Side:
    """One of the two stores, as of one moment.

    Attributes:
        known: which writes it holds.
        digest: its digest.
    """

    def __init__(self, door: Door, moment_ms: int) -> None:
        self._door = door
        self._moment_ms = moment_ms
        head = door.call(b"REPL.RECORDS", b"%d" % moment_ms)
        self.digest: bytes = head[b"digest"]
        self.known = KnownSet(
            {parse_origin(origin.decode()): bounds for origin, bounds in head[b"known"].items()}
        )

    def entries(self, show: Bar | None = None) -> Iterator[Entry]:
        """Every key with a put, in key order.

        Args:
            show: told how many there were so far.
        """
        keys = 0
        while page := self._door.call(b"REPL.MORE"):
            keys += len(page)
            if show is not None:
                show(keys, f"{keys:,} keys")
            for item in page:
                entry = Entry(*item)
                if not entry.is_over(self._moment_ms):
                    yield entry


@click.command()
@click.argument("a", metavar="A", type=DIRECTORY)
@click.argument("b", metavar="B", type=DIRECTORY)
@click.option("--values", is_flag=True, help="Print the values, too, as they are by then.")
@click.option("--limit", type=click.IntRange(min=0), help="Print that many keys, at most.")
@config_option("Of the nodes.")
@json_option
def diff(
    a: Path, b: Path, values: bool, limit: int | None, config_file: Path | None, as_json: bool
) -> int:
    """Print which keys the stores in A and B hold differently, and how.

    Each is asked through its daemon, or opened where none runs. Nothing is compared where their
    digests are equal. Keys that are deleted on both sides are left out, and so is by whom a value
    was deleted. Where one side lacks writes of the other, differences are natural: the first lines
    say so. Exits with 1 where there are any.

    \b
        replicator diff ./a ./b
        replicator diff ./a ./b --values --limit 10
    """
    config = given_to(config_file, {}).read()
    counts: Counter[str] = Counter()
    moment_ms = time.time_ns() // 1_000_000
    with (
        open_door(a, config) as door_a,
        open_door(b, config) as door_b,
        Bar("comparing", is_wanted=not as_json) as show,
    ):
        sides = Side(door_a, moment_ms), Side(door_b, moment_ms)
        with show.aside():
            _tell_lacks(*sides, as_json)
        if sides[0].digest != sides[1].digest:
            for key, how in differences(sides[0].entries(show), sides[1].entries()):
                counts[how] += 1
                if limit is None or counts.total() <= limit:
                    doors = (door_a, door_b) if values else ()
                    found = [door.call(b"GET", key) for door in doors]
                    with show.aside():
                        _print(key, how, found, as_json)
    is_equal = not counts
    if as_json:
        print_json({"done": True, "differences": dict(counts), "equal": is_equal})
    elif is_equal:
        click.echo("equal")
    else:
        kinds = ", ".join(f"{count:,} {WORDS[how]}" for how, count in counts.items())
        click.echo(f"{counts.total():,} keys differ: {kinds}")
    return Exit.OK if is_equal else Exit.NO


def differences(a: Iterator[Entry], b: Iterator[Entry]) -> Iterator[tuple[bytes, str]]:
    """The keys that differ, with how: both sides read in key order, side by side."""
    ours, theirs = next(a, None), next(b, None)
    while ours is not None or theirs is not None:
        if theirs is None or (ours is not None and ours.key < theirs.key):
            assert ours is not None
            yield ours.key, ONLY_A
            ours = next(a, None)
        elif ours is None or theirs.key < ours.key:
            yield theirs.key, ONLY_B
            theirs = next(b, None)
        else:
            how = _how(ours, theirs)
            if how is not None:
                yield ours.key, how
            ours, theirs = next(a, None), next(b, None)


def _how(ours: Entry, theirs: Entry) -> str | None:
    if ours.versions == theirs.versions and ours.shown == theirs.shown:
        return None
    if ours.is_conflict != theirs.is_conflict:
        return CONFLICT_A if ours.is_conflict else CONFLICT_B
    return OTHER_VALUE if ours.shown != theirs.shown else OTHER_VERSIONS


def _tell_lacks(a: Side, b: Side, as_json: bool) -> None:
    """Which side lacks how many writes of the other."""
    lacks = {"a": b.known.difference(a.known).count(), "b": a.known.difference(b.known).count()}
    if as_json:
        print_json({"a_lacks": lacks["a"], "b_lacks": lacks["b"]})
        return
    for name, count in lacks.items():
        if count:
            other = "B" if name == "a" else "A"
            click.echo(f"{name.upper()} lacks {count:,} writes of {other}")


def _print(key: bytes, how: str, values: list[bytes | None], as_json: bool) -> None:
    if as_json:
        shown = dict(zip(("value_a", "value_b"), values, strict=False))
        print_json({"key": key, "how": how, **shown})
        return
    click.echo(f"{escaped(key)}  {WORDS[how]}")
    for name, value in zip("AB", values, strict=False):
        click.echo(f"    {name}: {'(no value)' if value is None else escaped(value)}")
