"""Three nodes load a file together, one is killed midway, and all end with the same data.

Everything is done with the command that users have:

1. Three daemons run without knowing of each other. Every hundredth record is written on two of
   them, with another value on the second: conflicts to be.
2. They are started again as each other's peers, and each loads a third of the file, all three at
   once. When node c has half of its third it is killed (SIGKILL) and started again, and its load
   is repeated: what it holds already makes no new version.
3. Once all have the same digest, every record is looked for on every node.

Exits with 0 only where the digests are equal and every node shows, for every key of the file and
no other, a value that was written; with 1 where they do not; with 2 where something failed.
"""

import argparse
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import TypeVar

from mainjob.nodes import Node, NodeError
from mainjob.plan import NAMES, Plan, made_records, make_plan, read_records, write_records
from mainjob.screen import Advance, Screen
from mainjob.summary import Outcome, print_summary

KILLED = "c"
AGREEMENT_SECONDS_MAX = 300

T = TypeVar("T")


class MainJob:
    """One run.

    Args:
        home: directory for the nodes and for the files that they load.
        plan: who writes what.
        screen: where people watch it.
    """

    def __init__(self, home: Path, plan: Plan, screen: Screen) -> None:
        self._home = home
        self._plan = plan
        self._screen = screen
        self._nodes = {name: Node(name, home) for name in NAMES}
        self._cut_at = 0
        self._away_seconds = 0.0

    def run(self) -> Outcome:
        """The whole job; leaves no process behind.

        Raises:
            NodeError: a node or a command failed.
        """
        try:
            self._write_apart()
            return self._load_together()
        finally:
            self._clean_up()

    def _write_apart(self) -> None:
        with self._screen.doing("starting three nodes that know of no other"):
            for node in self._nodes.values():
                node.start(peers=[])
        total = sum(len(turn) for turn in chain.from_iterable(self._plan.apart.values()))
        with self._screen.bars({"apart": total}) as (advance,):
            done = 0
            for turn in (0, 1):
                for name, node in self._nodes.items():
                    records = self._plan.apart[name][turn]
                    self._load(node, self._file(f"{name}-apart-{turn}", records))
                    advance(done := done + len(records))
        with self._screen.doing("stopping them"):
            for node in self._nodes.values():
                node.stop()
        self._screen.say(
            f"{self._plan.contested:,} keys were written on two nodes each, which did not know of "
            "each other"
        )

    def _load_together(self) -> Outcome:
        with self._screen.doing("starting them as each other's peers"):
            for node in self._nodes.values():
                self._start(node)
        started = time.monotonic()
        reports = self._load_shares()
        self._screen.say(
            f"node {KILLED} was killed (SIGKILL) after {self._cut_at:,} records and was back after "
            f"{self._away_seconds:.1f} s; loading again it found {reports[KILLED]['unchanged']:,} "
            "unchanged"
        )
        agreed, digests = self._wait_for_agreement()
        with self._screen.doing("looking for every record on every node"):
            return Outcome(
                plan=self._plan,
                seconds=agreed - started,
                digests=digests,
                conflicts=list(self._nodes[NAMES[0]].ask_lines("conflicts")),
                contents=self._of_all(lambda node: dict(node.items())),
            )

    def _load_shares(self) -> dict[str, dict[str, int]]:
        """Every node loads its share, all at once."""
        sizes = {f"load on {name}": len(self._plan.shares[name]) for name in NAMES}
        with ThreadPoolExecutor(len(NAMES)) as pool, self._screen.bars(sizes) as advances:
            loads = {
                name: pool.submit(self._load_share, name, advance)
                for name, advance in zip(NAMES, advances, strict=True)
            }
            try:
                return {name: load.result() for name, load in loads.items()}
            except BaseException:
                self._clean_up()  # so that the other loads end
                raise

    def _load_share(self, name: str, advance: Advance) -> dict[str, int]:
        node = self._nodes[name]
        path = self._file(name, self._plan.shares[name])
        if name == KILLED:
            self._load_until_killed(node, path, advance)
        return self._load(node, path, advance)

    def _load_until_killed(self, node: Node, path: Path, advance: Advance) -> None:
        half = len(self._plan.shares[node.name]) // 2
        killed = 0.0

        def watch(done: int) -> None:
            nonlocal killed
            advance(done)
            if done >= half and not killed:
                self._cut_at = done
                killed = time.monotonic()
                node.kill()

        node.load(path, watch)
        if not killed:  # a share of nothing
            killed = time.monotonic()
            node.kill()
        self._start(node)
        self._away_seconds = time.monotonic() - killed

    def _wait_for_agreement(self) -> tuple[float, dict[str, str]]:
        """Return once nobody lacks anything and all digests are equal: since when, and which."""
        deadline = time.monotonic() + AGREEMENT_SECONDS_MAX
        while time.monotonic() < deadline:
            moment = self._wait_until_nothing_lacks(deadline)
            with self._screen.doing("comparing digests"):
                digests = self._of_all(lambda node: str(node.ask("digest")["digest"]))
            if len(set(digests.values())) == 1:
                return moment, digests
        raise NodeError(f"no agreement within {AGREEMENT_SECONDS_MAX} s")

    def _wait_until_nothing_lacks(self, deadline: float) -> float:
        """Return when nobody lacks anything, or at the deadline: since when that is so."""
        most = lacking = self._lacking()
        if lacking:
            with self._screen.bars({"agreeing": most}) as (advance,):
                while lacking and time.monotonic() < deadline:
                    lacking = self._lacking()
                    advance(most - lacking)
        return time.monotonic()

    def _lacking(self) -> int:
        """How many entries nodes know of that their peers are not known to have."""
        statuses = self._of_all(lambda node: node.ask("status"))
        peers = chain.from_iterable(status["peers"] for status in statuses.values())
        return sum(1 if peer["lag_entries"] is None else peer["lag_entries"] for peer in peers)

    def _of_all(self, ask: Callable[[Node], T]) -> dict[str, T]:
        """What the nodes answer, by name, all asked at once."""
        with ThreadPoolExecutor(len(NAMES)) as pool:
            return dict(zip(self._nodes, pool.map(ask, self._nodes.values()), strict=True))

    def _start(self, node: Node) -> None:
        node.start(peers=[peer for peer in self._nodes.values() if peer is not node])

    def _load(self, node: Node, path: Path, advance: Advance = lambda done: None) -> dict[str, int]:
        report = node.load(path, advance)
        if report is None:
            raise NodeError(f"node {node.name} went away:\n{node.log_tail()}")
        return report

    def _file(self, name: str, records: list[tuple[bytes, bytes]]) -> Path:
        return write_records(self._home / f"{name}.tsv", records)

    def _clean_up(self) -> None:
        for node in self._nodes.values():
            node.clean_up()


