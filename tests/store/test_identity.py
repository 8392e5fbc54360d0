"""Who a store is, and when that is no longer sure (R13, R11)."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from replicator.errors import FormatError
from replicator.store import identity as identity_module
from replicator.store.identity import Identity, Surroundings, look_around, new_origin

HERE = Surroundings("machine", 10, 20, "boot")
OPEN = Identity(7, HERE, clean=False)
CLEAN = Identity(7, HERE, clean=True)
COPIES = [
    replace(HERE, machine="another"),
    replace(HERE, directory_inode=11),
    replace(HERE, lock_inode=21),
]


def test_the_same_place() -> None:
    for before in (OPEN, CLEAN):
        assert before.reopened(HERE) == OPEN
        assert not before.lost_commits(HERE)


@pytest.mark.parametrize("there", COPIES)
def test_a_copy_takes_a_new_origin(there: Surroundings) -> None:
    for before in (OPEN, CLEAN):
        now = before.reopened(there)
        assert now.origin not in (0, 7)
        assert (now.surroundings, now.clean) == (there, False)
    assert OPEN.lost_commits(there), "copied while it was open: file by file"
    assert not CLEAN.lost_commits(there)


def test_a_machine_crash_takes_a_new_origin() -> None:
    rebooted = replace(HERE, boot="later")
    assert OPEN.lost_commits(rebooted) and OPEN.reopened(rebooted).origin != 7
    assert not CLEAN.lost_commits(rebooted) and CLEAN.reopened(rebooted).origin == 7


def test_the_row() -> None:
    assert OPEN.row() == [7, "machine", 10, 20, "boot", False]
    assert Identity.from_row(CLEAN.row()) == CLEAN


@pytest.mark.parametrize(
    "row",
    [
        None,
        7,
        "text",
        {},
        [],
        [7, "machine", 10, 20, "boot"],
        [7, "machine", 10, 20, "boot", False, 1],
        ["7", "machine", 10, 20, "boot", False],
        [7, b"machine", 10, 20, "boot", False],
        [7, "machine", 10, 20, "boot", 1],
    ],
)
def test_a_malformed_row(row: Any) -> None:
    with pytest.raises(FormatError, match="identity"):
        Identity.from_row(row)


def test_origins_are_never_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity_module.secrets, "randbits", lambda bits: 0)
    assert new_origin() == 1
    monkeypatch.undo()
    assert len({new_origin() for _ in range(100)}) == 100


def test_looking_around(directory: Path) -> None:
    (directory / "LOCK").touch()
    here = look_around(directory)
    assert here.directory_inode == directory.stat().st_ino
    assert here.lock_inode == (directory / "LOCK").stat().st_ino
    assert here == look_around(directory)
    assert here.boot, "Linux names every boot"


def test_a_machine_without_names(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (directory / "LOCK").touch()
    monkeypatch.setattr(identity_module, "_read", lambda path: identity_module_read(path + "x"))
    here = look_around(directory)
    assert (here.machine, here.boot) == ("", "")


identity_module_read = identity_module._read
