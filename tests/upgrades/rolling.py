"""A rolling upgrade under load: three nodes of 0.1.0, writers beside each, one node after the other
stopped and started again on the same directory with this version.

``python -m tests.upgrades`` runs it to be watched; `tests.upgrades.test_rolling` asserts.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.cli.daemons import Daemon, documents, until
from tests.cli.test_configs import addresses
from tests.upgrades.earlier import Earlier, running
from tests.upgrades.writers import Ledger, writing

NAMES = ("a", "b", "c")


@dataclass(frozen=True, slots=True)
class Step:
    """The upgrade of one node.

    Attributes:
        name: of the node.
        seconds: from the signal until the new process said that it was ready.
        pause_seconds: for how long its own writers had no write acknowledged.
        others: how many writes each other node's writers had acknowledged until it was ready.
    """

    name: str
    seconds: float
    pause_seconds: float
    others: dict[str, int]

    def __str__(self) -> str:
        taken = " and ".join(f"{count:,} at {name}" for name, count in self.others.items())
        return (
            f"{self.name}: ready again after {self.seconds:.2f} s, no write there for "
            f"{self.pause_seconds:.2f} s; meanwhile {taken}"
        )


class Rolling:
    """Three daemons that know each other's addresses.

    Attributes:
        paths, daemons, ledgers: by the node's name.
    """

    def __init__(self, earlier: Earlier, directory: Path, stack: ExitStack) -> None:
        self._earlier = earlier
        self._stack = stack
        self.paths = {name: directory / name for name in NAMES}
        self._addresses = dict(zip(NAMES, addresses(len(NAMES)), strict=True))
        self.daemons: dict[str, Daemon] = {}
        self.ledgers: dict[str, list[Ledger]] = {}

    def start(self, name: str, within: tuple[str, ...] = ()) -> None:
        others = [part for one in NAMES if one != name for part in ("--peer", self._addresses[one])]
        where = ("--listen", self._addresses[name])
        daemon = running(self.paths[name], *where, *others, within=within)
        self.daemons[name] = self._stack.enter_context(daemon)

    def upgrade(self, name: str) -> Step:
        """SIGTERM, and this version on the same directory and address."""
        began = time.monotonic()
        assert self.daemons[name].end() == 0
        self.start(name)
        ended = time.monotonic()
        until(lambda: all(ledger.taken_since(ended) > 20 for ledger in self.ledgers[name]))
        others = {
            one: sum(ledger.during(began, ended) for ledger in self.ledgers[one])
            for one in NAMES
            if one != name
        }
        pause = max(ledger.longest_pause(began) for ledger in self.ledgers[name])
        return Step(name, ended - began, pause, others)

    def digests(self) -> set[str]:
        paths = map(str, self.paths.values())
        return {str(documents("digest", "--data", path)[0]["digest"]) for path in paths}

    def contents(self, name: str) -> dict[bytes, bytes]:
        found = documents("scan", "--data", str(self.paths[name]))
        return {one["key"].encode(): one["value"].encode() for one in found}

    def lost(self, name: str) -> list[bytes]:
        """The keys that a node does not show as a writer anywhere was told."""
        held = self.contents(name)
        return [
            key
            for ledgers in self.ledgers.values()
            for ledger in ledgers
            for key in ledger.unsure
            if not ledger.allows(key, held.get(key))
        ]


@contextmanager
def upgraded(
    earlier: Earlier,
    directory: Path,
    *,
    writers: int,
    seconds: float,
    tell: Callable[[Step], None],
) -> Iterator[Rolling]:
    """The cluster when all of it is upgraded, the writers have stopped and its digests are equal.

    Args:
        writers: how many beside each node.
        seconds: for how long they write between two steps, at least.
        tell: is given each step.
    """
    with ExitStack() as stack:
        rolling = Rolling(earlier, directory, stack)
        for name in NAMES:
            rolling.start(name, earlier.within)
        with writing(rolling.paths, writers) as rolling.ledgers:
            every = [ledger for ledgers in rolling.ledgers.values() for ledger in ledgers]
            until(lambda: all(len(ledger.times) > 50 for ledger in every))
            for name in NAMES:
                time.sleep(seconds)
                tell(rolling.upgrade(name))
            time.sleep(seconds)
        until(lambda: len(rolling.digests()) == 1)
        yield rolling
