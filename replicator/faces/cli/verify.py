"""``verify``: every row of a store against the others, and their repair."""

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from replicator.errors import UsageError
from replicator.faces.cli.codes import Exit
from replicator.faces.cli.door import Door, daemon_door
from replicator.faces.cli.options import DIRECTORY, FILE, config_option, given_to, json_option
from replicator.faces.cli.output import escaped, print_json
from replicator.faces.cli.progress import Bar
from replicator.faces.configuration import Config
from replicator.faces.unixsocket import DIRECTORY_NAME
from replicator.store.verify.directory import Directory, stopped
from replicator.store.verify.faults import ABOUT, Fault, Kind
from replicator.store.verify.mending import Outcome
from replicator.store.verify.repair import Repair
from replicator.store.verify.sidefile import SideFile

SHOWN_MAX = 20
"""Faults of one kind that are printed for people unless they ask for all."""


@click.command()
@click.argument("directory", metavar="DIR", type=DIRECTORY)
@click.option("--repair", is_flag=True, help="Mend what is found. The daemon must be stopped.")
@click.option(
    "--changed",
    type=click.Choice(["adopt", "undo"]),
    default="adopt",
    show_default=True,
    help="With --repair, what becomes of values changed behind the replicator's back: writes of "
    "this node, or what was written before, from the peers if need be.",
)
@click.option(
    "--copy",
    "copy_to",
    type=FILE,
    metavar="FILE",
    help="With --repair, where the rows to be changed are copied first.  "
    "[default: DIR/replicator/repair-TIME.jsonl]",
)
@click.option("--all", "show_all", is_flag=True, help="Print every fault, however many there are.")
@config_option("Of the node.")
@json_option
def verify(
    directory: Path,
    repair: bool,
    changed: str,
    copy_to: Path | None,
    show_all: bool,
    config_file: Path | None,
    as_json: bool,
) -> int:
    """Check every row of the store in DIR, and every value against its checksum.

    Reads everything, LevelDB's own checksums included, and changes nothing. A daemon that runs on
    DIR does it itself, beside its work. Exits with 1 where something is wrong.

    With --repair every row that is going to be changed is copied first. What is lost here comes
    back from the peers: nothing of it counts as known any more. docs/VERIFY.md tells about every
    kind of fault.

    \b
        replicator verify ./a
        replicator verify ./a --repair
    """
    config = given_to(config_file, {}).read()
    with Bar("verifying", is_wanted=not as_json) as show:
        report = Report(directory, as_json, show_all, show)
        door = daemon_door(directory)
        if door is not None:
            if repair:
                door.close()
                raise UsageError(f"a daemon runs on {directory}: stop it, then repair")
            _ask(door, report)
        else:
            with stopped(directory) as found:
                if repair:
                    _repair(found, report, config, changed == "undo", copy_to)
                else:
                    _look(found, report)
    return report.conclude()


class Report:
    """What is printed.

    Args:
        show_all: whether every fault is printed.
        show: how far it is.

    Attributes:
        keys: how many records were looked at.
        counts: how many faults of each kind there are; after a repair, how many are left.
        notes: what is unfinished.
        copy: the file with the rows of before a repair.
    """

    def __init__(self, directory: Path, as_json: bool, show_all: bool, show: Bar) -> None:
        self.keys = 0
        self.counts: Counter[str] = Counter()
        self.notes: list[str] = []
        self.copy: Path | None = None
        self._show = show
        self._directory = directory
        self._as_json = as_json
        self._show_all = show_all or as_json
        self._printed: Counter[str] = Counter()
        self._started = time.monotonic()

    def looked_at(self, keys: int) -> None:
        """Tell how many records were looked at so far."""
        self._show(keys, f"{keys:,} keys")

    def mended(self, faults: int) -> None:
        """Tell how many faults were mended so far."""
        self._show(faults, f"{faults:,} faults mended")

    def fault(self, found: Mapping[str, Any], outcome: Outcome | None = None) -> None:
        """Print a fault, and what became of it."""
        with self._show.aside():
            self._fault(found, outcome)

    def _fault(self, found: Mapping[str, Any], outcome: Outcome | None) -> None:
        kind = found["fault"]
        self._printed[kind] += 1
        if self._as_json:
            mended = {}
            if outcome is not None:
                mended = {"done": outcome.done, "lost": [str(dot) for dot in outcome.lost]}
            print_json({**found, **mended})
        elif self._show_all or self._printed[kind] <= SHOWN_MAX:
            detail = f": {escaped(found['detail'])}" if found["detail"] else ""
            click.echo(f"{kind}  {escaped(found['key'])}\n    {ABOUT[Kind(kind)]}{detail}")
            if outcome is not None:
                click.echo(f"    → {escaped(outcome.done)}")
                for dot in outcome.lost:
                    click.echo(f"    lost here, unless a peer has it: {dot}")
        elif self._printed[kind] == SHOWN_MAX + 1:
            click.echo(f"{kind}  … --all prints the others")

    def conclude(self) -> int:
        """Print the summary; returns the exit code."""
        seconds = time.monotonic() - self._started
        is_sound = not self.counts
        if self._as_json:
            done = {"done": True, "keys": self.keys, "faults": dict(self.counts)}
            copy = {} if self.copy is None else {"copy": str(self.copy)}
            found = {**done, **copy, "notes": self.notes, "sound": is_sound}
            print_json({**found, "seconds": round(seconds, 3)})
            return Exit.OK if is_sound else Exit.NO
        for note in self.notes:
            click.echo(f"note: {escaped(note)}")
        if self.copy is not None:
            click.echo(f"the rows of before are in {escaped(str(self.copy))}")
        rate = f"{self.keys:,} keys in {seconds:.1f} s"
        if is_sound:
            click.echo(f"sound: {rate}")
            return Exit.OK
        kinds = ", ".join(f"{kind} {count:,}" for kind, count in sorted(self.counts.items()))
        left = "left" if self.copy is not None else "found"
        click.echo(f"{self.counts.total():,} faults {left}: {kinds} ({rate})")
        if self.copy is None:
            where = escaped(str(self._directory))
            click.echo(f"replicator verify {where} --repair mends what can be mended")
        return Exit.NO


