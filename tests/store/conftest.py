"""Directories on a file system in memory, where syncing costs nothing, and stores in them."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from replicator.store.store import Store

from .clocks import Clocks
from .places import Place, patient

MEMORY = Path("/dev/shm")


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """An empty directory; in memory where the machine has such a place."""
    if not MEMORY.is_dir():
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(prefix="replicator-", dir=MEMORY) as name:
        yield Path(name)


@pytest.fixture
def place(directory: Path) -> Iterator[Place]:
    """A store's directory, not opened yet; closed in the end."""
    place = Place(directory / "a", settings=patient())
    yield place
    place.close()


@pytest.fixture
def store(place: Place) -> Store:
    """The store there, open."""
    return place.open()


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    """The wall clocks of all stores, set by hand."""
    return Clocks(monkeypatch)


@pytest.fixture
def peer(directory: Path) -> Iterator[Store]:
    """A second store."""
    with Place(directory / "peer", settings=patient()) as store:
        yield store


@pytest.fixture
def third(directory: Path) -> Iterator[Store]:
    """A third one."""
    with Place(directory / "third", settings=patient()) as store:
        yield store
