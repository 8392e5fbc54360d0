"""Whether the disk takes what is written."""

import errno
import os
import threading
from pathlib import Path

import pytest
import trio
import trio.testing

from replicator.faces.http import disk as disk_module
from replicator.faces.http.disk import PROBE_NAME, Disk, DiskState, probe


def test_a_disk_that_works(tmp_path: Path) -> None:
    state = probe(tmp_path)
    assert state.fault is None
    assert state.free_bytes is not None and state.free_bytes > 0
    assert list((tmp_path / "replicator").iterdir()) == []


@pytest.mark.parametrize(
    ("number", "words"), [(errno.ENOSPC, "No space left"), (errno.EROFS, "Read-only")]
)
def test_a_disk_that_takes_nothing(
    number: int, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "write", refuse)
    fault = probe(tmp_path).fault
    assert fault is not None and fault.startswith("the disk takes nothing: ") and words in fault
    assert not (tmp_path / "replicator" / PROBE_NAME).exists()


def test_a_disk_that_takes_a_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "write", lambda *_: 512)
    assert probe(tmp_path).fault == "the disk is full"


def test_a_directory_that_is_gone(tmp_path: Path) -> None:
    state = probe(tmp_path / "nowhere" / "at all")
    assert state.fault is not None and state.free_bytes is None


def test_no_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "replicator").mkdir()
    precious = tmp_path / "precious"
    precious.write_text("keep me")
    (tmp_path / "replicator" / PROBE_NAME).symlink_to(precious)
    assert probe(tmp_path).fault is not None
    assert precious.read_text() == "keep me"


async def test_it_is_looked_at_now_and_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mock_clock: trio.testing.MockClock
) -> None:
    looks = []

    def look(data: Path) -> DiskState:
        looks.append(data)
        return DiskState(None, len(looks))

    monkeypatch.setattr(disk_module, "probe", look)
    disk = Disk(tmp_path)
    for _ in range(5):
        assert (await disk.look()).free_bytes == 1
    mock_clock.jump(disk_module.DISK_PROBE_SECONDS)
    assert (await disk.look()).free_bytes == 2


async def test_a_disk_that_hangs_is_told_of_and_holds_one_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk_module, "DISK_PROBE_SECONDS", 0.05)
    hanging = threading.Event()
    started = []

    def hang(_: Path) -> DiskState:
        started.append(1)
        hanging.wait(30)
        return DiskState(None, 1)

    monkeypatch.setattr(disk_module, "probe", hang)
    disk = Disk(tmp_path)
    try:
        for _ in range(3):
            assert "has not answered" in str((await disk.look()).fault)
            await trio.sleep(0.06)
        assert len(started) == 1
    finally:
        hanging.set()
    monkeypatch.setattr(disk_module, "probe", lambda _: DiskState(None, 5))
    with trio.fail_after(30):
        while (await disk.look()).fault is not None:
            await trio.sleep(0.06)
