"""`verify` looks at a directory of the version before as it is, and brings nothing up."""

from pathlib import Path
from typing import Any

import plyvel
import pytest

from replicator.errors import CommitError
from replicator.store.verify.scan import Scan
from tests.store.places import Place, failing, patient
from tests.upgrades.earlier import Earlier
from tests.upgrades.golden import FORMAT_1, read_golden, write_rows
from tests.upgrades.making import PREFIXES
from tests.upgrades.test_format import format_of

pytestmark = pytest.mark.processes

KINDS = ("mixed", "empty", "killed", "adopted", "cut-adoption", "cut-fork")


def faults(db: Any, prefix: bytes = b"") -> list[str]:
    """What is wrong, in words."""
    with db.snapshot() as snapshot:
        scan = Scan(snapshot, prefix)
        return [str(fault) for fault in scan.faults()]


def test_a_directory_of_the_version_before_has_no_fault(earlier: Earlier, tmp_path: Path) -> None:
    earlier.make(tmp_path)
    for kind in KINDS:
        with plyvel.DB(str(tmp_path / kind)) as db:
            before = dict(db)
            assert (kind, faults(db)) == (kind, [])
            assert dict(db) == before and format_of(db) == 1
    with plyvel.DB(str(tmp_path / "wraps")) as db:
        for prefix in PREFIXES:
            assert faults(db.prefixed_db(prefix), prefix) == []


@pytest.mark.parametrize("nth", range(1, 4))
def test_nor_has_one_that_is_half_way_up(tmp_path: Path, nth: int) -> None:
    rows, _ = read_golden(FORMAT_1)
    write_rows(tmp_path / "a", rows)
    place = Place(tmp_path / "a", settings=patient())
    with failing(nth), pytest.raises(CommitError):
        place.open()
    with plyvel.DB(str(tmp_path / "a")) as db:
        assert faults(db) == []
    with place as store:
        store.revisit.wait(None)
        assert faults(store.db) == []
