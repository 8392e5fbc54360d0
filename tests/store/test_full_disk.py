"""R12: full disks, made by a limit on file sizes and by a small file system. What was acknowledged
before and after a failed commit is there after the next open; what failed is not."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import plyvel
import pytest

from replicator.store.store import Store

from .checker import check_store
from .places import contents, patient

ROOT = Path(__file__).parents[2]
KINDS = ["puts", "batches", "applies", "two", "stays failed"]


def _run(kind: str, path: Path, *ballast: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.store.disk_child", kind, str(path), *map(str, ballast)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


def _check(path: Path, found: dict[str, Any]) -> None:
    """Everything acknowledged is there, nothing else is, and the store works."""
    db = plyvel.DB(str(path))
    for name, data in found["data"].items():
        wrapped = db.prefixed_db(bytes.fromhex(name)) if name else db
        store = Store.open(wrapped, settings=patient())
        check_store(store)
        expected = {
            bytes.fromhex(key): bytes.fromhex(value)
            for key, value in data.items()
            if value is not None
        }
        assert contents(store) == expected
        store.put(b"afterwards", b"v", sync=True)
        check_store(store)
        store.close()
    db.close()


@pytest.mark.parametrize("kind", KINDS)
def test_a_limit_on_file_sizes(kind: str, directory: Path) -> None:
    found = _run(kind, directory / "a")
    assert found["failures"] and found["before"]
    if kind == "stays failed":
        assert "open it again" in found["failed"] and "(IO error: " in found["failed"]
        assert "StoreFailedError" in found["failures"]
    _check(directory / "a", found)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    path = tmp_path / "disk"
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(path)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount command here")
    if done.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip()}")
    yield path
    subprocess.run(["umount", "-l", str(path)], check=True)


@pytest.mark.parametrize("kind", ["puts", "batches", "two", "stays failed"])
def test_a_small_disk(kind: str, small_disk: Path) -> None:
    found = _run(kind, small_disk / "a", small_disk / "ballast")
    assert found["failures"] and found["before"]
    _check(small_disk / "a", found)