def _ask(door: Door, report: Report) -> None:
    """A running daemon verifies itself."""
    try:
        reply: Any = door.call(b"REPL.VERIFY")
        while True:
            report.looked_at(reply[b"keys"])
            for found in reply[b"faults"]:
                named = {name.decode(): value for name, value in found.items()}
                named["fault"] = named["fault"].decode()
                named["detail"] = named["detail"].decode()
                report.fault(named)
            if reply[b"is_done"]:
                break
            reply = door.call(b"REPL.MORE")
    finally:
        door.close()
    report.keys = reply[b"keys"]
    report.counts.update({kind.decode(): count for kind, count in reply[b"counts"].items()})
    report.notes += [note.decode() for note in reply[b"notes"]]


def _look(directory: Directory, report: Report, *, shows: bool = True) -> None:
    """Verify all stores of a stopped directory."""
    for prefix, fault in _faults(directory, report):
        report.counts[fault.kind] += 1
        if shows:
            report.fault(_named(fault, prefix))


def _faults(directory: Directory, report: Report) -> Iterator[tuple[bytes, Fault]]:
    yield from ((b"", fault) for fault in directory.faults)
    for prefix in directory.prefixes:
        with directory.scan(prefix) as scan:
            for step in scan.steps():
                report.looked_at(report.keys + scan.keys)
                if step is not None:
                    yield prefix, step
            report.keys += scan.keys
            report.notes += scan.notes


def _named(fault: Fault, prefix: bytes) -> dict[str, Any]:
    found = {
        "fault": str(fault.kind),
        "key": fault.key,
        "detail": fault.detail,
        "dot": None if fault.dot is None else str(fault.dot),
    }
    return {**found, "prefix": prefix} if prefix else found


def _repair(
    directory: Directory, report: Report, config: Config, undo: bool, copy_to: Path | None
) -> None:
    """Mend all stores of a stopped directory, then verify again."""
    directory = directory.with_registry_mended()
    keywords = config.keywords
    for place, prefix in enumerate(directory.prefixes):
        repair = Repair(
            directory.namespace(prefix),
            directory.path,
            resolver=keywords.get("resolver"),
            resolver_mode=keywords.get("resolver_mode", "concurrent"),
            undo=undo,
        )
        header = {"directory": str(directory.path), "prefix": prefix.hex()}
        with SideFile(_copy_path(directory, copy_to, place), header) as side_file:
            repair.copy(side_file, report.looked_at)
            if not repair.counts:
                side_file.discard()
                continue
            report.copy = side_file.path
            for count, (fault, outcome) in enumerate(repair.mend(side_file)):
                report.mended(count)
                report.fault(_named(fault, prefix), outcome)
    _look(directory, report, shows=False)


def _copy_path(directory: Directory, copy_to: Path | None, place: int) -> Path:
    """Each store of a directory has a file of its own."""
    if copy_to is None:
        moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
        copy_to = directory.path / DIRECTORY_NAME / f"repair-{moment}.jsonl"
    return copy_to.with_name(f"{copy_to.name}-{place + 1}") if place else copy_to