@contextmanager
def directory(keep: Path | None) -> Iterator[Path]:
    """Where everything is put: a temporary directory, or one that is kept."""
    if keep is not None:
        keep.mkdir(parents=True)
        yield keep
        return
    path = Path(tempfile.mkdtemp(prefix="replicator-run-"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/run",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", nargs="?", type=Path, help="key TAB value on each line")
    parser.add_argument(
        "--keep", type=Path, metavar="DIR", help="work in DIR, a new one, and keep it"
    )
    return parser.parse_args()


def main() -> int:
    """Run the main job; the exit code."""
    arguments = parse_arguments()
    screen = Screen()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        records = made_records() if arguments.file is None else read_records(arguments.file)
        plan = make_plan(records)
        screen.say(f"{plan.records:,} records from {arguments.file or 'thin air'}, three nodes")
        with directory(arguments.keep) as home:
            outcome = MainJob(home, plan, screen).run()
        print_summary(screen, outcome)
        return 0 if outcome.agrees else 1
    except OSError as error:
        screen.complain(f"{error.filename}: {error.strerror}")
        return 2
    except (NodeError, ValueError) as error:
        screen.complain(str(error))
        return 2
    except KeyboardInterrupt:
        screen.complain("interrupted; all processes are stopped")
        return 130


if __name__ == "__main__":
    sys.exit(main())
