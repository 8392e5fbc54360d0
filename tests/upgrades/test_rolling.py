"""A cluster of 0.1.0 is upgraded node by node while programs write to all of its nodes."""

from pathlib import Path

import plyvel
import pytest

from replicator.release import software_version
from replicator.store.keyspace import FORMAT_VERSION
from tests.cli.daemons import documents, until
from tests.upgrades.earlier import Earlier
from tests.upgrades.rolling import NAMES, Step, upgraded
from tests.upgrades.test_format import format_of
from tests.upgrades.writers import Ledger

pytestmark = pytest.mark.processes


def test_a_rolling_upgrade_under_load(earlier: Earlier, tmp_path: Path) -> None:
    steps: list[Step] = []
    with upgraded(earlier, tmp_path, writers=2, seconds=0.2, tell=steps.append) as rolling:
        for step in steps:
            print(step)
            assert all(step.others.values()), "a node that was not touched took no writes"
        held = rolling.contents("a")
        assert len(held) > 50
        for name in NAMES:
            assert rolling.contents(name) == held
            assert rolling.lost(name) == [], "an acknowledged write is lost"
            log = rolling.daemons[name].log
            assert "Traceback" not in log and "protocol" not in log
            assert log.count("bringing the store up from format 1") == 1
        members = ["members", "--data", str(tmp_path / "a")]
        until(lambda: {one["version"] for one in documents(*members)} == {software_version()})
        assert len(documents(*members)) == len(NAMES), "none has another origin than before"
    for path in rolling.paths.values():
        with plyvel.DB(str(path)) as db:
            assert format_of(db) == FORMAT_VERSION


def test_the_books_notice_what_is_lost() -> None:
    ledger = Ledger({b"k": b"2", b"gone": None}, {b"k": [b"3"], b"gone": []}, [1.0, 2.0, 5.0])
    assert [ledger.allows(b"k", value) for value in (b"1", b"2", b"3", None)] == [
        False,
        True,
        True,
        False,
    ]
    assert ledger.allows(b"gone", None) and not ledger.allows(b"gone", b"back")
    assert (ledger.longest_pause(0.0), ledger.longest_pause(2.5)) == (3.0, 3.0)
    assert (ledger.during(1.5, 5.0), ledger.taken_since(2.0)) == (2, 2)
