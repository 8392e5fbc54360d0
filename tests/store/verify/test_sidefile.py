"""The file of rows as they were before a repair."""

import json
from pathlib import Path

import pytest

from replicator.core.dots import Dot
from replicator.errors import StorageError, UsageError
from replicator.store.verify.faults import Fault, Kind
from replicator.store.verify.sidefile import SideFile

FAULT = Fault(Kind.LOG_LOST, b"\xff\x00", "of what", Dot(7, 9))


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    with SideFile(tmp_path / "new" / "file", {"directory": "/a"}) as side_file:
        side_file.add(FAULT, [(b"k", b"\x00v"), (b"gone", None)])
        side_file.add_rows((b"%d" % number, None) for number in range(2500))
        side_file.add(Fault(Kind.MEMBER, b"m"), [])
        side_file.seal()
        first, second = side_file.read()
    assert first.fault == FAULT
    assert first.rows == {b"k": b"\x00v", b"gone": None}
    assert second.fault == Fault(Kind.MEMBER, b"m")
    lines = side_file.path.read_text().splitlines()
    assert json.loads(lines[0])["directory"] == "/a"
    assert len(lines) == 6, "rows without a fault come in bounded lines"


def test_what_fails_before_it_is_sealed_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), SideFile(tmp_path / "file", {}) as side_file:
        side_file.add(FAULT, [])
        _ = 1 / 0
    assert not list(tmp_path.iterdir())


def test_what_fails_afterwards_leaves_the_file(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), SideFile(tmp_path / "file", {}) as side_file:
        side_file.add(FAULT, [])
        side_file.seal()
        _ = 1 / 0
    assert len(list(side_file.read())) == 1


def test_places_where_none_can_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UsageError, match="is there already"):
        SideFile(tmp_path / "file", {})
    with pytest.raises(StorageError, match="cannot be written"):
        SideFile(tmp_path / "file" / "below", {})
    assert (tmp_path / "file").read_text() == "mine"
