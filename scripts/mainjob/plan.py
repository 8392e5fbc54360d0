"""What is written where: the shares of the file, and the keys that two nodes write apart."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

NAMES = ("a", "b", "c")

MADE_RECORDS = 50_000
"""How many records are made where no file is given."""

CONTESTED_EVERY = 100
"""Of so many records one is written on two nodes while they are apart …"""

CORRECTED_EVERY = 3
"""… and of so many of those one is corrected at once on the second: there its clock is higher."""

Record = tuple[bytes, bytes]


@dataclass
class Plan:
    """Who writes what.

    Attributes:
        records: lines of the file.
        shares: what each node loads while all are connected.
        apart: what each node writes before, in two turns, while it knows of no other.
        contested: how many keys two nodes write apart.
        written: every value that is written anywhere, by key.
    """

    records: int = 0
    shares: dict[str, list[Record]] = field(default_factory=lambda: {name: [] for name in NAMES})
    apart: dict[str, tuple[list[Record], list[Record]]] = field(
        default_factory=lambda: {name: ([], []) for name in NAMES}
    )
    contested: int = 0
    written: dict[bytes, set[bytes]] = field(default_factory=dict)

    def add(self, record: Record) -> None:
        """Decide about the next record of the file."""
        place = self.records
        self.records += 1
        if place % CONTESTED_EVERY:
            self._write(record, self.shares[NAMES[place % len(NAMES)]])
        else:
            self._contest(record)

    def _contest(self, record: Record) -> None:
        key, value = record
        first = NAMES[self.contested % len(NAMES)]
        second = NAMES[(self.contested + 1) % len(NAMES)]
        self._write(record, self.apart[first][0])
        seen = b"%s (as %s saw it)" % (value, second.encode())
        if self.contested % CORRECTED_EVERY == 0:
            self._write((key, seen + b" draft"), self.apart[second][0])
            self._write((key, seen), self.apart[second][1])
        else:
            self._write((key, seen), self.apart[second][0])
        self.contested += 1

    def _write(self, record: Record, into: list[Record]) -> None:
        key, value = record
        into.append(record)
        self.written.setdefault(key, set()).add(value)


def make_plan(records: Iterator[Record]) -> Plan:
    """The plan for a file's records."""
    plan = Plan()
    for record in records:
        plan.add(record)
    return plan


def read_records(path: Path) -> Iterator[Record]:
    """The records of a file; what is no record is left for ``replicator load`` to complain of.

    Raises:
        ValueError: a line has no tab.
    """
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            key, tab, value = line.removesuffix(b"\n").removesuffix(b"\r").partition(b"\t")
            if tab:
                yield key, value
            elif key:
                raise ValueError(f"{path}, line {number}: there is no tab between key and value")


def made_records() -> Iterator[Record]:
    """Records out of thin air, the same at every run."""
    source = random.Random(1)
    for number in range(MADE_RECORDS):
        yield b"made:%08d" % number, source.randbytes(40).hex().encode()


def write_records(path: Path, records: list[Record]) -> Path:
    """Write a file for ``replicator load``."""
    path.write_bytes(b"".join(b"%s\t%s\n" % record for record in records))
    return path
