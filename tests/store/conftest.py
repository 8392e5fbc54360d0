"""A directory on a file system in memory: what a store syncs there costs nothing."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

MEMORY = Path("/dev/shm")


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """An empty directory; in memory where the machine has such a place."""
    if not MEMORY.is_dir():
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(prefix="replicator-", dir=MEMORY) as name:
        yield Path(name)
