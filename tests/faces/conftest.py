"""Handles for the tests of the library's face: alone, without a port and without peers."""

from collections.abc import Callable, Iterator
from pathlib import Path

import plyvel
import pytest

from replicator.faces.handle import Replica
from replicator.faces.library import replicate


@pytest.fixture
def raw(tmp_path: Path) -> Iterator[plyvel.DB]:
    """A plain plyvel handle, to compare with."""
    db = plyvel.DB(str(tmp_path / "raw"), create_if_missing=True)
    yield db
    db.close()


@pytest.fixture
def replica(tmp_path: Path) -> Iterator[Replica]:
    """A wrapped handle."""
    db = replicate(plyvel.DB(str(tmp_path / "wrapped"), create_if_missing=True), port=None)
    yield db
    db.close()


@pytest.fixture
def wrap() -> Iterator[Callable[..., Replica]]:
    """`replicate` without a port; what it made is closed in the end."""
    made = []

    def wrap(db: plyvel.DB, **keywords: object) -> Replica:
        handle = replicate(db, **({"port": None} | keywords))
        made.append(handle)
        return handle

    yield wrap
    for handle in reversed(made):
        handle.close()
