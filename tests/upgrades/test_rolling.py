"""A cluster of 0.1.0 is upgraded node by node while programs write to all of its nodes."""

import time
from contextlib import ExitStack
from pathlib import Path

import plyvel
import pytest

from replicator.release import software_version
from replicator.store.keyspace import FORMAT_VERSION
from tests.cli.daemons import Daemon, documents, until
from tests.cli.test_configs import addresses
from tests.upgrades.earlier import Earlier, running
from tests.upgrades.test_format import format_of
from tests.upgrades.writers import writing

pytestmark = pytest.mark.processes

NAMES = ("a", "b", "c")


class Rolling:
    """Three daemons that know each other's addresses, restarted one by one."""

    def __init__(self, earlier: Earlier, directory: Path, stack: ExitStack) -> None:
        self._earlier = earlier
        self._stack = stack
        self.paths = {name: directory / name for name in NAMES}
        self._addresses = dict(zip(NAMES, addresses(len(NAMES)), strict=True))
        self.daemons: dict[str, Daemon] = {}

    def start(self, name: str, within: tuple[str, ...] = ()) -> None:
        others = [part for one in NAMES if one != name for part in ("--peer", self._addresses[one])]
        where = ("--listen", self._addresses[name])
        daemon = running(self.paths[name], *where, *others, within=within)
        self.daemons[name] = self._stack.enter_context(daemon)

    def start_all(self) -> None:
        for name in NAMES:
            self.start(name, self._earlier.within)

    def upgrade(self, name: str) -> tuple[float, float]:
        """SIGTERM, and this version on the same directory and address. Gives when it began and
        ended, from the signal until the node was ready."""
        began = time.monotonic()
        assert self.daemons[name].end() == 0
        self.start(name)
        return began, time.monotonic()

    def are_equal(self) -> bool:
        return len({self.digest(name) for name in NAMES}) == 1

    def digest(self, name: str) -> str:
        (found,) = documents("digest", "--data", str(self.paths[name]))
        return str(found["digest"])

    def contents(self, name: str) -> dict[bytes, bytes]:
        found = documents("scan", "--data", str(self.paths[name]))
        return {one["key"].encode(): one["value"].encode() for one in found}


def test_a_rolling_upgrade_under_load(earlier: Earlier, tmp_path: Path) -> None:
    with ExitStack() as stack:
        rolling = Rolling(earlier, tmp_path, stack)
        rolling.start_all()
        with writing(list(rolling.paths.values())) as ledgers:
            until(lambda: all(len(ledger.times) > 100 for ledger in ledgers.values()))
            for name in NAMES:
                origin = rolling.daemons[name].ready["origin"]
                began, ended = rolling.upgrade(name)
                assert rolling.daemons[name].ready["origin"] == origin
                others = [ledgers[one].during(began, ended) for one in NAMES if one != name]
                assert all(others), "a node that was not touched took no writes"
                seen = len(ledgers[name].times)
                until(lambda name=name, seen=seen: len(ledgers[name].times) > seen + 100)
                pause = ledgers[name].longest_pause()
                print(f"{name}: no write for {pause:.2f} s; the others took {others} meanwhile")
        until(rolling.are_equal)
        held = rolling.contents("a")
        for name in NAMES:
            assert rolling.contents(name) == held
            for key in ledgers[name].unsure:
                value = held.get(key)
                assert ledgers[name].allows(key, value), f"{key!r}: an acknowledged write is lost"
            log = rolling.daemons[name].log
            assert "Traceback" not in log and "protocol" not in log
            assert log.count("bringing the store up from format 1") == 1
        members = ["members", "--data", str(tmp_path / "a")]
        until(lambda: {one["version"] for one in documents(*members)} == {software_version()})
    for path in rolling.paths.values():
        with plyvel.DB(str(path)) as db:
            assert format_of(db) == FORMAT_VERSION
